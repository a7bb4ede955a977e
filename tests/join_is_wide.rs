//! join_is_safe, wide and deep over several jobs: a pool as it comes has enough spare workers for a thousand waits.

mod common;

use common::event::Latch;
use common::{LONG, pool, within};
use tollgate::{Job, Pool};

/// A pool as it comes, and pools with one and with two workers.
fn pools() -> [Pool; 3] {
    [Pool::new().unwrap(), pool(1), pool(2)]
}

#[test]
fn a_thousand_tasks_each_join_one_of_another_job() {
    within(LONG, || {
        for (pool, limit) in pools().map(|pool| (pool, 4)).into_iter().chain([(pool(2), 1)]) {
            let (outer, inner) = (pool.job(limit), pool.job(1));
            let join = |i| {
                let inner = inner.clone();
                outer.spawn(move || inner.spawn(move || i).join().unwrap())
            };
            let tasks: Vec<_> = (0..1_000).map(join).collect();
            let sum: usize = tasks.into_iter().map(|task| task.join().unwrap()).sum();
            assert_eq!(sum, 499_500);
            assert!(outer.stats().most_running <= limit);
        }
    });
}

#[test]
fn a_row_of_a_thousand_each_joins_the_one_before() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(usize::MAX);
        let latch = Latch::new();
        let opening = latch.opening();
        let mut last = job.spawn(move || {
            opening.wait();
            0
        });
        for _ in 0..1_000 {
            let before = last;
            last = job.spawn(move || before.join().unwrap() + 1);
        }
        latch.open();
        assert_eq!(last.join().unwrap(), 1_000);
    });
}

#[test]
fn a_row_of_three_hundred_each_joins_the_one_before() {
    within(LONG, || {
        for pool in pools() {
            for limit in [1, usize::MAX] {
                let job = pool.job(limit);
                let mut last = job.spawn(|| 0);
                for _ in 0..300 {
                    let before = last;
                    last = job.spawn(move || before.join().unwrap() + 1);
                }
                assert_eq!(last.join().unwrap(), 300);
            }
        }
    });
}

/// Joins a task of the first job, which joins one of the second, and so on in turn. Returns the depth.
fn deep(jobs: [Job; 3], depth: usize) -> usize {
    let next = [1, 2, 0].map(|i: usize| jobs[i].clone());
    if depth == 0 { 0 } else { jobs[0].spawn(move || deep(next, depth - 1)).join().unwrap() + 1 }
}

/// Runs a chain of 1,000 joins over three new jobs of a new pool. Returns how many spare workers the pool has started.
fn spares_of_a_chain(pool: &Pool, limit: usize) -> usize {
    let jobs = [(); 3].map(|()| pool.job(limit));
    assert_eq!(deep(jobs, 1_000), 1_000);
    pool.stats().spare_workers
}

#[test]
fn a_chain_a_thousand_deep_over_three_jobs() {
    within(LONG, || {
        for (pool, limit) in pools().into_iter().zip([usize::MAX, 1, 2]) {
            spares_of_a_chain(&pool, limit);
        }
    });
}

/// Each level runs inline in the level above, so only each 33rd level blocks a thread. The pool has one worker, so no other thread
/// takes a level before its join. But a thread that has lent its seat can still release its permits while the spare worker runs. If
/// the spare then finds a job full or its queue locked, the spare blocks at an earlier level. On a busy machine this happens more
/// often, so the test counts the threads of three chains, and takes the smallest number.
#[test]
fn a_chain_over_three_jobs_needs_a_thread_for_each_32_levels() {
    within(LONG, || {
        for limit in [2, 4, usize::MAX] {
            let counts = [(); 3].map(|()| spares_of_a_chain(&pool(1), limit));
            let spares = counts.into_iter().min().unwrap();
            assert!(spares <= 1_000 / 32 + 10, "limit {limit}: {spares} threads were started");
        }
    });
}

/// At a limit of 1 the emptied cell of a ready task counts as ready until a worker takes it. So the next level of its job blocks a
/// thread.
#[test]
fn a_chain_over_three_serial_jobs_needs_a_thread_for_each_two_levels() {
    within(LONG, || {
        for workers in [1, 2, 4] {
            let spares = spares_of_a_chain(&pool(workers), 1);
            assert!(spares <= 1_000 / 2 + 100, "{workers} workers: {spares} threads were started");
        }
    });
}

#[test]
fn blocking_starts_no_thread_for_each_of_many_tasks() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(usize::MAX);
        let latch = Latch::new();
        for _ in 0..1_000 {
            let opening = latch.opening();
            job.execute(move || tollgate::blocking(|| opening.wait()));
        }
        while job.stats().running < 258 {
            std::thread::yield_now();
        }
        assert_eq!(pool.stats().spare_workers, 256);
        latch.open();
        job.wait();
        assert_eq!(job.stats().completed, 1_000);
    });
}
