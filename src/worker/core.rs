//! The type `Worker`, and what it does with one task. The modules `run`, `find` and `turn` add the worker's loop, its search
//! for a task, and its turns.

use crate::base::queues::Seat;
use crate::base::task::{CellPtr, Ran};
use crate::job::events;
use crate::job::record::JobPtr;
use crate::pool::core::Shared;
use crate::sync::atomic::Ordering;
use crate::sync::scaled;
use crate::unwind;
use crate::worker::context::Context;
use std::any::Any;
use std::cell::Cell;

/// The number of tasks of one job that a worker runs before it turns to another job.
pub(super) const BUDGET: u32 = scaled(16, 4, 2) as u32;
const _: () = assert!(BUDGET.is_power_of_two());

/// A worker thread while it serves a seat.
pub(super) struct Worker<'a> {
    pub(super) context: &'a Context,
    /// True if the pool counts this worker as searching.
    pub(super) searching: Cell<bool>,
    /// The job that had this worker's last turn; in a pool with classes, the last turn of the class that is searched. The job
    /// might have been freed, so the code only compares its address.
    pub(super) last: Cell<Option<JobPtr>>,
}

/// What a worker does with its permit after a task.
#[derive(PartialEq, Eq)]
pub(super) enum Then {
    /// The worker keeps the permit for the next task of the job.
    GoOn,
    /// The worker keeps the permit for the next task of the job, and does not count the task as ended. The task is a future that
    /// awaits a task or a job, and will acquire another permit. Or the task was cancelled before it started.
    GoOnUnended,
    /// The worker leaves the permit to the task, because the task is a pending future.
    LeavePermit,
}

impl Worker<'_> {
    pub(super) fn pool(&self) -> &Shared {
        self.context.pool()
    }

    pub(super) fn seat(&self) -> &Seat {
        self.context.seat().expect("a worker that looks for tasks sits in a place")
    }

    /// Runs one task of the worker's turn, and counts the task if it has ended. Returns what the worker does with the permit.
    pub(super) fn run_cell(&self, cell: CellPtr, job: JobPtr) -> Then {
        if let Some(seat) = self.context.seat() {
            seat.publish(job.idle_key(), self.context.lease().busy.get() - 1);
        }
        let (outer, address) = (events::started(self.pool(), job, cell), cell.as_ptr().addr());
        let ran = cell.run();
        events::ended(self.pool(), job, address, &ran, outer);
        match ran {
            Ran::Completed => {
                let completed = &self.context.lease().completed;
                completed.set(completed.get() + 1);
            }
            Ran::Counted => {}
            Ran::Pending => return Then::LeavePermit,
            #[cfg(feature = "futures")]
            Ran::Waits => {
                self.context.lease().give_back_busy_count();
                return Then::GoOnUnended;
            }
            Ran::Cancelled => return Then::GoOnUnended,
            Ran::Panicked(payload) => {
                // Ordering: Relaxed; ordered by the release of the permit, which follows.
                job.tally.panicked.fetch_add(1, Ordering::Relaxed);
                self.report(payload);
            }
        }
        Then::GoOn
    }

    /// Passes the payload of a task's panic to the user's hook, and drops the payload.
    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        call_hook(|| self.pool().hooks()?.panic.as_ref().map(|hook| hook(&*payload)));
        unwind::drop_quietly(payload);
    }
}

/// Calls a hook of the user, and ignores a panic of the hook. Rust's panic handler has already printed the message of that
/// panic.
pub(super) fn call_hook(hook: impl FnOnce() -> Option<()>) {
    if let Err(payload) = unwind::halt(hook) {
        unwind::drop_quietly(payload);
    }
}
