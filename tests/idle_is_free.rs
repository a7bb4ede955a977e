//! idle_is_free: a pool with nothing to run uses no processor time, a job with nothing to run is a few words of memory, and
//! what is finished leaves nothing behind.
#![cfg(target_os = "linux")]

mod common;

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, pass_through, stay};
use common::proc::{cpu_time_of, resident_bytes, switches_of, threads_named};
use common::{LONG, WORKERS, within};
use tollgate::{Job, Pool};

/// What is measured here is the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn pool_named(name: &'static str, workers: usize) -> Pool {
    until_threads(name, 0); // those of the pool before
    let pool =
        Pool::builder().workers(workers).thread_name(move |_| name.to_owned()).build().unwrap();
    until_threads(name, workers);
    pool
}

/// A thread names itself when it has begun, and the system forgets it a little after it has ended.
fn until_threads(name: &str, count: usize) {
    while threads_named(name).len() != count {
        thread::yield_now();
    }
}

/// The workers come to rest: over half a second they use no processor time and are not even woken. A worker that polls,
/// however seldom, is never at rest for so long; the watchdog says so.
fn comes_to_rest(name: &str, workers: usize) {
    let threads = threads_named(name);
    assert_eq!(threads.len(), workers);
    loop {
        let before = (cpu_time_of(&threads), switches_of(&threads));
        // The time that is measured.
        thread::sleep(Duration::from_millis(500));
        if before == (cpu_time_of(&threads), switches_of(&threads)) {
            return;
        }
    }
}

#[test]
fn a_pool_with_nothing_to_run_rests() {
    let _alone = alone();
    for workers in WORKERS {
        within(LONG, move || {
            let pool = pool_named("at-rest", workers);
            comes_to_rest("at-rest", workers);
            let (job, gauge) = (pool.job(2), Gauge::new());
            (0..1_000).for_each(|_| job.execute(pass_through(&gauge)));
            job.wait();
            comes_to_rest("at-rest", workers);
        });
    }
}

/// Tasks that wait for a permit are in no deque: nobody looks at them again and again.
#[test]
fn workers_rest_while_tasks_wait_for_a_permit() {
    let _alone = alone();
    for workers in WORKERS {
        within(LONG, move || {
            let pool = pool_named("no-permit", workers);
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let (serial, paused, zero) = (pool.job(1), pool.job(usize::MAX), pool.job(0));
            paused.pause();
            serial.execute(stay(&gauge, &latch));
            gauge.until_running(1);
            for job in [&serial, &paused, &zero] {
                (0..1_000).for_each(|_| job.execute(pass_through(&gauge)));
            }
            comes_to_rest("no-permit", workers);
            latch.open();
            serial.wait();
            comes_to_rest("no-permit", workers);
            assert_eq!(gauge.started(), 1_001);
            paused.resume();
            zero.set_limit(1);
            paused.wait();
            zero.wait();
            assert_eq!(gauge.started(), 3_001);
        });
    }
}

/// A held job whose tasks were ready when it was paused, and a lowered limit: the same.
#[test]
fn workers_rest_when_what_was_ready_is_held() {
    let _alone = alone();
    for workers in WORKERS {
        within(LONG, move || {
            let pool = pool_named("held-back", workers);
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let job = pool.job(usize::MAX);
            (0..workers).for_each(|_| job.execute(stay(&gauge, &latch)));
            gauge.until_running(workers);
            (0..1_000).for_each(|_| job.execute(pass_through(&gauge)));
            job.pause();
            latch.open();
            comes_to_rest("held-back", workers);
            assert_eq!(gauge.started(), workers);
            job.resume();
            job.wait();
        });
    }
}

#[test]
fn a_pool_that_is_gone_has_no_threads() {
    let _alone = alone();
    within(LONG, || {
        for round in 0..20 {
            let pool = pool_named("gone", 8);
            pool.job(3).spawn(|| ()).join().unwrap();
            match round % 2 {
                0 => drop(pool),
                _ => pool.shutdown(),
            }
            until_threads("gone", 0);
        }
    });
}

/// A spare worker ends if it is idle for five seconds. Then a further wait may start another one.
#[test]
fn a_spare_worker_that_is_idle_ends() {
    let _alone = alone();
    within(LONG, || {
        let pool = Pool::builder().workers(1).max_spare_workers(1).thread_name(|_| "spare".into());
        let pool = pool.build().unwrap();
        let (job, other) = (pool.job(1), common::job_without_inline_tasks(&pool));
        for _ in 0..2 {
            let other = other.clone();
            job.spawn(move || other.spawn(|| ()).join().unwrap()).join().unwrap();
            while threads_named("spare").len() != 1 {
                thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(pool.stats().spare_workers, 0);
        }
    });
}

#[test]
fn a_job_makes_no_thread() {
    let _alone = alone();
    within(LONG, || {
        let pool = pool_named("few", 2);
        let before = threads_named("").len();
        let jobs: Vec<Job> = (0..1_000).map(|i| pool.job(i % 5)).collect();
        jobs.iter().for_each(|job| job.execute(|| ()));
        jobs.iter().for_each(|job| job.set_limit(1));
        jobs.iter().for_each(Job::wait);
        // The harness may start one for another test meanwhile.
        assert!(threads_named("").len() < before + 100);
    });
}

/// Far below any queue or channel a job could have: 16 KiB would be 3 GiB here.
#[test]
fn an_idle_job_is_a_few_words() {
    const JOBS: usize = 200_000;
    let _alone = alone();
    within(LONG, || {
        let pool = pool_named("words", 2);
        let mut jobs: Vec<Job> = Vec::with_capacity(JOBS);
        (0..1_000).for_each(|_| jobs.push(pool.job(1)));
        jobs.clear();
        let before = resident_bytes();
        (0..JOBS).for_each(|i| jobs.push(pool.job(1 + i % 4)));
        // A job that has run something and is idle again is no larger.
        jobs.iter().for_each(|job| job.execute(|| ()));
        jobs.iter().for_each(Job::wait);
        let each = resident_bytes().saturating_sub(before) / JOBS;
        assert!(each <= 256, "an idle job takes {each} bytes");
        drop(jobs);
    });
}
