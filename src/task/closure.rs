//! The cell of a task with a handle: its closure or future, then its outcome.
//!
//! The state word says which thread may use which part of the cell (module [`state`](crate::task::state)). The thread that
//! takes the cell from a queue calls the functions of its [`VTable`]. The handle does not know the closure's type, so it calls
//! the functions of its [`HandleTable`].

pub use crate::task::face::{Face, HandleTable, Owner};

use crate::base::cache;
use crate::base::parking::parking_lot;
use crate::base::task::{CellPtr, Header, Ran, VTable};
use crate::error::JoinError;
use crate::job::cancels::note_gone;
use crate::job::events;
use crate::job::record::JobPtr;
use crate::sync::UnsafeCell;
use crate::task::state::{CANCELLED, CLAIMED, CLEARED, Claim, Finish, Reference, State};
use crate::unwind;
use crate::worker::context::Context;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The cell of a task with a handle or an [`Owner`]. The field `slot` holds the closure or future until a thread takes or drops
/// it. When the bit DONE is set in the state word, the field holds the outcome.
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
        // A clear must not drop a puller. Pullers are the only tasks that the statistics do not count.
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
    /// Values that the closure and its result borrow must last until the closure and the outcome have been dropped or moved
    /// out.
    pub unsafe fn closure(job: JobPtr, state: State, owner: O, task: F) -> NonNull<Face> {
        Self::make(Header::new(&Self::VTABLE, job.opaque()), state, owner, task)
    }

    /// Returns the name of a task. The task's [`Owner`] must have a name.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must keep it alive.
    unsafe fn name(cell: CellPtr) -> NonNull<str> {
        let name = const { O::NAME }.expect("the table has this function only if there is a name");
        // SAFETY: the cell is of the type `Self`, and the caller keeps it alive.
        name(unsafe { cell.cast::<Self>().as_ref() }.owner)
    }

    /// Runs the closure on a worker.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
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
                // SAFETY: the caller has the queue's reference. The thread that claimed the closure has taken the closure.
                unsafe { Face::release(cell.cast(), Reference::Queue) };
                return if cancelled { Ran::Cancelled } else { Ran::Counted };
            }
        }
        this.owner.claimed(cell.cast());
        if this.owner.is_late() {
            this.count_expired();
            // SAFETY: this thread has claimed the closure, and has the queue's reference.
            unsafe { Self::drop_claimed(whole, JoinError::Expired, Some(Reference::Queue)) };
            return Ran::Cancelled;
        }
        // SAFETY: this thread has claimed the closure, so the slot holds the closure, and this thread owns it.
        let task = unsafe { this.take_task() };
        // The outcome is reported after `as_task` has ended, because `as_task` needs the cell, and the report can free the cell.
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

    /// Runs the closure inline, on the thread of the task that joins it. That thread has claimed the closure.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. The caller must have claimed the closure, and must have the handle's reference.
    unsafe fn run_claimed(cell: NonNull<Face>) {
        let whole = cell.cast::<Self>();
        // SAFETY: the cell is of the type `Self`, and the handle's reference keeps it alive.
        let this = unsafe { whole.as_ref() };
        this.owner.claimed(cell);
        if this.owner.is_late() {
            this.count_expired();
            events::cancelled(this.header.job());
            // SAFETY: the caller claimed the task, and has the handle's reference. The closure is in the slot.
            return unsafe { Self::drop_claimed(whole, JoinError::Expired, None) };
        }
        // SAFETY: the caller claimed the task, so it owns the closure in the slot.
        let task = unsafe { this.take_task() };
        let outcome = unwind::halt(task);
        // SAFETY: the caller claimed the task, and has the handle's reference. The closure was moved out.
        unsafe { Self::report(whole, outcome, None) };
    }

    /// Counts the task as cancelled, because its closure is dropped at the deadline.
    #[cold]
    fn count_expired(&self) {
        self.header.job().count_cancelled();
    }

    /// Counts a task whose closure has run, and makes the task's outcome final.
    ///
    /// # Safety
    /// The caller must have claimed the task and moved the closure out. The caller must have `reference`, or the handle's
    /// reference if `reference` is `None`.
    #[inline]
    unsafe fn report(
        cell: NonNull<Self>,
        outcome: std::thread::Result<T>,
        reference: Option<Reference>,
    ) {
        // SAFETY: by this function's contract the caller has a reference, which keeps the cell alive.
        let job = unsafe { cell.as_ref() }.header.job();
        if O::COUNTED {
            job.tally.count(outcome.is_ok());
        }
        if outcome.is_err() {
            events::panicked(job);
        }
        // SAFETY: the caller claimed the task, has moved the closure out, and has a reference.
        unsafe { Self::finish(cell, outcome.map_err(JoinError::panicked), reference) };
    }

    /// Drops the closure, and reports the task as cancelled.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
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

    /// Cancels the task for its handle. If the closure has not started, drops the closure and returns true. Otherwise asks the
    /// running closure to end soon, and returns false.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have the handle's reference.
    unsafe fn cancel_by_handle(cell: NonNull<Face>) -> bool {
        // SAFETY: the handle's reference keeps the cell alive.
        let face = unsafe { cell.as_ref() };
        if face.state.claim(false) != Claim::Granted {
            face.state.set(CANCELLED); // Asks the closure to end soon.
            return false;
        }
        // SAFETY: the cell is of the type `Self`, and the handle's reference keeps it alive.
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
    /// Claims the closure. The caller must have taken the cell out of a queue, and must have a busy count of the job.
    #[inline]
    fn claim_taken(&self) -> Claim {
        loop {
            match self.state.claim_taken() {
                Claim::Pinned => self.keep_job_for_join(),
                claim => return claim,
            }
        }
    }

    /// Adds a busy count of the task's job for a join that has pinned the task, and clears PINNED (pin-2).
    #[cold]
    fn keep_job_for_join(&self) {
        let job = self.header.job();
        job.busy.add_tasks(1);
        if !self.state.unpin() {
            // The join has cleared PINNED itself, so the join needs no busy count, and this thread gives its new busy count back.
            // That count is not the job's last one, because the caller has another.
            job.drop_tasks(1);
        }
    }

    /// Returns the task's [`Owner`]: the object that the task belongs to besides its job, such as a scope.
    pub fn owner(&self) -> O {
        self.owner
    }

    /// Makes a cell that holds `task`, a closure or a future.
    pub fn make(header: Header, state: State, owner: O, task: F) -> NonNull<Face> {
        const { assert!(std::mem::offset_of!(Self, state) == std::mem::offset_of!(Face, state)) };
        let slot = UnsafeCell::new(Slot { task: ManuallyDrop::new(task) });
        cache::make(Self { header, state, slot, owner }).cast()
    }

    /// Frees the memory of the cell.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. No reference to it may exist, and it must hold no closure, future or outcome.
    pub unsafe fn free(cell: CellPtr) {
        let whole = cell.cast::<Self>();
        // SAFETY: the cell is of the type `Self`, and its memory is not freed yet.
        let owner = unsafe { whole.as_ref() }.owner;
        // SAFETY: by this function's contract nothing uses the cell any more.
        unsafe { cache::free(whole.as_ptr()) };
        owner.freed();
    }

    /// Drops the closure or future in the cell, and makes `error` the final outcome of the task.
    ///
    /// # Safety
    /// The caller must have claimed the task, and the closure or future must be in the cell. The caller must own the reference
    /// that it passes. If it passes `None`, it must own another reference to the cell.
    pub unsafe fn drop_claimed(
        cell: NonNull<Self>,
        error: JoinError,
        reference: Option<Reference>,
    ) {
        // SAFETY: the caller's reference keeps the cell alive.
        unsafe { cell.as_ref() }.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the task, so it owns the closure or future in the slot.
            let dropped = unwind::halt(|| unsafe { ManuallyDrop::drop(&mut (*slot).task) });
            unwind::drop_quietly(dropped);
        });
        // SAFETY: the caller claimed the task, and has a reference. The closure or future was dropped just now.
        unsafe { Self::finish(cell, Err(error), reference) };
    }

    /// Moves the closure out of the cell.
    ///
    /// # Safety
    /// The caller must have claimed the task, and the closure must still be in the cell.
    unsafe fn take_task(&self) -> F {
        self.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the task, so the slot holds the closure. The closure is moved out only once.
            unsafe { ManuallyDrop::take(&mut (*slot).task) }
        })
    }

    /// Makes the outcome of the task final, and gives up `reference`. If the task has no handle, drops the outcome. At the end
    /// calls [`Owner::task_ended`].
    ///
    /// # Safety
    /// The caller must have claimed the task, and must have moved out or dropped the closure or future. The caller must have
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

    /// Moves the outcome out of the cell.
    ///
    /// # Safety
    /// The caller must have seen that the bit DONE is set, must own the outcome, and may call this function only once.
    pub unsafe fn take_outcome(&self) -> Result<T, JoinError> {
        self.slot.with_mut(|slot| {
            // SAFETY: the caller has seen DONE, so the slot holds the outcome. The outcome is moved out only once.
            unsafe { ManuallyDrop::take(&mut (*slot).outcome) }
        })
    }

    /// Moves the outcome out of the cell, to the address `out`.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and `out` must point to memory for a `Result<T, JoinError>`. The caller must have
    /// seen that the bit DONE is set, must own the outcome, and may call this function only once.
    pub unsafe fn outcome(cell: NonNull<Face>, out: *mut ()) {
        // SAFETY: the cell is of the type `Self`, and the caller has seen DONE and owns the outcome.
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

/// Returns true if a cell in a queue is empty: another thread has taken its closure or future.
///
/// # Safety
/// The cell must have a [`Face`]. The caller must have taken it from its queue, or must have the queue's lock.
pub unsafe fn is_empty(cell: CellPtr) -> bool {
    // SAFETY: the cell has a `Face`, and the queue's reference keeps it alive.
    unsafe { cell.cast::<Face>().as_ref() }.state.load().is_empty()
}

/// Drops the outcome of a task without a handle. If the outcome is a panic, passes the panic's payload to the task's [`Owner`],
/// such as a scope.
fn discard<T>(owner: impl Owner, outcome: Result<T, JoinError>) {
    match outcome {
        Err(JoinError::Panicked(payload)) => owner.take_panic(payload.into_inner()),
        outcome => unwind::drop_quietly(outcome),
    }
}
