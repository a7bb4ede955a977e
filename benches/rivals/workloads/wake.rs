//! How long does an idle pool take to start a task? One task at a time into an open job, a millisecond
//! apart, so that all workers are parked. The figure is the median from push to start.
//!
//! After a push the pusher yields until the task has started: it stands in nobody's way on a busy
//! machine, and it is there to be yielded to, so that all contenders are measured on a warm core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{POOLS_AND_ONE, Plot, Sample, Scale, Target, Workload, throughput};
use crate::contender::{Contender, Which, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::count::{self, Tally};
use crate::measure::{clock, limits, stats};

const WORKERS: usize = 2;
const PUSHES: u64 = 250;
const GAP: Duration = Duration::from_millis(1);

fn run<C: Contender>(scale: Scale) -> Sample {
    let pool = throughput::warm_pool::<C>(WORKERS, scale);
    let job = pool.job(WORKERS);
    let waited: &'static [AtomicU64] =
        (0..scale.of(PUSHES)).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    for slot in waited {
        let before = Tally::now();
        thread::sleep(GAP);
        let pushed = clock::now();
        C::push(&job, move || {
            // Ordering: Relaxed, `count::done` publishes it.
            slot.store((clock::now() - pushed).max(1), Ordering::Relaxed);
            count::done(1);
        });
        while slot.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        before.wait_for(1);
        before.check(1, 1);
    }
    let waited: Vec<f64> = waited.iter().map(|slot| slot.load(Ordering::Relaxed) as f64).collect();
    Sample::latency(stats::median(&waited))
}

pub(super) const WAKE: Workload = Workload {
    name: "wake",
    question: "how long does an idle pool take to start a task?",
    shape: "p50 from push to start, 2 workers",
    unit: "µs",
    contenders: POOLS_AND_ONE,
    targets: &[Target::Of(Which::Channels, 1.0), Target::Of(Which::One, 1.0)],
    allocator: Allocator::System,
    plot: Plot::Latency,
    most_rounds: usize::MAX,
    run: |which, scale| with_contender!(which, C => run::<C>(scale)),
    check_limits: |which| with_contender!(which, C => limits::check::<C>(WORKERS, |_| WORKERS)),
};
