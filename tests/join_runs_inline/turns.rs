//! A join of an inline task interrupts the turn of the joining task. Afterwards the turn continues with the same count of tasks, share
//! and time.

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, SECOND, pool, pool_with_clock, settle, within};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;
use tollgate::{Job, JobBuilder};

/// Returns how many tasks of one job start before a lone task of another job. Each task takes so long, and then joins a task of a
/// job of its own inline. No further task of the job becomes ready during such a join: the job keeps its permits, or its limit
/// binds no worker.
fn tasks_before_a_lone_one(make: fn(JobBuilder) -> JobBuilder, takes: Duration) -> usize {
    let keeping = tasks_before(move |job| make(job.limit(1).keep_permits(true)), takes);
    let unlimited = tasks_before(move |job| make(job.limit(2)), takes);
    assert_eq!(keeping, unlimited);
    keeping
}

fn tasks_before(
    make: impl Fn(JobBuilder) -> JobBuilder + Send + 'static,
    takes: Duration,
) -> usize {
    within(LONG, move || {
        let (pool, clock) = pool_with_clock(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let (job, started) = (make(pool.job_builder()).build(), Arc::default());
        for _ in 0..100 {
            let (inner, clock, started) = (pool.job(1), clock.clone(), Arc::clone(&started));
            job.execute(move || {
                AtomicUsize::fetch_add(&started, 1, SeqCst);
                clock.advance(takes);
                inner.spawn(|| ()).join().unwrap();
            });
        }
        let (tell, told) = mpsc::channel();
        pool.job(1).execute(move || tell.send(started.load(SeqCst)).unwrap());
        latch.open();
        pool.shutdown();
        assert_eq!(pool.stats().spare_workers, 0, "a task was not run inline");
        told.recv().unwrap()
    })
}

#[test]
fn a_turn_counts_its_tasks_and_keeps_its_share() {
    assert_eq!(tasks_before_a_lone_one(|job| job, Duration::ZERO), 16);
    assert_eq!(tasks_before_a_lone_one(|job| job.share(2), Duration::ZERO), 32);
}

#[test]
fn a_turn_keeps_its_time() {
    assert_eq!(tasks_before_a_lone_one(|job| job.turn_time(10 * SECOND), SECOND), 10);
}

/// The job is held by its first task, which then joins a task inline and has its permit again. The second task must not start.
#[test]
fn a_hold_before_an_inline_task_ends_the_turn() {
    // A task of a paused job has its permit again only if the job keeps its permits.
    for keeps in [true, false] {
        let hold = move |job: &Job| if keeps { job.pause() } else { job.hold_off(SECOND) };
        within(LONG, move || {
            let (pool, clock) = pool_with_clock(1);
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let job = pool.job_builder().limit(1).keep_permits(keeps).build();
            let inner = pool.job(1);
            let (own, stays) = (job.clone(), stay(&gauge, &latch));
            let first = job.spawn(move || {
                stays();
                hold(&own);
                inner.spawn(|| ()).join().unwrap();
            });
            gauge.until_running(1);
            let second = job.spawn(|| ());
            latch.open();
            first.join().unwrap();
            settle(&job);
            assert_eq!((job.stats().completed, second.is_finished()), (1, false));
            clock.advance(SECOND);
            job.resume();
            second.join().unwrap();
        });
    }
}

/// Three tasks of the turn end before the join, and one after it. Each counts for its own job.
#[test]
fn the_tasks_of_a_turn_count_for_their_job() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let (job, inner) = (pool.job(1), pool.job(1));
        (0..3).for_each(|_| job.execute(|| ()));
        let (own, there) = (job.clone(), inner.clone());
        let seen = job.spawn(move || {
            there.spawn(|| ()).join().unwrap();
            (own.stats().completed, there.stats().completed)
        });
        job.execute(|| ());
        latch.open();
        assert_eq!(seen.join().unwrap(), (3, 1));
        job.wait();
        inner.wait();
        assert_eq!((job.stats().completed, inner.stats().completed), (5, 1));
    });
}
