//! What is known of a cell with a handle without the types of its closure and its result: the head of the cell, the functions for
//! its handle, and its owner.

use crate::base::task::{CellPtr, Header};
use crate::job::record::JobPtr;
use crate::task::state::{Reference, Snapshot, State, WAITED};
use crate::unwind;
use crate::worker::context::Context;
use std::any::Any;
use std::ptr::NonNull;

/// What such a cell begins with, whatever its types.
#[repr(C)]
#[derive(Debug)]
pub struct Face {
    pub header: Header,
    pub state: State,
}

/// What a handle can do to a cell whose closure's type it does not know.
pub struct HandleTable {
    /// Runs the task inside the task that joins it. The caller has claimed it.
    pub run: Option<unsafe fn(NonNull<Face>)>,
    /// Cancels the task; returns true if this call cancelled it.
    pub cancel: unsafe fn(NonNull<Face>) -> bool,
    /// Moves the outcome to the pointer, a `Result<T, JoinError>`.
    pub outcome: unsafe fn(NonNull<Face>, *mut ()),
    /// Whether the task is a future.
    pub is_future: bool,
}

impl Face {
    /// Returns true if a waiter for the task's handle may be in the parking lot.
    pub fn is_waited_for(&self) -> bool {
        self.state.load().has(WAITED)
    }

    /// Returns the cell and the state of the innermost task that runs on this thread, if that task has a handle.
    pub fn of_running() -> Option<(NonNull<Self>, Snapshot)> {
        let cell = Context::with(|context| context.and_then(Context::running_cell))?;
        let face = cell.cast::<Self>();
        // SAFETY: the cell has a face, and lasts until the task ends.
        Some((face, unsafe { face.as_ref() }.state.load()))
    }

    /// Gives up a reference, and frees the cell if it was the last.
    ///
    /// # Safety
    /// The reference is the caller's. The cell's closure, future and outcome are gone if it is the last.
    #[inline]
    pub unsafe fn release(face: NonNull<Self>, reference: Reference) {
        // SAFETY: the reference keeps the cell alive.
        if unsafe { face.as_ref() }.state.release(reference) {
            // SAFETY: the last reference was given up, and by this function's contract the contents are gone.
            unsafe { Self::free(face) };
        }
    }

    /// Frees the memory of a cell.
    ///
    /// # Safety
    /// There is no reference to the cell, and its closure, future and outcome are gone.
    #[inline]
    pub unsafe fn free(mut face: NonNull<Self>) {
        // SAFETY: by this function's contract this is the only use of the cell.
        let whole = unsafe { face.as_mut() };
        let free = whole.header.vtable.free;
        // SAFETY: the function is that of the cell's type; the rest is this function's contract.
        unsafe { free(CellPtr::new(face.cast())) };
    }
}

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
