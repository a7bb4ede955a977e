//! The cell of a task with a handle: its closure or future, then its outcome.
//!
//! The state word says which thread may touch which part of the cell (module [`state`](crate::task::state)). The functions of
//! [`VTable`] are for the thread that takes the cell from a queue. The functions of [`HandleTable`] are for the handle, which
//! does not know the closure's type.

pub use crate::task::face::{Face, HandleTable, Owner};

use crate::base::cache;
use crate::base::parking::parking_lot;
use crate::base::task::{CellPtr, Header, Ran, VTable};
use crate::error::JoinError;
use crate::job::cancels::note_gone;
use crate::job::record::JobPtr;
use crate::sync::UnsafeCell;
use crate::task::state::{CANCELLED, CLAIMED, CLEARED, Claim, Finish, Reference, State};
use crate::unwind;
use crate::worker::context::Context;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The cell of a task with a handle or an [`Owner`]. Its slot holds the closure or future until that is taken or dropped. From
/// DONE on the slot holds the outcome.
#[repr(C)]
pub struct Joint<F, T, O = ()> {
    pub header: Header,
    pub state: State,
    pub slot: UnsafeCell<Slot<F, T>>,
    owner: O,
}

pub union Slot<F, T> {
    pub task: ManuallyDrop<F>,
    pub outcome: ManuallyDrop<Result<T, JoinError>>,
}

