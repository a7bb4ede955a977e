//! Futures as tasks. A future has one cell from its push to its end, and its wakers point to that cell.
//!
//! A future lies in the cell of a task with a handle. A worker that takes the cell from a queue polls the future in the cell.
//! While the future is pending, no queue has the cell. Only the wakers and the list of [pending](crate::job::pending) futures
//! have pointers to the cell. A waker puts the same cell into a queue again, so waking allocates nothing. The [state
//! word](crate::task::state) of the cell says which thread may use the future.
//!
//! A pending future keeps one busy count of its job, so its job's record is alive. A pending future keeps its permits, unless
//! it [awaits](crate::task::awaiting) a task or a job of this library.
//!
//! A waker can outlive the future, its job and its pool. The waker keeps the memory of the cell, and uses only the state word.

use crate::base::task::{CellPtr, FutureTable, Header, Mark, Ran, VTable};
use crate::error::JoinError;
use crate::job::cancels::note_gone;
use crate::job::events;
use crate::job::gate;
use crate::job::pending::pending;
use crate::job::record::JobPtr;
use crate::sync::atomic::Ordering;
use crate::task::closure::{Face, HandleTable, Joint, is_claimed, is_empty};
use crate::task::handle::TaskHandle;
use crate::task::pointer::TaskPtr;
use crate::task::state::{CANCELLED, Cancel, EndPoll, Reference, Start, State, Wake};
use crate::unwind;
use crate::worker::context::Context;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{self, Poll, RawWaker, RawWakerVTable, Waker};

/// Makes the cell and the handle of a future.
pub fn future<F, T>(job: JobPtr, future: F) -> (CellPtr, TaskHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let header = Header::new(&Joint::<F, T>::FUTURE, job.opaque());
    let cell = Joint::<F, T>::make(header, State::of_future(), (), future);
    let handle = TaskHandle::new(TaskPtr { cell, table: &Joint::<F, T>::FUTURE_HANDLE });
    (CellPtr::new(cell.cast()), handle)
}

