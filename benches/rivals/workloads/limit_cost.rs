//! What does the limit itself cost? The big job with limit = workers against the same job without limit, one after the other.

use super::throughput::{Shape, push_and_wait, warm_pool};
use super::{ONLY_OURS, Plot, Sample, Scale, Target, Workload};
use crate::contender::{Contender, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::stats;

const WORKERS: usize = 2;
const PAIRS: usize = 3;

fn run<C: Contender>(scale: Scale) -> Sample {
    let tasks = scale.of(1_000_000);
    let limited = Shape { workers: WORKERS, jobs: 1, tasks, limit: |_| WORKERS };
    let unlimited = Shape { limit: |_| usize::MAX, ..limited };
    let pool = warm_pool::<C>(WORKERS, scale);
    let time = |shape| push_and_wait(&pool, shape).elapsed.as_secs_f64();
    let pair = |_| time(limited) / time(unlimited);
    Sample::number(stats::median(&(0..PAIRS).map(pair).collect::<Vec<_>>()), String::new())
}

pub(super) const LIMIT_COST: Workload = Workload {
    name: "limit_cost",
    question: "what does the limit itself cost?",
    shape: "big with limit = workers = 2 against no limit",
    unit: "of no limit",
    contenders: ONLY_OURS,
    targets: &[Target::AtMost(1.1)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: usize::MAX,
    run: |which, scale| with_contender!(which, C => run::<C>(scale)),
    check_limits: |_| {},
};
