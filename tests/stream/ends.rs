//! What an early end, a close, a pause above or a slow reader leaves of lazy input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use tollgate::{Job, JoinError, TryError};

use crate::common::event::Latch;
use crate::common::{LONG, Tokens, message_of, pool, unwind, with_workers, within, workers_pass};
use crate::counted;

/// Items that are in an input which promises its length. Enough for a puller to find them quick.
const MANY: usize = 100_000;

/// Runs the numbers below 1,000 through the job in one of three ways, and returns the number of calls that returned.
fn run_through(job: &Job, way: usize, f: impl Fn(usize) + Send + Sync + 'static) -> usize {
    match way {
        0 => job.for_each(0..1_000, f).map(|()| 1_000).unwrap(),
        1 => job.for_each(counted(0..1_000).1, f).map(|()| 1_000).unwrap(),
        _ => job.map(0..1_000, f).map(Result::unwrap).count(),
    }
}

#[test]
fn a_pause_of_a_job_above_stops_items() {
    with_workers(|pool, workers| {
        for way in 0..3 {
            let host = pool.job(5);
            let job = host.job(1);
            let started = Arc::new(AtomicUsize::new(0));
            let (paused, count) = (host.clone(), started.clone());
            let runs = thread::spawn(move || {
                run_through(&job, way, move |i| {
                    if i == 10 {
                        paused.pause();
                    }
                    count.fetch_add(1, SeqCst);
                })
            });
            while started.load(SeqCst) < 11 {
                thread::yield_now();
            }
            workers_pass(pool, workers);
            assert_eq!(started.load(SeqCst), 11, "way {way}");
            host.resume();
            assert_eq!(runs.join().unwrap(), 1_000);
        }
    });
}

/// As many items run at once as the pool has workers. So no further puller is sent while each worker has one.
#[test]
fn a_job_without_a_limit_has_as_many_pullers_as_the_pool_has_workers() {
    within(LONG, || {
        let pool = pool(1);
        for way in 0..3 {
            let job = pool.job(usize::MAX);
            let asked = job.clone();
            let queued = Arc::new(AtomicUsize::new(0));
            let most = queued.clone();
            run_through(&job, way, move |i| {
                if i < 10 {
                    let stats = asked.stats();
                    most.fetch_max(stats.ready + stats.backlog, SeqCst);
                }
            });
            assert_eq!(queued.load(SeqCst), 0, "way {way}");
        }
    });
}

#[test]
fn a_close_does_not_stop_an_iterator() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let mut results = job.map(0..1_000, |i| i);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        job.close();
        assert!(results.map(Result::unwrap).eq(1..1_000));
        let host = pool.job(2);
        let job = host.job(1);
        let mut results = job.try_map(0..1_000, Ok::<_, ()>).as_completed();
        assert_eq!(results.next().unwrap().unwrap(), 0);
        host.close();
        assert_eq!(results.map(Result::unwrap).count(), 999);
        assert!(matches!(job.map(0..10, |i| i).next(), Some(Err(JoinError::Cancelled))));
    });
}

/// Beside a pool that has shut down, no call waits for a task that never comes.
#[test]
fn a_pool_that_has_shut_down_refuses_input() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(2);
        pool.shutdown();
        assert!(matches!(job.for_each(0..3, |_| unreachable!()), Err(JoinError::Cancelled)));
        let failed = job.try_for_each(counted(0..3).1, |_| Err(()));
        assert!(matches!(failed, Err(TryError::Join(JoinError::Cancelled))));
        let refused: Vec<_> = job.map(0..3, |_| unreachable!()).collect();
        assert!(matches!(refused[..], [Err::<(), _>(JoinError::Cancelled)]));
    });
}

/// Results in the order of completion fill the same room. A reader that takes none stops the pullers.
#[test]
fn results_in_the_order_of_completion_stop_the_input_too() {
    with_workers(|pool, workers| {
        for limit in [1, 2, usize::MAX] {
            let (pulled, input) = counted(0..MANY);
            let job = pool.job(limit);
            let mut results = job.map(input, |i| i).as_completed();
            results.next().unwrap().unwrap();
            job.wait();
            let most = 1 + 64 * workers + workers.min(limit);
            assert!(pulled.load(SeqCst) <= most, "{} of {most}", pulled.load(SeqCst));
            assert_eq!(1 + results.map(Result::unwrap).count(), MANY);
        }
    });
}

