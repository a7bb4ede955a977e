//! How the two tasks end: by a panic, a cancel, a deadline, a circle of joins, and a shutdown.

use crate::common::event::{Gauge, Latch, Wakes, stay};
use crate::common::{LONG, SECOND, capture, message_of, panic_of, pool_with_clock, unwind, within};
use crate::{here, inside, runs_inline, two_jobs, with_two_jobs};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;
use tollgate::{JoinError, Rate, TaskHandle};

/// A place in which one task leaves the handle of another.
type Place<T> = Arc<Mutex<Option<TaskHandle<T>>>>;

#[test]
fn a_panic_stays_in_the_joined_task() {
    with_two_jobs(|_, outer, inner| {
        let (there, own) = (inner.clone(), outer.clone());
        let said = inside(&outer, move || {
            let failed = there.spawn(|| unwind("inline")).join();
            assert_eq!((own.stats().running, there.stats().running), (1, 0));
            let Err(JoinError::Panicked(payload)) = failed else { panic!("{failed:?}") };
            message_of(&*payload.into_inner()).to_owned()
        });
        assert_eq!(said, "inline");
        inner.wait();
        let stats = inner.stats();
        assert_eq!((stats.panicked, stats.completed, stats.cancelled), (1, 0, 0));
        assert!(runs_inline(&outer, &inner));
    });
}

#[test]
fn a_cancelled_job_runs_nothing_inline_and_tells_what_runs() {
    with_two_jobs(|_, outer, inner| {
        let there = inner.clone();
        inside(&outer, move || {
            let (own, (tell, told)) = (there.clone(), capture());
            let late = there.spawn(move || drop(tell));
            let cancels = move || {
                let before = tollgate::is_cancelled();
                own.cancel();
                (before, tollgate::is_cancelled())
            };
            let other = there.clone();
            // The first task of the serial job is ready, so the second one waits for it.
            late.join().unwrap();
            assert!(told());
            let task = there.spawn(cancels);
            let behind = there.spawn(|| unreachable!());
            assert_eq!(task.join().unwrap(), (false, true));
            assert!(!tollgate::is_cancelled());
            assert!(matches!(behind.join(), Err(JoinError::Cancelled)));
            assert!(other.is_closed());
        });
        inner.wait();
        assert_eq!((inner.stats().completed, inner.stats().cancelled), (2, 1));
    });
}

/// A cancel does not stop a task that has begun.
#[test]
fn a_cancel_of_the_joining_tasks_job_stops_neither() {
    with_two_jobs(|_, outer, inner| {
        let own = outer.clone();
        let seen = inside(&outer, move || {
            let cancels = move || {
                own.cancel();
                tollgate::is_cancelled()
            };
            (inner.spawn(cancels).join().unwrap(), tollgate::is_cancelled())
        });
        assert_eq!(seen, (false, true));
        outer.wait();
        assert_eq!(outer.stats().completed, 1);
    });
}

#[test]
fn a_task_past_its_deadline_expires_in_the_join() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (outer, inner) = two_jobs(&pool);
        let there = inner.clone();
        inside(&outer, move || {
            let task = there.spawn_within(SECOND, here);
            assert_eq!(task.join().unwrap(), here());
            let late = there.spawn_within(SECOND, || unreachable!());
            clock.advance(SECOND);
            assert!(matches!(late.join(), Err(JoinError::Expired)));
        });
        inner.wait();
        assert_eq!((inner.stats().completed, inner.stats().cancelled), (1, 1));
    });
}

/// The joined task joins the joining task. That join must fail, and name the jobs of both.
#[test]
fn a_circle_of_joins_on_one_stack_is_refused() {
    with_two_jobs(|pool, _, _| {
        let [outer, inner] =
            ["outer", "inner"].map(|name| pool.job_builder().name(name).limit(1).build());
        let (place, latch): (Place<()>, _) = (Place::default(), Latch::new());
        let (theirs, opening) = (place.clone(), latch.opening());
        let (says, said) = std::sync::mpsc::channel();
        let task = outer.spawn(move || {
            opening.wait();
            let back = move || {
                let outer = theirs.lock().unwrap().take().expect("it was put there");
                panic_of(|| outer.join())
            };
            says.send(inner.spawn(back).join().unwrap()).unwrap();
        });
        let (tell, told) = std::sync::mpsc::channel();
        let done = pool.job(1);
        *place.lock().unwrap() = Some(task);
        latch.open();
        outer.wait();
        done.execute(move || tell.send(()).unwrap());
        told.recv().unwrap();
        let said = said.recv().unwrap();
        assert!(said.contains("in a circle") && said.contains("`inner`, `outer`"), "{said}");
        assert_eq!((outer.stats().completed, outer.stats().panicked), (1, 0));
    });
}

#[test]
fn a_shutdown_lets_both_end() {
    for drops in [false, true] {
        with_two_jobs(move |pool, outer, inner| {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let stays = stay(&gauge, &latch);
            let (outer_end, there) = (outer.clone(), inner.clone());
            let task = outer.spawn(move || {
                let task = there.spawn(stays);
                let behind = there.spawn(|| ());
                task.join().unwrap();
                behind.join().is_ok()
            });
            gauge.until_running(1);
            let opens = thread::spawn(move || latch.open());
            if drops {
                pool.shutdown_now();
            } else {
                pool.shutdown();
            }
            opens.join().unwrap();
            let end = task.join().unwrap();
            assert!(end || drops);
            assert_eq!((outer_end.stats().completed, outer_end.stats().running), (1, 0));
            assert_eq!(inner.stats().completed + inner.stats().cancelled, 2);
        });
    }
}

/// While the joined task runs, its host gets a gap, and another task of the host ends. So the host is held off, and no worker takes
/// the empty cell of the joined task out of the host's queue.
#[test]
fn a_wait_is_woken_by_a_task_that_ends_inline_below_a_job_that_is_held_off() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let host = pool.job(2);
        let (outer, inner, other) = (host.job(1), host.job(2), host.job(1));
        let other = other.try_acquire().unwrap();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let (there, stays) = (inner.clone(), stay(&gauge, &latch));
        // The host is full, so the joined task waits in the queue of the host.
        let task = outer.spawn(move || {
            let joined = there.spawn(|| {
                stays();
                here()
            });
            joined.join().unwrap() == here()
        });
        gauge.until_running(1);
        let mut idle = pin!(inner.idle());
        let count = Arc::new(Wakes::default());
        let waker = Waker::from(count.clone());
        assert!(idle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        host.set_rate(Rate::gap_after_end(SECOND));
        drop(other);
        latch.open();
        assert!(task.join().unwrap(), "the task has not run inline");
        assert_ne!(count.woken(), 0, "the wait was not woken");
        inner.wait();
        clock.advance(SECOND);
        host.wait();
    });
}
