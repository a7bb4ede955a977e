//! Does a limit let as many run as it may? 32 jobs, limits 1 to 4, tasks that sleep 1 ms, 128 workers: more than all permits.
//!
//! The ideal is that every permit is in use from the first push to the end. A sleep of 1 ms takes a little longer than that, for
//! reasons that no pool can help; so each task notes how long it really took, and a job's ideal is the sum of that over its
//! limit. The figure is the time until all are complete over the longest ideal of a job.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{KEEP_LIMITS, Plot, Sample, Scale, Target, Workload, throughput};
use crate::contender::{Contender, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::count::{self, Tally};
use crate::measure::{clock, limits};

const WORKERS: usize = 128;
const JOBS: u64 = 32;
/// Tasks of a job for each of its permits.
const TASKS: u64 = 300;
const SLEEP: Duration = Duration::from_millis(1);

fn limit(job: u64) -> usize {
    job as usize % 4 + 1
}

fn run<C: Contender>(scale: Scale) -> Sample {
    let pool = throughput::warm_pool::<C>(WORKERS, scale);
    let asleep: &'static [AtomicU64] =
        (0..JOBS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    let rounds = scale.of(TASKS);
    let before = Tally::now();
    let start = Instant::now();
    let jobs: Vec<C::Job> = (0..JOBS).map(|job| pool.job(limit(job))).collect();
    let mut pushed = 0;
    for _ in 0..rounds {
        for ((job, asleep), index) in jobs.iter().zip(asleep).zip(0..) {
            for _ in 0..limit(index) {
                C::push(job, move || sleep(asleep));
                pushed += 1;
            }
        }
    }
    drop(jobs);
    before.wait_for(pushed);
    let elapsed = start.elapsed();
    before.check(pushed, pushed);
    let ideal = |(asleep, job): (&AtomicU64, u64)| {
        asleep.load(Ordering::Relaxed) as f64 / limit(job) as f64
    };
    let longest = asleep.iter().zip(0..).map(ideal).fold(0.0, f64::max);
    let figure = elapsed.as_nanos() as f64 / longest;
    Sample { elapsed, tasks: pushed, ..Sample::number(figure, String::new()) }
}

fn sleep(asleep: &AtomicU64) {
    let start = clock::now();
    thread::sleep(SLEEP);
    // Ordering: Relaxed, `count::done` publishes it.
    asleep.fetch_add(clock::now() - start, Ordering::Relaxed);
    count::done(1);
}

pub(super) const SLEEPERS: Workload = Workload {
    name: "sleepers",
    question: "do as many run as the limits allow?",
    shape: "32 jobs, limits 1–4, 1 ms sleeps, 128 workers",
    unit: "of the ideal",
    contenders: KEEP_LIMITS,
    targets: &[Target::AtMost(1.02)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
    most_rounds: 5,
    run: |which, scale| with_contender!(which, C => run::<C>(scale)),
    check_limits: |which| with_contender!(which, C => limits::check::<C>(WORKERS, limit)),
};
