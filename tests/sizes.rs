//! Sizes: large captures, deep chains of parents.

mod common;

use std::hint::black_box;
use std::thread;

use common::event::Latch;
use common::{LONG, pool, within};
use tollgate::{Job, Pool, TryAcquireError};

/// Half of a worker's stack, so that a second copy does not fit.
const MIB: usize = 1 << 20;

#[inline(never)]
fn look(large: &[u8; MIB]) -> u8 {
    black_box(large)[MIB / 2]
}

/// Runs `test` on a thread whose own stack is large: only the pool's threads have little.
fn with_small_stacks(test: impl FnOnce(&Pool) + Send + 'static) {
    let run = || {
        let pool = Pool::builder().workers(1).stack_size(2 * MIB).build().unwrap();
        test(&pool);
    };
    thread::Builder::new().stack_size(64 * MIB).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_job_without_a_limit_runs_as_many_as_its_word_can_count() {
    let pool = pool(1);
    let job = pool.job(usize::MAX);
    let permits: Vec<_> = (0..=Job::MAX_LIMIT).map(|_| job.try_acquire().unwrap()).collect();
    assert_eq!(permits.len(), 2_097_151);
    assert_eq!(job.try_acquire().unwrap_err(), TryAcquireError::NoPermit);
    let waits = job.spawn(|| 1);
    assert!(job.explain().to_string().ends_with("the most that any job can"), "{}", job.explain());
    drop(permits);
    assert_eq!(waits.join().unwrap(), 1);
}

#[test]
fn captures_of_half_a_stack() {
    with_small_stacks(|pool| {
        let job = pool.job(1);
        let large = [7_u8; MIB];
        job.execute(move || assert_eq!(look(&large), 7));
        job.wait();
        assert_eq!(job.stats().completed, 1);
        assert_eq!(job.spawn(move || look(&large)).join().unwrap(), 7);
        assert_eq!(job.try_spawn(move || look(&large)).ok().unwrap().join().unwrap(), 7);
        let bounded = pool.job_builder().capacity(3).build();
        assert_eq!(bounded.spawn(move || look(&large)).join().unwrap(), 7);
        bounded.execute(move || assert_eq!(look(&large), 7));
        bounded.wait();
        assert_eq!(bounded.stats().completed, 2);
    });
}

/// A spare worker's stack is as large as that of the worker whose place it takes.
#[test]
fn a_spare_worker_has_the_pools_stack_size() {
    within(LONG, || {
        let pool = Pool::builder().workers(1).stack_size(64 * MIB).build().unwrap();
        let (job, latch) = (pool.job(2), Latch::new());
        let opening = latch.opening();
        let waits = job.spawn(move || tollgate::blocking(|| opening.wait()));
        let large = job.spawn(|| black_box([7_u8; 8 * MIB])[MIB]);
        assert_eq!(large.join().unwrap(), 7);
        latch.open();
        waits.join().unwrap();
    });
}

#[test]
fn captures_of_half_a_stack_in_a_scope() {
    with_small_stacks(|pool| {
        let large = [7_u8; MIB];
        pool.job(1).scope(|s| {
            s.execute(move || assert_eq!(look(&large), 7));
            assert_eq!(s.spawn(move || look(&large)).join().unwrap(), 7);
        });
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_of_half_a_stack() {
    with_small_stacks(|pool| {
        let large = [7_u8; MIB];
        assert_eq!(pool.job(1).spawn_future(async move { look(&large) }).join().unwrap(), 7);
    });
}

/// The first and the last job of a chain; the handles between are dropped.
fn chain(pool: &Pool, depth: usize) -> (Job, Job) {
    let first = pool.job(usize::MAX);
    let mut last = first.clone();
    for _ in 0..depth {
        last = last.job(usize::MAX);
    }
    (first, last)
}

#[test]
fn a_chain_of_a_hundred_thousand_parents() {
    const DEPTH: usize = 100_000;
    within(LONG, || {
        let pool = pool(1);
        let (first, last) = chain(&pool, DEPTH);
        assert_eq!(last.spawn(|| 1).join().unwrap(), 1);
        first.wait();
        futures::executor::block_on(first.idle());
        first.pause();
        assert!(!last.is_closed());
        first.resume();
        first.cancel();
        assert!(last.is_closed());
        first.wait();
        // The last handle of all of them goes here, and then one goes on a worker.
        drop((first, last));
        let (first, last) = chain(&pool, DEPTH);
        drop(first);
        let keep = last.clone();
        last.execute(move || drop(keep));
        drop(last);
        pool.shutdown();
    });
}
