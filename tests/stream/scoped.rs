//! `Scope::map`: input, closure and results borrow, and the scope waits for the calls under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use tollgate::JoinError;

use crate::common::event::Latch;
use crate::common::{LONG, pool, with_workers, within};

#[test]
fn results_borrow_and_keep_the_order_of_the_input() {
    with_workers(|pool, _| {
        let texts: Vec<String> = (0..2_000).map(|i| i.to_string()).collect();
        let calls = AtomicUsize::new(0);
        for limit in [1, 3, usize::MAX] {
            let job = pool.job(limit);
            let same = job.scope(|s| {
                let results = s.map(&texts, |text| {
                    calls.fetch_add(1, SeqCst);
                    text.as_str()
                });
                results.map(Result::unwrap).eq(texts.iter().map(String::as_str))
            });
            assert!(same, "limit {limit}");
            assert_eq!(job.stats().completed, 2_000);
        }
        assert_eq!(calls.into_inner(), 6_000);
    });
}

/// The input has no end, and the iterator is dropped within the scope, forgotten, or kept until the closure's end.
#[test]
fn the_scope_ends_with_the_iterator_or_without() {
    with_workers(|pool, _| {
        let began = AtomicUsize::new(0);
        let ended = AtomicUsize::new(0);
        for way in 0..3 {
            let job = pool.job(2);
            job.scope(|s| {
                let mut results = s.map(0_usize.., |i| {
                    began.fetch_add(1, SeqCst);
                    thread::yield_now();
                    ended.fetch_add(1, SeqCst);
                    i
                });
                assert_eq!(results.next().unwrap().unwrap(), 0);
                match way {
                    0 => drop(results),
                    1 => std::mem::forget(results),
                    _ => assert_eq!(results.next().unwrap().unwrap(), 1),
                }
            });
            assert_eq!(began.load(SeqCst), ended.load(SeqCst), "a call goes on after its scope");
        }
    });
}

#[test]
fn a_scope_waits_for_a_call_under_way() {
    within(LONG, || {
        let pool = pool(2);
        let latch = Latch::new();
        let opening = latch.opening();
        let (began, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|threads| {
            let scope = threads.spawn(|| {
                pool.job(2).scope(|s| {
                    let results = s.map(0..100, |i| {
                        if i == 1 {
                            began.store(1, SeqCst);
                            opening.wait();
                            over.store(1, SeqCst);
                        }
                    });
                    // The second call is under way when the iterator goes.
                    let mut results = results.as_completed();
                    results.next().unwrap().unwrap();
                    while began.load(SeqCst) == 0 {
                        results.next().unwrap().unwrap();
                    }
                });
                over.load(SeqCst)
            });
            while began.load(SeqCst) == 0 {
                thread::yield_now();
            }
            assert!(!scope.is_finished());
            latch.open();
            assert_eq!(scope.join().unwrap(), 1);
        });
    });
}

/// The iterator is moved into a task of the scope, which takes the results of its own job.
#[test]
fn a_task_of_the_scope_takes_the_results() {
    with_workers(|pool, _| {
        let numbers: Vec<u64> = (0..500).collect();
        for limit in [1, 2] {
            let sum = pool.job(limit).scope(|s| {
                let results = s.map(&numbers, |i| i * 2);
                s.spawn(move || results.map(Result::unwrap).sum::<u64>()).join().unwrap()
            });
            assert_eq!(sum, 2 * 499 * 500 / 2);
        }
    });
}

#[test]
fn a_panic_is_an_item_and_a_closed_job_an_error() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(2);
        let bad = 3;
        let outcomes: Vec<_> = job.scope(|s| {
            s.map(0..5, |i| assert_ne!(i, bad)).map(|outcome| outcome.is_ok()).collect()
        });
        assert_eq!(outcomes, [true, true, true, false, true]);
        job.close();
        let refused: Vec<_> = job.scope(|s| s.map(0..5, |_| ()).collect());
        assert!(matches!(refused[..], [Err(JoinError::Cancelled)]));
    });
}

/// Of a job that is held, the queued task of the iterator is dropped with the iterator: the scope does not wait for it.
#[test]
fn an_iterator_of_a_held_job_can_be_dropped() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(0);
        let borrowed = String::from("borrowed");
        thread::scope(|threads| {
            let (stop, stopped) = std::sync::mpsc::channel();
            let (borrowed, job) = (&borrowed, &job);
            threads.spawn(move || {
                stopped.recv().unwrap();
                while job.stats().backlog == 0 {
                    thread::yield_now();
                }
                job.cancel();
            });
            job.scope(|s| {
                let mut results = s.map(0..5, |_| borrowed.len());
                stop.send(()).unwrap();
                assert!(matches!(results.next(), Some(Err(JoinError::Cancelled))));
            });
        });
        assert_eq!(job.stats().completed, 0);
    });
}

/// A panic of the scope's closure is passed on when the calls under way have ended.
#[test]
fn a_panic_beside_a_call_under_way() {
    within(LONG, || {
        let pool = pool(2);
        let began = AtomicUsize::new(0);
        let ended = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.job(2).scope(|s| {
                let mut results = s.map(0.., |_| {
                    began.fetch_add(1, SeqCst);
                    thread::yield_now();
                    ended.fetch_add(1, SeqCst);
                });
                results.next().unwrap().unwrap();
                panic!("scope");
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(began.into_inner(), ended.into_inner());
    });
}
