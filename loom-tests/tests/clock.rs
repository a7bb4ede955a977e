//! Jobs that the clock holds: pushers, workers and calls of `hold_off` against the thread that fires the pool's timer. A
//! thread of the model plays the timer's thread, by moving the pool's clock.

#![cfg(tollgate_loom)]

use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::AcqRel;
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, rest};
use std::sync::Arc;
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{ManualClock, Pool};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn held_off_holds_no_longer_than_its_time_beside_a_push() {
    // The lost opening: the time comes while a task is pushed.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.hold_off(SECOND);
        let (theirs, task) = (job.clone(), gauge.task());
        let pusher = thread::spawn(move || theirs.execute(task));
        clock.advance(SECOND);
        pusher.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
        drop(clock);
    });
}

#[test]
fn held_off_holds_when_it_is_extended_as_its_time_comes() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.hold_off(SECOND);
        job.execute(gauge.task());
        let (theirs, until) = (job.clone(), clock.clone());
        let other = thread::spawn(move || theirs.hold_off(2 * SECOND));
        clock.advance(SECOND);
        other.join().unwrap();
        // It is held until the second time, or until the third if the call came later. The task may be ready from between.
        assert!(job.held_until().is_some(), "the later time was forgotten");
        stage.play(0, usize::MAX);
        assert_eq!((gauge.ran(), job.stats().backlog), (0, 1), "it started before the later time");
        until.advance(2 * SECOND);
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
    });
}

#[test]
fn held_off_holds_for_a_worker_that_keeps_its_permit() {
    // The thread that has held the job off sees no task start, not even one that is next under a permit.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let job = stage.job(1);
        let held = Arc::new(AtomicBool::new(false));
        let late = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..3 {
            let (held, late) = (held.clone(), late.clone());
            job.execute(move || {
                // A read-modify-write sees the newest value.
                if held.fetch_or(false, AcqRel) {
                    late.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.hold_off(SECOND);
        let running = job.stats().running;
        held.fetch_or(true, AcqRel);
        worker.join().unwrap();
        let late = late.load(std::sync::atomic::Ordering::Relaxed);
        assert!(late <= running, "{late} tasks started in a job that is held off, {running} ran");
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_drain_meets_the_time() {
    // The drain must neither end before the task that the clock holds, nor wait when the task is gone.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).max_spare_workers(0).clock(&clock);
        let pool = pool.build().unwrap();
        let (job, gauge, drops) = (pool.job(1), Gauge::new(1), Drops::default());
        job.hold_off(SECOND);
        let (payload, seen) = (drops.payload(), gauge.clone());
        job.execute(move || {
            seen.visit();
            drop(payload);
        });
        let mover = thread::spawn(move || clock.advance(SECOND));
        pool.shutdown();
        mover.join().unwrap();
        assert_eq!((gauge.ran(), drops.count()), (1, 1));
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_an_abrupt_end_meets_a_hold_off() {
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).max_spare_workers(0).clock(&clock);
        let pool = pool.build().unwrap();
        let (job, drops) = (pool.job(1), Drops::default());
        let (theirs, payload) = (job.clone(), drops.payload());
        let holder = thread::spawn(move || {
            theirs.hold_off(SECOND);
            theirs.execute(move || drop(payload));
        });
        pool.shutdown_now();
        holder.join().unwrap();
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, drops.count()), (1, 1), "{stats:?}");
        drop(job);
        drop(pool);
    });
}
