//! Slots, and the hand-over of tasks (a capacity of 0), beside a pause, a rate, and a limit that changes.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{LONG, NANO, SECOND, pool, settle, with_clock, with_workers, within};
use tollgate::{Rate, Rejected};

/// The pause refuses the task that has its permit, and the task that was pushed later already stands in the queue.
#[test]
fn a_refused_task_goes_before_a_task_that_was_pushed_later() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job_builder().limit(1).capacity(0).build();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(name)
        };
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let (inside, opening, running) = (job.clone(), latch.opening(), gauge.clone());
        let later = note("later");
        pool.job(1).execute(move || {
            let _running = running.enter();
            opening.wait();
            inside.execute(later); // waits in the queue, because the job is paused
        });
        gauge.until_running(1);
        job.try_execute(note("handed over")).unwrap();
        job.pause();
        latch.open();
        while (job.stats().running, job.stats().backlog) != (0, 2) {
            std::thread::yield_now();
        }
        job.resume();
        job.wait();
        assert_eq!(*order.lock().unwrap(), ["handed over", "later"]);
    });
}

#[test]
fn a_gap_follows_a_task_that_was_handed_over() {
    with_clock(|pool, clock| {
        let gap = Rate::gap_after_end(5 * SECOND);
        let job = pool.job_builder().limit(1).capacity(0).rate(gap).build();
        for _ in 0..2 {
            job.try_spawn(|| ()).unwrap().join().unwrap();
            job.wait();
            clock.advance(5 * SECOND - NANO);
            assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
            clock.advance(NANO);
        }
        settle(&job);
        assert_eq!(job.stats().completed, 2);
    });
}

/// The limit is above 0, so the job is not held.
#[test]
fn a_task_that_was_handed_over_does_not_start_above_a_lowered_limit() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job_builder().limit(2).capacity(0).build();
        let (gauge, busy, latch) = (Gauge::new(), Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&busy, &latch));
        busy.until_running(1);
        let held = job.try_acquire().unwrap();
        job.try_execute(pass_through(&gauge)).unwrap();
        job.set_limit(1);
        latch.open();
        while (job.stats().running, job.stats().backlog) != (1, 1) {
            assert_eq!(gauge.started(), 0);
            std::thread::yield_now();
        }
        assert_eq!(pool.stats().refused, 1);
        drop(held);
        job.wait();
        assert_eq!(gauge.started(), 1);
    });
}

/// Pushes from inside the pool have taken more slots than there are.
#[test]
fn a_reservation_waits_while_more_slots_are_taken_than_the_capacity() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        job.pause();
        let inside = job.clone();
        let push = pool.job(1).spawn(move || (0..3).for_each(|_| inside.execute(|| ())));
        push.join().unwrap();
        let mut reserve = pin!(job.reserve());
        let mut context = Context::from_waker(Waker::noop());
        assert!(reserve.as_mut().poll(&mut context).is_pending());
        job.resume();
        job.wait();
        assert!(reserve.as_mut().poll(&mut context).is_ready());
    });
}
