//! The turn of a worker with a job that has a rate, weights or an adaptive limit. Such a turn has code of its own.

use std::time::Duration;

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{LONG, NANO, SECOND, all_cancelled, pool_with_clock, settle, within};
use tollgate::{Adaptive, Job, JobBuilder, Pool, Rate};

/// Makes a job of each kind, and a child of each, with the limit `limit`.
fn jobs_of_each_kind(pool: &Pool, limit: usize) -> Vec<Job> {
    let kinds: [fn(JobBuilder) -> JobBuilder; 4] = [
        |builder| builder,
        |builder| builder.rate(Rate::every(SECOND).burst(9)),
        |builder| builder.weighted(),
        |builder| builder.adaptive(Adaptive::new(1..=8)),
    ];
    let make = |kind: fn(JobBuilder) -> JobBuilder| {
        let job = kind(pool.job_builder().limit(limit)).build();
        [kind(pool.job_builder().limit(8)).build().job(limit), job]
    };
    kinds.into_iter().flat_map(make).collect()
}

/// The first task lowers the limit to the one permit that is held elsewhere.
#[test]
fn a_turn_ends_when_the_limit_is_lowered_below_the_permits_held() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        for job in jobs_of_each_kind(&pool, 2) {
            let (gauge, held) = (Gauge::new(), job.try_acquire().unwrap());
            job.pause();
            let (inside, running) = (job.clone(), gauge.clone());
            job.execute(move || {
                let _running = running.enter();
                inside.set_limit(1);
            });
            (0..2).for_each(|_| job.execute(pass_through(&gauge)));
            job.resume();
            gauge.until_ended(1);
            while (job.stats().running, job.stats().ready) != (1, 0) {
                std::thread::yield_now();
            }
            assert_eq!(gauge.started(), 1, "{job:?}");
            drop(held);
            job.wait();
            assert_eq!(gauge.started(), 3);
        }
    });
}

/// The pool drops all tasks while a worker is in its turn.
#[test]
fn a_turn_starts_nothing_after_the_end_of_the_pools_time() {
    within(LONG, || {
        for kind in 0..8 {
            let (pool, _clock) = pool_with_clock(1);
            let job = jobs_of_each_kind(&pool, 1).swap_remove(kind);
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let first = job.spawn(stay(&gauge, &latch));
            gauge.until_running(1);
            let waiting = (0..3).map(|_| job.spawn(pass_through(&gauge))).collect();
            assert!(pool.shutdown_timeout(Duration::ZERO).is_err());
            latch.open();
            first.join().unwrap();
            assert!(all_cancelled(waiting), "{job:?}");
            assert_eq!(gauge.started(), 1);
        }
    });
}

/// The ends of tasks count for the second rate only.
#[test]
fn a_gap_holds_beside_another_rate() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (many, gap) = (Rate::every(NANO).burst(99), Rate::gap_after_end(5 * SECOND));
        for rates in [[many, gap], [gap, many]] {
            let (job, gauge) = (pool.job(1), Gauge::new());
            job.set_rates(&rates);
            (0..2).for_each(|_| job.execute(pass_through(&gauge)));
            gauge.until_ended(1);
            settle(&job);
            clock.advance(5 * SECOND - NANO);
            settle(&job);
            assert_eq!(gauge.started(), 1, "{rates:?}");
            clock.advance(NANO);
            job.wait();
        }
    });
}
