//! What do a key and a rate cost? The benches `keyed` and `rates` have more shapes and the rivals.

use std::time::Duration;

use tollgate::{Job, Keyed, Pool, Rate};

use super::{ONLY_OURS, Plot, Sample, Scale, Target, Workload};
use crate::measure::allocator::Allocator;
use crate::measure::clock::{self, Stopwatch};
use crate::measure::count::{self, Tally};
use crate::measure::stats;

const WORKERS: usize = 2;

fn pool() -> Pool {
    Pool::builder().workers(WORKERS).build().expect("a pool starts")
}

/// Pushes a task by its key, into a thousand jobs in turn. The figure is the processor time of the pushing thread.
fn keyed(scale: Scale) -> Sample {
    const KEYS: u64 = 1_000;
    let pushes = scale.of(200_000);
    let pool = pool();
    let keyed: Keyed<u64> = pool.job_builder().keyed(|_, builder| builder.limit(WORKERS));
    let keep: Vec<Job> = (0..KEYS).map(|key| keyed.job(&key)).collect();
    let before = Tally::now();
    let start = clock::thread_processor();
    for number in 0..pushes {
        keyed.job(&(number * 7_919 % KEYS)).execute(move || count::done(number));
    }
    let time = clock::thread_processor() - start;
    before.wait_for(pushes);
    before.check(pushes, (0..pushes).sum());
    drop(keep);
    Sample::number(time as f64 / pushes as f64, String::new())
}

/// Compares tasks of 1 µs under a rate that never binds to the same tasks without a rate, one after the other.
fn rate(scale: Scale) -> Sample {
    const PAIRS: usize = 3;
    let tasks = scale.of(50_000);
    let pool = pool();
    let plain = || pool.job(WORKERS);
    let rated = || {
        pool.job_builder()
            .limit(WORKERS)
            .rate(Rate::every(Duration::from_nanos(1)).burst(u32::MAX))
            .build()
    };
    let time = |job: Job| {
        let before = Tally::now();
        let stopwatch = Stopwatch::start();
        for number in 0..tasks {
            job.execute(move || {
                clock::spin(Duration::from_micros(1));
                count::done(number);
            });
        }
        before.wait_for(tasks);
        let span = stopwatch.stop();
        before.check(tasks, (0..tasks).sum());
        span.elapsed.as_secs_f64()
    };
    let pair = |_| time(rated()) / time(plain());
    Sample::number(stats::median(&(0..PAIRS).map(pair).collect::<Vec<_>>()), String::new())
}

pub(super) const KEYED: Workload = Workload {
    name: "keyed",
    question: "what do a look-up by key and a push cost?",
    shape: "200k tasks into 1,000 keys, processor time of the pusher",
    unit: "ns a push",
    contenders: ONLY_OURS,
    targets: &[Target::AtMost(100.0)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: usize::MAX,
    run: |_, scale| keyed(scale),
    check_limits: |_| {},
};

pub(super) const RATE: Workload = Workload {
    name: "rate",
    question: "what does a rate cost that never binds?",
    shape: "50k tasks of 1 µs with a rate against none, limit = workers = 2",
    unit: "of no rate",
    targets: &[Target::AtMost(1.05)],
    run: |_, scale| rate(scale),
    ..KEYED
};
