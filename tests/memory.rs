//! A long-running pool keeps nothing: after a million jobs, or a burst of a million queued tasks, its memory returns.
#![cfg(target_os = "linux")]

mod common;

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, pass_through};
use common::proc::resident_bytes;
use common::{Tokens, pool, within};
use tollgate::{Job, Pool};

const MIB: usize = 1 << 20;
const MILLION: usize = 1_000_000;

/// How far from where it was the memory may stay.
const SLACK: usize = 32 * MIB;

/// What is asked for here is memory and not speed.
const LONG: Duration = Duration::from_secs(100);

/// The memory is the process's: one test at a time, and with an allocator that gives back what it is given. glibc's keeps
/// blocks of up to the size of the largest that was freed, so that another test's vector would decide.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let alone = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator's, under its lock: blocks from this size on are mapped one by one.
    assert_eq!(unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10) }, 1);
    alone
}

/// Runs `burst` with a pool of 2 workers. What it gives back is kept until the memory has returned to within [`SLACK`] of
/// where it was; how soon is not asked.
fn memory_returns<R>(burst: impl FnOnce(&Pool) -> R + Send + 'static) {
    let _alone = alone();
    within(LONG, || {
        let pool = pool(2);
        // What a pool keeps for good, it has now.
        let (job, gauge) = (pool.job(2), Gauge::new());
        (0..1_000).for_each(|_| job.execute(pass_through(&gauge)));
        job.wait();
        let before = resident_bytes();
        let kept = burst(&pool);
        let peak = resident_bytes();
        let mut last = peak;
        while last > before + SLACK {
            thread::sleep(Duration::from_millis(20));
            let now = resident_bytes();
            if now != last {
                eprintln!(
                    "{} MiB over, of {}",
                    now.saturating_sub(before) / MIB,
                    peak.saturating_sub(before) / MIB
                );
            }
            last = now;
        }
        drop(kept);
    });
}

/// Each with one task, all handles dropped while the tasks may not have run.
#[test]
fn a_million_jobs_of_one_task_leave_nothing() {
    memory_returns(|pool| {
        let gauge = Gauge::new();
        for i in 0..MILLION {
            let (job, gauge) = (pool.job(1 + i % 3), gauge.clone());
            job.execute(move || drop(gauge.enter()));
        }
        gauge.until_ended(MILLION);
    });
}

/// All million alive at once.
#[test]
fn a_million_live_jobs_leave_nothing() {
    memory_returns(|pool| {
        let gauge = Gauge::new();
        let jobs: Vec<Job> = (0..MILLION).map(|_| pool.job(1)).collect();
        for job in &jobs {
            let gauge = gauge.clone();
            job.execute(move || drop(gauge.enter()));
        }
        gauge.until_ended(MILLION);
        jobs.iter().for_each(Job::wait);
        drop(jobs);
    });
}

#[test]
fn a_burst_of_queued_tasks_is_given_back() {
    memory_returns(|pool| {
        let (gauge, job) = (Gauge::new(), pool.job(1));
        job.pause();
        for _ in 0..MILLION {
            let gauge = gauge.clone();
            job.execute(move || drop(gauge.enter()));
        }
        job.resume();
        job.wait();
        assert_eq!(gauge.started(), MILLION);
        // The job lives on.
        job
    });
}

#[test]
fn a_burst_behind_blocked_workers_is_given_back() {
    memory_returns(|pool| {
        let (gauge, latch, job) = (Gauge::new(), Latch::new(), pool.job(usize::MAX));
        for _ in 0..pool.workers() {
            let opening = latch.opening();
            job.execute(move || opening.wait());
        }
        for _ in 0..MILLION {
            let gauge = gauge.clone();
            drop(job.spawn(move || gauge.enter()));
        }
        latch.open();
        job.wait();
        assert_eq!(gauge.started(), MILLION);
        job
    });
}

#[test]
fn a_cancelled_burst_is_given_back() {
    memory_returns(|pool| {
        let (tokens, job) = (Tokens::new(), pool.job(0));
        for _ in 0..MILLION {
            let token = tokens.token();
            drop(job.spawn(move || token));
        }
        job.cancel();
        job.wait();
        assert_eq!((tokens.dropped(), job.stats().cancelled), (MILLION, MILLION as u64));
        job
    });
}

/// A pool of many pools' time: what one leaves would add up.
#[test]
fn a_thousand_pools_leave_nothing() {
    let _alone = alone();
    within(LONG, || {
        let round = || {
            let (pool, gauge) = (pool(2), Gauge::new());
            for _ in 0..10 {
                let job = pool.job(1);
                (0..10).for_each(|_| drop(job.spawn(pass_through(&gauge))));
            }
            drop(pool);
            assert_eq!(gauge.started(), 100);
        };
        (0..50).for_each(|_| round());
        let before = resident_bytes();
        (0..1_000).for_each(|_| round());
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown <= SLACK, "{} KiB a pool stay", grown / 1_000 / 1_024);
    });
}
