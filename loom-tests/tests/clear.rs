//! Cleared jobs: against workers, pushers and threads that wait. Each task is run or dropped once, and the job stays open.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, push_gauged, rest};
use tollgate::model::{Stage, idle, record_of};

#[test]
fn nothing_lost_when_a_clear_meets_a_hand_over() {
    // The worker ends a task and takes the next one, while another thread clears the job and pushes again.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, gauge, drops) = (stage.job(1), Gauge::new(1), Drops::default());
        push_gauged(&job, 3, &gauge, &drops);
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.clear();
        let fresh = job.spawn(|| ());
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        assert!(fresh.join().is_ok(), "a task was dropped that was pushed after the clear");
        let stats = job.stats();
        assert_eq!(stats.completed as usize, gauge.ran() + 1);
        assert_eq!(stats.completed + stats.cancelled, 4);
        assert_eq!(drops.count(), 3);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_clear_meets_a_waiter_of_a_held_job() {
    // The job is idle once its task was dropped and counted, and not before.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(0);
        job.execute(|| unreachable!());
        let theirs = job.clone();
        let asks = thread::spawn(move || {
            if idle::is_idle(record_of(&theirs)) {
                assert_eq!(theirs.stats().cancelled, 1, "idle before its task was counted");
            }
        });
        job.clear();
        while stage.play(0, usize::MAX) > 0 {}
        asks.join().unwrap();
        assert!(idle::is_idle(record_of(&job)));
        assert_eq!(job.stats().cancelled, 1);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_clear_meets_an_unfinished_push() {
    // The second push has ended before the clear begins, and lies behind one that may not have.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.job(0), Drops::default());
        let (theirs, payload) = (job.clone(), drops.payload());
        let pusher = thread::spawn(move || theirs.execute(move || drop(payload)));
        let own = job.spawn(|| unreachable!());
        job.clear();
        while stage.play(0, usize::MAX) > 0 {}
        assert!(own.is_finished(), "a task was pushed before the clear, and still waits");
        pusher.join().unwrap();
        job.clear();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!((drops.count(), job.stats().cancelled), (1, 2));
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_when_a_push_meets_a_clear_and_a_release() {
    // The running task ends, and another thread pushes, while the clear has the queue lock.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        stage.runs_elsewhere(&job);
        job.execute(|| ());
        let theirs = job.clone();
        let ends = thread::spawn(move || stage.ends_elsewhere(&theirs));
        let (theirs, task) = (job.clone(), gauge.task());
        let pusher = thread::spawn(move || theirs.execute(task));
        job.clear();
        ends.join().unwrap();
        pusher.join().unwrap();
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_by_a_child_whose_task_left_its_parents_queue() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (parent, gauge) = (stage.job(0), Gauge::new(1));
        let child = stage.child(&parent, 2);
        let stale = [(); 2].map(|()| child.spawn(|| unreachable!()));
        child.clear();
        while stage.play(0, usize::MAX) > 0 {}
        assert!(stale.iter().all(|task| task.is_finished()));
        child.execute(gauge.task());
        parent.set_limit(1);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1, "a child that was cleared sends no task any more");
        drop(stale);
        drop(child);
        rest(stage, parent);
    });
}

#[test]
fn nothing_lost_when_a_clear_meets_a_task_that_moves_to_its_parent() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (parent, drops) = (stage.job(1), Drops::default());
        let child = stage.child(&parent, 1);
        stage.runs_elsewhere(&parent);
        for _ in 0..2 {
            let payload = drops.payload();
            child.execute(move || drop(payload));
        }
        let theirs = parent.clone();
        let ends = thread::spawn(move || stage.ends_elsewhere(&theirs));
        child.clear();
        ends.join().unwrap();
        stage.assert_none_waits_beside_room(&child);
        stage.assert_none_waits_beside_room(&parent);
        while stage.play(0, usize::MAX) > 0 {}
        let stats = child.stats();
        assert_eq!((stats.completed + stats.cancelled, stats.backlog), (2, 0));
        assert_eq!(drops.count(), 2);
        drop(child);
        rest(stage, parent);
    });
}
