//! What does a push from inside cost? A binary tree of tasks in one job, each of which pushes its two children.
//!
//! A task captures where the tree's job is, how deep it still goes, and its own number: 24 bytes.

use super::{ALL_POOLS, Plot, Sample, Scale, Target, Workload, throughput};
use crate::contender::{Contender, Which, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::clock::Stopwatch;
use crate::measure::count::{self, Tally};
use crate::measure::limits;

const WORKERS: usize = 2;

/// What all tasks of a tree refer to.
struct Tree<C: Contender> {
    job: C::Job,
}

fn grow<C: Contender>(tree: &'static Tree<C>, depth: u64, number: u64) {
    if depth > 0 {
        for child in [2 * number, 2 * number + 1] {
            C::push(&tree.job, move || grow(tree, depth - 1, child));
        }
    }
    count::done(number);
}

fn run<C: Contender>(limit: usize, scale: Scale) -> Sample {
    let depth = u64::from(scale.of(1 << 20).ilog2()) - 1;
    let tasks = (2 << depth) - 1;
    let pool = throughput::warm_pool::<C>(WORKERS, scale);
    let tree = Box::into_raw(Box::new(Tree::<C> { job: pool.job(limit) }));
    // SAFETY: the tree lives until all tasks are counted, and a task counts itself after its last use of the tree.
    let shared: &'static Tree<C> = unsafe { &*tree };
    let before = Tally::now();
    let stopwatch = Stopwatch::start();
    C::push(&shared.job, move || grow(shared, depth, 1));
    before.wait_for(tasks);
    let span = stopwatch.stop();
    before.check(tasks, tasks * (tasks + 1) / 2);
    // SAFETY: it came from `into_raw`, and all tasks are counted.
    drop(unsafe { Box::from_raw(tree) });
    Sample::each(span, tasks)
}

pub(super) const NESTED: Workload = Workload {
    name: "nested",
    question: "what does a push from inside cost?",
    shape: "a tree of 1M tasks, limit = workers = 2",
    unit: "ns a task",
    contenders: ALL_POOLS,
    targets: &[Target::Of(Which::Rayon, 0.8)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
    most_rounds: usize::MAX,
    run: |which, scale| with_contender!(which, C => run::<C>(WORKERS, scale)),
    check_limits: |which| with_contender!(which, C => limits::check::<C>(WORKERS, |_| WORKERS)),
};

pub(super) const NESTED_NO_LIMIT: Workload = Workload {
    name: "nested_no_limit",
    question: "what does a push from inside a job without limit cost?",
    shape: "a tree of 1M tasks, no limit, 2 workers",
    run: |which, scale| with_contender!(which, C => run::<C>(usize::MAX, scale)),
    check_limits: |_| {},
    ..NESTED
};
