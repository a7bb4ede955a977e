//! A scope's reference to one of its tasks.

use crate::base::task::{CellPtr, OpaqueJob};
use crate::job::record::JobPtr;
use crate::task::closure::{Face, Joint, Owner};
use crate::task::handle::TaskHandle;
use crate::task::pointer::TaskPtr;
use crate::task::state::{CLAIMED, Reference, State};
use crate::worker::context::Context;

/// A scope's reference to a task that can borrow from the stack.
pub struct ScopedTask(TaskPtr);

impl ScopedTask {
    /// Makes a task of `job`. If `handle` is true, the caller must call [`handle`](Self::handle) once.
    ///
    /// # Safety
    /// Values that `task` and its result borrow must last until [`Owner::task_ended`] is called, and until the handle is
    /// dropped.
    pub unsafe fn make<F, T, O>(job: JobPtr, handle: bool, owner: O, task: F) -> Self
    where
        F: FnOnce() -> T + Send,
        T: Send,
        O: Owner,
    {
        // SAFETY: by this function's contract, what `task` and its result borrow lasts as long as the closure and the outcome.
        let cell = unsafe { Joint::closure(job, State::of_scoped(handle), owner, task) };
        Self(TaskPtr { cell, table: &Joint::<F, T, O>::HANDLE })
    }

    /// Returns the task's handle.
    ///
    /// # Safety
    /// The task must have been made with a handle, and its result must be of the type `T`. The function may be called only once.
    pub unsafe fn handle<T>(&self) -> TaskHandle<T> {
        TaskHandle::new(self.0)
    }

    /// Returns a pointer to the task's cell, of the type that queues use.
    pub fn cell(&self) -> CellPtr {
        self.0.cell()
    }

    /// Returns the task's job.
    pub fn job(&self) -> OpaqueJob {
        self.0.job().opaque()
    }

    /// Returns true if the task has started, or was dropped.
    pub fn has_started(&self) -> bool {
        self.0.state().load().has(CLAIMED)
    }

    /// Runs the task inline if it has not started and `context` runs a task of the same job. Returns true if the task ran.
    pub fn run_inside(&self, context: &Context) -> bool {
        !self.has_started() && self.0.run_inside(context)
    }

    /// Drops the task if it has not started.
    pub fn cancel_unstarted(&self) {
        if !self.has_started() {
            self.0.cancel();
        }
    }
}

impl Clone for ScopedTask {
    fn clone(&self) -> Self {
        self.0.state().add(Reference::Waker);
        Self(self.0)
    }
}

impl Drop for ScopedTask {
    fn drop(&mut self) {
        // SAFETY: this value has the reference. If it is the last, the task has ended, and its outcome was taken or dropped.
        unsafe { Face::release(self.0.cell.cast(), Reference::Waker) };
    }
}
