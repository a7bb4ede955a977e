//! How long does a lone task of its own job wait behind a big job? 300k tasks of 1 µs are queued in one job of limit = workers
//! while its first tasks hold the workers; then these let go, and lone tasks come in one by one.
//!
//! The figure is the 99th percentile from push to start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{ALL_POOLS, Plot, Sample, Scale, Target, Workload, throughput};
use crate::contender::{Contender, Which, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::count::{self, Tally};
use crate::measure::latch::Latch;
use crate::measure::{clock, limits, stats};

const WORKERS: usize = 2;
const QUEUED: u64 = 300_000;
const WORK: Duration = Duration::from_micros(1);
/// From one lone task to the next.
const GAP: Duration = Duration::from_micros(250);

/// The rivals that start the lone task when the queue before it has run. `buffer_unordered` does not: its driver hands out a
/// few tasks at a time, and pays for that with the dearest tasks of all. A five-hundredth of its wait would be less
/// than the one task that runs when the lone one comes in.
const WAIT_OUT_THE_QUEUE: &[Which] = &[
    Which::Channels,
    Which::RayonGate,
    Which::Rayon,
    Which::Tokio,
    Which::Smol,
    Which::SharedChannel,
];

fn run<C: Contender>(scale: Scale) -> Sample {
    let queued = scale.of(QUEUED);
    let lone = queued / 1_500 + 1;
    let pool = throughput::warm_pool::<C>(WORKERS, scale);
    let before = Tally::now();
    let latch = Latch::leak();
    let big = pool.job(WORKERS);
    for _ in 0..WORKERS {
        C::push(&big, move || {
            latch.pass();
            count::done(0);
        });
    }
    latch.wait_for_blocked(WORKERS);
    for index in 0..queued {
        C::push(&big, move || {
            clock::spin(WORK);
            count::done(index);
        });
    }
    drop(big);
    latch.open();
    let waited: &'static [AtomicU64] =
        (0..lone).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    for slot in waited {
        thread::sleep(GAP);
        let job = pool.job(1);
        let pushed = clock::now();
        C::push(&job, move || {
            // Ordering: Relaxed, `count::done` publishes it.
            slot.store(clock::now() - pushed, Ordering::Relaxed);
            count::done(0);
        });
    }
    let tasks = queued + lone + WORKERS as u64;
    before.wait_for(tasks);
    before.check(tasks, queued * (queued - 1) / 2);
    let waited: Vec<f64> = waited.iter().map(|slot| slot.load(Ordering::Relaxed) as f64).collect();
    Sample::latency(stats::percentile(&waited, 0.99))
}

pub(super) const MICE: Workload = Workload {
    name: "mice",
    question: "how long does a lone task wait behind a big job?",
    shape: "p99, behind 300k queued tasks of 1 µs, 2 workers",
    unit: "µs",
    contenders: ALL_POOLS,
    targets: &[
        Target::OfBest(WAIT_OUT_THE_QUEUE, 1.0 / 500.0),
        Target::Of(Which::BufferUnordered, 1.0),
    ],
    allocator: Allocator::System,
    plot: Plot::Latency,
    most_rounds: usize::MAX,
    run: |which, scale| with_contender!(which, C => run::<C>(scale)),
    check_limits: |which| with_contender!(which, C => limits::check::<C>(WORKERS, |_| 1)),
};
