//! The end of a pool beside a task that waits for its permit, a held job, and a future of another pool.

use std::thread;

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, Tokens, pool, until_parked, with_workers, within, workers_pass};
use tollgate::Job;

/// The drain finds the task asleep: the task has waited inside, and its job is held before its permit is free.
#[test]
fn a_drain_wakes_a_task_that_waits_for_a_permit_of_a_held_job() {
    let holds: [fn(&Job); 2] = [Job::pause, |job| job.set_limit(0)];
    for hold in holds {
        within(LONG, move || {
            let pool = pool(1);
            let (job, other) = (pool.job(1), pool.job(0));
            let awaited = other.spawn(|| ());
            let waiter = job.spawn(move || awaited.join().unwrap());
            let permit = loop {
                match job.try_acquire() {
                    // The permit may be free because the task has not begun.
                    Ok(permit) if job.stats().ready + job.stats().backlog == 0 => break permit,
                    _ => thread::yield_now(),
                }
            };
            other.set_limit(1);
            while !format!("{job:?}").contains("returning: true") {
                thread::yield_now();
            }
            hold(&job);
            drop(permit);
            workers_pass(&pool, 1); // the release wakes the task, which sleeps again
            pool.shutdown();
            waiter.join().unwrap();
        });
    }
}

/// The list of held jobs has a handle of each job in it.
#[test]
fn a_held_job_goes_with_its_last_handle_after_a_drain() {
    within(LONG, || {
        let holds: [fn(&Job); 2] = [Job::pause, |job| job.set_limit(0)];
        for hold in holds {
            let pool = pool(1);
            let job = pool.job_builder().name("held").build();
            hold(&job);
            job.execute(|| ());
            pool.shutdown();
            assert_eq!(job.stats().cancelled, 1);
            drop(job);
            assert!(pool.jobs().is_empty(), "{:?}", pool.jobs());
        }
    });
}

/// Only the list of held jobs has a handle of the job.
#[test]
fn a_held_job_without_a_handle_keeps_its_tasks_until_a_drain() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        for hold in [Job::pause, |job: &Job| job.set_limit(0)] {
            let (job, token) = (pool.job(1), tokens.token());
            hold(&job);
            job.execute(move || drop(token));
        }
        assert_eq!(tokens.dropped(), 0);
        pool.shutdown();
        assert_eq!(tokens.dropped(), 2);
    });
}

/// The last handle of a paused job is dropped while a task runs that began before the pause. That task pushes a further task.
#[test]
fn a_held_job_without_a_handle_keeps_what_its_running_task_pushes_until_a_drain() {
    with_workers(|pool, _| {
        let (job, tokens, gauge, latch) = (pool.job(1), Tokens::new(), Gauge::new(), Latch::new());
        let (stays, token) = (stay(&gauge, &latch), tokens.token());
        job.execute(move || {
            stays();
            tollgate::current_job().unwrap().execute(move || drop(token));
        });
        gauge.until_running(1);
        job.pause();
        drop(job);
        latch.open();
        gauge.until_ended(1);
        until_parked(pool, pool.workers());
        assert_eq!(tokens.dropped(), 0);
        pool.shutdown();
        assert_eq!(tokens.dropped(), 1);
    });
}

#[cfg(feature = "futures")]
mod of_futures {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::{Arc, Mutex, mpsc};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::common::event::Wakes;
    use tollgate::{Priority, Reason};

    #[test]
    fn an_abrupt_end_cancels_no_future_of_another_pool() {
        within(LONG, || {
            let (ends, stays) = (pool(1), pool(1));
            let (send, receive) = futures::channel::oneshot::channel();
            let cancelled = ends.job(1).spawn_future(std::future::pending::<()>());
            let job = stays.job(1);
            let task = job.spawn_future(receive);
            until_parked(&ends, 1);
            until_parked(&stays, 1);
            // A pending future keeps its permit, unless it awaits something of this library.
            assert_eq!(job.explain().reasons(), [Reason::Running { running: 1 }]);
            ends.shutdown_now();
            assert!(cancelled.join().is_err());
            send.send(5).unwrap();
            assert_eq!(task.join().unwrap(), Ok(5));
        });
    }

