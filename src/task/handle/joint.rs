//! The cell of a task with a handle: its closure, then its result, and what either side does to it.
//!
//! Who may do what when is in `state`. The last part of the file is for the side that has the cell from a queue, the tables
//! are for the handle, which does not know the closure's type.

use crate::error::JoinError;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{UnsafeCell, fault};
use crate::task::handle::TaskHandle;
use crate::task::handle::state::{CLAIMED, DONE, HANDLE, INSIDE, QUEUE, TAKEN, WAITED, claim};
use crate::task::room::room;
use crate::task::{CellPtr, Header, Ran, VTable, cells};
use crate::unwind;
use crate::worker::context::Context;
use std::mem::ManuallyDrop;

/// A cell with a handle. The slot is a closure until CLAIMED, an outcome from DONE on.
#[repr(C)]
pub struct Joint<F, T> {
    pub header: Header,
    pub state: AtomicU64,
    pub slot: UnsafeCell<Slot<F, T>>,
}

pub union Slot<F, T> {
    pub task: ManuallyDrop<F>,
    pub outcome: ManuallyDrop<Result<T, JoinError>>,
}

/// What the handle sees of the cell, whatever its closure's type: the state, and the slot behind it.
#[repr(C)]
pub struct Face {
    pub header: Header,
    pub state: AtomicU64,
}

/// What a handle can do to a cell whose closure's type it does not know.
pub struct SideTable {
    /// Runs it inside the task that joins it, if it is of the kind that can be.
    pub run: Option<unsafe fn(*mut Face)>,
    pub cancel: unsafe fn(*mut Face),
    /// Cancels it after it has started, if it is of the kind that can be; tells whether it did.
    pub abort: Option<unsafe fn(*mut Face) -> bool>,
    pub outcome: unsafe fn(*mut Face, *mut ()),
    pub free: unsafe fn(*mut Face, bool),
}

/// Makes the cell of a task with a handle.
pub fn joint<F, T>(job: JobPtr, task: F) -> (CellPtr, TaskHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let cell = cells::make(Joint {
        header: Header::new(&Joint::<F, T>::VTABLE, job),
        state: AtomicU64::new(QUEUE | HANDLE),
        slot: UnsafeCell::new(Slot::<F, T> { task: ManuallyDrop::new(task) }),
    });
    (CellPtr::new(cell.cast()), TaskHandle::new(cell.cast(), &Joint::<F, T>::SIDE))
}

impl<F, T> Joint<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const VTABLE: VTable =
        VTable { run: Self::run, cancel: Self::cancel_queued, is_gone: is_claimed };
    const SIDE: SideTable = SideTable {
        run: Some(Self::run_claimed),
        cancel: Self::cancel_claimed,
        abort: None,
        outcome: Self::outcome,
        free: Self::free,
    };

    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract; the queue's share keeps it alive.
        let whole = unsafe { &*cell.as_ptr().cast::<Self>() };
        let before = claim(&whole.state, CLAIMED);
        if before & CLAIMED == 0 {
            // SAFETY: it is claimed, so the slot is the closure and this thread's.
            let task = unsafe { Self::take_task(whole) };
            // The frame ends before the outcome is told: from then on the cell may be gone, and what is dropped or woken
            // meanwhile is somebody else's code.
            let outcome = Context::with(|context| match context {
                Some(context) => {
                    let cell = cell.as_ptr().addr();
                    context.as_task(cell, Some(&whole.state), || unwind::halt(task))
                }
                None => unwind::halt(task),
            });
            // SAFETY: the claim and the queue's share are this thread's, and the closure was moved out.
            unsafe { Self::report(cell.as_ptr().cast(), outcome, QUEUE) };
            return Ran::Counted;
        }
        // Its handle was faster.
        // SAFETY: the caller's share is the queue's.
        unsafe { Self::give_up(cell.as_ptr().cast(), QUEUE) };
        if before & INSIDE == 0 { Ran::Cancelled } else { Ran::Counted }
    }

    /// Runs the task for the handle that has claimed it.
    ///
    /// # Safety
    /// The cell is of this type, the caller claimed it, and has the handle's share.
    unsafe fn run_claimed(cell: *mut Face) {
        let whole = cell.cast::<Self>();
        // SAFETY: by this function's contract the slot is the closure and this thread's.
        let task = unsafe { Self::take_task(&*whole) };
        let outcome = unwind::halt(task);
        // SAFETY: by this function's contract; the closure was moved out.
        unsafe { Self::report(whole, outcome, 0) };
    }

    /// Counts the task that has run, and tells its outcome.
    ///
    /// # Safety
    /// The caller claimed the cell, has moved the closure out, and has `share`, or the handle's.
    #[inline]
    unsafe fn report(cell: *mut Self, outcome: std::thread::Result<T>, share: u64) {
        // SAFETY: by this function's contract some share keeps it alive.
        let whole = unsafe { &*cell };
        let outcome = outcome.map_err(JoinError::panicked);
        let tally = &whole.header.job.tally;
        // Ordering: Relaxed both; published to the joiner by DONE.
        match &outcome {
            Ok(_) => drop(tally.completed.fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(tally.panicked.fetch_add(1, Ordering::Relaxed)),
        }
        // SAFETY: by this function's contract.
        unsafe { Self::finish(cell, outcome, share) };
    }
}

