//! What the tasks of a run came to.

use super::machine::{Core, Kind, Machine, Time};
use super::{Path, Shape, Task};
use std::cell::Cell;

/// What a push works for itself: the closure is moved into its cell. Fitted to a push into a full job, 15 ns.
const PUSH: Time = 2;
/// What running a task works for itself: a call through a pointer, and counting. Fitted to a serial task, 30 ns.
const CALL: Time = 12;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Nanoseconds from the first push to the end of the last task.
    pub time: Time,
    /// Tasks that were pushed.
    pub pushed: usize,
    /// Tasks that ran.
    pub run: usize,
    /// Jobs of which more tasks ran at once than their limit.
    pub limits_broken: usize,
    /// Lines that moved from core to core.
    pub transfers: u64,
    /// Read-modify-writes and full fences, those in deques, injector and channels among them.
    pub atomics: u64,
    /// Compare-exchanges that failed.
    pub failures: u64,
    /// The line that was longest on its way to writers, and the part of the time that it was.
    pub busiest: Option<(Kind, f64)>,
}

impl Outcome {
    /// Nanoseconds a task.
    pub fn nanoseconds(&self) -> f64 {
        self.time as f64 / self.run as f64
    }

    /// Transfers a task.
    pub fn transfers_a_task(&self) -> f64 {
        self.transfers as f64 / self.run as f64
    }

    /// Atomics a task.
    pub fn atomics_a_task(&self) -> f64 {
        self.atomics as f64 / self.run as f64
    }

    /// Failed compare-exchanges a task.
    pub fn failures_a_task(&self) -> f64 {
        self.failures as f64 / self.run as f64
    }
}

/// Counts pushes and runs, at no cost to those who do them.
pub struct Ledger {
    /// The run.
    pub shape: Shape,
    pushed: Cell<usize>,
    run: Cell<usize>,
    running: Vec<Cell<usize>>,
    most: Vec<Cell<usize>>,
}

impl Ledger {
    /// Nothing pushed.
    pub fn new(shape: &Shape) -> Self {
        let counts = || vec![Cell::new(0); shape.jobs()];
        Self {
            shape: *shape,
            pushed: Cell::new(0),
            run: Cell::new(0),
            running: counts(),
            most: counts(),
        }
    }

    /// Works for a push, and counts it.
    pub async fn note_push(&self, core: &Core) {
        self.pushed.set(self.pushed.get() + 1);
        core.work(PUSH).await;
    }

    /// How many handles each job begins with.
    pub fn handles(&self, job: usize) -> usize {
        let pushers = self.shape.pushers().max(1);
        let tree = usize::from(matches!(self.shape.path, Path::Nested | Path::Cloned));
        tree.max((0..pushers).filter(|pusher| self.shape.share(job, *pusher) > 0).count())
    }

    /// Calls the task: reads its cell, and works as long as it does.
    pub async fn call(&self, core: &Core, task: Task) {
        let running = &self.running[task.job];
        running.set(running.get() + 1);
        let most = &self.most[task.job];
        most.set(most.get().max(running.get()));
        core.claim(task.cell).await;
        core.work(CALL + self.shape.work).await;
    }

    /// The tasks that this one pushes: what is below each.
    pub fn children(&self, task: Task) -> impl Iterator<Item = usize> {
        let below = task.below;
        [below.div_ceil(2), below / 2].into_iter().filter(|count| *count > 0).map(|count| count - 1)
    }

    /// The task has ended; stops the machine after the last.
    pub fn end(&self, core: &Core, task: Task) {
        let running = &self.running[task.job];
        running.set(running.get() - 1);
        self.run.set(self.run.get() + 1);
        if self.run.get() == self.shape.total() {
            core.machine().stop();
        }
    }

    /// What it all came to.
    pub fn outcome(&self, machine: &Machine) -> Outcome {
        let limit = self.shape.limit();
        let time = machine.now();
        Outcome {
            time,
            pushed: self.pushed.get(),
            run: self.run.get(),
            limits_broken: self.most.iter().filter(|most| most.get() > limit).count(),
            transfers: machine.transfers(),
            atomics: machine.atomics(),
            failures: machine.failures(),
            busiest: machine.busiest().map(|(kind, busy)| (kind, busy as f64 / time as f64)),
        }
    }
}