impl<F, T, O> Joint<F, T, O>
where
    F: FnOnce() -> T + Send,
    T: Send,
    O: Owner,
{
    const VTABLE: VTable = VTable {
        is_gone: is_empty,
        is_claimed,
        free: Self::free,
        name: match O::NAME {
            Some(_) => Some(Self::name),
            None => None,
        },
        // A task that statistics do not count is a puller, and a clear must not drop a puller.
        clear: if O::COUNTED { Some(note_cleared) } else { None },
        ..VTable::of::<Self>(Self::run, Self::cancel)
    };
    pub const HANDLE: HandleTable = HandleTable {
        run: Some(Self::run_claimed),
        cancel: Self::cancel_by_handle,
        outcome: Self::outcome,
        is_future: false,
        is_delayed: O::DELAYED,
    };

    /// Makes the cell of a closure with a handle or an owner.
    ///
    /// # Safety
    /// Values that the closure and its result borrow must last until the closure and the outcome are gone.
    pub unsafe fn closure(job: JobPtr, state: State, owner: O, task: F) -> NonNull<Face> {
        Self::make(Header::new(&Self::VTABLE, job.opaque()), state, owner, task)
    }

    /// Returns the name of a task. The task's owner must have a name.
    ///
    /// # Safety
    /// The cell must be of this type, and the caller must keep it alive.
    unsafe fn name(cell: CellPtr) -> NonNull<str> {
        let name = const { O::NAME }.expect("the table has this function only if there is a name");
        // SAFETY: the cell is of this type, and the caller keeps it alive.
        name(unsafe { cell.cast::<Self>().as_ref() }.owner)
    }

    /// Runs the closure on a worker.
    ///
    /// # Safety
    /// The cell must be of this type, and the caller must have taken it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        let whole = cell.cast::<Self>();
        // SAFETY: the caller took the cell from its queue, and the queue's reference keeps it alive.
        let this = unsafe { whole.as_ref() };
        match this.claim_taken() {
            Claim::Granted => {}
            taken => {
                Context::forget_sample();
                let cancelled = O::COUNTED && taken == Claim::Refused;
                if cancelled {
                    cell.job().count_cancelled();
                }
                // SAFETY: the queue's reference is the caller's; the thread that claimed the closure has taken it.
                unsafe { Face::release(cell.cast(), Reference::Queue) };
                return if cancelled { Ran::Cancelled } else { Ran::Counted };
            }
        }
        this.owner.claimed(cell.cast());
        if this.owner.is_late() {
            this.count_expired();
            // SAFETY: it is claimed, and the queue's reference is this thread's.
            unsafe { Self::drop_claimed(whole, JoinError::Expired, Some(Reference::Queue)) };
            return Ran::Cancelled;
        }
        // SAFETY: this thread has claimed the closure, so the slot holds the closure, and this thread owns it.
        let task = unsafe { this.take_task() };
        // `as_task` ends before the outcome is reported. After the report the cell may be freed, and user code may run.
        let outcome = Context::with(|context| match context {
            Some(context) => {
                let key = cell.as_ptr().addr();
                context.as_task(key, Some(cell), || unwind::halt(task))
            }
            None => unwind::halt(task),
        });
        // SAFETY: this thread has the claim and the queue's reference, and the closure was moved out.
        unsafe { Self::report(whole, outcome, Some(Reference::Queue)) };
        Ran::Counted
    }

    /// Runs the closure inline, for the handle that has claimed it.
    ///
    /// # Safety
    /// The cell must be of this type. The caller must have claimed it, and must have the handle's reference.
    unsafe fn run_claimed(cell: NonNull<Face>) {
        let whole = cell.cast::<Self>();
        // SAFETY: the cell is of this type, and the handle's reference keeps it alive.
        let this = unsafe { whole.as_ref() };
        this.owner.claimed(cell);
        if this.owner.is_late() {
            this.count_expired();
            // SAFETY: the caller claimed the cell, and has the handle's reference. The closure is in the slot.
            return unsafe { Self::drop_claimed(whole, JoinError::Expired, None) };
        }
        // SAFETY: the caller claimed the cell, so it owns the closure in the slot.
        let task = unsafe { this.take_task() };
        let outcome = unwind::halt(task);
        // SAFETY: the caller claimed the cell, and has the handle's reference. The closure was moved out.
        unsafe { Self::report(whole, outcome, None) };
    }

    /// Counts a task that was dropped at its deadline as cancelled.
    #[cold]
    fn count_expired(&self) {
        self.header.job().count_cancelled();
    }

    /// Counts a closure that has run, and makes its outcome final.
    ///
    /// # Safety
    /// The caller must have claimed the cell and moved the closure out. The caller must have `reference`, or the handle's
    /// reference if `reference` is `None`.
    #[inline]
    unsafe fn report(
        cell: NonNull<Self>,
        outcome: std::thread::Result<T>,
        reference: Option<Reference>,
    ) {
        if O::COUNTED {
            // SAFETY: by this function's contract some reference keeps it alive.
            unsafe { cell.as_ref() }.header.job().tally.count(outcome.is_ok());
        }
        // SAFETY: the caller claimed the cell, has moved the closure out, and has a reference.
        unsafe { Self::finish(cell, outcome.map_err(JoinError::panicked), reference) };
    }

    /// Drops the closure, and reports the task as cancelled.
    ///
    /// # Safety
    /// The cell must be of this type, and the caller must have taken it from its queue.
    unsafe fn cancel(cell: CellPtr) {
        let whole = cell.cast::<Self>();
        // SAFETY: the caller took the cell from its queue, and the queue's reference keeps it alive.
        let claim = unsafe { whole.as_ref() }.claim_taken();
        if O::COUNTED && claim != Claim::Inline {
            cell.job().count_cancelled();
        }
        if claim == Claim::Granted {
            // SAFETY: the queue's reference keeps the cell alive.
            unsafe { whole.as_ref() }.owner.claimed(cell.cast());
            // SAFETY: this thread has claimed the closure, and has the queue's reference.
            unsafe { Self::drop_claimed(whole, JoinError::Cancelled, Some(Reference::Queue)) };
        } else {
            // SAFETY: the caller has the queue's reference. The thread that claimed the closure has taken the closure.
            unsafe { Face::release(cell.cast(), Reference::Queue) };
        }
    }

    /// Cancels a closure for its handle if it has not started, and returns true. Otherwise asks the closure to end, and returns
    /// false.
    ///
    /// # Safety
    /// The cell must be of this type, and the caller must have the handle's reference.
    unsafe fn cancel_by_handle(cell: NonNull<Face>) -> bool {
        // SAFETY: the handle's reference keeps the cell alive.
        let face = unsafe { cell.as_ref() };
        if face.state.claim(false) != Claim::Granted {
            face.state.set(CANCELLED); // Asks the closure to end soon.
            return false;
        }
        // SAFETY: the cell is of this type, and the handle's reference keeps it alive.
        let owner = unsafe { cell.cast::<Self>().as_ref() }.owner;
        let job = face.header.job();
        owner.claimed(cell);
        if owner.leaves_timer() {
            job.count_cancelled();
            // SAFETY: this thread has claimed the closure, and has the queue's reference.
            unsafe {
                Self::drop_claimed(cell.cast(), JoinError::Cancelled, Some(Reference::Queue));
            };
            owner.left_timer(job);
            return true;
        }
        // SAFETY: this thread claimed the closure just now, and the handle has a reference.
        unsafe { Self::drop_claimed(cell.cast(), JoinError::Cancelled, None) };
        note_gone(job);
        true
    }
}

