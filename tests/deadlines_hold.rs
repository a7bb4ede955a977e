//! Promise: deadlines_hold. A task of `spawn_within` or `spawn_before` starts before its deadline, or is dropped then: its captures
//! are dropped, its slot is free, and its handle says `Expired`.
//!
//! Time is a clock that the test moves.

mod common;

use common::event::{Gauge, Latch, WaitsInDrop, pass_through, stay};
use common::{LONG, SECOND, capture, with_clock, within};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{JoinError, ManualClock, Pool, Reason, Rejected, TaskHandle};

/// Says that the task has expired.
#[track_caller]
fn assert_expired<T: std::fmt::Debug>(task: TaskHandle<T>) {
    assert!(matches!(task.join(), Err(JoinError::Expired)));
}

#[test]
fn a_task_that_has_not_started_is_dropped_at_its_deadline_and_not_before() {
    with_clock(|pool, clock| {
        for held in [false, true] {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let job = pool.job(1);
            if held {
                job.pause();
            } else {
                // The task's own job is full, or all workers are busy.
                (0..pool.workers()).for_each(|_| pool.job(1).execute(stay(&gauge, &latch)));
                gauge.until_running(pool.workers());
            }
            let (kept, is_dropped) = capture();
            let task = job.spawn_within(2 * SECOND, move || drop(kept));
            clock.advance(2 * SECOND - Duration::from_nanos(1));
            assert!(!task.is_finished() && !is_dropped());
            clock.advance(Duration::from_nanos(1));
            // No worker has had to come for it.
            assert!(task.is_finished() && is_dropped());
            assert_expired(task);
            if held {
                job.wait(); // paused, and without a task
            }
            latch.open();
            job.resume();
            job.wait();
            assert_eq!((job.stats().completed, job.stats().cancelled), (0, 1));
        }
    });
}

#[test]
fn a_task_that_has_started_is_left_alone() {
    with_clock(|pool, clock| {
        let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
        let task = job.spawn_within(SECOND, stay(&gauge, &latch));
        gauge.until_running(1);
        clock.advance(2 * SECOND);
        assert!(!task.is_finished());
        latch.open();
        task.join().unwrap();
        let done = job.spawn_within(SECOND, || 1);
        job.wait();
        clock.advance(SECOND);
        assert_eq!(done.join().unwrap(), 1);
        assert_eq!((job.stats().completed, job.stats().cancelled), (2, 0));
    });
}

#[test]
fn a_deadline_that_is_over_drops_the_task_at_once() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let (kept, is_dropped) = capture();
        let tasks = [
            job.spawn_within(Duration::ZERO, || unreachable!()),
            job.spawn_before(clock.now(), || unreachable!()),
            job.spawn_before(clock.now() - SECOND, move || drop(kept)),
        ];
        assert!(is_dropped());
        tasks.into_iter().for_each(assert_expired);
        job.wait();
        assert_eq!(job.stats().cancelled, 3);
        assert!(job.spawn_within(Duration::MAX, || 1).join().is_ok());
    });
}

#[test]
fn an_expired_task_frees_its_slot() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(0).capacity(1).build();
        let task = job.spawn_within(SECOND, || ());
        assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
        clock.advance(SECOND);
        assert_expired(task);
        assert!(job.try_execute(|| ()).is_ok());
        job.set_limit(1);
        job.wait();
    });
}

/// The time counts from the call, even while the pusher waits for a slot.
#[test]
fn a_task_whose_pusher_waits_for_a_slot_expires() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(0).capacity(1).build();
        job.execute(|| ());
        let elsewhere = common::pool(1);
        let (pusher, pushes) = (elsewhere.job(1), job.clone());
        let push = pusher.spawn(move || pushes.spawn_within(SECOND, || unreachable!()));
        // The pusher is a task, so its job tells when it waits.
        while !matches!(pusher.explain().first(), Reason::Waiting { .. }) {
            thread::yield_now();
        }
        clock.advance(SECOND);
        job.set_limit(1);
        assert_expired(push.join().unwrap());
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
    });
}

#[test]
fn a_detached_task_expires() {
    with_clock(|pool, clock| {
        let job = pool.job(0);
        let (kept, is_dropped) = capture();
        drop(job.spawn_within(SECOND, move || drop(kept)));
        clock.advance(SECOND);
        assert!(is_dropped());
        job.wait();
        assert_eq!(job.stats().cancelled, 1);
    });
}