impl<F, T> Joint<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    const FUTURE: VTable = VTable {
        is_gone: is_empty,
        is_claimed,
        future: Some(&PENDING),
        ..VTable::of::<Self>(Self::run_future, Self::cancel_future)
    };
    const FUTURE_HANDLE: HandleTable = HandleTable {
        run: None,
        cancel: Self::cancel_future_by_handle,
        outcome: Self::outcome,
        is_future: true,
        is_delayed: false,
    };

    /// Polls the future, or drops it if it was cancelled.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
    unsafe fn run_future(cell: CellPtr) -> Ran {
        // SAFETY: the cell is of the type `Self`, and the caller of `run_future` took it from its queue.
        unsafe { Self::start(cell, false) }
    }

    /// Drops the future, counts it as cancelled, and reports it as cancelled.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
    unsafe fn cancel_future(cell: CellPtr) {
        // SAFETY: the cell is of the type `Self`, and the caller of `cancel_future` took it from its queue.
        let ran = unsafe { Self::start(cell, true) };
        debug_assert!(matches!(ran, Ran::Counted | Ran::Cancelled), "a dropped future was counted");
    }

    /// Drops the future if `to_drop` is true, or if the future was cancelled. Otherwise polls the future.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
    unsafe fn start(cell: CellPtr, to_drop: bool) -> Ran {
        // SAFETY: the caller took the cell from its queue, and the queue's reference keeps it alive.
        match unsafe { cell.cast::<Self>().as_ref() }.state.start(to_drop) {
            Start::Poll { listed } => {
                if listed {
                    resume_sample(cell);
                }
                // SAFETY: this thread set POLLING just now, so it owns the future in the slot.
                match unsafe { Self::poll(cell) } {
                    Poll::Ready(outcome) => {
                        if outcome.is_err() {
                            events::panicked(cell.job());
                        }
                        // SAFETY: this thread owned the future, and the poll has dropped it.
                        unsafe { Self::end(cell, outcome, listed) }
                    }
                    // SAFETY: this thread set POLLING just now, so it owns the future in the slot.
                    Poll::Pending => unsafe { Self::park(cell, listed) },
                }
            }
            Start::Drop { listed } => {
                if !to_drop {
                    events::cancelled(cell.job());
                }
                // SAFETY: this thread set POLLING just now, so it owns the future in the slot.
                unsafe { Self::drop_and_end(cell, listed) }
            }
            Start::Gone => {
                cell.job().count_cancelled();
                // SAFETY: the caller has the queue's reference. The thread of the handle drops the future.
                unsafe { Face::release(cell.cast(), Reference::Queue) };
                Ran::Cancelled
            }
        }
    }

    /// Polls the future in its cell. If the future is ready or has panicked, drops the future.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. The cell's field `slot` must hold the future, and the caller must own the future.
    unsafe fn poll(cell: CellPtr) -> Poll<Result<T, JoinError>> {
        // SAFETY: the caller has the queue's reference, which keeps the cell alive.
        let this = unsafe { cell.cast::<Self>().as_ref() };
        let waker = RawWaker::new(cell.as_ptr().cast_const().cast(), &WAKER);
        // SAFETY: the cell is a future's. The poller's reference keeps it alive, and this waker is never dropped.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker) });
        let poll = || {
            this.slot.with_mut(|slot| {
                // SAFETY: only this thread may touch the future in the slot.
                let future = unsafe { &mut *(*slot).task };
                // SAFETY: the future stays in its cell until it is dropped there.
                let future = unsafe { Pin::new_unchecked(future) };
                future.poll(&mut task::Context::from_waker(&waker))
            })
        };
        let polled = Context::with(|context| {
            let context = context.expect("a future is polled by a worker");
            context.as_task(cell.as_ptr().addr(), Some(cell), || unwind::halt(poll))
        });
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(JoinError::panicked(payload)),
        };
        // SAFETY: this thread owns the future in the slot, and the future is not polled again.
        Poll::Ready(unsafe { this.drop_future(outcome) })
    }

    /// Drops the future in its cell, and returns the outcome of the task. If the future's destructor panics and `outcome` is no
    /// panic, returns the panic of the destructor. Otherwise returns `outcome`.
    ///
    /// # Safety
    /// The cell's field `slot` must hold the future, and the caller must own the future. After this call no thread may use
    /// the field.
    unsafe fn drop_future(&self, outcome: Result<T, JoinError>) -> Result<T, JoinError> {
        let dropped = self.slot.with_mut(|slot| {
            // SAFETY: the caller owns the future in the slot, and the slot is not used again.
            unwind::halt(|| unsafe { ManuallyDrop::drop(&mut (*slot).task) })
        });
        let Err(payload) = dropped else { return outcome };
        let panicked = Err(JoinError::panicked(payload));
        let first = matches!(outcome, Err(JoinError::Panicked(_)));
        let (kept, lost) = if first { (outcome, panicked) } else { (panicked, outcome) };
        unwind::drop_quietly(lost);
        kept
    }

    /// Adds the future, which has returned `Pending`, to the list of pending futures, and ends the poll (`poll-3`). `listed`
    /// must be true if the list has the future already.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. The cell's field `slot` must hold the future, and the caller must own the future.
    unsafe fn park(cell: CellPtr, listed: bool) -> Ran {
        // SAFETY: the caller has the queue's reference, which keeps the cell alive.
        let state = unsafe { &cell.cast::<Self>().as_ref().state };
        let job = cell.job();
        let sample = Context::with(|context| {
            let context = context.expect("a future is polled by a worker");
            context.keep_job();
            context.sample.take()
        });
        if !listed {
            job.pool().flight_starts();
            pending().list(cell); // pend-1
            if gate::is_dropped(job) {
                state.set(CANCELLED); // pend-2: this thread, the poller, drops it below.
            }
        }
        if let Some(sample) = sample {
            pending().keep_sample(cell, sample, job.pool().now());
        }
        let EndPoll::Pending { woken, without_permit } = state.end_poll() else {
            events::cancelled(job);
            // SAFETY: this thread still owns the future.
            return unsafe { Self::drop_and_end(cell, true) };
        };
        if woken {
            queue(cell, without_permit, true);
        }
        // From here on another thread can end the future and free the cell.
        if without_permit { Ran::Waits } else { Ran::Pending }
    }

    /// Drops a cancelled future, and ends its task. `listed` is true if the future is in the list of pending futures.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. The cell's field `slot` must hold the future, and the caller must own the future.
    unsafe fn drop_and_end(cell: CellPtr, listed: bool) -> Ran {
        // SAFETY: the caller owns the future in the slot.
        let outcome =
            unsafe { cell.cast::<Self>().as_ref().drop_future(Err(JoinError::Cancelled)) };
        // SAFETY: the cell is of the type `Self`, and the future was dropped just now.
        unsafe { Self::end(cell, outcome, listed) }
    }

    /// Ends the task of a future. Removes the future from the list of pending futures, decides and counts the outcome, and
    /// gives up the queue's reference.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. The caller must have owned the future, and must have dropped it.
    unsafe fn end(cell: CellPtr, outcome: Result<T, JoinError>, listed: bool) -> Ran {
        // SAFETY: the caller has the queue's reference, which keeps the cell alive.
        let state = unsafe { &cell.cast::<Self>().as_ref().state };
        let job = cell.job();
        if listed {
            pending().unlist(cell);
            job.pool().flight_ends();
        }
        let word = state.load();
        let alone = word.is_alone();
        // If the queue's reference is the only one, no thread can cancel the future any more. Otherwise this thread sets
        // CANCELLED, so that each later cancel fails. In both cases `word` says whether an earlier cancel succeeded.
        let word = if alone { word } else { state.set(CANCELLED) };
        let outcome = match outcome {
            Ok(value) if word.has(CANCELLED) => {
                unwind::drop_quietly(value);
                Err(JoinError::Cancelled)
            }
            outcome => outcome,
        };
        let mut ran = Ran::Counted;
        // Ordering: Relaxed both; published to the joiner by DONE.
        match &outcome {
            Ok(_) if alone => ran = Ran::Completed,
            Ok(_) => _ = job.tally.completed.fetch_add(1, Ordering::Relaxed),
            Err(JoinError::Panicked(_)) => _ = job.tally.panicked.fetch_add(1, Ordering::Relaxed),
            Err(JoinError::Cancelled | JoinError::Expired) => {
                Context::forget_sample();
                job.count_cancelled();
            }
        }
        // SAFETY: the future was dropped, and this thread has the queue's reference.
        unsafe { Self::finish(cell.cast(), outcome, Some(Reference::Queue)) };
        ran
    }

    /// Cancels a future, and returns true if this call cancelled it. If the future has not started, this call drops it.
    /// Otherwise a worker drops it. [`TaskHandle::cancel`] calls this function.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have the handle's reference.
    unsafe fn cancel_future_by_handle(cell: NonNull<Face>) -> bool {
        // SAFETY: the cell is of the type `Self`, and the handle's reference keeps it alive.
        let this = unsafe { cell.cast::<Self>().as_ref() };
        match this.state.cancel() {
            Cancel::TooLate => return false,
            Cancel::Noted => return true,
            Cancel::Queue { without_permit } => {
                queue(CellPtr::new(cell.cast()), without_permit, false);
                return true;
            }
            Cancel::Drop => {}
        }
        // SAFETY: this thread claimed the future just now, so it owns the slot. The handle has a reference.
        unsafe { Self::drop_claimed(cell.cast(), JoinError::Cancelled, None) };
        note_gone(this.header.job());
        true
    }
}