impl<F, T, O: Owner> Joint<F, T, O> {
    /// Claims the closure for the caller, which has taken the cell out of a queue, and has a busy count of the job.
    #[inline]
    fn claim_taken(&self) -> Claim {
        loop {
            match self.state.claim_taken() {
                Claim::Pinned => self.keep_job_for_join(),
                claim => return claim,
            }
        }
    }

    /// Gives a join that uses the task's job a busy count of the job (pin-2).
    #[cold]
    fn keep_job_for_join(&self) {
        let job = self.header.job();
        job.busy.add_tasks(1);
        if !self.state.unpin() {
            // The join no longer uses the job. The caller has a busy count, so this one is not the last.
            job.drop_tasks(1);
        }
    }

    /// Returns the owner: what the task belongs to besides its job.
    pub fn owner(&self) -> O {
        self.owner
    }

    /// Makes a cell with this closure or future in its slot.
    pub fn make(header: Header, state: State, owner: O, task: F) -> NonNull<Face> {
        const { assert!(std::mem::offset_of!(Self, state) == std::mem::offset_of!(Face, state)) };
        let slot = UnsafeCell::new(Slot { task: ManuallyDrop::new(task) });
        cache::make(Self { header, state, slot, owner }).cast()
    }

    /// Frees the memory of the cell.
    ///
    /// # Safety
    /// The cell must be of this type. No reference to it may exist, and its closure, future and outcome must be gone.
    pub unsafe fn free(cell: CellPtr) {
        let whole = cell.cast::<Self>();
        // SAFETY: the cell is of this type, and its memory is not freed yet.
        let owner = unsafe { whole.as_ref() }.owner;
        // SAFETY: by this function's contract nothing uses the cell any more.
        unsafe { cache::free(whole.as_ptr()) };
        owner.freed();
    }

