//! What does a permit without a task cost beside tokio's `Semaphore`, both on tokio?
//!
//! Both run in turn, round by round, in one process; figures are medians, and the median of the rounds' ratios. `--quick` takes
//! fewer rounds. What each line measures, in nanoseconds for each permit that is acquired and given back:
//!
//! - *uncontended*: one task of a current-thread runtime; the limit is 1,000. Beside `acquire_owned`, which is `'static` as ours is,
//!   and beside `acquire`, which borrows.
//! - *contended*: 1,000 tasks on 2 threads, each 100 times; the limit is 10, and a task yields once while it holds the permit.
//! - *nested*: the same in a child of limit 10 under a parent of limit 20. tokio: two semaphores, the inner one first.
//! - *nested, the parent binds*: 10 children of limit 10 under a parent of limit 10.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::compare;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};
use tollgate::{Job, Pool};

const ALONE: u32 = 200_000;
const TASKS: usize = 1_000;
const TIMES: usize = 100;

fn alone(future: impl Future<Output = ()>) -> Duration {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let start = Instant::now();
    runtime.block_on(future);
    start.elapsed() / ALONE
}

fn ours_alone(job: &Job) -> Duration {
    alone(async {
        for _ in 0..ALONE {
            drop(black_box(job.acquire().await.expect("it is open")));
        }
    })
}

fn owned_alone(permits: &Arc<Semaphore>) -> Duration {
    alone(async {
        for _ in 0..ALONE {
            drop(black_box(permits.clone().acquire_owned().await.expect("it is open")));
        }
    })
}

fn borrowed_alone(permits: &Semaphore) -> Duration {
    alone(async {
        for _ in 0..ALONE {
            drop(black_box(permits.acquire().await.expect("it is open")));
        }
    })
}

/// Runs the tasks that `make` makes, each of which acquires [`TIMES`] times; the time for each.
fn together<F>(runtime: &Runtime, make: impl Fn(usize) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for task in 0..TASKS {
            tasks.spawn(make(task));
        }
        tasks.join_all().await;
        start.elapsed() / (TASKS * TIMES) as u32
    })
}

fn ours(runtime: &Runtime, jobs: &[Job]) -> Duration {
    together(runtime, |task| {
        let job = jobs[task % jobs.len()].clone();
        async move {
            for _ in 0..TIMES {
                let _permit = job.acquire().await.expect("it is open");
                yield_now().await;
            }
        }
    })
}

fn theirs(runtime: &Runtime, permits: &[Arc<Semaphore>]) -> Duration {
    together(runtime, |task| {
        let permits = permits[task % permits.len()].clone();
        async move {
            for _ in 0..TIMES {
                let _permit = permits.acquire().await.expect("it is open");
                yield_now().await;
            }
        }
    })
}

fn theirs_nested(runtime: &Runtime, inner: &[Arc<Semaphore>], outer: &Arc<Semaphore>) -> Duration {
    together(runtime, |task| {
        let (inner, outer) = (inner[task % inner.len()].clone(), outer.clone());
        async move {
            for _ in 0..TIMES {
                let _inner = inner.acquire().await.expect("it is open");
                let _outer = outer.acquire().await.expect("it is open");
                yield_now().await;
            }
        }
    })
}

fn semaphores(count: usize, limit: usize) -> Vec<Arc<Semaphore>> {
    (0..count).map(|_| Arc::new(Semaphore::new(limit))).collect()
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let rounds = if quick { 3 } else { 15 };
    let pool = Pool::builder().workers(2).build().expect("a pool");
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");

    let (job, permits) = (pool.job(1_000), Arc::new(Semaphore::new(1_000)));
    compare("uncontended, owned", "tokio", rounds, || ours_alone(&job), || owned_alone(&permits));
    compare(
        "uncontended, borrowed",
        "tokio",
        rounds,
        || ours_alone(&job),
        || borrowed_alone(&permits),
    );

    let (jobs, permits) = ([pool.job(10)], semaphores(1, 10));
    compare("contended", "tokio", rounds, || ours(&runtime, &jobs), || theirs(&runtime, &permits));

    let parent = pool.job(20);
    let (jobs, inner, outer) = ([parent.job(10)], semaphores(1, 10), Arc::new(Semaphore::new(20)));
    let nested = || theirs_nested(&runtime, &inner, &outer);
    compare("nested", "tokio", rounds, || ours(&runtime, &jobs), nested);

    let parent = pool.job(10);
    let jobs: Vec<_> = (0..10).map(|_| parent.job(10)).collect();
    let (inner, outer) = (semaphores(10, 10), Arc::new(Semaphore::new(10)));
    let nested = || theirs_nested(&runtime, &inner, &outer);
    compare("nested, the parent binds", "tokio", rounds, || ours(&runtime, &jobs), nested);
}
