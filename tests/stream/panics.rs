//! Inputs, results and closures whose code panics, in `next` and in a drop: each panic is reported once, and none aborts.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use tollgate::{Job, JoinError};

use crate::common::event::Latch;
use crate::common::{panic_of, unwind, with_workers, workers_pass};

/// Ten numbers, of an input that panics as it is told.
struct Input {
    next: usize,
    next_panics: bool,
    drop_panics: bool,
}

impl Input {
    fn new(next_panics: bool, drop_panics: bool) -> Self {
        Self { next: 0, next_panics, drop_panics }
    }
}

impl Iterator for Input {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.next == 10 {
            if self.next_panics {
                unwind("next");
            }
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.drop_panics {
            unwind("drop");
        }
    }
}

/// A value whose drop panics, and is counted.
struct Bomb(&'static AtomicUsize);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        unwind("a bomb's drop");
    }
}

/// What the input's panic must say.
const CASES: [(bool, bool, Option<&str>); 4] = [
    (false, false, None),
    (true, false, Some("next")),
    (false, true, Some("drop")),
    (true, true, Some("next")),
];

fn says<T>(result: Option<Result<T, JoinError>>) -> Option<String> {
    match result {
        None => None,
        Some(Err(JoinError::Panicked(payload))) => payload.message().map(str::to_owned),
        Some(_) => panic!("ten items, and then none or a panic"),
    }
}

#[test]
fn a_map_reports_the_first_panic_of_its_input() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            for (next, drop, says_so) in CASES {
                let job = pool.job(limit);
                let mut results = job.map(Input::new(next, drop), |i| i);
                assert!(results.by_ref().take(10).map(Result::unwrap).eq(0..10));
                assert_eq!(says(results.next()).as_deref(), says_so, "{next} {drop}");
                assert!(results.next().is_none());

                let mut results = job.map(Input::new(next, drop), |i| i).as_completed();
                assert_eq!(results.by_ref().take(10).map(Result::unwrap).sum::<usize>(), 45);
                assert_eq!(says(results.next()).as_deref(), says_so, "{next} {drop}");
                assert!(results.next().is_none());
                assert_eq!((job.stats().completed, job.stats().panicked), (20, 0));
            }
        }
    });
}

#[test]
fn a_map_inside_a_task_reports_it_too() {
    with_workers(|pool, _| {
        for (next, drop, says_so) in CASES {
            let job = pool.job(1);
            let inner = job.clone();
            let task = job.spawn(move || {
                let mut results = inner.map(Input::new(next, drop), |i| i);
                assert!(results.by_ref().take(10).map(Result::unwrap).eq(0..10));
                says(results.next())
            });
            assert_eq!(task.join().unwrap().as_deref(), says_so);
        }
    });
}

#[test]
fn for_each_passes_on_the_first_panic_of_its_input() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            for (next, drop, says_so) in CASES {
                let job = pool.job(limit);
                let each = |job: &Job| job.for_each(Input::new(next, drop), |_| ());
                match says_so {
                    None => each(&job).unwrap(),
                    Some(says_so) => assert_eq!(panic_of(|| each(&job)), says_so),
                }
                assert_eq!((job.stats().completed, job.stats().panicked), (10, 0));
            }
        }
    });
}

#[test]
fn a_panic_of_a_call_is_passed_on_before_that_of_the_rest_of_the_input() {
    with_workers(|pool, _| {
        let call = || pool.job(1).for_each(Input::new(false, true), |_| unwind("call"));
        assert_eq!(panic_of(call), "call");
    });
}

#[test]
fn a_panic_of_a_task_is_passed_on_before_that_of_the_scope_s_result() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    with_workers(|pool, _| {
        let before = DROPPED.load(SeqCst);
        let scope = || {
            pool.job(1).scope(|s| {
                s.execute(|| unwind("task"));
                Bomb(&DROPPED)
            })
        };
        assert_eq!(panic_of(scope), "task");
        assert_eq!(DROPPED.load(SeqCst), before + 1);
    });
}

#[test]
fn results_and_a_closure_whose_drops_panic_stay_in_their_map() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    with_workers(|pool, _| {
        let before = DROPPED.load(SeqCst);
        let job = pool.job(4);
        let (latch, (begin, begun)) = (Latch::new(), mpsc::sync_channel(1));
        let (opening, bomb) = (latch.opening(), Bomb(&DROPPED));
        let mut results = job.map(0..10, move |i| {
            let _ = &bomb;
            if i == 1 {
                begin.send(()).unwrap();
                opening.wait();
            }
            if i == 0 { None } else { Some(Bomb(&DROPPED)) }
        });
        // Item 1 is missing until the latch is open: the results behind it are not taken, and dropped by the workers.
        assert!(results.next().unwrap().unwrap().is_none());
        begun.recv().unwrap();
        drop(results);
        latch.open();
        job.wait();
        workers_pass(pool, pool.workers());
        assert!(DROPPED.load(SeqCst) > before);
        assert_eq!(job.stats().panicked, 0);
    });
}

/// The closure lasts as long as the iterator. Its drop has no item to be reported in, and must not unwind into the iterator's.
#[test]
fn a_drop_of_an_iterator_is_quiet_although_its_closure_s_drop_panics() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    with_workers(|pool, _| {
        let before = DROPPED.load(SeqCst);
        let job = pool.job(2);
        for taken in [1, 10] {
            let bomb = Bomb(&DROPPED);
            let mut results = job.map(0..10, move |i| {
                let _kept = &bomb;
                i
            });
            assert_eq!(results.by_ref().take(taken).count(), taken);
            job.wait();
            drop(results);
            let bomb = Bomb(&DROPPED);
            job.scope(|s| {
                let results = s.map(0..10, move |i| {
                    let _kept = &bomb;
                    i
                });
                assert_eq!(results.take(taken).count(), taken);
            });
        }
        job.wait();
        assert_eq!(DROPPED.load(SeqCst) - before, 4);
    });
}
