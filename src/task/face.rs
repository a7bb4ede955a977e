//! What a handle uses of its task's cell: the first fields of the cell, and a table of functions. The handle does not know the
//! types of the closure and of the result. The trait [`Owner`] is for objects that a task belongs to, such as a scope.

use crate::base::parking::parking_lot;
use crate::base::task::{CellPtr, Header};
use crate::job::record::JobPtr;
use crate::sync::RESTS;
use crate::task::state::{Reference, Snapshot, State, WAITED};
use crate::unwind;
use crate::worker::context::Context;
use std::any::Any;
use std::ptr::NonNull;

/// The first fields of a cell with a handle, whatever the types of its closure and its result.
#[repr(C)]
#[derive(Debug)]
pub struct Face {
    pub header: Header,
    pub state: State,
}

/// The functions by which a handle uses the cell of its task. The handle does not know the closure's type.
pub struct HandleTable {
    /// Runs the task inline, in the task that joins it. The caller must have claimed the task. The field is `None` if tasks of
    /// this type never run inline.
    pub run: Option<unsafe fn(NonNull<Face>)>,
    /// Cancels the task. Returns true if this call has cancelled the task.
    pub cancel: unsafe fn(NonNull<Face>) -> bool,
    /// Moves the outcome out of the cell, to the second argument: the address of a `Result<T, JoinError>`.
    pub outcome: unsafe fn(NonNull<Face>, *mut ()),
    /// True if the task is a future.
    pub is_future: bool,
    /// True if the task is delayed at first, so that the timer pushes it.
    pub is_delayed: bool,
}

impl Face {
    /// Returns true if a waiter for this task's end might be in the parking lot.
    pub fn is_waited_for(&self) -> bool {
        self.state.load().has(WAITED)
    }

    /// Returns the cell and the state of the innermost task on this thread, if that task has a handle.
    pub fn of_running() -> Option<(NonNull<Self>, Snapshot)> {
        let cell = Context::with(|context| context.and_then(Context::running_cell))?;
        let face = cell.cast::<Self>();
        // SAFETY: the cell has a face, and lasts until the task ends.
        Some((face, unsafe { face.as_ref() }.state.load()))
    }

    /// Gives up a reference to the cell, and frees the cell if the reference was the last.
    ///
    /// # Safety
    /// The caller must own the reference. If the reference is the last, the cell must hold no closure, future or outcome.
    #[inline]
    pub unsafe fn release(face: NonNull<Self>, reference: Reference) {
        // SAFETY: the reference keeps the cell alive.
        if unsafe { face.as_ref() }.state.release(reference) {
            // SAFETY: the last reference was given up. By this function's contract the cell holds nothing to drop.
            unsafe { Self::free(face) };
        }
    }

    /// Returns true if the parking lot has no waiter for the task. Under loom always returns true, because each model checks
    /// the whole parking lot at the end.
    fn has_no_waiter(face: NonNull<Self>) -> bool {
        cfg!(tollgate_loom) || !parking_lot().has_waiter(face.addr().get())
    }

    /// Frees the memory of a cell of any type.
    ///
    /// # Safety
    /// No reference to the cell may exist, and the cell must hold no closure, future or outcome.
    #[inline]
    pub unsafe fn free(mut face: NonNull<Self>) {
        // SAFETY: no reference to the cell is left, so this is its only use.
        let whole = unsafe { face.as_mut() };
        assert!(!RESTS || Self::has_no_waiter(face), "a task is freed, and a waiter is left");
        let free = whole.header.vtable.free;
        // SAFETY: the function is that of the cell's type. No reference is left, and the cell holds nothing to drop.
        unsafe { free(CellPtr::new(face.cast())) };
    }
}

/// An object that a task belongs to besides its job, such as a scope or an entry of the timer. The pool tells this object what
/// happens to the task, by the functions below. So the object must live until the cell of the task is freed. By default these
/// functions do nothing, except that `take_panic` drops the payload.
pub trait Owner: Copy + Send {
    /// True if the statistics of the job count the task.
    const COUNTED: bool = true;
    /// True if the task is delayed at first, so that the timer pushes it.
    const DELAYED: bool = false;
    /// The function that returns the name of the task. `None` if tasks of this owner have no name.
    const NAME: Option<fn(Self) -> NonNull<str>> = None;
    /// Receives the payload of a panic, if a task without a handle panics.
    fn take_panic(self, payload: Box<dyn Any + Send>) {
        unwind::drop_quietly(payload);
    }
    /// Tells the owner that the task has ended. Called after the closure was run or dropped, and after the outcome was dropped or
    /// stored for the task's handle.
    fn task_ended(self) {}
    /// Called by the thread that has claimed the task's closure, before that thread runs or drops the closure.
    fn claimed(self, _: NonNull<Face>) {}
    /// Called after `claimed`, before the task runs. Returns true if the task's deadline has come: then the caller drops the
    /// task instead.
    fn is_late(self) -> bool {
        false
    }
    /// Called after `claimed`, before a handle drops the closure. Returns true if this call has taken the task out of the
    /// timer. Then the caller owns the queue's reference and a busy count of the job.
    fn leaves_timer(self) -> bool {
        false
    }
    /// Called after `leaves_timer` has returned true and the closure was dropped. Must give back the job's busy count that
    /// the caller then owns. Does nothing by default, because `leaves_timer` returns false by default.
    fn left_timer(self, _: JobPtr) {}
    /// Called after the memory of the task's cell was freed.
    fn freed(self) {}
}

impl Owner for () {}