#[test]
fn a_cancel_comes_before_the_deadline() {
    with_clock(|pool, clock| {
        let (by_handle, by_job) = (pool.job(0), pool.job(0));
        let tasks = [&by_handle, &by_job].map(|job| job.spawn_within(SECOND, || ()));
        assert!(tasks[0].cancel());
        by_job.cancel();
        by_job.wait();
        clock.advance(SECOND);
        for task in tasks {
            assert!(!task.cancel());
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        }
        let closed = by_job.spawn_within(SECOND, || ());
        assert!(matches!(closed.join(), Err(JoinError::Cancelled)));
    });
}

#[test]
fn a_cancel_after_the_deadline_is_too_late() {
    with_clock(|pool, clock| {
        let job = pool.job(0);
        let task = job.spawn_within(SECOND, || ());
        clock.advance(SECOND);
        assert!(!task.cancel());
        job.cancel();
        job.wait();
        assert_expired(task);
        assert_eq!(job.stats().cancelled, 1);
    });
}

#[test]
fn a_handle_that_outlives_its_pool_may_cancel() {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
    let task = pool.job(0).spawn_within(SECOND, || ());
    assert_eq!(pool.shutdown_now(), 1);
    drop(pool);
    assert!(task.is_finished() && !task.cancel());
    assert!(matches!(task.join(), Err(JoinError::Cancelled)));
}

/// The task stands in the queue of its parent, in front of its sibling.
#[test]
fn a_task_that_waits_for_its_parents_permit_expires() {
    with_clock(|pool, clock| {
        let parent = pool.job(1);
        let children = [parent.job(1), parent.job(1)];
        parent.pause();
        let tasks = children.each_ref().map(|child| {
            [child.spawn_within(SECOND, || ()), child.spawn_within(2 * SECOND, || ())]
        });
        clock.advance(SECOND);
        parent.resume();
        for [early, late] in tasks {
            assert_expired(early);
            late.join().unwrap();
        }
        parent.wait();
    });
}

#[test]
fn a_join_inside_its_own_job_runs_the_task_inline_before_the_deadline_only() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        for late in [false, true] {
            let (inside, clock) = (job.clone(), clock.clone());
            let outer = job.spawn(move || {
                let task = inside.spawn_within(SECOND, || 1);
                if late {
                    clock.advance(SECOND);
                }
                task.join()
            });
            match outer.join().unwrap() {
                Ok(1) if !late => {}
                Err(JoinError::Expired) if late => {}
                other => panic!("{other:?}"),
            }
        }
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (3, 1));
    });
}

/// The destructor of another task keeps the thread that fires the deadlines. A join that would run the task inline drops it
/// instead.
#[test]
fn a_join_inside_drops_a_task_whose_deadline_was_not_fired_in_time() {
    with_clock(|pool, clock| {
        let (held, latch) = (pool.job(0), Latch::new());
        let (waits, dropped) = WaitsInDrop::until(&latch);
        let first = held.spawn_within(SECOND, move || drop(waits));
        let (job, gauge) = (pool.job(1), Gauge::new());
        let (inside, inner) = (job.clone(), gauge.clone());
        let (tell, told) = mpsc::channel();
        let outer = job.spawn(move || {
            let late = inside.spawn_within(SECOND, pass_through(&inner));
            tell.send(()).unwrap();
            dropped.wait();
            late.join()
        });
        told.recv().unwrap();
        thread::scope(|threads| {
            threads.spawn(|| clock.advance(SECOND));
            assert!(matches!(outer.join().unwrap(), Err(JoinError::Expired)));
            latch.open();
        });
        assert_expired(first);
        job.wait();
        assert_eq!((gauge.started(), job.stats().completed, job.stats().cancelled), (0, 1, 1));
    });
}

#[test]
fn a_wait_ends_when_the_last_task_expires() {
    with_clock(|pool, clock| {
        let job = pool.job(0);
        let child = job.job(1);
        let tasks = [&job, &child].map(|job| job.spawn_within(SECOND, || ()));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| job.wait());
            clock.advance(SECOND);
            waiter.join().unwrap();
        });
        tasks.into_iter().for_each(assert_expired);
    });
}

