//! What do tasks cost that borrow from their caller? A scope of tasks, and a call for each item of an iterator.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelBridge, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tollgate::Pool;

use super::{Plot, Sample, Scale, Target, Workload};
use crate::contender::Which;
use crate::measure::allocator::Allocator;
use crate::measure::clock::Stopwatch;
use crate::measure::count::{self, Tally};

const WORKERS: usize = 2;
const TASKS: u64 = 200_000;
const ITEMS: u64 = 10_000_000;

fn our_pool() -> Pool {
    let pool = Pool::builder().workers(WORKERS).build().expect("a pool starts");
    pool.job(WORKERS).scope(|scope| (0..1_000).for_each(|_| scope.execute(|| ())));
    pool
}

fn rayon_pool() -> ThreadPool {
    let pool = ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("a pool starts");
    pool.scope(|scope| (0..1_000).for_each(|_| scope.spawn(|_| ())));
    pool
}

fn scope(which: Which, scale: Scale) -> Sample {
    let tasks = scale.of(TASKS);
    let before = Tally::now();
    let span = if which == Which::Ours {
        let pool = our_pool();
        let job = pool.job(WORKERS);
        let stopwatch = Stopwatch::start();
        job.scope(|scope| {
            for task in 0..tasks {
                scope.execute(move || count::done(task));
            }
        });
        stopwatch.stop()
    } else {
        let pool = rayon_pool();
        let stopwatch = Stopwatch::start();
        pool.scope(|scope| {
            for task in 0..tasks {
                scope.spawn(move |_| count::done(task));
            }
        });
        stopwatch.stop()
    };
    before.check(tasks, (0..tasks).sum());
    Sample::each(span, tasks)
}

/// What the items are taken from.
#[derive(Clone, Copy, Debug)]
enum Input {
    /// A range, which rayon splits.
    Range,
    /// A vector, which rayon splits.
    Vector,
    /// An iterator without a known length, which rayon takes by `par_bridge`.
    Iterator,
}

/// An iterator that tells its consumers nothing about its length.
fn plain(items: u64) -> impl Iterator<Item = u64> + Send {
    let mut next = 0;
    std::iter::from_fn(move || {
        next += 1;
        (next <= items).then(|| next - 1)
    })
}

/// Calls `each` for `items` items of the contender's iterator over `input`.
fn for_each(which: Which, input: Input, items: u64, each: impl Fn(u64) + Sync + Send) -> Sample {
    let vector: Vec<u64> =
        if matches!(input, Input::Vector) { (0..items).collect() } else { Vec::new() };
    let span = if which == Which::Ours {
        let pool = our_pool();
        let job = pool.job(WORKERS);
        let stopwatch = Stopwatch::start();
        let outcome = match input {
            Input::Range => job.for_each(0..items, each),
            Input::Vector => job.for_each(vector, each),
            Input::Iterator => job.for_each(plain(items), each),
        };
        outcome.expect("the job is open");
        stopwatch.stop()
    } else {
        let pool = rayon_pool();
        let stopwatch = Stopwatch::start();
        pool.install(|| match input {
            Input::Range => (0..items).into_par_iter().for_each(each),
            Input::Vector => vector.into_par_iter().for_each(each),
            Input::Iterator => plain(items).par_bridge().for_each(each),
        });
        stopwatch.stop()
    };
    Sample::each(span, items)
}

fn run(which: Which, input: Input, scale: Scale) -> Sample {
    for_each(which, input, scale.of(ITEMS), |item| _ = black_box(item))
}

/// Checks that each item is there once, in a run that is not measured.
fn check(which: Which, input: Input) {
    let (calls, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    for_each(which, input, 10_000, |item| {
        calls.fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(item, Ordering::Relaxed);
    });
    assert_eq!((calls.into_inner(), sum.into_inner()), (10_000, (0..10_000).sum()), "{input:?}");
}

pub(super) const SCOPE: Workload = Workload {
    name: "scope",
    question: "what does a task of a scope cost?",
    shape: "a scope of 200k tasks, limit = workers = 2",
    unit: "ns a task",
    contenders: &[Which::Ours, Which::Rayon],
    targets: &[Target::Of(Which::Rayon, 0.6)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: usize::MAX,
    run: scope,
    check_limits: |_| {},
};

pub(super) const FOR_EACH_RANGE: Workload = Workload {
    name: "for_each_range",
    question: "what does an item of a range cost?",
    shape: "10M numbers of a range, limit = workers = 2; rayon: into_par_iter",
    unit: "ns an item",
    targets: &[Target::Of(Which::Rayon, 2.0)],
    run: |which, scale| run(which, Input::Range, scale),
    check_limits: |which| check(which, Input::Range),
    ..SCOPE
};

pub(super) const FOR_EACH_VECTOR: Workload = Workload {
    name: "for_each_vector",
    question: "what does an item of a vector cost?",
    shape: "10M numbers of a vector; rayon: into_par_iter",
    run: |which, scale| run(which, Input::Vector, scale),
    check_limits: |which| check(which, Input::Vector),
    ..FOR_EACH_RANGE
};

pub(super) const FOR_EACH_ITERATOR: Workload = Workload {
    name: "for_each_iterator",
    question: "what does an item of a plain iterator cost?",
    shape: "10M numbers of an iterator without a length; rayon: par_bridge",
    run: |which, scale| run(which, Input::Iterator, scale),
    check_limits: |which| check(which, Input::Iterator),
    ..FOR_EACH_RANGE
};
