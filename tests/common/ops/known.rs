//! What the user knows of jobs and tasks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::{Job, TaskHandle};

use super::ledger::Ledger;
use super::permit::HeldPermit;
use super::task::Record;

pub struct KnownJob {
    /// None once it was dropped.
    pub job: Option<Job>,
    pub parent: Option<usize>,
    pub ledger: Arc<Ledger>,
    pub limit: usize,
    pub paused: bool,
    /// Its tasks keep their permits of it while they wait.
    pub keeps: bool,
    /// Until when it is held off.
    pub held_until: Option<Instant>,
    /// How many tasks of it and below had started when nothing moved, while it is held off.
    pub started: Option<usize>,
    /// Its rate, if it has one.
    pub rate: Option<KnownRate>,
    pub closed: bool,
    /// Its limit, if that is 1, has been so throughout.
    pub serial: bool,
    /// It, or one above it, was cancelled, or tasks of it by their handles.
    pub cancels: bool,
}

/// The rate of a job, from the call on that set it.
#[derive(Clone, Copy, Debug)]
pub struct KnownRate {
    pub interval: Duration,
    pub burst: usize,
    pub set: Instant,
    /// How many tasks of the job and below it had started at the call, or were in hand.
    pub before: usize,
    /// How many had started when the clock moved last.
    pub seen: usize,
    /// No start was later.
    pub last: Instant,
}

pub struct KnownTask {
    pub record: Arc<Record>,
    /// None once it was joined or dropped, and for tasks without one.
    pub handle: Option<TaskHandle<usize>>,
    /// It must not start any more.
    pub never: bool,
    /// Run out of turn by the task that joins it, maybe.
    pub joined_inside: bool,
    /// The task that pushes it; none for the user.
    pub pushed_by: Option<usize>,
    /// It is a permit without a task, which the user holds until it is let go: no worker does.
    pub permit: Option<HeldPermit>,
    /// It waits for this time in the timer.
    pub not_before: Option<Instant>,
    /// It was delayed, so it may start after tasks that were pushed later.
    pub was_delayed: bool,
    /// It is dropped at this time unless it has started.
    pub deadline: Option<Instant>,
    /// Nothing tells whether it had started at its deadline, or had left its queue at a clear.
    pub may_be_dropped: bool,
}

impl KnownTask {
    /// A permit that the user holds.
    pub fn held(record: Arc<Record>, permit: HeldPermit) -> Self {
        let permit = Some(permit);
        Self {
            record,
            handle: None,
            never: false,
            joined_inside: false,
            pushed_by: None,
            permit,
            not_before: None,
            was_delayed: false,
            deadline: None,
            may_be_dropped: false,
        }
    }

    /// It keeps a worker until it is let go.
    pub fn keeps_a_worker(&self) -> bool {
        self.record.runs() && self.record.holds() && self.permit.is_none()
    }

    pub fn let_go(&mut self) {
        self.record.let_go();
        if let Some(permit) = self.permit.take() {
            permit.give_back(&self.record);
        }
    }
}