    /// Drops the closure or future in the slot, and makes `error` the final outcome.
    ///
    /// # Safety
    /// The caller must have claimed the cell, and the closure or future must be in the slot. The caller must have `reference`,
    /// or another reference if `reference` is `None`.
    pub unsafe fn drop_claimed(
        cell: NonNull<Self>,
        error: JoinError,
        reference: Option<Reference>,
    ) {
        // SAFETY: the caller's reference keeps the cell alive.
        unsafe { cell.as_ref() }.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the cell, so it owns the closure or future in the slot.
            let dropped = unwind::halt(|| unsafe { ManuallyDrop::drop(&mut (*slot).task) });
            unwind::drop_quietly(dropped);
        });
        // SAFETY: the caller claimed the cell, and has a reference. The closure or future was dropped just now.
        unsafe { Self::finish(cell, Err(error), reference) };
    }

    /// Moves the closure out of the slot.
    ///
    /// # Safety
    /// The caller must have claimed the cell, and the closure must be in the slot.
    unsafe fn take_task(&self) -> F {
        self.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the cell, so the slot is the closure. It is moved out only once.
            unsafe { ManuallyDrop::take(&mut (*slot).task) }
        })
    }

    /// Makes the outcome final, and gives up `reference`. Drops an outcome that no handle takes. Then tells the owner.
    ///
    /// # Safety
    /// The caller must have claimed the cell, and must have moved out or dropped the closure or future. The caller must have
    /// `reference`, or another reference if `reference` is `None`.
    #[inline]
    pub unsafe fn finish(
        cell: NonNull<Self>,
        outcome: Result<T, JoinError>,
        reference: Option<Reference>,
    ) {
        // SAFETY: the reference keeps the cell alive.
        let this = unsafe { cell.as_ref() };
        let owner = this.owner;
        if reference.is_some() && this.state.load().is_alone() {
            // SAFETY: no other thread can reach the cell, and nothing is in the slot.
            unsafe { Face::free(cell.cast()) };
            discard(owner, outcome);
            return owner.task_ended();
        }
        this.slot.with_mut(|slot| {
            // SAFETY: by the claim this thread owns the slot until DONE.
            unsafe { (*slot).outcome = ManuallyDrop::new(outcome) };
        });
        match this.state.finish(reference) {
            Finish::Nothing => {}
            Finish::Wake => parking_lot().wake(cell.addr().get()),
            Finish::Drop => {
                // SAFETY: there is no handle, so this thread owns the outcome.
                discard(owner, unsafe { this.take_outcome() });
                if let Some(reference) = reference {
                    // SAFETY: this thread has the reference, and the slot is empty.
                    unsafe { Face::release(cell.cast(), reference) };
                }
            }
        }
        owner.task_ended();
    }

    /// Moves the outcome out of the slot.
    ///
    /// # Safety
    /// The caller must have seen DONE, must own the outcome, and may call this only once.
    pub unsafe fn take_outcome(&self) -> Result<T, JoinError> {
        self.slot.with_mut(|slot| {
            // SAFETY: the caller has seen DONE, so the slot is the outcome. It is moved out only once.
            unsafe { ManuallyDrop::take(&mut (*slot).outcome) }
        })
    }

    /// Moves the outcome to `out`.
    ///
    /// # Safety
    /// The cell must be of this type, and `out` must point to memory for a `Result<T, JoinError>`. The caller must have seen
    /// DONE, must own the outcome, and may call this only once.
    pub unsafe fn outcome(cell: NonNull<Face>, out: *mut ()) {
        // SAFETY: the cell is of this type, and the caller has seen DONE and owns the outcome.
        let outcome = unsafe { cell.cast::<Self>().as_ref().take_outcome() };
        // SAFETY: `out` points to memory for a `Result<T, JoinError>`.
        unsafe { out.cast::<Result<T, JoinError>>().write(outcome) };
    }
}

/// Returns true if a thread has claimed the closure in the cell, or if the future in the cell has started.
///
/// # Safety
/// The cell must have a [`Face`]. The caller must have taken it from its queue, or must have the queue's lock.
pub unsafe fn is_claimed(cell: CellPtr) -> bool {
    // SAFETY: the cell has a `Face`, and the queue's reference keeps it alive.
    unsafe { cell.cast::<Face>().as_ref() }.state.load().has(CLAIMED)
}

/// Notes that a clear drops the closure in the cell.
///
/// # Safety
/// The cell must have a [`Face`]. The caller must have taken it from its queue.
unsafe fn note_cleared(cell: CellPtr) {
    // SAFETY: the cell has a `Face`, and the queue's reference keeps it alive.
    unsafe { cell.cast::<Face>().as_ref() }.state.set(CLEARED);
}

/// Returns true if the cell, which is in a queue, has no closure or future any more.
///
/// # Safety
/// The cell must have a [`Face`]. The caller must have taken it from its queue, or must have the queue's lock.
pub unsafe fn is_empty(cell: CellPtr) -> bool {
    // SAFETY: the cell has a `Face`, and the queue's reference keeps it alive.
    unsafe { cell.cast::<Face>().as_ref() }.state.load().is_empty()
}

/// Drops the outcome of a task without a handle. Passes the payload of a panic to the owner.
fn discard<T>(owner: impl Owner, outcome: Result<T, JoinError>) {
    match outcome {
        Err(JoinError::Panicked(payload)) => owner.take_panic(payload.into_inner()),
        outcome => unwind::drop_quietly(outcome),
    }
}
