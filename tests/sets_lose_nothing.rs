//! Sets of tasks: each result is taken once, in whichever order; a set that is dropped cancels; nothing deadlocks.

mod common;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use common::event::{Latch, WaitsInDrop};
use common::{LONG, Tokens, message_of, panic_of, pool, unwind, with_workers, within};
use tollgate::{JoinError, Pool, TaskSet};

#[test]
fn each_result_comes_once() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let mut set = pool.job(limit).set();
            let ids: Vec<_> = (0..1_000).map(|i| set.spawn(move || i)).collect();
            let mut seen = vec![false; 1_000];
            while let Some((id, result)) = set.join_next_with_id() {
                let i = result.unwrap();
                assert_eq!(ids[i], id);
                assert!(!std::mem::replace(&mut seen[i], true), "a result came twice");
            }
            assert!(seen.iter().all(|seen| *seen) && set.is_empty());
        }
    });
}

#[test]
fn results_come_as_tasks_end() {
    within(LONG, || {
        let pool = pool(4);
        let (first, second) = (Latch::new(), Latch::new());
        let mut set = pool.job(4).set();
        let (one, two) = (first.opening(), second.opening());
        set.spawn(move || {
            one.wait();
            "last"
        });
        set.spawn(move || {
            two.wait();
            "second"
        });
        set.spawn(|| "first");
        assert_eq!(set.join_next().unwrap().unwrap(), "first");
        assert!(set.try_join_next_with_id().is_none());
        second.open();
        assert_eq!(set.join_next().unwrap().unwrap(), "second");
        first.open();
        assert_eq!(set.join_next().unwrap().unwrap(), "last");
        assert!(set.join_next().is_none());
    });
}

#[test]
fn all_results_come_in_the_order_of_the_pushes() {
    with_workers(|pool, _| {
        let mut set = pool.job(3).set();
        (0..100).for_each(|i| _ = set.spawn(move || i));
        assert_eq!(set.join_next_with_id().map(|(_, first)| first.is_ok()), Some(true));
        assert_eq!(set.len(), 99);
        let values: Vec<_> = set.join_all().into_iter().map(Result::unwrap).collect();
        assert_eq!(values.len(), 99);
        assert!(values.is_sorted(), "{values:?}");
    });
}

#[test]
fn the_first_error_cancels_the_rest() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(1);
        let mut set = job.set();
        set.spawn(|| 1);
        set.spawn(|| unwind("the second"));
        let latch = Latch::new();
        let opening = latch.opening();
        set.spawn(move || {
            opening.wait();
            3
        });
        for _ in 0..20 {
            let token = tokens.token();
            set.spawn(move || {
                drop(token);
                4
            });
        }
        let JoinError::Panicked(payload) = set.try_join_all().unwrap_err() else {
            panic!("the second panicked");
        };
        assert_eq!(payload.message(), Some("the second"));
        // What had not started is gone before the third ends.
        assert_eq!(tokens.dropped(), 20);
        latch.open();
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.panicked, stats.completed + stats.cancelled), (1, 22));
        assert!(stats.cancelled >= 20, "{stats:?}");
    });
}

#[test]
fn a_set_that_is_dropped_cancels_what_has_not_started() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(0);
        let mut set = job.set();
        for _ in 0..10 {
            let token = tokens.token();
            set.spawn(move || drop(token));
        }
        drop(set);
        assert_eq!(tokens.dropped(), 10);
        job.set_limit(1);
        job.wait();
        assert_eq!(job.stats().cancelled, 10);
    });
}

#[test]
fn a_task_that_runs_sees_that_its_set_is_dropped() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let (begun, saw) = (Latch::new(), Arc::new(AtomicBool::new(false)));
        let opening = begun.opening();
        let mut set = job.set();
        let seen = Arc::clone(&saw);
        set.spawn(move || {
            begun.open();
            while !tollgate::is_cancelled() {
                std::thread::yield_now();
            }
            seen.store(true, SeqCst);
        });
        opening.wait();
        drop(set);
        job.wait();
        assert!(saw.load(SeqCst));
    });
}

