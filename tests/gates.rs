//! All gates of a task are independent, and all must pass: for each pair of them, in each order, opening the first starts
//! nothing, and opening the second starts the task. Meanwhile the task holds no permit of its job or of its parent.

mod common;

use std::time::Duration;

use common::{LONG, pool_with_clock, within};
use tollgate::{Job, ManualClock, Pool, Rate, Reason, TaskHandle};

/// The jobs of one trial, in a pool that goes by a clock.
struct Jobs {
    clock: ManualClock,
    pool: Pool,
    parent: Job,
    job: Job,
    /// Another child of the parent.
    beside: Job,
}

/// What may keep a task from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Limit,
    ParentsLimit,
    Pause,
    ParentsPause,
    Rate,
    ParentsRate,
    HoldOff,
    Delay,
}

use Gate::{Delay, HoldOff, Limit, ParentsLimit, ParentsPause, ParentsRate, Pause};

const GATES: [Gate; 8] =
    [Limit, ParentsLimit, Pause, ParentsPause, Gate::Rate, ParentsRate, HoldOff, Delay];

const DELAY: Duration = Duration::from_secs(10);
const HELD_OFF: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

impl Gate {
    fn is_of_parent(self) -> bool {
        matches!(self, ParentsLimit | ParentsPause | ParentsRate)
    }

    fn close(self, jobs: &Jobs) {
        match self {
            Limit => jobs.job.set_limit(0),
            ParentsLimit => jobs.parent.set_limit(0),
            Pause => jobs.job.pause(),
            ParentsPause => jobs.parent.pause(),
            Gate::Rate => use_up(&jobs.job, &jobs.job),
            ParentsRate => use_up(&jobs.parent, &jobs.beside),
            HoldOff => jobs.job.hold_off(HELD_OFF),
            Delay => {} // The task's own.
        }
    }

    fn open(self, jobs: &Jobs) {
        match self {
            Limit => jobs.job.set_limit(1),
            ParentsLimit => jobs.parent.set_limit(1),
            Pause => jobs.job.resume(),
            ParentsPause => jobs.parent.resume(),
            Gate::Rate => jobs.job.set_rates(&[]),
            ParentsRate => jobs.parent.set_rates(&[]),
            HoldOff => jobs.clock.advance(HELD_OFF),
            Delay => jobs.clock.advance(DELAY),
        }
    }

    fn is_named_by(self, jobs: &Jobs, task: &TaskHandle<i32>) -> bool {
        let of =
            |job: &Job| if self.is_of_parent() { job == &jobs.parent } else { job == &jobs.job };
        let named = |reason: &Reason| match (self, reason) {
            (Limit | ParentsLimit, Reason::Limit { job, limit: 0, .. }) => of(job),
            (Pause | ParentsPause, Reason::Paused { job }) => of(job),
            (Gate::Rate | ParentsRate, Reason::Rate { job, .. }) => of(job),
            (HoldOff, Reason::HeldOff { job, .. }) => of(job),
            (Delay, Reason::Delayed { .. }) => true,
            _ => false,
        };
        jobs.job.explain_task(task).reasons().iter().any(named)
    }
}

/// Gives the job a rate of one start an hour, and uses that start up by a task of `by`.
fn use_up(job: &Job, by: &Job) {
    job.set_rate(Rate::every(HOUR));
    by.spawn(|| ()).join().unwrap();
}

/// Neither started nor counted by a permit; and what is beside it runs, if the parent lets it.
fn waits(jobs: &Jobs, task: &TaskHandle<i32>, closed: &[Gate]) {
    assert!(!task.is_finished(), "started although {closed:?} are closed");
    // What has run beside it may be about to give its permit back.
    while jobs.parent.stats().running + jobs.job.stats().running > 0 {
        std::thread::yield_now();
    }
    if !closed.iter().any(|gate| gate.is_of_parent()) {
        assert_eq!(jobs.beside.spawn(|| 2).join().unwrap(), 2);
    }
    assert!(!task.is_finished(), "started although {closed:?} are closed");
}

fn trial(first: Gate, second: Gate) {
    eprintln!("{first:?}, then {second:?}");
    let (pool, clock) = pool_with_clock(2);
    let parent = pool.job(1);
    let (job, beside) = (parent.job(1), parent.job(1));
    let jobs = Jobs { clock, pool, parent, job, beside };
    // A rate is used up while everything else is open, the parent's too.
    let mut order = [first, second];
    order.sort_by_key(|gate| match gate {
        Gate::Rate => 0,
        ParentsRate => 1,
        _ => 2,
    });
    order.iter().for_each(|gate| gate.close(&jobs));
    let task = match first == Delay || second == Delay {
        true => jobs.job.spawn_after(DELAY, || 1),
        false => jobs.job.spawn(|| 1),
    };
    waits(&jobs, &task, &[first, second]);
    first.open(&jobs);
    waits(&jobs, &task, &[second]);
    assert!(second.is_named_by(&jobs, &task), "{second:?}: {}", jobs.job.explain_task(&task));
    second.open(&jobs);
    assert_eq!(task.join().unwrap(), 1, "{first:?}, then {second:?}");
    drop(jobs.pool);
}

#[test]
fn each_two_gates_are_independent_and_both_must_pass() {
    within(LONG, || {
        for first in GATES {
            for second in GATES {
                // The hold-off is longer than the delay, so its end is also the end of that.
                if first != second && (first, second) != (HoldOff, Delay) {
                    trial(first, second);
                }
            }
        }
    });
}