    /// The future has given up its permit for the time of the wait.
    #[test]
    fn a_future_whose_wait_is_over_goes_before_the_tasks_in_the_queue() {
        within(LONG, || {
            let pool = pool(2);
            let (job, other) = (pool.job(1), pool.job(0));
            let order = Arc::new(Mutex::new(Vec::new()));
            let note = |name| {
                let order = Arc::clone(&order);
                move || order.lock().unwrap().push(name)
            };
            let (awaited, over, gauge, latch) =
                (other.spawn(|| ()), note("future"), Gauge::new(), Latch::new());
            let future = job.spawn_future(async move {
                awaited.await.unwrap();
                over();
            });
            job.execute(stay(&gauge, &latch));
            gauge.until_running(1); // the future waits, so this task has the permit
            job.execute(note("task"));
            other.set_limit(1);
            while job.stats().backlog < 2 {
                thread::yield_now();
            }
            latch.open();
            future.join().unwrap();
            job.wait();
            assert_eq!(*order.lock().unwrap(), ["future", "task"]);
        });
    }

    /// A worker wakes the future, which keeps its permit.
    #[test]
    fn a_woken_future_goes_behind_each_task_of_a_higher_class() {
        let pairs = [(Priority::Low, Priority::Normal), (Priority::Low, Priority::High)];
        for (lower, higher) in pairs.into_iter().chain([(Priority::Normal, Priority::High)]) {
            within(LONG, move || {
                let pool = pool(1);
                let job = |class| pool.job_builder().limit(1).priority(class).build();
                // A worker takes a turn from its deque and one from the injector by turns, so one task might go first by chance.
                let (low, high) = (job(lower), [(); 3].map(|()| job(higher)));
                let order = Arc::new(Mutex::new(Vec::new()));
                let note = |class| {
                    let order = Arc::clone(&order);
                    move || order.lock().unwrap().push(class)
                };
                let (send, wakers) = mpsc::channel::<Waker>();
                let (mut polled, woken) = (false, note(lower));
                let future = low.spawn_future(poll_fn(move |context| {
                    if std::mem::replace(&mut polled, true) {
                        woken();
                        return Poll::Ready(());
                    }
                    send.send(context.waker().clone()).unwrap();
                    Poll::Pending
                }));
                let waker = wakers.recv().unwrap();
                until_parked(&pool, 1);
                let first = high.clone().map(|inside| (inside, note(higher)));
                pool.job(1).execute(move || {
                    waker.wake();
                    first.into_iter().for_each(|(inside, task)| inside.execute(task));
                });
                future.join().unwrap();
                high.iter().for_each(Job::wait);
                assert_eq!(*order.lock().unwrap(), [higher, higher, higher, lower]);
            });
        }
    }

    /// No task ends meanwhile.
    #[test]
    fn a_change_of_the_job_ends_a_wait_until_it_has_settled() {
        type Change = fn(&Job);
        let changes: [(Change, Change); 3] = [
            (|job| job.set_limit(1), |job| job.set_limit(2)),
            (Job::pause, Job::resume),
            (|job| job.set_limit(0), |job| job.set_limit(usize::MAX)),
        ];
        let (pool, calls) = (pool(1), Arc::new(Wakes::default()));
        let job = pool.job(2);
        let _held = [job.try_acquire().unwrap(), job.try_acquire().unwrap()];
        for (number, (hold, let_go)) in changes.into_iter().enumerate() {
            hold(&job);
            let mut settled = pin!(job.settled());
            let waker = Waker::from(calls.clone());
            assert!(settled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(calls.woken(), number);
            let_go(&job);
            assert_eq!(calls.woken(), number + 1);
        }
    }
}
