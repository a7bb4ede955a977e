//! What does a push cost if several threads push at once?
//!
//! In `pushers_2` and `pushers_4`, threads outside the pool push into one job. In `crossing`, each worker pushes into a job whose
//! tasks the other workers run, too.

use std::thread;

use super::{ALL_POOLS, Plot, Sample, Scale, Target, Workload, throughput};
use crate::contender::{Contender, Which, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::clock::Stopwatch;
use crate::measure::count::{self, Tally};
use crate::measure::limits;

const WORKERS: usize = 2;
const TASKS: u64 = 1_000_000;

/// The threads of `crossing`, the jobs, and the root tasks.
const CROSSING: u64 = 4;

/// The contenders of `crossing`. In the channel of channels all workers would wait in the job of the root tasks, and none would
/// be left for the other jobs.
const CROSSERS: &[Which] = &[
    Which::Ours,
    Which::RayonGate,
    Which::Rayon,
    Which::Tokio,
    Which::Smol,
    Which::BufferUnordered,
    Which::SharedChannel,
];

/// What the captures of `tasks` tasks of each of `pushers` pushers add up to.
fn captures(pushers: u64, tasks: u64) -> u64 {
    (0..pushers).flat_map(|pusher| (0..tasks).map(move |index| pusher ^ index)).sum()
}

fn run<C: Contender>(pushers: u64, scale: Scale) -> Sample {
    let tasks = scale.of(TASKS) / pushers;
    let pool = throughput::warm_pool::<C>(WORKERS, scale);
    let job = pool.job(WORKERS);
    let before = Tally::now();
    let stopwatch = Stopwatch::start();
    thread::scope(|threads| {
        for pusher in 0..pushers {
            let job = &job;
            threads.spawn(move || {
                for index in 0..tasks {
                    C::push(job, count::task(pusher, index, 0));
                }
            });
        }
    });
    before.wait_for(pushers * tasks);
    let span = stopwatch.stop();
    before.check(pushers * tasks, captures(pushers, tasks));
    Sample::each(span, pushers * tasks)
}

/// Root tasks, one for each worker. The n-th pushes all its tasks into the job n + 1.
fn cross<C: Contender>(scale: Scale) -> Sample {
    let tasks = scale.of(TASKS) / CROSSING;
    let pool = throughput::warm_pool::<C>(CROSSING as usize, scale);
    let jobs: Vec<C::Job> = (0..CROSSING).map(|_| pool.job(CROSSING as usize)).collect();
    let jobs = Box::into_raw(jobs.into_boxed_slice());
    // SAFETY: the jobs live until all tasks are counted, and a root task counts itself after its last use of them.
    let shared: &'static [C::Job] = unsafe { &*jobs };
    let roots = pool.job(CROSSING as usize);
    let before = Tally::now();
    let stopwatch = Stopwatch::start();
    for root in 0..CROSSING {
        let job = &shared[((root + 1) % CROSSING) as usize];
        C::push(&roots, move || {
            for index in 0..tasks {
                C::push(job, count::task(root, index, 0));
            }
            count::done(0);
        });
    }
    let all = CROSSING * (tasks + 1);
    before.wait_for(all);
    let span = stopwatch.stop();
    before.check(all, captures(CROSSING, tasks));
    // SAFETY: it came from `into_raw`, and all tasks are counted.
    drop(unsafe { Box::from_raw(jobs) });
    Sample::each(span, all)
}

pub(super) const PUSHERS_2: Workload = Workload {
    name: "pushers_2",
    question: "what does a push cost if two threads push into one job?",
    shape: "2 threads × 500k tasks into one job, limit = workers = 2",
    unit: "ns a task",
    contenders: ALL_POOLS,
    targets: &[Target::Of(Which::SharedChannel, 0.3)],
    allocator: Allocator::System,
    plot: Plot::Throughput,
    most_rounds: usize::MAX,
    run: |which, scale| with_contender!(which, C => run::<C>(2, scale)),
    check_limits: |which| with_contender!(which, C => limits::check::<C>(WORKERS, |_| WORKERS)),
};

pub(super) const PUSHERS_4: Workload = Workload {
    name: "pushers_4",
    question: "what does a push cost if four threads push into one job?",
    shape: "4 threads × 250k tasks into one job, limit = workers = 2",
    targets: &[Target::Of(Which::SharedChannel, 0.45)],
    run: |which, scale| with_contender!(which, C => run::<C>(4, scale)),
    ..PUSHERS_2
};

pub(super) const CROSSED: Workload = Workload {
    name: "crossing",
    question: "what does a push cost if each worker pushes into a job that others run?",
    shape: "4 tasks on 4 workers push 250k tasks each into a job of its own, limit 4",
    contenders: CROSSERS,
    targets: &[Target::Of(Which::Rayon, 0.5)],
    run: |which, scale| with_contender!(which, C => cross::<C>(scale)),
    check_limits: |which| with_contender!(which, C => limits::check::<C>(4, |_| 4)),
    ..PUSHERS_2
};
