//! How a future starts and ends: the first poll, with its waker, and what is done with the cell.

use crate::error::JoinError;
use crate::job::admission;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{UnsafeCell, fault};
use crate::task::flights::flights;
use crate::task::handle::TaskHandle;
use crate::task::handle::awaiting::{Polled, Waits};
use crate::task::handle::flight::body::Body;
use crate::task::handle::flight::{Flight, Stage, queue, schedule};
use crate::task::handle::joint::{Face, Joint, SideTable, Slot, is_claimed};
use crate::task::handle::state::{CLAIMED, DONE, HANDLE, QUEUE, SEALED, claim};
use crate::task::{CellPtr, Header, Ran, VTable, cells};
use crate::unwind;
use crate::worker::context::Context;
use async_task::{Builder, Task, WithInfo};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::task::{self, Poll, RawWaker, RawWakerVTable, Waker};

/// Makes the cell of a future.
pub fn flight<F, T>(job: JobPtr, future: F) -> (CellPtr, TaskHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let cell = cells::make(Joint {
        header: Header::new(&Joint::<F, T>::START, job),
        state: AtomicU64::new(QUEUE | HANDLE),
        slot: UnsafeCell::new(Slot::<F, T> { task: ManuallyDrop::new(future) }),
    });
    (CellPtr::new(cell.cast()), TaskHandle::new(cell.cast(), &Joint::<F, T>::FUTURE_SIDE))
}

/// The first poll's waker: what its clones are made of.
struct First {
    made: OnceLock<Made>,
    /// Makes it.
    make: unsafe fn(NonNull<Face>) -> Made,
    cell: NonNull<Face>,
    /// Woken by reference.
    woken: AtomicBool,
}

/// The `async-task` of a future.
struct Made {
    waker: Waker,
    task: Task<(), Flight>,
}

impl First {
    const VTABLE: RawWakerVTable =
        RawWakerVTable::new(Self::clone, Self::wake, Self::wake, Self::drop);

    fn made(&self) -> &Made {
        // SAFETY: the cell is of the type that `make` was chosen for, and its future is being polled.
        self.made.get_or_init(|| unsafe { (self.make)(self.cell) })
    }

    /// # Safety
    /// `this` is a `First`, alive for as long as the call lasts.
    unsafe fn clone(this: *const ()) -> RawWaker {
        // SAFETY: by this function's contract; all of it may be used by several threads.
        let this = unsafe { &*this.cast::<Self>() };
        let waker = ManuallyDrop::new(this.made().waker.clone());
        RawWaker::new(waker.data(), waker.vtable())
    }

    /// # Safety
    /// As `clone`.
    unsafe fn wake(this: *const ()) {
        // SAFETY: as in `clone`.
        let this = unsafe { &*this.cast::<Self>() };
        // Ordering: Release; who looks behind the poll sees what came before the wake.
        this.woken.store(true, Ordering::Release);
    }

    /// # Safety
    /// None.
    unsafe fn drop(_: *const ()) {}
}

