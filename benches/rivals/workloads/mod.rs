//! The workloads: each asks one question of all contenders that fit it, and has targets that ours must meet.
//!
//! [`ALL`] is the order of the table. Throughput workloads differ only in their shape; the others have a file each.

mod borrowed;
mod children;
mod gates;
mod growth;
mod limit_cost;
mod memory;
mod mice;
mod nested;
mod pushers;
mod results;
mod sleepers;
mod throughput;
mod wake;
mod woken;

use std::time::Duration;

use crate::contender::Which;
use crate::measure::allocator::Allocator;
use crate::measure::clock::Span;

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The shape as the question names it.
    Full,
    /// A tenth of it, for plots.
    Plot,
    /// Just enough to see that it works.
    Tiny,
}

impl Scale {
    /// `full`, or the part of it that this scale takes.
    pub(crate) fn of(self, full: u64) -> u64 {
        match self {
            Scale::Full => full,
            Scale::Plot => (full / 10).max(1),
            Scale::Tiny => (full / 1_000).max(1),
        }
    }
}

/// What one run of one contender gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The figure in the workload's unit; lower is better.
    pub(crate) figure: f64,
    /// Nanoseconds of processor time a task, of all threads together; 0 where nobody asks.
    pub(crate) processor: f64,
    /// What plots show: the time that `tasks` took, or a latency.
    pub(crate) elapsed: Duration,
    /// How many tasks `elapsed` is for.
    pub(crate) tasks: u64,
    /// What else there is to say, for the lines below the table.
    pub(crate) detail: String,
}

impl Sample {
    /// Nanoseconds a task.
    fn each(span: Span, tasks: u64) -> Sample {
        let processor = span.processor as f64 / tasks as f64;
        let figure = span.elapsed.as_nanos() as f64 / tasks as f64;
        Sample { figure, processor, elapsed: span.elapsed, tasks, detail: String::new() }
    }

    /// A latency in microseconds.
    fn latency(nanoseconds: f64) -> Sample {
        let elapsed = Duration::from_nanos(nanoseconds as u64);
        Sample { elapsed, ..Sample::number(nanoseconds / 1_000.0, String::new()) }
    }

    /// A figure that is no time.
    fn number(figure: f64, detail: String) -> Sample {
        Sample { figure, processor: 0.0, elapsed: Duration::ZERO, tasks: 1, detail }
    }
}

/// What ours must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// At most this share of a contender's figure.
    Of(Which, f64),
    /// At most this share of the best figure of some rivals.
    OfBest(&'static [Which], f64),
    /// The figure itself is at most this.
    AtMost(f64),
}

/// Which plot a workload gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    /// Tasks a second.
    Throughput,
    /// A latency, which is a small part of the time that a run takes.
    Latency,
    /// None: the figure is no time, or another workload's plot shows it.
    None,
}

/// A question, who answers it, and how.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What a plot is headed by.
    pub(crate) question: &'static str,
    /// What exactly is run at full scale.
    pub(crate) shape: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) contenders: &'static [Which],
    pub(crate) targets: &'static [Target],
    pub(crate) allocator: Allocator,
    pub(crate) plot: Plot,
    /// The most rounds that pay: what is counted rather than timed needs one.
    pub(crate) most_rounds: usize,
    /// Runs a contender once; the pool is made and warmed outside of the timed part.
    pub(crate) run: fn(Which, Scale) -> Sample,
    /// Checks the limits of a contender in an unmeasured run.
    pub(crate) check_limits: fn(Which),
}

/// All contenders that run tasks on several workers, and the floor.
const ALL_AND_FLOOR: &[Which] = &[
    Which::Ours,
    Which::Channels,
    Which::RayonGate,
    Which::Rayon,
    Which::Tokio,
    Which::Smol,
    Which::BufferUnordered,
    Which::SharedChannel,
    Which::Floor,
];

/// All contenders that run tasks on several workers.
const ALL_POOLS: &[Which] = ALL_AND_FLOOR.split_at(8).0;

/// All contenders of [`ALL_POOLS`] that keep limits.
const KEEP_LIMITS: &[Which] = &[
    Which::Ours,
    Which::Channels,
    Which::RayonGate,
    Which::Tokio,
    Which::Smol,
    Which::BufferUnordered,
];

/// The contenders of the limit-1 workload.
const SERIAL: &[Which] = &[
    Which::Ours,
    Which::Channels,
    Which::RayonGate,
    Which::Rayon,
    Which::Tokio,
    Which::Smol,
    Which::BufferUnordered,
    Which::SharedChannel,
    Which::One,
    Which::Floor,
];

/// All contenders of [`ALL_POOLS`], and one worker that is blocked on a channel.
const POOLS_AND_ONE: &[Which] = SERIAL.split_at(9).0;

/// The contenders whose workers leave a job while its handle lives.
const LEAVE_IDLE_JOBS: &[Which] =
    &[Which::Ours, Which::RayonGate, Which::Tokio, Which::Smol, Which::BufferUnordered];

const ONLY_OURS: &[Which] = &[Which::Ours];

/// Every workload, in the order of the table.
pub(crate) const ALL: &[&Workload] = &[
    &throughput::BIG,
    &throughput::SERIAL,
    &throughput::BIG_MIMALLOC,
    &throughput::SERIAL_MIMALLOC,
    &throughput::TINY,
    &throughput::SINGLE,
    &throughput::MEDIUM,
    &throughput::WIDE,
    &throughput::BIG_BUSY,
    &throughput::MEDIUM_BUSY,
    &throughput::WIDE_BUSY,
    &pushers::PUSHERS_2,
    &pushers::PUSHERS_4,
    &pushers::CROSSED,
    &nested::NESTED,
    &nested::NESTED_NO_LIMIT,
    &mice::MICE,
    &wake::WAKE,
    &results::MAP_IN_ORDER,
    &results::MAP_AS_COMPLETED,
    &results::MAP_ASYNC,
    &results::SPAWN_JOIN,
    &results::ONE_AT_A_TIME,
    &woken::WOKEN,
    &borrowed::SCOPE,
    &borrowed::FOR_EACH_RANGE,
    &borrowed::FOR_EACH_VECTOR,
    &borrowed::FOR_EACH_ITERATOR,
    &gates::KEYED,
    &gates::RATE,
    &sleepers::SLEEPERS,
    &limit_cost::LIMIT_COST,
    &children::CHILDREN_1,
    &children::CHILDREN_10,
    &children::CHILDREN_1000,
    &children::CHILDREN_HOSTS,
    &children::CHILDREN_1_1US,
    &children::CHILDREN_10_1US,
    &children::CHILDREN_1000_1US,
    &children::CHILDREN_HOSTS_1US,
    &children::CHILDREN_SLEEPERS,
    &memory::IDLE_JOB,
    &memory::USED_JOB,
    &memory::QUEUED_TASK,
    &memory::AFTER_BURST,
    &growth::TASKS,
    &growth::JOBS,
    &growth::WORKERS,
];
