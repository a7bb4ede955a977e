//! A turn: a worker runs the tasks of a job one after another under one permit. It checks the job's word if the pool's epoch has
//! changed.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Door, Late, rest};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tollgate::model::Stage;

/// The first task changes another job. So the worker sees a new epoch, and checks the word of a job that has not changed. The
/// pause comes beside this check.
#[test]
fn limit_holds_when_a_pause_follows_a_change_of_another_job() {
    check(Bound::Preemptions(1), || {
        let stage = Stage::new(1);
        let (job, other, begun) = (stage.job(1), stage.job(1), Door::new());
        let late = Late::new();
        let mut changes = Some((other, begun.clone()));
        for _ in 0..3 {
            let (late, change) = (late.clone(), changes.take());
            job.execute(move || {
                late.visit();
                if let Some((other, begun)) = change {
                    other.set_limit(2);
                    begun.open();
                }
            });
        }
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        begun.pass();
        job.pause();
        let running = job.stats().running;
        late.begin();
        worker.join().unwrap();
        let late = late.count();
        assert!(late <= running, "{late} tasks started in a paused job, {running} ran");
        job.resume();
        rest(stage, job);
    });
}

/// The worker has checked the word and runs on under its permit. A task that is pushed after a pause must not start: under a
/// limit, or in an unlimited job.
#[test]
fn limit_holds_for_a_task_that_is_pushed_after_a_pause() {
    for (limit, below) in [(1, true), (usize::MAX, false)] {
        check(Bound::Preemptions(2), move || {
            let stage = Stage::new(1);
            let parent = stage.job(usize::MAX);
            let job = if below { stage.child(&parent, limit) } else { stage.job(limit) };
            drop(parent);
            let (begun, late) = (Door::new(), Arc::new(AtomicUsize::new(0)));
            let opens = begun.clone();
            job.execute(move || opens.open());
            let worker = thread::spawn(move || _ = stage.play(0, 1));
            begun.pass();
            job.pause();
            let pushed = late.clone();
            job.execute(move || _ = pushed.fetch_add(1, Relaxed));
            worker.join().unwrap();
            assert_eq!(late.load(Relaxed), 0, "a task started in a paused job");
            job.resume();
            rest(stage, job);
            assert_eq!(late.load(Relaxed), 1);
        });
    }
}

/// A worker has the tasks of an unlimited job in its batch. The first of them pauses the job.
#[test]
fn limit_holds_for_a_batch_whose_first_task_pauses_the_job() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, late) = (stage.job(usize::MAX), Arc::new(AtomicUsize::new(0)));
        let mut pauses = Some(job.clone());
        for number in 0..3 {
            let (late, pauses) = (late.clone(), pauses.take());
            job.execute(move || {
                late.fetch_add(number, Relaxed);
                if let Some(job) = pauses {
                    job.pause();
                }
            });
        }
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(late.load(Relaxed), 0, "a task started in a paused job");
        job.resume();
        rest(stage, job);
        assert_eq!(late.load(Relaxed), 3);
    });
}

/// A worker runs a further ready task under the permit that it holds. The reservation of that task must go.
#[test]
fn nothing_is_left_of_the_reservation_of_a_task_that_runs_on() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, ran) = (stage.job(2), Arc::new(AtomicUsize::new(0)));
        for _ in 0..2 {
            let ran = ran.clone();
            stage.lay(0, &job, move || _ = ran.fetch_add(1, Relaxed));
        }
        assert_eq!(stage.play(0, 1), 1, "both ran in one turn");
        assert_eq!(ran.load(Relaxed), 2);
        assert_eq!(job.stats().ready, 0);
        rest(stage, job);
    });
}