/// Restores the [sample](crate::job::samples::Sample) of a pending future that this thread polls again. The sample measures how
/// long the future has had its permits, so the time without permits is subtracted.
fn resume_sample(cell: CellPtr) {
    Context::with(|context| {
        let Some(context) = context else { return };
        let Some(fresh) = context.sample.get() else { return };
        let Some((sample, left)) = pending().take_sample(cell) else { return };
        let sample = if fresh.resumed { sample } else { sample.without(left, fresh.began) };
        context.sample.set(Some(sample));
    });
}

/// Puts a pending future that was woken or cancelled into a queue, so that a worker polls or drops it. The caller must not use
/// the cell afterwards.
///
/// If `without_permit` is false, the future has its permits, and goes into a deque or the injector. If `to_the_end` is true, the
/// future goes to the end of the injector, behind the ready tasks there. A poller passes true for `to_the_end` if the future was
/// woken during the poll.
///
/// If `without_permit` is true, the future waits without its permits, and goes to the front of its job's queue. A future that
/// must be dropped goes to the end of the injector instead, because its drop needs no permit.
fn queue(cell: CellPtr, without_permit: bool, to_the_end: bool) {
    if !without_permit {
        return gate::go_on(cell, Mark::Admitted, to_the_end);
    }
    // SAFETY: SCHEDULED is set, and the cell is in no queue: only the caller can end the future.
    let cancelled = unsafe { cell.cast::<Face>().as_ref() }.state.load().has(CANCELLED);
    if cancelled || gate::is_dropped(cell.job()) {
        // The drop of a future needs no permit.
        gate::go_on(cell, Mark::ToDrop, true);
    } else {
        gate::come_back(cell); // await-3
    }
}

