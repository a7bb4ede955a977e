//! Permits that are kept, in jobs above and below one another.

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, SECOND, panic_of, pool, with_clock, with_workers, within, workers_pass};
use tollgate::{Job, Rate, Reason, TaskHandle};

/// Returns when the task waits inside, or has ended.
fn until_waiting<T>(job: &Job, task: &TaskHandle<T>) {
    let waits = |reason: &Reason| matches!(reason, Reason::Waiting { .. });
    while !task.is_finished() && !waits(job.explain_task(task).first()) {
        std::thread::yield_now();
    }
}

#[test]
fn a_wait_for_a_task_of_a_job_far_below_names_the_job() {
    within(LONG, || {
        let pool = pool(2);
        for depth in 1..4 {
            let job = pool.job_builder().name("keeping").limit(1).keep_permits(true).build();
            let below = (0..depth).fold(job.clone(), |job, _| job.job(1));
            let said = job.spawn(move || panic_of(|| below.spawn(|| ()).join())).join().unwrap();
            assert!(
                said.contains("a permit of the job `keeping`, and keeps the only one"),
                "{depth} below: {said}"
            );
            job.wait();
        }
    });
}

/// A task of a job that keeps its permits runs inline although its job is paused, but not without a token of a job above.
#[test]
fn a_joined_task_needs_a_token_of_a_rate_above() {
    with_clock(|pool, clock| {
        let host = pool.job_builder().rate(Rate::every(SECOND)).build();
        let job = host.job_builder().limit(2).keep_permits(true).build();
        let own = job.clone();
        let outer = job.spawn(move || own.spawn(|| "inner").join().unwrap());
        until_waiting(&job, &outer);
        assert!(!outer.is_finished(), "two tasks have started at once");
        clock.advance(SECOND);
        assert_eq!(outer.join().unwrap(), "inner");
    });
}

/// Both jobs lie below a job that keeps its permits, so each of the two tasks has one of its own there.
#[test]
fn a_joined_task_of_another_job_has_a_second_permit_where_permits_are_kept() {
    with_workers(|pool, workers| {
        for depth in 0..3 {
            let host = pool.job_builder().limit(2).keep_permits(true).build();
            let common = (0..depth).fold(host.clone(), |job, _| job.job(2));
            let (outer, inner) = (common.job(1), common.job(1));
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let stays = stay(&gauge, &latch);
            let task = outer.spawn(move || inner.spawn(stays).join().unwrap());
            gauge.until_running(1);
            if workers > 1 {
                workers_pass(pool, workers - 1); // no worker has the cell of the task any more
            }
            assert!(host.try_acquire().is_err(), "three tasks have begun, {depth} levels below");
            latch.open();
            task.join().unwrap();
            host.wait();
        }
    });
}

/// A limit of 0 holds the job until its owner raises the limit.
#[test]
fn a_wait_for_the_only_permit_of_a_held_job_is_allowed() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job_builder().limit(1).keep_permits(true).build();
        let (own, below) = (job.clone(), job.job(1));
        let task = job.spawn(move || {
            own.set_limit(0);
            below.spawn(|| "below").join().unwrap()
        });
        until_waiting(&job, &task);
        job.set_limit(2);
        assert_eq!(task.join().unwrap(), "below");
    });
}

/// Only the job above keeps its permits.
#[test]
fn a_joined_task_of_the_same_job_runs_inline_below_a_job_that_keeps_permits() {
    with_workers(|pool, _| {
        let host = pool.job_builder().limit(2).keep_permits(true).build();
        let job = host.job(1).job(1);
        let own = job.clone();
        let outer = job.spawn(move || {
            let inner = own.spawn(|| "inner");
            own.pause();
            inner.join().unwrap()
        });
        assert_eq!(outer.join().unwrap(), "inner");
        job.resume();
        host.wait();
    });
}
