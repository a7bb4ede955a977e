//! One whole pool, with its threads.

#![cfg(tollgate_loom)]

use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Gauge;
use tollgate::Pool;

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).max_spare_workers(0).build().unwrap()
}

#[test]
fn everything_holds_for_1_worker_1_job_2_tasks() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        job.execute(gauge.task());
        let last = job.spawn(gauge.task());
        last.join().unwrap();
        drop(job);
        drop(pool);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn everything_holds_for_1_worker_whose_job_is_waited_for() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        job.execute(gauge.task());
        job.execute(gauge.task());
        job.wait();
        assert_eq!(gauge.ran(), 2, "`wait` returned early");
        drop(job);
        drop(pool);
    });
}

#[test]
fn everything_holds_for_2_workers_2_jobs_3_tasks() {
    check(Bound::Preemptions(2), || {
        let pool = pool(2);
        let (narrow, wide) = (pool.job(1), pool.job(2));
        let (one, two) = (Gauge::new(1), Gauge::new(2));
        narrow.execute(one.task());
        wide.execute(two.task());
        narrow.execute(one.task());
        drop((narrow, wide));
        drop(pool);
        assert_eq!((one.ran(), two.ran()), (2, 1));
    });
}