/// The functions for a thread that cancels a job. The thread calls them on each pending future of the job.
static PENDING: FutureTable = FutureTable {
    cancel: cancel_pending,
    queue: |cell, without_permit| queue(cell, without_permit, false),
    waits_without_permit,
};

/// # Safety
/// The cell must be a future's, and the future must not end during the call.
unsafe fn cancel_pending(cell: CellPtr) -> Option<bool> {
    // SAFETY: by this function's contract.
    match unsafe { cell.cast::<Face>().as_ref() }.state.cancel() {
        Cancel::Queue { without_permit } => Some(without_permit),
        _ => None,
    }
}

/// # Safety
/// As `cancel_pending`.
unsafe fn waits_without_permit(cell: CellPtr) -> bool {
    // SAFETY: by this function's contract.
    unsafe { cell.cast::<Face>().as_ref() }.state.load().waits_without_permit()
}

static WAKER: RawWakerVTable = RawWakerVTable::new(
    clone_waker,
    // SAFETY: the waker keeps its cell alive, and its reference ends here.
    |data| unsafe { wake(cell_of(data), true) },
    // SAFETY: the waker keeps its cell alive.
    |data| unsafe { wake(cell_of(data), false) },
    // SAFETY: the waker has this reference. If it is the last, the future has ended.
    |data| unsafe { Face::release(cell_of(data), Reference::Waker) },
);

const fn cell_of(data: *const ()) -> NonNull<Face> {
    NonNull::new(data.cast_mut().cast()).expect("a waker points to a cell")
}

/// # Safety
/// `data` must point to a future's cell, and the caller must keep the cell alive during the call.
unsafe fn clone_waker(data: *const ()) -> RawWaker {
    // SAFETY: the caller keeps the future's cell alive.
    unsafe { cell_of(data).as_ref() }.state.add(Reference::Waker);
    RawWaker::new(data, &WAKER)
}

/// Notes in the state word that a future must be polled again. If no worker polls the future and no queue has it, puts the
/// future into a queue.
///
/// # Safety
/// The cell must be a future's. The caller must have a waker's reference, which this call gives up if `ends` is true.
unsafe fn wake(cell: NonNull<Face>, ends: bool) {
    // SAFETY: the caller has a waker's reference, which keeps the cell alive.
    match unsafe { cell.as_ref() }.state.wake(ends) {
        Wake::Nothing => {}
        // The cell has the reference `Queue` even while the future is pending, so the cell is alive until `queue` has queued
        // it.
        Wake::Queue { without_permit } => queue(CellPtr::new(cell.cast()), without_permit, false),
        // SAFETY: the last reference ended with the waker, so the future has ended.
        Wake::Free => unsafe { Face::free(cell) },
    }
}
