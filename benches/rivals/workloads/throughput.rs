//! What does a task cost, from the first push until all are complete? One shape a question.
//!
//! The pusher makes a job, pushes its tasks, drops the handle, and goes on to the next job. Making and dropping the handles is
//! part of the time; making and warming the pool is not.

use super::{
    ALL_AND_FLOOR, ALL_POOLS, Plot, SERIAL as SERIAL_CONTENDERS, Sample, Scale, Target, Workload,
};
use crate::contender::{Contender, Which, with_contender};
use crate::floor;
use crate::measure::allocator::Allocator;
use crate::measure::clock::{Span, Stopwatch};
use crate::measure::count::{self, Tally};
use crate::measure::limits;
use crate::measure::neighbour::Neighbour;

/// Some jobs with as many tasks each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    pub(crate) jobs: u64,
    pub(crate) tasks: u64,
    /// The limit of the n-th job.
    pub(crate) limit: fn(u64) -> usize,
}

/// One of the captures, so that they differ from job and index alone.
const SALT: u64 = 0x5EED;

impl Shape {
    const fn new(workers: usize, jobs: u64, tasks: u64, limit: fn(u64) -> usize) -> Shape {
        Shape { workers, jobs, tasks, limit }
    }

    /// The same with fewer jobs, or with fewer tasks if there is only one job.
    fn at(self, scale: Scale) -> Shape {
        if self.jobs == 1 {
            Shape { tasks: scale.of(self.tasks), ..self }
        } else {
            Shape { jobs: scale.of(self.jobs), ..self }
        }
    }

    fn total(self) -> u64 {
        self.jobs * self.tasks
    }

    /// What the captures of all tasks add up to.
    fn captures(self) -> u64 {
        let tasks = |job: u64| (0..self.tasks).map(move |index| job ^ index ^ SALT);
        (0..self.jobs).flat_map(tasks).fold(0, u64::wrapping_add)
    }
}

/// Starts a pool and runs a first job through it, so that its threads and their caches are there.
pub(crate) fn warm_pool<C: Contender>(workers: usize, scale: Scale) -> C {
    let pool = C::start(workers);
    push_and_wait(&pool, Shape::new(workers, 1, 10 * scale.of(1_000), |_| usize::MAX));
    pool
}

/// Pushes all tasks of `shape` and waits until they are complete.
pub(crate) fn push_and_wait<C: Contender>(pool: &C, shape: Shape) -> Span {
    let before = Tally::now();
    let stopwatch = Stopwatch::start();
    for job_index in 0..shape.jobs {
        let job = pool.job((shape.limit)(job_index));
        for index in 0..shape.tasks {
            C::push(&job, count::task(job_index, index, SALT));
        }
    }
    before.wait_for(shape.total());
    let span = stopwatch.stop();
    before.check(shape.total(), shape.captures());
    span
}

fn run<C: Contender>(shape: Shape, scale: Scale) -> Sample {
    let shape = shape.at(scale);
    let pool = warm_pool::<C>(shape.workers, scale);
    Sample::each(push_and_wait(&pool, shape), shape.total())
}

/// The floor for a shape of one job: a pointer a task, a consumer a permit.
fn run_floor(shape: Shape, scale: Scale) -> Sample {
    let shape = shape.at(scale);
    let consumers = (shape.limit)(0).min(shape.workers);
    Sample::each(floor::run(consumers, shape.total()), shape.total())
}

/// A workload of one shape.
macro_rules! workload {
    ($shape:expr, $($field:ident: $value:expr),* $(,)?) => {
        Workload {
            unit: "ns a task",
            most_rounds: usize::MAX,
            run: |which, scale| match which {
                Which::Floor => run_floor($shape, scale),
                _ => with_contender!(which, C => run::<C>($shape, scale)),
            },
            check_limits: |which| match which {
                Which::Floor => {}
                _ => with_contender!(which, C => limits::check::<C>($shape.workers, $shape.limit)),
            },
            $($field: $value,)*
        }
    };
}

/// Runs `shape` while another thread keeps a core busy.
fn run_beside_neighbour<C: Contender>(shape: Shape, scale: Scale) -> Sample {
    let neighbour = Neighbour::start();
    let sample = run::<C>(shape, scale);
    drop(neighbour);
    // The processor time is not that of the contender alone.
    Sample { processor: 0.0, ..sample }
}

