//! Waiting inside a task: the place is lent, the permits go back, and are taken back ahead of the backlog.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tollgate::model::Stage;
use tollgate::{Job, Pool, Retried, Retry, TaskHandle};

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).max_spare_workers(1).build().unwrap()
}

/// Pushes a task that may be tried again. Such a task never runs inline, so a join waits.
fn seven(job: &Job) -> TaskHandle<Retried<u32, ()>> {
    job.spawn_retry(Retry::new().seed(1), || Ok(7))
}

#[test]
fn join_is_safe_for_a_task_of_the_same_job() {
    // The task joined runs in the joiner's stead, or a worker has popped it first.
    check(Bound::Preemptions(2), || {
        let pool = pool(1);
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        let (inner, seen) = (job.clone(), gauge.clone());
        let outer = job.spawn(move || {
            let task = inner.spawn(seen.task());
            task.join().unwrap();
        });
        outer.join().unwrap();
        assert_eq!(gauge.ran(), 1);
        drop(job);
        drop(pool);
    });
}

#[test]
fn join_is_safe_for_a_task_of_another_job() {
    // One worker: the task joined needs the spare that takes the joiner's place.
    check(Bound::Preemptions(2), || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(1));
        let outer = job.spawn(move || seven(&other).join().unwrap().result);
        assert_eq!(outer.join().unwrap(), Ok(7));
        drop(job);
        drop(pool);
    });
}

#[test]
fn join_is_safe_while_the_backlog_waits_for_the_permit() {
    // The joiner's permit goes to the next task; the joiner has it back before the one after that.
    check(Bound::Preemptions(1), || {
        let pool = pool(1);
        let (job, other, gauge) = (pool.job(1), pool.job(1), Gauge::new(1));
        let outer = job.spawn(move || seven(&other).join().unwrap().result);
        job.execute(gauge.task());
        assert_eq!(outer.join().unwrap(), Ok(7));
        // Whoever has its permit back leaves the job open for others.
        job.spawn(gauge.task()).join().unwrap();
        drop(job);
        drop(pool);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn join_is_safe_while_the_limit_is_lowered_and_raised() {
    check(Bound::Preemptions(2), || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(1));
        let outer = job.spawn(move || seven(&other).join().unwrap().result);
        job.set_limit(0);
        job.set_limit(1);
        assert_eq!(outer.join().unwrap(), Ok(7));
        drop(job);
        drop(pool);
    });
}

/// Two tasks of the job, the first of which joins one of another job. Two threads play workers. Returns how many tasks of the job had begun at
/// once.
fn most_begun(stage: Stage, job: &Job) -> usize {
    let other = stage.job(1);
    let [begun, most, ended] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let note = |inside: Option<tollgate::TaskHandle<()>>| {
        let (begun, most, ended) = (begun.clone(), most.clone(), ended.clone());
        move || {
            most.fetch_max(begun.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if let Some(awaited) = inside {
                awaited.join().unwrap();
            }
            begun.fetch_sub(1, Ordering::SeqCst);
            ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    let awaited = other.spawn(|| ());
    job.execute(note(Some(awaited)));
    job.execute(note(None));
    // The awaited task is first, so the worker that has it never waits.
    let worker = thread::spawn(move || stage.play(0, 3));
    stage.play(1, 3);
    worker.join().unwrap();
    // What is left runs without another worker.
    while stage.play(0, 1) > 0 {}
    assert_eq!(ended.load(Ordering::SeqCst), 2);
    most.load(Ordering::SeqCst)
}

#[test]
fn begun_holds_while_a_task_waits_for_another_job() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let job = stage.built(|builder| builder.limit(1).keep_permits(true));
        assert_eq!(most_begun(stage, &job), 1, "a second task has begun under a limit of 1");
        assert_eq!((job.stats().running, job.stats().completed), (0, 2));
        drop(job);
        stage.end();
    });
}

#[test]
fn begun_holds_at_the_parent_of_a_child_that_gives_its_permit_back() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let parent = stage.built(|builder| builder.limit(1).keep_permits(true));
        let child = stage.child(&parent, 2);
        assert_eq!(
            most_begun(stage, &child),
            1,
            "a second task has begun under the parent's limit of 1"
        );
        drop((child, parent));
        stage.end();
    });
}
