//! Waiting inside a task: the place is lent, the permits go back, and are taken back ahead of the backlog.

#![cfg(tollgate_loom)]

use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Gauge;
use tollgate::Pool;

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).max_spare_workers(1).build().unwrap()
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
        let outer = job.spawn(move || other.spawn(|| 7).join().unwrap());
        assert_eq!(outer.join().unwrap(), 7);
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
        let outer = job.spawn(move || other.spawn(|| 7).join().unwrap());
        job.execute(gauge.task());
        assert_eq!(outer.join().unwrap(), 7);
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
        let outer = job.spawn(move || other.spawn(|| 7).join().unwrap());
        job.set_limit(0);
        job.set_limit(1);
        assert_eq!(outer.join().unwrap(), 7);
        drop(job);
        drop(pool);
    });
}
