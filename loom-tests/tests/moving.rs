//! Tasks that a worker moves from one place to another, against one that looks for the last time before it sleeps: out of
//! sight for a moment, they must not be left beside a sleeper. Each time the worker then blocks in a task until another, which it has
//! moved, was run: if nobody comes for that one, loom reports a deadlock.

#![cfg(tollgate_loom)]

use loom::sync::{Condvar, Mutex};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use std::sync::Arc;
use tollgate::Job;
use tollgate::model::Stage;

/// Two tasks, the first of which waits for the second.
fn pair() -> (impl FnOnce() + Send, impl FnOnce() + Send) {
    let done = Arc::new((Mutex::new(false), Condvar::new()));
    let theirs = done.clone();
    let waits = move || {
        let mut is_done = done.0.lock().unwrap();
        while !*is_done {
            is_done = done.1.wait(is_done).unwrap();
        }
    };
    let frees = move || {
        *theirs.0.lock().unwrap() = true;
        theirs.1.notify_one();
    };
    (waits, frees)
}

/// A worker leaves off serving a job for others' tasks, of which `lay` lays one that waits for another; a second worker has
/// searched in vain.
fn leaves_off_beside_one_that_goes_to_sleep(lay: fn(Stage, [&Job; 2])) {
    check(Bound::Preemptions(3), move || {
        let stage = Stage::new(2);
        let (last, other) = (stage.job(2), stage.job(2));
        lay(stage, [&last, &other]);
        let sleeper = thread::spawn(move || stage.sleep_and_serve(1));
        stage.serve_others(0, &last);
        sleeper.join().unwrap();
        assert_eq!((last.stats().completed, other.stats().completed), (1, 1));
        drop((last, other));
        stage.end();
    });
}

#[test]
fn limit_is_used_by_tasks_that_were_passed_over() {
    // Looking for another job's task, a worker takes one of its last job's out of the injector, and puts it back.
    leaves_off_beside_one_that_goes_to_sleep(|stage, [last, other]| {
        let (waits, frees) = pair();
        stage.lay_from_inside(0, other, waits);
        last.execute(frees);
    });
}

#[test]
fn limit_is_used_by_a_task_that_was_put_back_on_its_deque() {
    // Looking for what came from the injector, a worker takes a task off its deque that did not, and puts it back.
    leaves_off_beside_one_that_goes_to_sleep(|stage, [last, other]| {
        let (waits, frees) = pair();
        stage.lay_from_inside(0, last, frees);
        other.execute(waits);
    });
}

#[test]
fn limit_is_used_by_what_is_left_of_a_batch() {
    // What is left of its last job's batch when another's turn comes, a worker moves into its deque.
    leaves_off_beside_one_that_goes_to_sleep(|stage, [last, other]| {
        let (waits, frees) = pair();
        stage.lay_in_batch(0, last, frees);
        stage.lay(0, other, waits);
    });
}