/// The workload `$workload` beside a busy neighbour.
macro_rules! beside_neighbour {
    ($workload:expr, $shape:expr, $name:literal) => {
        Workload {
            name: $name,
            question: "and beside a busy neighbour?",
            shape: "the same while another thread keeps a core busy",
            contenders: ALL_POOLS,
            targets: &[],
            plot: Plot::None,
            run: |which, scale| with_contender!(which, C => run_beside_neighbour::<C>($shape, scale)),
            ..$workload
        }
    };
}

const BIG_SHAPE: Shape = Shape::new(2, 1, 1_000_000, |_| 2);
const SERIAL_SHAPE: Shape = Shape::new(2, 1, 500_000, |_| 1);
const TINY_SHAPE: Shape = Shape::new(2, 200_000, 4, |_| 2);
const SINGLE_SHAPE: Shape = Shape::new(2, 500_000, 1, |_| 1);
const MEDIUM_SHAPE: Shape = Shape::new(4, 1_000, 1_000, |_| 2);
const WIDE_SHAPE: Shape = Shape::new(64, 1_000, 500, |job| job as usize % 8 + 1);

pub(super) const BIG: Workload = workload!(BIG_SHAPE,
    name: "big",
    question: "what does a task of one big job cost?",
    shape: "1 job × 1M tasks, limit = workers = 2",
    contenders: ALL_AND_FLOOR,
    targets: &[Target::Of(Which::Channels, 0.3), Target::Of(Which::Floor, 1.5)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
);

pub(super) const SERIAL: Workload = workload!(SERIAL_SHAPE,
    name: "serial",
    question: "what does a task cost under a limit of 1?",
    shape: "1 job × 500k tasks, limit 1, 2 workers",
    contenders: SERIAL_CONTENDERS,
    targets: &[Target::Of(Which::Channels, 0.25)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
);

pub(super) const BIG_MIMALLOC: Workload = workload!(BIG_SHAPE,
    name: "big_mimalloc",
    question: "and with mimalloc for everybody?",
    shape: "big, with mimalloc",
    contenders: ALL_AND_FLOOR,
    targets: &[Target::Of(Which::Channels, 0.6)],
    allocator: Allocator::Mimalloc,
    plot: Plot::None,
);

pub(super) const SERIAL_MIMALLOC: Workload = workload!(SERIAL_SHAPE,
    name: "serial_mimalloc",
    question: "and with mimalloc for everybody?",
    shape: "serial, with mimalloc",
    contenders: SERIAL_CONTENDERS,
    targets: &[Target::Of(Which::Channels, 0.6)],
    allocator: Allocator::Mimalloc,
    plot: Plot::None,
);

pub(super) const TINY: Workload = workload!(TINY_SHAPE,
    name: "tiny",
    question: "what does a task of a tiny job cost?",
    shape: "200k jobs × 4 tasks, limit 2, 2 workers",
    contenders: ALL_POOLS,
    targets: &[Target::Of(Which::Channels, 0.2), Target::Of(Which::Rayon, 0.4)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
);

pub(super) const SINGLE: Workload = workload!(SINGLE_SHAPE,
    name: "single",
    question: "what does a job of a single task cost?",
    shape: "500k jobs × 1 task, limit 1, 2 workers",
    contenders: ALL_POOLS,
    targets: &[Target::Of(Which::Channels, 0.1)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
);

pub(super) const MEDIUM: Workload = workload!(MEDIUM_SHAPE,
    name: "medium",
    question: "what does a task of many medium jobs cost?",
    shape: "1,000 jobs × 1,000 tasks, limit 2, 4 workers",
    contenders: ALL_POOLS,
    targets: &[Target::Of(Which::Channels, 0.35)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
);

pub(super) const WIDE: Workload = workload!(WIDE_SHAPE,
    name: "wide",
    question: "what does a task cost among many workers?",
    shape: "1,000 jobs × 500 tasks, limits 1–8, 64 workers",
    contenders: ALL_POOLS,
    targets: &[Target::Of(Which::Channels, 0.45)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
);

pub(super) const BIG_BUSY: Workload = beside_neighbour!(BIG, BIG_SHAPE, "big_busy");
pub(super) const MEDIUM_BUSY: Workload = beside_neighbour!(MEDIUM, MEDIUM_SHAPE, "medium_busy");
pub(super) const WIDE_BUSY: Workload = beside_neighbour!(WIDE, WIDE_SHAPE, "wide_busy");
