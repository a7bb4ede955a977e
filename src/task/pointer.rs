//! A pointer to a task, for handles and scopes, which do not know the type of the task's closure.

use crate::base::task::CellPtr;
use crate::job::cancels::note_gone;
use crate::job::events;
use crate::job::gate;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;
use crate::task::closure::{Face, HandleTable};
use crate::task::state::{Claim, DONE, State, WAITED};
use crate::worker::blocking;
use crate::worker::context::Context;
use std::ptr::NonNull;

/// A pointer to the cell of a task, and the functions for its handle. The owner of this value must have a reference to the
/// cell.
#[derive(Clone, Copy)]
pub struct TaskPtr {
    pub cell: NonNull<Face>,
    pub table: &'static HandleTable,
}

// SAFETY: the cell's state is atomic, and its closure is Send.
unsafe impl Send for TaskPtr {}
// SAFETY: the cell's state is atomic, and its closure is Send.
unsafe impl Sync for TaskPtr {}

impl TaskPtr {
    /// Returns the state word of the task.
    pub fn state(&self) -> &State {
        // SAFETY: the owner of this pointer has a reference, which keeps the cell alive.
        unsafe { &self.cell.as_ref().state }
    }

    /// Returns the task's job. The caller must keep the job alive while it uses the returned job.
    pub fn job(&self) -> JobPtr {
        // SAFETY: by the type's contract the cell is alive.
        unsafe { self.cell.as_ref() }.header.job()
    }

    /// Returns the key in the parking lot for waiters of this task.
    pub fn key(&self) -> usize {
        self.cell.as_ptr().addr()
    }

    /// Returns a pointer to the task's cell, of the type that queues use.
    pub fn cell(&self) -> CellPtr {
        CellPtr::new(self.cell.cast())
    }

    /// Returns the task's name, if the task has one.
    pub fn name(&self) -> Option<&str> {
        // SAFETY: the name lasts as long as the cell. By the type's contract the cell is alive while this pointer has an owner.
        self.cell().name().map(|name| unsafe { name.as_ref() })
    }

    /// Returns true if the task's outcome is final.
    pub fn is_finished(&self) -> bool {
        self.state().load().has(DONE)
    }

    /// Cancels the task. Returns true if this call has cancelled the task.
    pub fn cancel(&self) -> bool {
        // SAFETY: the owner has a reference, and the table is that of the cell's type.
        unsafe { (self.table.cancel)(self.cell) }
    }

    /// Parks the calling thread until the task has ended or the time `until` has come.
    ///
    /// # Panics
    /// Panics in the cases of [`blocking::wait`].
    pub fn wait(&self, until: Option<Instant>) {
        blocking::wait(self.key(), until, || !self.state().set(WAITED).has(DONE));
    }

    /// Runs this task inline, under the permit of the task that runs on this thread, and returns true. If this task has
    /// started, or is not allowed to run under that permit, returns false.
    pub fn run_inside(&self, context: &Context) -> bool {
        let job = self.job();
        let Some(run) = self.table.run.filter(|_| context.may_run_inside(job)) else {
            return false;
        };
        if self.state().claim(true) != Claim::Granted {
            return false;
        }
        context.depth.set(context.depth.get() + 1);
        let outer = events::started_inside(job, self.cell());
        context.as_task(self.key(), Some(self.cell()), || {
            // SAFETY: this thread claimed the closure just now, and the owner has a reference.
            unsafe { run(self.cell) };
        });
        events::ended_inside(job, self.key(), outer);
        context.depth.set(context.depth.get() - 1);
        note_empty(job);
        true
    }
}

/// Wakes the threads and futures that wait until `job` is idle, if the job or one of its ancestors is held or held off.
/// Otherwise does nothing.
///
/// Call this after a task of the job was claimed while its cell was in a queue. Usually a worker takes the empty cell out
/// later, and then wakes the waiters if the job is idle. While the job or an ancestor is held, no worker takes the cell out, so
/// this call wakes the waiters.
///
/// No wake-up is lost if another thread pauses a gate, or sets its limit to 0, at the same time. The task was claimed before the
/// full fence of this call. So this call sees that the gate is held, or the other thread sees that the task is claimed.
pub fn note_empty(job: JobPtr) {
    fence_after_rmw();
    if gate::is_stuck(job) {
        note_gone(job);
    }
}
