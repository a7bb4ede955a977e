//! A task that is joined by a task of another job, and runs inline there, beside a worker that takes its cell.

#![cfg(tollgate_loom)]

use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Door, Gauge, Ledger, rest};
use std::sync::{Arc, Mutex};
use tollgate::model::{Stage, record_of};
use tollgate::{Job, TaskHandle};

/// Runs `task` as a task of a new job with a limit of 1, on one worker, beside another worker.
fn beside_a_worker(stage: Stage, task: impl FnOnce() + Send + 'static) {
    let outer = stage.job(1);
    outer.execute(task);
    let worker = thread::spawn(move || stage.play(0, 3));
    stage.play(1, 3);
    worker.join().unwrap();
    // The other worker has ended, so this thread runs the rest.
    while stage.play(0, 1) > 0 {}
    assert_eq!((outer.stats().running, outer.stats().completed), (0, 1));
    stage.assert_none_stranded(&outer);
}

#[test]
fn join_is_safe_for_the_last_task_of_another_job() {
    // If the worker runs the task, its job is freed at once: the joining thread has no handle.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let (inner, gauge) = (stage.job(1), Gauge::new(1));
        let seen = gauge.clone();
        let joining = move || {
            let task = inner.spawn(seen.task());
            drop(inner);
            task.join().unwrap();
        };
        beside_a_worker(stage, joining);
        assert_eq!(gauge.ran(), 1);
        stage.end();
    });
}

#[test]
fn limit_is_used_when_a_task_that_ran_inline_gives_its_permit_back() {
    // The inline task pushes another task into its job. That task needs the permit of the inline task.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (inner, gauge) = (stage.job(1), Gauge::new(1));
        let (there, seen) = (inner.clone(), gauge.clone());
        let joining = move || {
            let (own, next) = (there.clone(), seen.clone());
            let task = there.spawn(move || {
                own.execute(next.task());
                seen.visit();
            });
            task.join().unwrap();
        };
        beside_a_worker(stage, joining);
        assert_eq!(gauge.ran(), 2);
        rest(stage, inner);
    });
}

#[test]
fn serial_in_order_for_a_joined_task_behind_another() {
    // A second worker starts when the joining task has begun. It runs both tasks unless the joined one runs inline.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (outer, inner, ledger) = (stage.job(1), stage.job(1), Ledger::new());
        let (begun, lines) = (Door::new(), ledger.clone());
        // A plain mutex, because the place is filled before a worker starts.
        let place: Arc<Mutex<Option<TaskHandle<()>>>> = Arc::default();
        let (theirs, begins) = (place.clone(), begun.clone());
        outer.execute(move || {
            let second = theirs.lock().unwrap().take().expect("it is joined once");
            begins.open();
            second.join().unwrap();
        });
        let (first, ran) = (lines.clone(), Arc::new(AtomicBool::new(false)));
        inner.execute(move || first.write(1));
        let runs = ran.clone();
        *place.lock().unwrap() = Some(inner.spawn(move || {
            lines.write(2);
            runs.store(true, Release);
        }));
        let worker = thread::spawn(move || stage.play(0, 1));
        begun.pass();
        // A search may see an old state of a deque. Then `play` ends although a task waits, so it is called again.
        while !ran.load(Acquire) {
            stage.play(1, 1);
            thread::yield_now();
        }
        worker.join().unwrap();
        while stage.play(0, 1) > 0 {}
        assert_eq!(ledger.read(), [1, 2]);
        drop(outer);
        rest(stage, inner);
    });
}

/// Pushes three tasks into a job with a limit of 1, the first of which joins a task of another job, and one worker runs all. The
/// second task becomes ready while the joined one runs inline. Returns the order in which the three started.
fn order_after_a_wait(stage: Stage, job: &Job) -> Vec<usize> {
    let (other, ledger) = (stage.job(1), Ledger::new());
    for line in 0..3 {
        let (there, lines) = (other.clone(), ledger.clone());
        job.execute(move || {
            lines.write(line);
            if line == 0 {
                there.spawn(|| ()).join().unwrap();
            }
        });
    }
    stage.play(0, usize::MAX);
    ledger.read()
}

#[test]
fn serial_in_order_after_a_task_that_waits_inside() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        assert_eq!(order_after_a_wait(stage, &job), [0, 1, 2]);
        rest(stage, job);
    });
}

#[test]
fn serial_in_order_after_a_task_that_waits_inside_in_a_job_with_weights() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.built(|builder| builder.limit(1).weighted());
        assert_eq!(order_after_a_wait(stage, &job), [0, 1, 2]);
        rest(stage, job);
    });
}

/// Joins a task of `there`, which joins `task` as a task of `here`. The caller is a task of `here`.
fn there_and_back(here: &Job, there: &Job, task: impl FnOnce() + Send + 'static) {
    let here = here.clone();
    there.spawn(move || here.spawn(task).join().unwrap()).join().unwrap();
}

#[test]
fn join_is_safe_for_a_task_that_needs_the_permit_of_the_joining_one() {
    check(Bound::None, || {
        let stage = Stage::new(2);
        let (outer, inner, gauge) = (stage.job(1), stage.job(1), Gauge::new(1));
        let (own, there, seen) = (outer.clone(), inner.clone(), gauge.clone());
        outer.execute(move || there_and_back(&own, &there, seen.task()));
        // One worker alone runs all three.
        stage.play(0, usize::MAX);
        assert_eq!((gauge.ran(), outer.stats().completed), (1, 2));
        drop(inner);
        rest(stage, outer);
    });
}

#[test]
fn limit_holds_for_a_joined_task_whose_parent_is_paused() {
    // A join acquires the permit of the joined task's job, and then checks the parent. The pause comes in between.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let parent = stage.job(2);
        let (outer, inner) = (stage.child(&parent, 1), stage.child(&parent, 1));
        // A plain mutex, because the place is filled before a worker starts.
        let place: Arc<Mutex<Option<TaskHandle<()>>>> = Arc::default();
        let (theirs, begun) = (place.clone(), Door::new());
        let begins = begun.clone();
        outer.execute(move || {
            let task = theirs.lock().unwrap().take().expect("it is joined once");
            begins.open();
            task.join().unwrap();
        });
        let ran = Arc::new(AtomicBool::new(false));
        let runs = ran.clone();
        *place.lock().unwrap() = Some(inner.spawn(move || _ = runs.fetch_or(true, AcqRel)));
        // A read-modify-write sees the newest value.
        let has_begun = || ran.fetch_or(false, AcqRel);
        let worker = thread::spawn(move || stage.play(1, 1));
        begun.pass();
        parent.pause();
        let waits = record_of(&inner).permits.load().running() == 0 && !has_begun();
        assert!(!(waits && has_begun()), "a task begins in a paused job");
        parent.resume();
        while !has_begun() {
            stage.play(0, 1);
            thread::yield_now();
        }
        worker.join().unwrap();
        while stage.play(0, 1) > 0 {}
        drop((outer, inner));
        rest(stage, parent);
    });
}
