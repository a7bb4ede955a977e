//! Tasks with a deadline: the thread that fires the pool's timer against workers, cancels and waits. A thread of the model plays
//! the timer's thread, by moving the pool's clock.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, rest};
use std::sync::Arc;
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{Job, JoinError, ManualClock, Pool, TaskHandle};

const SECOND: Duration = Duration::from_secs(1);

/// Pushes a task with a deadline that visits the gauge, and drops a payload.
fn bounded(job: &Job, gauge: &Arc<Gauge>, drops: &Drops) -> TaskHandle<()> {
    let (gauge, payload) = (gauge.clone(), drops.payload());
    job.spawn_within(SECOND, move || {
        gauge.visit();
        drop(payload);
    })
}

/// Plays a worker until nothing is left.
fn play(stage: Stage) {
    while stage.play(0, usize::MAX) > 0 {}
}

#[test]
fn deadlines_hold_when_a_start_meets_the_time() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = bounded(&job, &gauge, &drops);
        let worker = thread::spawn(move || play(stage));
        clock.advance(SECOND);
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        let stats = job.stats();
        assert_eq!((stats.completed as usize, drops.count()), (gauge.ran(), 1));
        assert_eq!(stats.completed + stats.cancelled, 1, "{stats:?}");
        match task.join() {
            Ok(()) => assert_eq!(gauge.ran(), 1),
            Err(error) => assert!(error.is_expired() && gauge.ran() == 0),
        }
        rest(stage, job);
    });
}

#[test]
fn deadlines_hold_for_a_worker_that_comes_before_the_timer() {
    // The clock has moved, and the thread that fires has not come to the entry yet.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = bounded(&job, &gauge, &drops);
        let (hands, until) =
            (clock.clone(), tollgate::model::now(&clock).checked_add(SECOND).unwrap());
        let worker = thread::spawn(move || {
            let late = tollgate::model::now(&hands) >= until;
            play(stage);
            late
        });
        clock.advance(SECOND);
        let late = worker.join().unwrap();
        assert!(!late || gauge.ran() == 0, "a task has started after its deadline");
        play(stage);
        assert_eq!((task.join().is_ok(), drops.count()), (gauge.ran() == 1, 1));
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_handles_cancel_meets_the_deadline() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = bounded(&job, &gauge, &drops);
        let canceller = thread::spawn(move || {
            let cancelled = task.cancel();
            (cancelled, task.join().unwrap_err())
        });
        clock.advance(SECOND);
        let (cancelled, error) = canceller.join().unwrap();
        assert_eq!(matches!(error, JoinError::Cancelled), cancelled);
        play(stage);
        assert_eq!((gauge.ran(), drops.count(), job.stats().cancelled), (0, 1, 1));
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_the_deadline_meets_the_end_of_the_pool() {
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).max_spare_workers(0).clock(&clock);
        let pool = pool.build().unwrap();
        let (job, gauge, drops) = (pool.job(1), Gauge::new(1), Drops::default());
        let task = bounded(&job, &gauge, &drops);
        let mover = thread::spawn(move || clock.advance(SECOND));
        pool.shutdown_now();
        mover.join().unwrap();
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, drops.count()), (1, 1), "{stats:?}");
        drop(job);
        drop(pool);
        // The handle is the last owner of the pool.
        assert_eq!(task.join().is_ok(), gauge.ran() == 1);
    });
}

#[test]
fn nothing_lost_when_a_wait_meets_the_deadline() {
    // No worker comes for the empty cell of a held job.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(0), Gauge::new(1), Drops::default());
        let task = bounded(&job, &gauge, &drops);
        let mover = thread::spawn(move || clock.advance(SECOND));
        job.wait();
        mover.join().unwrap();
        assert_eq!((gauge.ran(), drops.count(), job.stats().cancelled), (0, 1, 1));
        drop(task);
        rest(stage, job);
    });
}

#[test]
fn deadlines_leave_nothing_behind_when_a_cancel_meets_a_start() {
    // The clock does not move. An entry that is left in the timer keeps its cell, and the cell keeps the pool.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = bounded(&job, &gauge, &drops);
        let worker = thread::spawn(move || play(stage));
        let cancelled = task.cancel();
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        assert_eq!((gauge.ran(), drops.count()), (usize::from(!cancelled), 1));
        drop(task);
        rest(stage, job);
        drop(clock);
    });
}
