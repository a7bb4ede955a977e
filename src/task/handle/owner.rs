//! What a task with a handle belongs to besides its job: a scope, a stream, or an entry of the pool's timer.

use crate::job::record::JobPtr;
use crate::task::handle::joint::Face;
use crate::unwind;
use std::any::Any;
use std::ptr::NonNull;

/// What a task belongs to besides its job. Each function that a task has no use for is empty, and costs nothing.
pub trait Owner: Copy + Send {
    /// The statistics of the job count the task.
    const COUNTED: bool = true;
    /// Takes the panic of a task without a handle.
    fn take_panic(self, payload: Box<dyn Any + Send>) {
        unwind::drop_quietly(payload);
    }
    /// Notes the end of the task. Its closure is gone, and its outcome is gone or owned by its handle.
    fn task_ended(self) {}
    /// Called by the thread that has claimed the closure.
    fn claimed(self, _: NonNull<Face>) {}
    /// Called after `claimed`, before the task is run. Returns true if the time is over by which the task had to start: it is
    /// dropped instead.
    fn is_late(self) -> bool {
        false
    }
    /// Called by the handle's thread that has claimed the closure, to drop it. Returns true if that thread now owns the queue's
    /// reference and a token of the job, because it has taken the task out of the timer.
    fn leaves_timer(self) -> bool {
        false
    }
    /// Gives a token of the job back, after `leaves_timer`.
    fn left_timer(self, _: JobPtr) {}
    /// Notes that the memory of the cell is freed.
    fn freed(self) {}
}

impl Owner for () {}
