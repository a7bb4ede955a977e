//! Never do more tasks of a job run at once than its limit allows, also while the limit moves.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::instruments::{Gauge, unwind};
use shuttle_tests::{check, pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

#[test]
fn limit_holds_for_two_pushers() {
    check(|| {
        let pool = pool(4);
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let (theirs, seen) = (job.clone(), gauge.clone());
        let pusher = thread::spawn(move || (0..5).for_each(|_| theirs.execute(seen.task())));
        (0..5).for_each(|_| job.execute(gauge.task()));
        pusher.join().unwrap();
        job.wait();
        assert_eq!(gauge.ran(), 10);
        assert!(job.stats().most_running <= 2);
    });
}

#[test]
fn limit_holds_for_tasks_pushed_from_inside() {
    check(|| {
        let pool = pool(3);
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        for _ in 0..3 {
            let (inner, seen) = (job.clone(), gauge.clone());
            job.execute(move || {
                inner.execute(seen.task());
                seen.visit();
                inner.execute(seen.task());
            });
        }
        job.wait();
        assert_eq!(gauge.ran(), 9);
    });
}

#[test]
fn limit_holds_while_it_moves() {
    check(|| {
        let pool = pool(4);
        let (job, gauge) = (pool.job(3), Gauge::new(3));
        let (theirs, seen) = (job.clone(), gauge.clone());
        let pusher = thread::spawn(move || (0..6).for_each(|_| theirs.execute(seen.task())));
        (0..2).for_each(|_| job.execute(gauge.task()));
        job.set_limit(1);
        job.settled().wait();
        gauge.set_limit(1);
        (0..2).for_each(|_| job.execute(gauge.task()));
        gauge.set_limit(2);
        job.set_limit(2);
        pusher.join().unwrap();
        job.wait();
        assert_eq!(gauge.ran(), 10);
    });
}

/// Tasks that start after `hold` has returned are no more than held a permit then.
fn holds_what_was_ready(hold: fn(&tollgate::Job), let_go: fn(&tollgate::Job)) {
    let pool = pool(3);
    let job = pool.job(2);
    let held = Arc::new(AtomicBool::new(false));
    let late = Arc::new(AtomicUsize::new(0));
    for _ in 0..6 {
        let (held, late) = (held.clone(), late.clone());
        job.execute(move || {
            if held.load(Relaxed) {
                late.fetch_add(1, Relaxed);
            }
            thread::yield_now();
        });
    }
    hold(&job);
    let running = job.stats().running;
    held.store(true, Relaxed);
    job.settled().wait();
    let late = late.load(Relaxed);
    assert!(late <= running, "{late} tasks started in a held job, {running} ran");
    held.store(false, Relaxed);
    let_go(&job);
    job.wait();
    assert_eq!(job.stats().completed, 6);
}

#[test]
fn limit_holds_after_a_pause() {
    check(|| holds_what_was_ready(|job| job.pause(), |job| job.resume()));
}

#[test]
fn limit_holds_after_it_was_lowered_to_0() {
    check(|| holds_what_was_ready(|job| job.set_limit(0), |job| job.set_limit(2)));
}

#[test]
fn limit_holds_when_tasks_panic() {
    check(|| {
        let pool = pool(3);
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        for number in 0..7 {
            let visit = gauge.task();
            job.execute(move || {
                visit();
                if number % 2 == 0 {
                    unwind();
                }
            });
        }
        job.wait();
        assert_eq!(gauge.ran(), 7);
        let stats = job.stats();
        assert_eq!((stats.completed, stats.panicked), (3, 4));
    });
}