/// Two calls are under way as the iterator is dropped. The ready results are dropped at once, and that of the call which ends is
/// dropped although the other call stays.
#[test]
fn results_that_no_iterator_takes_are_dropped_beside_a_call_that_stays() {
    within(LONG, || {
        let pool = pool(3);
        let tokens = Tokens::new();
        let (stays, ends) = (Latch::new(), Latch::new());
        let openings = [stays.opening(), ends.opening()];
        let (owner, under_way) = (tokens.clone(), Arc::new(AtomicUsize::new(0)));
        let (job, begun) = (pool.job(3), under_way.clone());
        let mut results = job.map(counted(0..MANY).1, move |i| {
            if (1..=2).contains(&i) {
                begun.fetch_add(1, SeqCst);
                openings[i - 1].wait();
            }
            owner.token()
        });
        drop(results.next().unwrap().unwrap());
        // The third puller stops for want of room.
        while under_way.load(SeqCst) < 2 || tokens.made() < 64 || job.stats().running > 2 {
            thread::yield_now();
        }
        drop(results);
        assert_eq!(tokens.made(), tokens.dropped());
        let ready = tokens.made();
        ends.open();
        while job.stats().running > 1 {
            thread::yield_now();
        }
        assert_eq!((tokens.made(), tokens.dropped()), (ready + 1, ready + 1));
        stays.open();
        job.wait();
    });
}

#[test]
fn an_empty_input_of_calls_that_may_fail_needs_no_permit() {
    with_workers(|pool, _| {
        let held = pool.job(0);
        assert!(held.try_map(0..0, Ok::<u32, ()>).next().is_none());
        held.try_for_each(0..0, |_: u32| Err(())).unwrap();
    });
}

/// Both calls are under way. The second one fails when the puller of the first has ended.
#[test]
fn the_first_of_two_errors_is_returned() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(2);
        let both = std::sync::Barrier::new(2);
        let failed = job.try_for_each(counted(0..MANY).1, |i| {
            both.wait();
            while i == 0 && job.stats().running > 1 {
                thread::yield_now();
            }
            Err::<(), _>(i)
        });
        assert!(matches!(failed, Err(TryError::Failed(1))), "{failed:?}");
    });
}

/// The first of a puller's many items stays until the call of another puller has failed. The puller drops its other items.
#[test]
fn no_item_of_a_chunk_begins_after_an_error_of_another_call() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let [pulled, before, stage, late] = [(); 4].map(|()| AtomicUsize::new(0));
        let input = (0..MANY).inspect(|_| _ = pulled.fetch_add(1, SeqCst));
        let failed = job.try_for_each(input, |i| match stage.load(SeqCst) {
            0 => {
                // There is one puller yet.
                let now = pulled.load(SeqCst);
                if before.swap(now, SeqCst) != now && (8..2_048).contains(&(now - i)) {
                    stage.store(1, SeqCst);
                    job.set_limit(2);
                    while stage.load(SeqCst) < 2 || job.stats().running > 1 {
                        thread::yield_now();
                    }
                }
                Ok(())
            }
            1 => {
                stage.store(2, SeqCst);
                Err("failed")
            }
            _ => {
                late.fetch_add(1, SeqCst);
                Ok(())
            }
        });
        // Without an error no chunk had eight items left, because the machine is slow.
        assert!(matches!(failed, Ok(()) | Err(TryError::Failed("failed"))));
        assert_eq!(late.into_inner(), 0);
    });
}

/// An item whose drop panics.
struct Bomb(&'static AtomicUsize);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        unwind("an item's drop");
    }
}

/// Several items of a chunk are dropped at once, beside an error or a panic of a call. Two panics at once would end the process.
#[test]
fn items_that_have_not_begun_are_dropped_although_their_drops_panic() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    within(LONG, || {
        let pool = pool(1);
        for panics in [false, true] {
            DROPPED.store(0, SeqCst);
            let (pulled, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let input = (0..MANY).map(|i| {
                pulled.fetch_add(1, SeqCst);
                (i, Bomb(&DROPPED))
            });
            let call = |(i, bomb)| {
                std::mem::forget(bomb);
                let left = pulled.load(SeqCst) - i - 1;
                if left < 3 {
                    return Ok(());
                }
                held.store(left, SeqCst);
                if panics { unwind("call") } else { Err("failed") }
            };
            let run = || pool.job(1).try_for_each(input, call);
            let ended = catch_unwind(AssertUnwindSafe(run));
            let held = held.into_inner();
            match ended {
                // No chunk had three items left, because the machine is slow.
                Ok(Ok(())) => assert_eq!(held, 0),
                Ok(Err(error)) => assert!(!panics && matches!(error, TryError::Failed("failed"))),
                Err(payload) => assert!(panics && message_of(&*payload) == "call"),
            }
            assert_eq!(DROPPED.load(SeqCst), held);
        }
    });
}

/// An item needs a permit of its own job. The task of another job, which takes the results, has none.
#[test]
fn a_task_of_another_job_runs_no_item_of_a_held_one() {
    with_workers(|pool, _| {
        let (outer, held) = (pool.job(1), pool.job(0));
        let calls = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (held.clone(), calls.clone());
        let takes = outer.spawn(move || {
            let mut results = inner.map(0..3, move |_| count.fetch_add(1, SeqCst));
            results.next().unwrap().unwrap()
        });
        // A task that waits shows in none of these figures.
        let begins = || {
            let stats = outer.stats();
            stats.running + stats.ready + stats.backlog > 0
        };
        while begins() {
            thread::yield_now();
        }
        assert_eq!(calls.load(SeqCst), 0);
        held.set_limit(1);
        assert_eq!(takes.join().unwrap(), 0);
    });
}