impl<F, T> Joint<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    const START: VTable =
        VTable { run: Self::start, cancel: Self::cancel_start, is_gone: is_claimed };
    const FUTURE_SIDE: SideTable = SideTable {
        run: None,
        cancel: Self::cancel_claimed,
        abort: Some(abort),
        outcome: Self::outcome,
        free: Self::free,
    };

    /// Polls the future for the first time.
    ///
    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn start(cell: CellPtr) -> Ran {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract; the queue's share keeps it alive.
        let state = unsafe { &(*whole).state };
        // Ordering: Acquire; who has the last share sees what the other did.
        let alone = state.load(Ordering::Acquire) & (HANDLE | CLAIMED) == 0;
        if !alone && claim(state, CLAIMED) & CLAIMED != 0 {
            // SAFETY: the caller's share is the queue's.
            unsafe { Self::give_up(whole, QUEUE) };
            return Ran::Cancelled;
        }
        let first = First {
            made: OnceLock::new(),
            make: Self::make,
            cell: NonNull::new(whole.cast()).expect("a cell has an address"),
            woken: AtomicBool::new(false),
        };
        let waker = RawWaker::new(ptr::from_ref(&first).cast(), &First::VTABLE);
        // SAFETY: the functions of the table want `first`, which outlives the waker; references to that
        // end with the poll.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(waker) });
        let waits = Waits::default();
        // SAFETY: it is claimed, so the slot is the future and this thread's.
        let polled = unsafe { Self::poll(whole, &waits, &mut task::Context::from_waker(&waker)) };
        match polled {
            // SAFETY: the future was dropped by the poll.
            Poll::Ready(outcome) => unsafe { Self::end_at_once(whole, outcome, first) },
            // SAFETY: it is this thread's, and pending.
            Poll::Pending => unsafe { Self::take_off(whole, waits, first) },
        }
    }

    /// Ends a future that was ready, or is cancelled, on its first poll.
    ///
    /// # Safety
    /// The caller has claimed the cell, has the queue's share, and has dropped the future.
    unsafe fn end_at_once(whole: *mut Self, outcome: Result<T, JoinError>, first: First) -> Ran {
        // SAFETY: by this function's contract.
        let ran = unsafe { Self::end(whole, outcome) };
        if let Some(made) = first.made.into_inner() {
            made.task.metadata().end_first();
            drop(made);
        }
        ran
    }

    /// S2: the first poll has left the future pending.
    ///
    /// # Safety
    /// The caller has claimed the cell, has the queue's share, and the future is in the slot.
    unsafe fn take_off(whole: *mut Self, waits: Waits, first: First) -> Ran {
        first.made();
        let Some(Made { waker, task }) = first.made.into_inner() else {
            unreachable!("it was made just now")
        };
        let flight = ptr::from_ref(task.metadata());
        // SAFETY: the waker keeps it alive.
        let flight = unsafe { &*flight };
        flight.waits.take_over(waits);
        let without_permit = flight.stay();
        let job = flight.header.job;
        let key = whole.addr();
        flights().list(job, key, task); // F1
        let due = flight.is_sealed() || admission::is_dropped(job);
        if due && !fault("listed-without-look") {
            // F2
            let task = flights().take(job, key);
            // SAFETY: by this function's contract; it is not polled again.
            let outcome = unsafe { Self::cancel_future(whole) };
            // Ordering: Relaxed; only this thread polls the future, and it has set the flag.
            if flight.in_flight.load(Ordering::Relaxed) {
                job.pool().flight_ends();
            }
            // SAFETY: the future was dropped just now.
            let ran = unsafe { Self::end(whole, outcome) };
            flight.end_first();
            drop(task);
            return ran;
        }
        // Ordering: Acquire; pairs with `First::wake`.
        let woken = first.woken.load(Ordering::Acquire);
        // Ordering: Relaxed; S2 publishes it.
        flight.to_the_end.store(woken, Ordering::Relaxed);
        let aloft = if fault("aloft-without-look") {
            flight.set_stage(Stage::Aloft);
            Ok(())
        } else {
            flight.change_stage(Stage::First, Stage::Aloft)
        };
        match aloft {
            Ok(()) if woken => waker.wake(),
            Ok(()) => drop(waker),
            Err(_) => {
                flight.set_stage(Stage::Aloft);
                // SAFETY: who set `Woken` has left it.
                let runnable = unsafe { flight.take_runnable() };
                drop(waker);
                queue(runnable, true);
            }
        }
        if without_permit { Ran::Waits } else { Ran::Pending }
    }

    /// Makes the `async-task` of a future that is being polled for the first time.
    ///
    /// # Safety
    /// The cell is of this type; its future is being polled, and will be pinned there until it is dropped.
    unsafe fn make(cell: NonNull<Face>) -> Made {
        // SAFETY: by this function's contract it is alive.
        let job = unsafe { cell.as_ref() }.header.job;
        let flight = Flight {
            header: Header::new(&Flight::VTABLE, job),
            face: cell,
            stage: AtomicU32::new(Stage::First as u32),
            runnable: AtomicPtr::new(ptr::null_mut()),
            visit: AtomicPtr::new(ptr::null_mut()),
            waits: Waits::default(),
            without_permit: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            to_the_end: AtomicBool::new(false),
        };
        let body = |flight: &Flight| Body::new(cell.as_ptr().cast::<Self>(), flight);
        let (runnable, task) = Builder::new().metadata(flight).spawn(body, WithInfo(schedule));
        let waker = runnable.waker();
        // An `async-task` is born scheduled; this run, which polls nothing, lets it wait to be woken.
        runnable.run();
        Made { waker, task }
    }

    /// Polls the future where it lies. Ready, it is dropped.
    ///
    /// # Safety
    /// The slot is the future and the caller's.
    pub(super) unsafe fn poll(
        whole: *mut Self,
        waits: &Waits,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<T, JoinError>> {
        let polled = Context::with(|context| {
            let context = context.expect("a future is polled by a worker");
            let _polled = Polled::enter(context, waits);
            let poll = || {
                // SAFETY: by this function's contract.
                let slot = unsafe { &(*whole).slot };
                slot.with_mut(|slot| {
                    // SAFETY: by this function's contract.
                    let future = unsafe { &mut *(*slot).task };
                    // SAFETY: it stays in its cell until it is dropped there.
                    unsafe { Pin::new_unchecked(future) }.poll(cx)
                })
            };
            // SAFETY: by this function's contract the cell is alive.
            let state = unsafe { &(*whole).state };
            context.as_task(whole.addr(), Some(state), || unwind::halt(poll))
        });
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(JoinError::panicked(payload)),
        };
        // SAFETY: by this function's contract; it is not polled again.
        let dropped = unsafe { Self::drop_future(whole) };
        Poll::Ready(match (outcome, dropped) {
            (Ok(value), Err(payload)) => {
                unwind::drop_quietly(value);
                Err(JoinError::panicked(payload))
            }
            (Err(error), Err(payload)) => {
                unwind::drop_quietly(payload);
                Err(error)
            }
            (outcome, Ok(())) => outcome,
        })
    }

    /// Drops the future. Returns the payload if its drop panics.
    ///
    /// # Safety
    /// The slot is the future and the caller's; it is not used again.
    unsafe fn drop_future(whole: *mut Self) -> std::thread::Result<()> {
        // SAFETY: by this function's contract.
        let slot = unsafe { &(*whole).slot };
        slot.with_mut(|slot| {
            // SAFETY: by this function's contract.
            unwind::halt(|| unsafe { ManuallyDrop::drop(&mut (*slot).task) })
        })
    }

    /// Drops the future unfinished. Returns its outcome: cancelled, or the panic of the drop.
    ///
    /// # Safety
    /// As [`drop_future`](Self::drop_future).
    pub(super) unsafe fn cancel_future(whole: *mut Self) -> Result<T, JoinError> {
        // SAFETY: by this function's contract.
        match unsafe { Self::drop_future(whole) } {
            Ok(()) => Err(JoinError::Cancelled),
            Err(payload) => Err(JoinError::panicked(payload)),
        }
    }

    /// Cancels a future that has not started.
    ///
    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn cancel_start(cell: CellPtr) {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract; the queue's share keeps it alive.
        if claim(unsafe { &(*whole).state }, CLAIMED) & CLAIMED != 0 {
            cell.job().count_cancelled();
            // SAFETY: the caller's share is the queue's.
            unsafe { Self::give_up(whole, QUEUE) };
            return;
        }
        // SAFETY: it is claimed, so the slot is the future and this thread's.
        let outcome = unsafe { Self::cancel_future(whole) };
        // SAFETY: it is claimed, the queue's share is this thread's, and the future was dropped just now.
        let ran = unsafe { Self::end(whole, outcome) };
        debug_assert!(!matches!(ran, Ran::Completed), "a future that has not started has no value");
    }

    /// Seals and counts a future that was dropped already, and gives its outcome and the queue's share.
    ///
    /// # Safety
    /// The caller has claimed the cell, and has the queue's share; the slot is empty.
    pub(super) unsafe fn end(whole: *mut Self, outcome: Result<T, JoinError>) -> Ran {
        // SAFETY: by this function's contract it is alive.
        let Face { header, state } = unsafe { &*whole.cast::<Face>() };
        let job = header.job;
        // Ordering: Acquire; who has the last share sees what the other did.
        let alone = state.load(Ordering::Acquire) & HANDLE == 0;
        // Ordering: AcqRel; against `abort`.
        let sealed = !alone && state.fetch_or(SEALED, Ordering::AcqRel) & SEALED != 0;
        let outcome = if sealed && outcome.is_ok() {
            unwind::drop_quietly(outcome);
            Err(JoinError::Cancelled)
        } else {
            outcome
        };
        let mut ran = Ran::Counted;
        // Ordering: Relaxed all; published to the joiner by DONE.
        match &outcome {
            Ok(_) if alone => ran = Ran::Completed,
            Ok(_) => drop(job.tally.completed.fetch_add(1, Ordering::Relaxed)),
            Err(JoinError::Panicked(_)) => {
                job.tally.panicked.fetch_add(1, Ordering::Relaxed);
            }
            Err(JoinError::Cancelled) => job.count_cancelled(),
        }
        if alone {
            // SAFETY: nobody else has a share, and nothing is in the slot.
            unsafe { cells::free(whole) };
            unwind::drop_quietly(outcome);
        } else {
            // SAFETY: by this function's contract.
            unsafe { Self::finish(whole, outcome, QUEUE) };
        }
        ran
    }
}

/// Cancels a future for its handle, when it has been claimed; tells whether it did.
///
/// # Safety
/// The cell is a future's, and the caller has the handle's share.
unsafe fn abort(cell: *mut Face) -> bool {
    // SAFETY: by this function's contract.
    let face = unsafe { &*cell };
    // Ordering: AcqRel; against the seal of the one who ends it, and before the look into the list.
    if face.state.fetch_or(SEALED, Ordering::AcqRel) & (SEALED | DONE) != 0 {
        return false;
    }
    // Dropped, the `async-task` is cancelled: a worker comes to drop the future. Is it not in the list
    // yet, it is polled for the first time, and the one who puts it there will see the bit.
    drop(flights().take(face.header.job, cell.addr()));
    true
}
