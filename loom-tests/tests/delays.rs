//! Tasks in the pool's timer: what cancels them, waits for them and drains them against the thread that fires the timer. A thread
//! of the model plays the timer's thread, by moving the pool's clock.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, rest};
use std::sync::Arc;
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{Job, ManualClock, Pool, TaskHandle};

const SECOND: Duration = Duration::from_secs(1);

/// Delays a task that visits the gauge, and drops a payload.
fn delay(job: &Job, gauge: &Arc<Gauge>, drops: &Drops) -> TaskHandle<()> {
    let (gauge, payload) = (gauge.clone(), drops.payload());
    job.spawn_after(SECOND, move || {
        gauge.visit();
        drop(payload);
    })
}

/// Plays a worker until nothing is left.
fn play(stage: Stage) {
    while stage.play(0, usize::MAX) > 0 {}
}

fn with_clock() -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(1).max_spare_workers(0).clock(&clock);
    (pool.build().unwrap(), clock)
}

#[test]
fn nothing_lost_when_a_handles_cancel_meets_the_time() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = delay(&job, &gauge, &drops);
        let canceller = thread::spawn(move || {
            let cancelled = task.cancel();
            drop(task);
            cancelled
        });
        clock.advance(SECOND);
        play(stage);
        let cancelled = canceller.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        let stats = job.stats();
        assert_eq!((gauge.ran(), drops.count()), (usize::from(!cancelled), 1));
        assert_eq!((stats.completed + stats.cancelled, stats.delayed), (1, 0), "{stats:?}");
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_jobs_cancel_meets_a_delay() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let (theirs, seen, payloads) = (job.clone(), gauge.clone(), drops.clone());
        let pusher = thread::spawn(move || drop(delay(&theirs, &seen, &payloads)));
        job.cancel();
        pusher.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        let stats = job.stats();
        assert_eq!((stats.cancelled, stats.delayed), (1, 0), "{stats:?}");
        assert_eq!((gauge.ran(), drops.count()), (0, 1));
        rest(stage, job);
        drop(clock);
    });
}

#[test]
fn nothing_lost_when_a_jobs_cancel_meets_the_time() {
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = delay(&job, &gauge, &drops);
        let theirs = job.clone();
        let canceller = thread::spawn(move || theirs.cancel());
        clock.advance(SECOND);
        canceller.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        let stats = job.stats();
        assert_eq!((stats.cancelled, stats.delayed), (1, 0), "{stats:?}");
        assert_eq!((gauge.ran(), drops.count()), (0, 1));
        drop(task);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_clear_meets_a_delay() {
    // A task that counts as delayed is in the timer, so a clear drops it.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let theirs = job.clone();
        let clears = thread::spawn(move || {
            let counted = theirs.stats().delayed == 1;
            theirs.clear();
            counted
        });
        drop(delay(&job, &gauge, &drops));
        let counted = clears.join().unwrap();
        play(stage);
        let stats = job.stats();
        assert!(!counted || stats.cancelled == 1, "the clear left a delayed task: {stats:?}");
        assert_eq!(stats.cancelled as usize + stats.delayed, 1, "{stats:?}");
        clock.advance(SECOND);
        play(stage);
        assert_eq!((gauge.ran(), drops.count()), (stats.delayed, 1));
        assert_eq!(job.stats().delayed, 0);
        rest(stage, job);
    });
}

#[test]
fn deadlines_hold_when_the_time_meets_a_delay() {
    // A task that counts as delayed is in the timer, so it starts at its time.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let (theirs, moves) = (job.clone(), clock.clone());
        let mover = thread::spawn(move || {
            let counted = theirs.stats().delayed == 1;
            if counted {
                moves.advance(SECOND);
            }
            counted
        });
        drop(delay(&job, &gauge, &drops));
        let counted = mover.join().unwrap();
        play(stage);
        assert_eq!(gauge.ran(), usize::from(counted), "a delayed task did not start at its time");
        clock.advance(SECOND);
        play(stage);
        assert_eq!((gauge.ran(), drops.count()), (1, 1));
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_wait_meets_the_time() {
    // The job is not idle between the timer and the queue.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(0), Gauge::new(1), Drops::default());
        let task = delay(&job, &gauge, &drops);
        let mover = thread::spawn(move || clock.advance(SECOND));
        assert!(!tollgate::model::idle::is_idle(tollgate::model::record_of(&job)));
        mover.join().unwrap();
        job.set_limit(1);
        play(stage);
        assert_eq!((gauge.ran(), drops.count()), (1, 1));
        drop(task);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_drain_meets_the_time() {
    check(Bound::Preemptions(2), || {
        let (pool, clock) = with_clock();
        let (job, gauge, drops) = (pool.job(1), Gauge::new(1), Drops::default());
        drop(delay(&job, &gauge, &drops));
        let mover = thread::spawn(move || clock.advance(SECOND));
        pool.shutdown();
        mover.join().unwrap();
        assert_eq!((gauge.ran(), drops.count()), (1, 1));
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_a_drain_meets_a_handles_cancel() {
    check(Bound::Preemptions(2), || {
        let (pool, clock) = with_clock();
        let (job, gauge, drops) = (pool.job(1), Gauge::new(1), Drops::default());
        let task = delay(&job, &gauge, &drops);
        let canceller = thread::spawn(move || assert!(task.cancel()));
        pool.shutdown();
        canceller.join().unwrap();
        assert_eq!((gauge.ran(), drops.count()), (0, 1));
        drop(job);
        drop(pool);
        drop(clock);
    });
}

#[test]
fn nothing_lost_when_an_abrupt_end_meets_a_delay() {
    check(Bound::Preemptions(2), || {
        let (pool, clock) = with_clock();
        let (job, gauge, drops) = (pool.job(1), Gauge::new(1), Drops::default());
        let (theirs, seen, payloads) = (job.clone(), gauge.clone(), drops.clone());
        let pusher = thread::spawn(move || drop(delay(&theirs, &seen, &payloads)));
        pool.shutdown_now();
        pusher.join().unwrap();
        let stats = job.stats();
        assert_eq!((stats.cancelled, drops.count(), gauge.ran()), (1, 1, 0), "{stats:?}");
        drop(job);
        drop(pool);
        drop(clock);
    });
}
