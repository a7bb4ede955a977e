//! Does a task cost the same when there are more of them, more jobs, more workers? Ours alone, along three lines.
//!
//! The figure is the dearest point of a line over its cheapest; the detail says the points. Each point pushes the tasks of
//! its shape as often as it takes to have a million, and is the median of nine such, taken in turn.

use std::time::Instant;

use super::throughput::{Shape, push_and_wait, warm_pool};
use super::{ONLY_OURS, Plot, Sample, Scale, Target, Workload};
use crate::contender::{Contender, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::count::{self, Tally};
use crate::measure::stats;

const TURNS: usize = 9;
const TASKS_A_POINT: u64 = 1_000_000;

/// Runs a line of points, in turn, and compares the dearest with the cheapest.
fn line(points: &[u64], mut nanoseconds_a_task: impl FnMut(u64) -> f64) -> Sample {
    let mut figures = vec![Vec::new(); points.len()];
    for _ in 0..TURNS {
        for (point, figures) in points.iter().zip(&mut figures) {
            figures.push(nanoseconds_a_task(*point));
        }
    }
    let medians: Vec<f64> = figures.iter().map(|figures| stats::median(figures)).collect();
    let dearest = medians.iter().copied().fold(f64::MIN, f64::max);
    let cheapest = medians.iter().copied().fold(f64::MAX, f64::min);
    let say = |(point, median): (&u64, &f64)| format!("{point}: {median:.0} ns");
    let detail: Vec<String> = points.iter().zip(&medians).map(say).collect();
    Sample::number(dearest / cheapest, detail.join(", "))
}

/// One job of ever more tasks.
fn tasks<C: Contender>(scale: Scale) -> Sample {
    let pool = warm_pool::<C>(2, scale);
    line(&[10_000, 100_000, 1_000_000, 10_000_000].map(|tasks| scale.of(tasks)), |tasks| {
        let shape = Shape { workers: 2, jobs: 1, tasks, limit: |_| 2 };
        let times = (scale.of(TASKS_A_POINT) / tasks).max(1);
        let elapsed: f64 =
            (0..times).map(|_| push_and_wait(&pool, shape).elapsed.as_nanos() as f64).sum();
        elapsed / (times * tasks) as f64
    })
}

/// Ever more jobs of four tasks, all of them alive at once: `alive` handles are kept, the oldest makes room for the next.
fn jobs<C: Contender>(scale: Scale) -> Sample {
    const TASKS: u64 = 4;
    let pool = warm_pool::<C>(2, scale);
    line(&[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000].map(|jobs| scale.of(jobs)), |alive| {
        let pushed = (scale.of(TASKS_A_POINT) / TASKS).max(alive);
        let mut handles: Vec<Option<C::Job>> = (0..alive).map(|_| None).collect();
        let before = Tally::now();
        let start = Instant::now();
        for index in 0..pushed {
            let job = pool.job(2);
            (0..TASKS).for_each(|task| C::push(&job, count::task(index, task, 0)));
            handles[(index % alive) as usize] = Some(job);
        }
        before.wait_for(pushed * TASKS);
        start.elapsed().as_nanos() as f64 / (pushed * TASKS) as f64
    })
}

/// One big job on ever more workers, on the cores that there are.
fn workers<C: Contender>(scale: Scale) -> Sample {
    line(&[1, 2, 4, 8, 16, 32, 64, 128, 256], |workers| {
        let workers = workers as usize;
        let pool = warm_pool::<C>(workers, scale);
        let shape = Shape { workers, jobs: 1, tasks: scale.of(TASKS_A_POINT), limit: |_| 256 };
        push_and_wait(&pool, shape).elapsed.as_nanos() as f64 / shape.tasks as f64
    })
}

pub(super) const TASKS: Workload = Workload {
    name: "growth_tasks",
    question: "does a task cost the same when there are more of them?",
    shape: "1 job × 10⁴–10⁷ tasks: dearest over cheapest",
    unit: "of its best",
    contenders: ONLY_OURS,
    targets: &[Target::AtMost(1.5)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: 1,
    run: |which, scale| with_contender!(which, C => tasks::<C>(scale)),
    check_limits: |_| {},
};

pub(super) const JOBS: Workload = Workload {
    name: "growth_jobs",
    question: "does a task cost the same when there are more jobs?",
    shape: "1–10⁶ jobs alive, 4 tasks each: dearest over cheapest",
    run: |which, scale| with_contender!(which, C => jobs::<C>(scale)),
    ..TASKS
};

pub(super) const WORKERS: Workload = Workload {
    name: "growth_workers",
    question: "does a task cost the same when there are more workers?",
    shape: "1M tasks on 1–256 workers: dearest over cheapest",
    run: |which, scale| with_contender!(which, C => workers::<C>(scale)),
    ..TASKS
};