impl<F, T> Joint<F, T> {
    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    pub unsafe fn cancel_queued(cell: CellPtr) {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract; the queue's share keeps it alive.
        let before = claim(unsafe { &(*whole).state }, CLAIMED);
        if before & CLAIMED == 0 {
            cell.job().count_cancelled();
            // SAFETY: it is claimed, so the slot is the closure and this thread's.
            let task = unsafe { Self::take_task(&*whole) };
            unwind::drop_quietly(task);
            // SAFETY: the claim and the queue's share are this thread's.
            unsafe { Self::finish(whole, Err(JoinError::Cancelled), QUEUE) };
        } else {
            if before & INSIDE == 0 {
                // What ran inside the one that joined it was counted there.
                cell.job().count_cancelled();
            }
            // SAFETY: the caller's share is the queue's.
            unsafe { Self::give_up(whole, QUEUE) };
        }
    }

    /// Drops the closure and reports the task cancelled, for the handle that has claimed it.
    ///
    /// # Safety
    /// The cell is of this type, the caller claimed it, and has a share.
    pub unsafe fn cancel_claimed(cell: *mut Face) {
        let whole = cell.cast::<Self>();
        // SAFETY: by this function's contract the slot is the closure and this thread's.
        let task = unsafe { Self::take_task(&*whole) };
        unwind::drop_quietly(task);
        // SAFETY: by this function's contract.
        unsafe { Self::finish(whole, Err(JoinError::Cancelled), 0) };
    }

    /// # Safety
    /// The cell is claimed by the caller.
    unsafe fn take_task(whole: &Self) -> F {
        whole.slot.with_mut(|slot| {
            // SAFETY: by this function's contract the slot is the closure, and moved out once.
            unsafe { ManuallyDrop::take(&mut (*slot).task) }
        })
    }

    /// Puts the outcome into the slot, says so, and gives up `share`.
    ///
    /// # Safety
    /// The caller claimed the cell, has moved the closure out, and has `share`.
    pub unsafe fn finish(whole: *mut Self, outcome: Result<T, JoinError>, share: u64) {
        // SAFETY: the claim makes the slot this thread's until DONE.
        unsafe {
            (*whole).slot.with_mut(|slot| (*slot).outcome = ManuallyDrop::new(outcome));
        }
        let key = whole.addr();
        let ordering = if fault("relaxed-done") { Ordering::Relaxed } else { Ordering::AcqRel };
        // Ordering: AcqRel; Release publishes the slot to the handle, Acquire orders its end of
        // use before this one. E1 of the room.
        // SAFETY: the share keeps the cell alive.
        let state = unsafe { &(*whole).state };
        let before = if fault("done-load-then-store") {
            let before = state.load(Ordering::Acquire);
            state.store(before & !share | DONE, Ordering::Release);
            before
        } else {
            // One change for both: DONE is not set yet, and the share is.
            state.fetch_sub(share.wrapping_sub(DONE), ordering)
        };
        if before & WAITED != 0 {
            room().wake(key);
        }
        if before & (QUEUE | HANDLE) & !share == 0 {
            // SAFETY: both shares are gone, and with them everyone else.
            unsafe { Self::free(whole.cast(), true) };
        }
    }

    /// Gives up a share of a cell that somebody else has claimed.
    ///
    /// # Safety
    /// The caller has `share`.
    pub unsafe fn give_up(whole: *mut Self, share: u64) {
        // Ordering: AcqRel; all use of the cell comes before its end.
        // SAFETY: the share keeps the cell alive.
        let left = unsafe { &(*whole).state }.fetch_and(!share, Ordering::AcqRel) & !share;
        if left & (QUEUE | HANDLE) == 0 && left & DONE != 0 {
            // SAFETY: both shares are gone; the claimer is past DONE.
            unsafe { Self::free(whole.cast(), left & TAKEN == 0) };
        }
    }

    /// Moves the outcome to `out`, a `Result<T, JoinError>`.
    ///
    /// # Safety
    /// DONE is set and seen, the caller has the handle's share, and takes the outcome once; `out` is
    /// to be written.
    pub unsafe fn outcome(cell: *mut Face, out: *mut ()) {
        // SAFETY: by this function's contract.
        let slot = unsafe { &(*cell.cast::<Self>()).slot };
        slot.with_mut(|slot| {
            // SAFETY: by this function's contract the slot is an outcome.
            let outcome = unsafe { ManuallyDrop::take(&mut (*slot).outcome) };
            // SAFETY: by this function's contract.
            unsafe { out.cast::<Result<T, JoinError>>().write(outcome) };
        });
    }

    /// Frees the cell; drops the outcome if nobody took it.
    ///
    /// # Safety
    /// Nobody has a share, and DONE is set.
    pub unsafe fn free(cell: *mut Face, with_outcome: bool) {
        let whole = cell.cast::<Self>();
        // SAFETY: by this function's contract the contents are the caller's.
        let mut contents = unsafe { whole.read() };
        // SAFETY: its contents were moved out just now.
        unsafe { cells::free(whole) };
        if with_outcome {
            contents.slot.with_mut(|slot| {
                // SAFETY: DONE is set and nobody has taken the outcome.
                unwind::drop_quietly(unsafe { ManuallyDrop::take(&mut (*slot).outcome) });
            });
        }
        let _ = &mut contents;
    }
}

/// Whether somebody has claimed the task.
///
/// # Safety
/// The cell has a [`Face`], and the caller took it from its queue.
pub unsafe fn is_claimed(cell: CellPtr) -> bool {
    // SAFETY: by this function's contract; the queue's share keeps it alive.
    let face = unsafe { &*cell.as_ptr().cast::<Face>() };
    // Ordering: Acquire; what the claimer did comes before the cell's end.
    face.state.load(Ordering::Acquire) & CLAIMED != 0
}
