//! Threads that share one handle of a job. A clone would keep the record. With one handle, only the record's own counts of tasks and of held jobs keep it.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::Gauge;
use std::sync::Arc;
use tollgate::{Job, Pool};

/// Runs two threads on the one handle of a job with a limit of 1. Then a task must run, unless the job is closed.
fn two_threads(pool: &Pool, one: fn(&Job), other: fn(&Job)) {
    let (job, gauge) = (Arc::new(pool.job(1)), Gauge::new(1));
    job.execute(gauge.task());
    let theirs = job.clone();
    let thread = thread::spawn(move || (0..3).for_each(|_| other(&theirs)));
    (0..3).for_each(|_| one(&job));
    thread.join().unwrap();
    job.set_limit(1);
    job.resume();
    let ran = job.spawn(gauge.task()).join().is_ok();
    assert_eq!(ran, !job.is_closed());
    job.wait();
    let stats = job.stats();
    assert_eq!(stats.completed as usize, gauge.ran());
    assert_eq!(stats.completed + stats.cancelled, 2);
}

#[test]
fn nothing_lost_when_two_pause_and_resume() {
    in_a_pool(1, |pool| two_threads(&pool, Job::pause, Job::resume));
}

#[test]
fn nothing_lost_when_two_pause() {
    in_a_pool(1, |pool| two_threads(&pool, Job::pause, Job::pause));
}

#[test]
fn nothing_lost_when_one_pauses_and_one_sets_the_limit() {
    in_a_pool(1, |pool| {
        two_threads(&pool, Job::pause, |job| {
            job.set_limit(0);
            job.set_limit(1);
        });
    });
}

#[test]
fn nothing_lost_when_one_pauses_and_one_cancels() {
    in_a_pool(1, |pool| {
        two_threads(
            &pool,
            |job| {
                job.pause();
                job.resume();
            },
            Job::cancel,
        );
    });
}
