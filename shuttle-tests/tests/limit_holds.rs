//! Never do more tasks of a job run at once than its limit allows, also while the limit moves.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Gauge, unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tollgate::{Job, Pool};

#[test]
fn limit_holds_for_two_pushers() {
    in_a_pool(4, |pool| {
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
    in_a_pool(3, |pool| {
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
    in_a_pool(4, |pool| {
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

/// Tasks that start after `lease` has returned are no more than held a permit then.
fn holds_what_was_ready(pool: &Pool, lease: fn(&Job), unlock: fn(&Job)) {
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
    lease(&job);
    let running = job.stats().running;
    held.store(true, Relaxed);
    job.settled().wait();
    let late = late.load(Relaxed);
    assert!(late <= running, "{late} tasks started in a held job, {running} ran");
    held.store(false, Relaxed);
    unlock(&job);
    job.wait();
    assert_eq!(job.stats().completed, 6);
}

#[test]
fn limit_holds_after_a_pause() {
    in_a_pool(3, |pool| holds_what_was_ready(&pool, |job| job.pause(), |job| job.resume()));
}

#[test]
fn limit_holds_after_it_was_lowered_to_0() {
    in_a_pool(3, |pool| {
        holds_what_was_ready(&pool, |job| job.set_limit(0), |job| job.set_limit(2))
    });
}

/// A worker that runs one task after the other under one permit, and is in the first of them when the job is held,
/// starts none of the others.
fn holds_who_has_a_permit(pool: &Pool, lease: fn(&Job), unlock: fn(&Job)) {
    let job = pool.job(1);
    let (started, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (theirs, told) = (started.clone(), end.clone());
    let first = job.spawn(move || {
        theirs.wait();
        told.wait();
    });
    started.wait();
    let late = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let late = late.clone();
        job.execute(move || _ = late.fetch_add(1, Relaxed));
    }
    lease(&job);
    end.wait();
    first.join().unwrap();
    while job.stats().running > 0 {
        thread::yield_now();
    }
    assert_eq!(late.load(Relaxed), 0, "a task started in a held job, under a permit from before");
    unlock(&job);
    job.wait();
    assert_eq!(job.stats().completed, 4);
}

#[test]
fn limit_holds_for_who_has_a_permit_when_the_job_is_paused() {
    in_a_pool(2, |pool| holds_who_has_a_permit(&pool, |job| job.pause(), |job| job.resume()));
}

#[test]
fn limit_holds_for_who_has_a_permit_when_the_limit_falls_to_0() {
    in_a_pool(2, |pool| {
        holds_who_has_a_permit(&pool, |job| job.set_limit(0), |job| job.set_limit(1));
    });
}

/// A worker that runs one task after the other out of its batch, and is in the first of them when the job is held, starts
/// none of the others. Nor does a worker that steals them.
fn holds_who_has_a_batch(pool: &Pool, lease: fn(&Job), unlock: fn(&Job)) {
    let job = pool.job(2);
    let (started, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (first, held) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let late = Arc::new(AtomicUsize::new(0));
    job.pause();
    for _ in 0..4 {
        let (started, end, first) = (started.clone(), end.clone(), first.clone());
        let (held, late) = (held.clone(), late.clone());
        job.execute(move || {
            if first.swap(false, Relaxed) {
                started.wait();
                end.wait();
            } else if held.load(Relaxed) {
                late.fetch_add(1, Relaxed);
            }
        });
    }
    job.resume();
    started.wait();
    lease(&job);
    // Beside the first, which stays.
    let others = job.stats().running - 1;
    held.store(true, Relaxed);
    end.wait();
    while job.stats().running > 0 {
        thread::yield_now();
    }
    let late = late.load(Relaxed);
    assert!(late <= others, "{late} tasks started in a held job, {others} ran");
    unlock(&job);
    job.wait();
    assert_eq!(job.stats().completed, 4);
}

#[test]
fn limit_holds_for_who_has_a_batch_when_the_job_is_paused() {
    in_a_pool(2, |pool| holds_who_has_a_batch(&pool, |job| job.pause(), |job| job.resume()));
}

#[test]
fn limit_holds_for_who_has_a_batch_when_the_limit_falls_to_0() {
    in_a_pool(2, |pool| {
        holds_who_has_a_batch(&pool, |job| job.set_limit(0), |job| job.set_limit(2));
    });
}

/// A task that waited while its job was held goes on only when the job is let go.
fn holds_who_returns(pool: &Pool, lease: fn(&Job), unlock: fn(&Job)) {
    let (job, other) = (pool.job(2), pool.job(1));
    let (waits, back) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
    let (there, theirs, says) = (other.clone(), waits.clone(), back.clone());
    let joiner = job.spawn(move || {
        there.spawn(move || _ = theirs.wait()).join().unwrap();
        says.store(true, Relaxed);
    });
    // It may still hold its permit, but it cannot end: what it joins stays.
    while job.stats().running == 0 && job.stats().ready + job.stats().backlog > 0 {
        thread::yield_now();
    }
    lease(&job);
    job.settled().wait();
    waits.wait();
    other.wait();
    for _ in 0..3 {
        thread::yield_now();
        assert!(!back.load(Relaxed), "a task took its permit back in a held job");
        assert_eq!(job.stats().running, 0, "a task took its permit back in a held job");
    }
    unlock(&job);
    joiner.join().unwrap();
}

#[test]
fn limit_holds_for_who_returns_into_a_paused_job() {
    in_a_pool(2, |pool| holds_who_returns(&pool, |job| job.pause(), |job| job.resume()));
}

#[test]
fn limit_holds_for_who_returns_into_a_job_of_limit_0() {
    in_a_pool(2, |pool| holds_who_returns(&pool, |job| job.set_limit(0), |job| job.set_limit(1)));
}

#[test]
fn limit_holds_when_tasks_panic() {
    in_a_pool(3, |pool| {
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