/// Only tasks that have not started are counted. Each of them has a result all the same.
#[test]
fn all_are_cancelled_but_those_that_have_started() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let (begun, latch) = (Latch::new(), Latch::new());
        let (started, opening) = (begun.opening(), latch.opening());
        let mut set = job.set();
        let first = set.spawn(move || {
            begun.open();
            opening.wait();
            tollgate::is_cancelled()
        });
        (0..5).for_each(|_| _ = set.spawn(|| false));
        started.wait();
        assert_eq!((set.cancel_all(), set.cancel_all(), set.len()), (5, 0, 6));
        let mut cancelled = 0;
        while let Some((id, result)) = set.try_join_next_with_id() {
            assert!(id != first && result.unwrap_err().is_cancelled());
            cancelled += 1;
        }
        assert_eq!((cancelled, set.len()), (5, 1));
        latch.open();
        let (id, result) = set.join_next_with_id().unwrap();
        assert_eq!((id, result.unwrap()), (first, true));
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 5));
    });
}

/// A cancelled task has ended when its captures are dropped, and not before.
#[test]
fn a_task_whose_captures_are_being_dropped_has_no_result_yet() {
    type Push = fn(&mut TaskSet<()>, WaitsInDrop);
    let pushes: &[Push] = &[
        |set, waits| _ = set.spawn(move || drop(waits)),
        #[cfg(feature = "futures")]
        |set, waits| _ = set.spawn_future(async move { drop(waits) }),
    ];
    for push in pushes {
        within(LONG, || {
            let pool = pool(1);
            let job = pool.job(0);
            let (mut set, latch) = (job.set(), Latch::new());
            let (waits, dropped) = WaitsInDrop::until(&latch);
            push(&mut set, waits);
            job.cancel();
            dropped.wait();
            // The call does not wait for the destructor.
            assert!(set.try_join_next_with_id().is_none());
            latch.open();
            assert!(set.join_next().unwrap().unwrap_err().is_cancelled());
            assert!(set.join_next().is_none());
        });
    }
}

