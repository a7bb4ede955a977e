//! What does a result cost? Tasks whose results the pushing thread takes, in the ways that a program does.
//!
//! The items are numbers and the work is an addition, so the figures are the cost of the way itself. Each run checks the sum of the
//! results. `execute` is our own cheapest way, without results: it shows what the results add.

use futures::StreamExt;
use futures::executor::block_on_stream;
use futures::stream;
use tokio::runtime::{Builder, Runtime};
use tollgate::Pool;

use super::{Plot, Sample, Scale, Target, Workload};
use crate::contender::Which;
use crate::measure::allocator::Allocator;
use crate::measure::clock::{Span, Stopwatch};
use crate::measure::count::{self, Tally};

const WORKERS: usize = 2;
const ITEMS: u64 = 200_000;

/// The work for each item: an addition.
fn work(item: u64) -> u64 {
    item + 1
}

fn our_pool() -> Pool {
    let pool = Pool::builder().workers(WORKERS).build().expect("a pool starts");
    let job = pool.job(WORKERS);
    (0..1_000).for_each(|_| job.execute(|| ()));
    job.wait();
    pool
}

fn tokio_runtime() -> Runtime {
    let runtime =
        Builder::new_multi_thread().worker_threads(WORKERS).build().expect("a runtime starts");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..1_000).map(|_| tokio::spawn(async {})).collect();
        for task in tasks {
            task.await.expect("an empty task ends");
        }
    });
    runtime
}

/// Measures `run`, which gets the number of items and returns the sum of the results.
fn measure(scale: Scale, items: u64, run: impl FnOnce(u64) -> u64) -> Sample {
    let items = scale.of(items);
    let stopwatch = Stopwatch::start();
    let sum = run(items);
    let span: Span = stopwatch.stop();
    assert_eq!(sum, (1..=items).sum::<u64>(), "the sum of the results");
    Sample::each(span, items)
}

/// Our tasks without results, counted as in the other workloads.
fn execute(scale: Scale) -> Sample {
    let pool = our_pool();
    measure(scale, ITEMS, |items| {
        let before = Tally::now();
        let job = pool.job(WORKERS);
        for item in 0..items {
            job.execute(move || count::done(work(item)));
        }
        job.wait();
        before.captures_since()
    })
}

fn map(in_order: bool, which: Which, scale: Scale) -> Sample {
    match which {
        Which::Execute => execute(scale),
        Which::Ours => {
            let pool = our_pool();
            measure(scale, ITEMS, |items| {
                let results = pool.job(WORKERS).map(0..items, work);
                if in_order {
                    results.map(|result| result.expect("the work ends")).sum()
                } else {
                    results.as_completed().map(|result| result.expect("the work ends")).sum()
                }
            })
        }
        _ => buffered(in_order, scale),
    }
}

/// `buffered(2)` or `buffer_unordered(2)` of tokio tasks.
fn buffered(in_order: bool, scale: Scale) -> Sample {
    let runtime = tokio_runtime();
    measure(scale, ITEMS, |items| {
        let tasks = stream::iter(0..items).map(|item| tokio::spawn(async move { work(item) }));
        let add = |sum, result: Result<u64, _>| async move { sum + result.expect("the work ends") };
        runtime.block_on(async {
            if in_order {
                tasks.buffered(WORKERS).fold(0, add).await
            } else {
                tasks.buffer_unordered(WORKERS).fold(0, add).await
            }
        })
    })
}

fn map_async(which: Which, scale: Scale) -> Sample {
    if which != Which::Ours {
        return buffered(true, scale);
    }
    let pool = our_pool();
    measure(scale, ITEMS, |items| {
        let results = pool.job(WORKERS).map_async(0..items, |item| async move { work(item) });
        block_on_stream(results).map(|result| result.expect("the work ends")).sum()
    })
}

fn spawn_join(which: Which, scale: Scale) -> Sample {
    if which == Which::Ours {
        let pool = our_pool();
        return measure(scale, ITEMS, |items| {
            let job = pool.job(WORKERS);
            let tasks: Vec<_> = (0..items).map(|item| job.spawn(move || work(item))).collect();
            tasks.into_iter().map(|task| task.join().expect("the work ends")).sum()
        });
    }
    let runtime = tokio_runtime();
    measure(scale, ITEMS, |items| {
        let tasks: Vec<_> =
            (0..items).map(|item| runtime.spawn(async move { work(item) })).collect();
        runtime.block_on(async {
            let mut sum = 0;
            for task in tasks {
                sum += task.await.expect("the work ends");
            }
            sum
        })
    })
}

fn one_at_a_time(which: Which, scale: Scale) -> Sample {
    const CALLS: u64 = 5_000;
    if which == Which::Ours {
        let pool = our_pool();
        let job = pool.job(WORKERS);
        return measure(scale, CALLS, |items| {
            (0..items)
                .map(|item| job.spawn(move || work(item)).join().expect("the work ends"))
                .sum()
        });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("a pool starts");
    pool.install(|| ());
    measure(scale, CALLS, |items| (0..items).map(|item| pool.install(|| work(item))).sum())
}

const MAP: Workload = Workload {
    name: "map_in_order",
    question: "what does an item of a map cost, in order?",
    shape: "200k numbers, limit = workers = 2, results in order; tokio: buffered(2) of tasks",
    unit: "ns an item",
    contenders: &[Which::Ours, Which::Execute, Which::Buffered],
    targets: &[Target::Of(Which::Execute, 5.0), Target::Of(Which::Buffered, 0.05)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: usize::MAX,
    run: |which, scale| map(true, which, scale),
    check_limits: |_| {},
};

pub(super) const MAP_IN_ORDER: Workload = MAP;

pub(super) const MAP_AS_COMPLETED: Workload = Workload {
    name: "map_completed",
    question: "what does an item of a map cost, as completed?",
    shape: "the same as completed; tokio: buffer_unordered(2) of tasks",
    run: |which, scale| map(false, which, scale),
    ..MAP
};

pub(super) const MAP_ASYNC: Workload = Workload {
    name: "map_async",
    question: "what does a ready future of a map cost?",
    shape: "200k ready futures, limit = workers = 2, in order; tokio: buffered(2) of tasks",
    contenders: &[Which::Ours, Which::Buffered],
    targets: &[Target::Of(Which::Buffered, 0.1)],
    run: map_async,
    ..MAP
};

pub(super) const SPAWN_JOIN: Workload = Workload {
    name: "spawn_join",
    question: "what does a task with a handle cost?",
    shape: "200k tasks with handles, all joined then, limit = workers = 2",
    unit: "ns a task",
    contenders: &[Which::Ours, Which::Tokio],
    targets: &[Target::Of(Which::Tokio, 0.1)],
    run: spawn_join,
    ..MAP
};

pub(super) const ONE_AT_A_TIME: Workload = Workload {
    name: "one_at_a_time",
    question: "how long does a thread outside the pool wait for one task?",
    shape: "5,000 tasks, each joined before the next; rayon: install",
    unit: "ns a task",
    contenders: &[Which::Ours, Which::Rayon],
    targets: &[Target::Of(Which::Rayon, 0.5)],
    run: one_at_a_time,
    ..MAP
};
