//! How much memory does an idle job hold, and a queued task? Live bytes, as asked of the allocator; the detail says how much
//! of it is resident, and what is left of a burst when it is over.

use std::thread;
use std::time::Duration;

use super::throughput::{Shape, warm_pool};
use super::{KEEP_LIMITS, LEAVE_IDLE_JOBS, Plot, Sample, Scale, Target, Workload};
use crate::contender::{Contender, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::count::{self, Tally};
use crate::measure::latch::Latch;
use crate::measure::memory::{live_bytes, resident_bytes, trim};

const WORKERS: usize = 2;
const JOBS: u64 = 400_000;
const QUEUED: u64 = 1_000_000;

/// Live and resident bytes at one moment.
#[derive(Clone, Copy)]
struct Held {
    live: f64,
    resident: f64,
}

impl Held {
    fn now() -> Held {
        Held { live: live_bytes() as f64, resident: resident_bytes() as f64 }
    }

    /// What came on top since `before`, in pieces of `count`.
    fn each_since(self, before: Held, count: u64) -> Held {
        let each = |now: f64, before: f64| (now - before) / count as f64;
        Held { live: each(self.live, before.live), resident: each(self.resident, before.resident) }
    }
}

/// Bytes of a job with nothing to run, handle and all, after `tasks` tasks went through it.
fn idle_job<C: Contender>(tasks: u64, scale: Scale) -> Sample {
    let pool = warm_pool::<C>(WORKERS, scale);
    let count = scale.of(JOBS);
    trim();
    let before = Held::now();
    let mut jobs: Vec<C::Job> = Vec::with_capacity(count as usize);
    let tally = Tally::now();
    for index in 0..count {
        let job = pool.job(2);
        (0..tasks).for_each(|task| C::push(&job, count::task(index, task, 0)));
        jobs.push(job);
    }
    tally.wait_for(count * tasks);
    settle();
    let held = Held::now().each_since(before, count);
    Sample::number(held.live, format!("{:.0} bytes resident", held.resident))
}

/// What a burst of queued tasks held while it waited, and after it was over: bytes a task.
fn burst<C: Contender>(scale: Scale) -> (Held, Held) {
    let pool = warm_pool::<C>(WORKERS, scale);
    let shape = Shape { workers: WORKERS, jobs: 1, tasks: scale.of(QUEUED), limit: |_| WORKERS };
    trim();
    let tally = Tally::now();
    let before = Held::now();
    let latch = Latch::leak();
    let job = pool.job((shape.limit)(0));
    for _ in 0..WORKERS {
        C::push(&job, move || {
            latch.pass();
            count::done(0);
        });
    }
    latch.wait_for_blocked(WORKERS);
    (0..shape.tasks).for_each(|index| C::push(&job, count::task(0, index, 0)));
    let queued = Held::now().each_since(before, shape.tasks);
    latch.open();
    tally.wait_for(shape.tasks + WORKERS as u64);
    drop(job);
    settle();
    (queued, Held::now().each_since(before, shape.tasks))
}

/// Gives workers the time to tidy up and park.
fn settle() {
    thread::sleep(Duration::from_millis(200));
}

fn queued_task<C: Contender>(scale: Scale) -> Sample {
    let (queued, _) = burst::<C>(scale);
    Sample::number(queued.live, format!("{:.0} bytes resident", queued.resident))
}

fn after_burst<C: Contender>(scale: Scale) -> Sample {
    let (queued, after) = burst::<C>(scale);
    let resident =
        format!("{:.0} of {:.0} bytes a task still resident", after.resident, queued.resident);
    Sample::number(after.live / queued.live, resident)
}

pub(super) const IDLE_JOB: Workload = Workload {
    name: "idle_job",
    question: "how much memory does a new job hold?",
    shape: "handle and all, before its first task",
    unit: "bytes",
    contenders: KEEP_LIMITS,
    targets: &[Target::AtMost(128.0)],
    allocator: Allocator::Counting,
    plot: Plot::None,
    most_rounds: 1,
    run: |which, scale| with_contender!(which, C => idle_job::<C>(0, scale)),
    check_limits: |_| {},
};

pub(super) const USED_JOB: Workload = Workload {
    name: "used_job",
    question: "how much memory does an idle job hold?",
    shape: "handle and all, after 4 tasks went through it",
    contenders: LEAVE_IDLE_JOBS,
    run: |which, scale| with_contender!(which, C => idle_job::<C>(4, scale)),
    ..IDLE_JOB
};

pub(super) const QUEUED_TASK: Workload = Workload {
    name: "queued_task",
    question: "how much memory does a queued task hold?",
    shape: "each of 1M queued tasks, 24 bytes of captures",
    targets: &[Target::AtMost(64.0)],
    run: |which, scale| with_contender!(which, C => queued_task::<C>(scale)),
    ..IDLE_JOB
};

pub(super) const AFTER_BURST: Workload = Workload {
    name: "after_burst",
    question: "how much of a burst is held when it is over?",
    shape: "after 1M queued tasks",
    unit: "of the burst",
    targets: &[Target::AtMost(0.05)],
    run: |which, scale| with_contender!(which, C => after_burst::<C>(scale)),
    ..IDLE_JOB
};