/// The waker has the set polled before the result of the ended task is stored. So this poll finds the task's number, and no result.
/// The next poll, or the next call that takes a result, finds the same task.
#[test]
fn a_poll_before_the_result_is_stored_keeps_the_turn_of_its_task() {
    #[derive(Default)]
    struct Polls {
        set: Mutex<Option<TaskSet<i32>>>,
        early: AtomicBool,
    }
    impl Wake for Polls {
        fn wake(self: Arc<Self>) {
            // Another thread polls, because a task must not await itself.
            thread::scope(|threads| threads.spawn(|| self.poll()).join().unwrap());
        }
    }
    impl Polls {
        fn poll(&self) {
            let mut set = self.set.lock().unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let polled = set.as_mut().unwrap().poll_join_next_with_id(&mut context);
            self.early.store(polled.is_pending(), SeqCst);
        }
    }
    within(LONG, || {
        let pool = pool(1);
        for blocks in [false, true] {
            let job = pool.job(0);
            let mut set = job.set();
            set.spawn(|| 5);
            let polls = Arc::new(Polls::default());
            let waker = Waker::from(polls.clone());
            let polled = set.poll_join_next_with_id(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            *polls.set.lock().unwrap() = Some(set);
            job.set_limit(1);
            job.wait();
            assert!(polls.early.load(SeqCst), "the result was stored before the wake");
            let mut set = polls.set.lock().unwrap().take().unwrap();
            let result = if blocks {
                set.try_join_next_with_id().map(|(_, result)| result)
            } else {
                match set.poll_join_next_with_id(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(next) => next.map(|(_, result)| result),
                    Poll::Pending => None,
                }
            };
            assert_eq!(result.expect("the result was lost").unwrap(), 5);
        }
    });
}

/// Tasks that have all ended come in the order of their ends, whichever way they are taken.
#[test]
fn ended_tasks_come_in_the_order_of_their_ends() {
    within(LONG, || {
        let pool = pool(1);
        let jobs = [pool.job(0), pool.job(0), pool.job(0)];
        let mut set = pool.job(1).set();
        for (number, job) in jobs.iter().enumerate() {
            set.spawn_in(job, move || number);
        }
        for first in [1, 2, 0] {
            jobs[first].set_limit(1);
            jobs[first].wait();
        }
        assert_eq!(set.join_next().unwrap().unwrap(), 1);
        assert_eq!(set.try_join_next_with_id().unwrap().1.unwrap(), 2);
        assert_eq!(set.join_next().unwrap().unwrap(), 0);
    });
}

/// The first task ends after the second one.
#[test]
fn all_values_come_in_the_order_of_the_pushes() {
    within(LONG, || {
        let pool = pool(2);
        let (mut set, latch) = (pool.job(2).set(), Latch::new());
        let opening = latch.opening();
        set.spawn(move || {
            opening.wait();
            1
        });
        set.spawn(move || {
            latch.open();
            2
        });
        set.spawn(|| 3);
        assert_eq!(set.try_join_all().unwrap(), [1, 2, 3]);
    });
}

/// A push that would block the last thread of another pool panics, and its task never is in the set.
#[test]
fn a_push_that_panics_leaves_the_set_as_it_was() {
    within(LONG, || {
        let (pool, other) =
            (pool(1), Pool::builder().workers(1).max_spare_workers(0).build().unwrap());
        let job = pool.job_builder().limit(0).capacity(1).build();
        job.execute(|| ()); // takes the slot
        let inner = job.clone();
        let pushed = other.job(1).spawn(move || {
            let mut set = inner.set();
            assert!(panic_of(|| _ = set.spawn(|| 0)).contains("cannot wait here"));
            set
        });
        let mut set = pushed.join().unwrap();
        assert!(set.is_empty() && set.try_join_next_with_id().is_none());
        job.set_limit(1);
        for result in [1, 2] {
            assert!(set.join_next().is_none());
            set.spawn(move || result);
            assert_eq!(set.join_next().unwrap().unwrap(), result);
        }
    });
}

#[test]
fn a_panic_is_a_result() {
    with_workers(|pool, _| {
        let mut set = pool.job(1).set::<()>();
        set.spawn(|| unwind("in a set"));
        match set.join_next() {
            Some(Err(JoinError::Panicked(payload))) => {
                assert_eq!(message_of(&*payload.into_inner()), "in a set");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_closed_job_gives_cancelled_results() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let mut set = job.set();
        job.close();
        set.spawn(|| ());
        assert!(matches!(set.join_next(), Some(Err(JoinError::Cancelled))));
        assert!(set.join_next().is_none());
    });
}

#[test]
fn join_is_safe_in_a_task_of_the_same_job() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let sum = job.spawn(move || {
            let mut set = inner.set();
            (0..100_u64).for_each(|i| _ = set.spawn(move || i));
            let mut sum = 0;
            while let Some(value) = set.join_next() {
                sum += value.unwrap();
            }
            sum
        });
        assert_eq!(sum.join().unwrap(), 4_950);
        assert_eq!(job.stats().most_running, 1);
    });
}

#[cfg(feature = "futures")]
mod futures_too {
    use ::futures::StreamExt;
    use ::futures::executor::block_on;

    use super::common::with_workers;

    #[test]
    fn a_set_is_a_stream_of_closures_and_futures() {
        with_workers(|pool, _| {
            let job = pool.job(2);
            let mut set = job.set();
            for i in 0..200_u32 {
                if i % 2 == 0 {
                    set.spawn(move || i);
                } else {
                    set.spawn_future(async move { i });
                }
            }
            let values = block_on(async {
                let mut values = Vec::new();
                while let Some(value) = set.next().await {
                    values.push(value.unwrap());
                }
                values
            });
            assert_eq!(values.iter().sum::<u32>(), 19_900);
            assert_eq!(values.len(), 200);
        });
    }

    #[test]
    fn a_future_that_awaits_a_set_of_its_own_job_holds_no_permit() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let inner = job.clone();
            let sum = job.spawn_future(async move {
                let mut set = inner.set();
                (0..10).for_each(|i| _ = set.spawn(move || i));
                let mut sum = 0;
                while let Some(value) = set.next().await {
                    sum += value.unwrap();
                }
                sum
            });
            assert_eq!(sum.join().unwrap(), 45);
            assert_eq!(job.stats().most_running, 1);
        });
    }

    #[test]
    fn a_set_dropped_by_its_future_cancels_futures_in_flight() {
        with_workers(|pool, _| {
            let job = pool.job(4);
            let mut set = job.set::<()>();
            for _ in 0..4 {
                set.spawn_future(std::future::pending());
            }
            drop(set);
            job.wait();
            assert_eq!(job.stats().cancelled, 4);
        });
    }
}
