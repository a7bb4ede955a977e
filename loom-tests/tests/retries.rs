//! Tasks that are tried again: what cancels them against the worker that puts them into the pool's timer.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, rest};
use std::sync::Arc;
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{Job, ManualClock, Retried, Retry, TaskHandle};

const SECOND: Duration = Duration::from_secs(1);

/// Pushes a task that fails twice.
fn retried(job: &Job, gauge: &Arc<Gauge>, drops: &Drops) -> TaskHandle<Retried<(), ()>> {
    let policy = Retry::new().attempts(2).first_delay(SECOND).jitter(0.0).seed(1);
    let (gauge, payload) = (gauge.clone(), drops.payload());
    job.spawn_retry(policy, move || {
        let _ = &payload;
        gauge.visit();
        Err(())
    })
}

/// Plays a worker until nothing is left.
fn play(stage: Stage) {
    while stage.play(0, usize::MAX) > 0 {}
}

#[test]
fn nothing_lost_when_a_handles_cancel_meets_the_end_of_an_attempt() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = retried(&job, &gauge, &drops);
        let worker = thread::spawn(move || play(stage));
        let cancelled = task.cancel();
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        assert_eq!(job.stats().delayed, 0, "a cancelled task waits for its time");
        clock.advance(SECOND);
        play(stage);
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, drops.count()), (1, 1), "{stats:?}");
        match task.join() {
            Ok(end) => assert_eq!((cancelled, end.attempts, gauge.ran()), (false, 1, 1)),
            Err(error) => assert!(cancelled && error.is_cancelled() && gauge.ran() < 2),
        }
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_jobs_cancel_meets_the_end_of_an_attempt() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = retried(&job, &gauge, &drops);
        let worker = thread::spawn(move || play(stage));
        job.cancel();
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play(stage);
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, stats.delayed), (1, 0), "{stats:?}");
        assert_eq!((drops.count(), gauge.ran() < 2), (1, true));
        drop(task);
        rest(stage, job);
        drop(clock);
    });
}

#[test]
fn nothing_lost_when_the_time_meets_the_end_of_an_attempt() {
    // The next attempt may be due when the timer is armed for it.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = retried(&job, &gauge, &drops);
        let worker = thread::spawn(move || play(stage));
        clock.advance(SECOND);
        worker.join().unwrap();
        clock.advance(SECOND);
        play(stage);
        assert_eq!((gauge.ran(), drops.count()), (2, 1));
        assert_eq!(task.join().unwrap().attempts, 2);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_clear_meets_the_end_of_an_attempt() {
    // The clear comes before the task is in the timer, and the task is tried again; or it comes later, and drops the task.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        let task = retried(&job, &gauge, &drops);
        let theirs = job.clone();
        let clears = thread::spawn(move || {
            let counted = theirs.stats().delayed == 1;
            theirs.clear();
            counted
        });
        play(stage);
        let counted = clears.join().unwrap();
        play(stage);
        let stats = job.stats();
        assert!(!counted || stats.cancelled == 1, "the clear left a delayed task: {stats:?}");
        assert_eq!(stats.cancelled as usize + stats.delayed, 1, "{stats:?}");
        clock.advance(SECOND);
        play(stage);
        assert_eq!((drops.count(), job.stats().delayed), (1, 0));
        assert_eq!(task.join().map_or(0, |end| end.attempts as usize), 2 * stats.delayed);
        rest(stage, job);
    });
}
