//! Cancelled jobs and tasks: against pushes, hand-overs and workers. Each cancelled task is dropped and counted once.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, Ledger, push_gauged, rest};
use std::sync::Arc;
use tollgate::model::{Stage, idle, record_of};
use tollgate::{Job, JoinError, Pool, TaskHandle};

#[test]
fn nothing_lost_when_cancel_meets_a_hand_over() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        push_gauged(&job, 3, &gauge, &drops);
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.cancel();
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!(stats.backlog, 0, "a cancelled task was left behind");
        assert_eq!(stats.completed as usize, gauge.ran());
        assert_eq!(stats.completed + stats.cancelled, 3);
        assert_eq!(drops.count(), 3);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_cancel_meets_a_spawn() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.job(1), Drops::default());
        let theirs = job.clone();
        let payloads = [drops.payload(), drops.payload()];
        let pusher = thread::spawn(move || {
            for payload in payloads {
                theirs.execute(move || drop(payload));
            }
        });
        job.cancel();
        pusher.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!(stats.backlog, 0, "a cancelled task was left behind");
        assert_eq!(stats.completed + stats.cancelled, 2);
        assert_eq!(drops.count(), 2);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_held_job_is_cancelled() {
    // Nothing of it will end, so that nobody but the call itself can see to the backlog.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.job(0), Drops::default());
        let (theirs, payload) = (job.clone(), drops.payload());
        let pusher = thread::spawn(move || theirs.execute(move || drop(payload)));
        job.cancel();
        pusher.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(job.stats().cancelled, 1);
        assert_eq!(drops.count(), 1);
        rest(stage, job);
    });
}

#[test]
fn serial_in_order_when_a_cancelled_task_leaves_a_held_line() {
    // Who asks whether a held job is idle drops what handles have cancelled. The job is let go just then, and a push
    // must still find those in line who came before.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, ledger) = (stage.job(1), Ledger::new());
        job.pause();
        let cancelled = job.spawn(|| ());
        let write = |line| {
            let ledger = ledger.clone();
            move || ledger.write(line)
        };
        job.execute(write(0));
        assert!(cancelled.cancel());
        let theirs = job.clone();
        let other = thread::spawn(move || _ = idle::is_idle(record_of(&theirs)));
        job.resume();
        job.execute(write(1));
        other.join().unwrap();
        drop(cancelled);
        rest(stage, job);
        assert_eq!(ledger.read(), [0, 1]);
    });
}

#[test]
fn nothing_lost_when_cancel_meets_a_refused_task() {
    // The worker takes the ready task, the paused job refuses it, and the task goes back to the queue.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.job(1), Drops::default());
        let payload = drops.payload();
        job.execute(move || drop(payload));
        job.pause();
        let worker = thread::spawn(move || _ = stage.play(0, usize::MAX));
        job.cancel();
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled, stats.backlog), (0, 1, 0));
        assert_eq!(drops.count(), 1);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_in_the_figures_of_a_held_job_that_two_ask_for() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(0);
        let task = job.spawn(|| ());
        assert!(task.cancel());
        let theirs = job.clone();
        let asks = |job: &Job| {
            if idle::is_idle(record_of(job)) {
                assert_eq!(job.stats().cancelled, 1, "idle before its last task was counted");
            }
        };
        let other = thread::spawn(move || asks(&theirs));
        asks(&job);
        other.join().unwrap();
        drop(task);
        rest(stage, job);
    });
}

/// Joins the task whose handle comes into it later, when it is dropped, and keeps what that said.
#[derive(Clone, Default)]
struct Joined {
    handle: Arc<std::sync::Mutex<Option<TaskHandle<()>>>>,
    outcome: Arc<std::sync::Mutex<Option<Result<(), JoinError>>>>,
}

struct JoinOnDrop(Joined);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        let handle = self.0.handle.lock().unwrap().take().expect("it is dropped later");
        let outcome = handle.join();
        *self.0.outcome.lock().unwrap() = Some(outcome);
    }
}

#[test]
fn join_is_safe_in_a_drop_of_what_stood_in_front() {
    // The worker lends its seat while the first task is dropped. The spare continues the sweep, and drops the second task.
    check(Bound::Preemptions(2), || {
        let pool = Pool::builder().workers(1).max_spare_workers(1).build().unwrap();
        let (job, joined) = (pool.job(0), Joined::default());
        let first = JoinOnDrop(joined.clone());
        job.execute(move || drop(first));
        *joined.handle.lock().unwrap() = Some(job.spawn(|| ()));
        job.cancel();
        pool.shutdown();
        let outcome = joined.outcome.lock().unwrap().take();
        assert!(matches!(outcome, Some(Err(JoinError::Cancelled))), "{outcome:?}");
        assert_eq!(job.stats().cancelled, 2);
        drop(job);
        drop(pool);
    });
}