#[test]
fn a_drain_runs_what_is_in_time_and_does_not_wait_for_deadlines() {
    with_clock(|pool, clock| {
        let pool = Pool::builder().workers(pool.workers()).clock(clock).build().unwrap();
        let (job, gauge) = (pool.job(1), Gauge::new());
        let tasks: Vec<_> =
            (0..20).map(|_| job.spawn_within(3600 * SECOND, pass_through(&gauge))).collect();
        pool.shutdown();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(gauge.started(), 20);
    });
}

/// A destructor that panics, and one that waits for a task that comes later: on the thread of the timer.
#[test]
fn a_destructor_may_panic_or_wait_for_a_later_time() {
    struct Waits(tollgate::Job, Arc<Gauge>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let gauge = Arc::clone(&self.1);
            let later = move || drop(gauge.enter());
            self.0.spawn_after(Duration::from_millis(20), later).join().unwrap();
        }
    }
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    within(LONG, || {
        let pool = common::pool(1);
        let (held, free, gauge) = (pool.job(0), pool.job(1), Arc::new(Gauge::new()));
        let deadline = Instant::now() + Duration::from_millis(10);
        let waits = Waits(free.clone(), Arc::clone(&gauge));
        let panics = Panics;
        let tasks = [
            held.spawn_before(deadline, move || drop(waits)),
            held.spawn_before(deadline, move || drop(panics)),
            held.spawn_before(deadline, || ()),
        ];
        tasks.into_iter().for_each(assert_expired);
        assert_eq!(gauge.started(), 1);
    });
}

/// A destructor waits on the thread of the timer while no other task waits for a time. That thread then serves the timer no
/// more, so the next delayed task needs a new thread.
#[test]
fn a_destructor_may_wait_while_no_other_task_waits_for_a_time() {
    struct Waits<F: FnOnce() + Send + 'static>(tollgate::Job, Option<F>);
    impl<F: FnOnce() + Send + 'static> Drop for Waits<F> {
        fn drop(&mut self) {
            self.0.spawn(self.1.take().unwrap()).join().unwrap();
        }
    }
    within(LONG, || {
        let pool = common::pool(1);
        let (held, free) = (pool.job(0), pool.job(1));
        for _ in 0..10 {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let waits = Waits(free.clone(), Some(stay(&gauge, &latch)));
            let task = move || drop(waits);
            // On a busy machine the deadline may have come before the push. Then the destructor waits on this thread.
            let opener = thread::spawn(move || {
                gauge.until_running(1);
                latch.open();
            });
            assert_expired(held.spawn_within(Duration::from_millis(1), task));
            opener.join().unwrap();
            free.spawn_after(Duration::from_millis(1), || ()).join().unwrap();
        }
    });
}

#[test]
fn a_hundred_thousand_deadlines_at_once() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(2).clock(&clock).build().unwrap();
        let job = pool.job(8);
        job.pause();
        let tasks: Vec<_> = (0..100_000)
            .map(|number: u64| {
                let millis = 1 + number * 7_919 % 1_000;
                job.spawn_within(Duration::from_millis(millis), || ())
            })
            .collect();
        assert!(tasks.iter().step_by(2).all(TaskHandle::cancel));
        clock.advance(Duration::from_millis(500));
        job.resume();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 100_000);
        let (ran, dropped): (Vec<_>, Vec<_>) =
            tasks.into_iter().map(TaskHandle::join).partition(Result::is_ok);
        let expired = dropped.iter().filter(|end| end.as_ref().is_err_and(JoinError::is_expired));
        // The times of those with an odd number are even.
        assert_eq!((ran.len(), expired.count()), (25_000, 25_000));
    });
}

/// Without a clock of the test's own: the thread of the timer drops the task, or a worker that comes too late.
#[test]
fn nothing_expires_before_the_real_time() {
    within(LONG, || {
        let pool = common::pool(2);
        let job = pool.job(1);
        for micros in [0, 50, 200, 1_000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            let tasks: Vec<_> = (0..50).map(|_| job.spawn_before(deadline, || ())).collect();
            for end in tasks.into_iter().map(TaskHandle::join) {
                let expired = end.is_err_and(|error| error.is_expired());
                assert!(!expired || Instant::now() >= deadline);
            }
        }
    });
}
