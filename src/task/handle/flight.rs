//! A future as a task: how it starts, what it is while it is in flight, and how it ends.
//!
//! Until it starts, a future is a task with a handle like any other: a cell that holds it, in a deque or in
//! the backlog, to be claimed by a worker that has its permit, or by who cancels it. The worker that claims
//! it moves it into an `async-task`, and polls it at once. Many end there, and are freed on the
//! thread that made them. One that is pending is *in flight*:
//!
//! - Its cell in deques is the header at the front of the [`Flight`], which is the metadata of the
//!   `async-task`: waking allocates nothing. Of the first cell the state and the slot are left, for the
//!   handle.
//! - It has a permit of each gate, or none (`awaiting`), and one token of its job.
//! - It is in the list of [`flights`], where who cancels finds it.
//!
//! `async-task` sees to it that there is one [`Runnable`] at most, whoever wakes, polls, cancels and drops at
//! the same time. Who has it has the [`Flight`] and the future to itself; that is the right by which
//! all that is not atomic for its own sake is touched here.
//!
//! Whether a future that is cancelled by its handle while it is polled ends or is cancelled is settled by
//! the bit SEALED: whoever sets it has its way. To end a future is, in this order: to drop it, seal, count, take it off
//! the list, and set DONE.

use crate::error::JoinError;
use crate::job::admission;
use crate::job::record::JobPtr;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::task::flights::flights;
use crate::task::handle::awaiting::{Polled, Waits};
use crate::task::handle::{
    CLAIMED, DONE, Face, HANDLE, Joint, QUEUE, SEALED, SideTable, Slot, TaskHandle, claim,
};
use crate::task::{CellPtr, Header, Mark, Ran, VTable, cells};
use crate::unwind;
use crate::worker::context::Context;
use async_task::{Builder, Runnable, ScheduleInfo, Task, WithInfo};
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{self, Poll};

/// What a future in flight is to deques and to who wakes it.
#[repr(C)]
pub struct Flight {
    header: Header,
    /// The cell it started from.
    face: NonNull<Face>,
    /// The runnable, while the flight is in a queue.
    runnable: AtomicPtr<()>,
    /// Where the one who runs it wants to know what came of it; null with one who drops it.
    visit: AtomicPtr<Visit>,
    /// V1: it waits without a permit.
    waits: AtomicBool,
    /// The drain waits for it.
    in_flight: AtomicBool,
    /// It is dropped by a worker that has not counted it as cancelled.
    uncounted: AtomicBool,
}

// SAFETY: all but the atomics does not change; `face` is alive while its queue's share is, which the
// future has, and of it only the atomic state is used here.
unsafe impl Send for Flight {}
// SAFETY: as above.
unsafe impl Sync for Flight {}

/// What came of one run.
#[derive(Default)]
struct Visit {
    /// To be put on the list, if it is pending after its first poll.
    task: Cell<Option<Task<(), Flight>>>,
    ended: Cell<bool>,
    waits: Cell<bool>,
}

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

impl<F, T> Joint<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    const START: VTable = VTable { run: Self::start, cancel: Self::cancel_queued };
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
        let this = unsafe { &*whole };
        if claim(&this.state, CLAIMED) & CLAIMED != 0 {
            // SAFETY: the caller's share is the queue's.
            unsafe { Self::give_up(whole, QUEUE) };
            return Ran::Cancelled;
        }
        // SAFETY: it is claimed, so the slot is the future and this thread's.
        let future = unsafe { Self::take_task(this) };
        let flight = Flight {
            header: Header::new(&Flight::VTABLE, cell.job()),
            face: NonNull::new(whole.cast()).expect("a cell has an address"),
            runnable: AtomicPtr::new(ptr::null_mut()),
            visit: AtomicPtr::new(ptr::null_mut()),
            waits: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            uncounted: AtomicBool::new(false),
        };
        let body = |flight: &Flight| Body {
            future: ManuallyDrop::new(future),
            cell: whole,
            flight,
            waits: Waits::default(),
            listed: false,
            ended: false,
        };
        let (runnable, task) = Builder::new().metadata(flight).spawn(body, WithInfo(schedule));
        let visit = Visit::default();
        visit.task.set(Some(task));
        run(runnable, &visit)
    }
}

/// Cancels a future for its handle, when it has been claimed; tells whether it did.
///
/// # Safety
/// The cell is a future's, and the caller has the handle's share.
unsafe fn abort(cell: *mut Face) -> bool {
    // SAFETY: by this function's contract.
    let face = unsafe { &*cell };
    // Ordering: AcqRel; against `seal` of the one who ends it, and before the look into the list.
    if face.state.fetch_or(SEALED, Ordering::AcqRel) & (SEALED | DONE) != 0 {
        return false;
    }
    // Dropped, the `async-task` is cancelled: a worker comes to drop the future. Is it not in the list
    // yet, it is polled for the first time, and the one who puts it there will see the bit.
    drop(flights().take(face.header.job, cell.addr()));
    true
}

/// Polls the future, and says what became of it.
fn run(runnable: Runnable<Flight>, visit: &Visit) -> Ran {
    let flight = runnable.metadata();
    // Ordering: Relaxed; the one with the runnable has it to itself.
    flight.visit.store(ptr::from_ref(visit).cast_mut(), Ordering::Relaxed);
    let cell = flight.face.addr().get();
    Context::with(|context| {
        let context = context.expect("a future is polled by a worker");
        context.as_task(cell, || runnable.run());
    });
    match (visit.ended.get(), visit.waits.get()) {
        (true, _) => Ran::Counted,
        (false, false) => Ran::Pending,
        (false, true) => Ran::Waits,
    }
}

/// Puts a future that was woken, or is to be dropped, where a worker finds it.
fn schedule(runnable: Runnable<Flight>, info: ScheduleInfo) {
    let flight: *const Flight = runnable.metadata();
    let cell = CellPtr::new(NonNull::from(runnable.metadata()).cast());
    // SAFETY: the runnable keeps it alive until the cell is taken from its queue.
    let this = unsafe { &*flight };
    let job = this.header.job;
    // Ordering: Relaxed all; the queue publishes them with the cell.
    this.runnable.store(runnable.into_raw().as_ptr(), Ordering::Relaxed);
    if !this.waits.load(Ordering::Relaxed) {
        // One that wakes itself goes behind all others.
        admission::go_on(cell, Mark::Admitted, info.woken_while_running);
    } else if this.is_sealed() || admission::is_dropped(job) {
        // It needs no permit to be dropped.
        this.uncounted.store(true, Ordering::Relaxed);
        admission::go_on(cell, Mark::Sweep, true);
    } else {
        let in_flight = this.in_flight.swap(false, Ordering::Relaxed);
        admission::come_back(cell, in_flight); // V3
    }
}

impl Flight {
    const VTABLE: VTable = VTable { run: Self::run, cancel: Self::cancel };

    /// # Safety
    /// The cell is a flight's, and the caller took it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract.
        run(unsafe { Self::take(cell) }, &Visit::default())
    }

    /// # Safety
    /// As `run`.
    unsafe fn cancel(cell: CellPtr) {
        // SAFETY: by this function's contract.
        let runnable = unsafe { Self::take(cell) };
        // Ordering: Relaxed; the one with the runnable has it to itself.
        runnable.metadata().visit.store(ptr::null_mut(), Ordering::Relaxed);
        drop(runnable);
    }

    /// # Safety
    /// As `run`.
    unsafe fn take(cell: CellPtr) -> Runnable<Self> {
        // SAFETY: by this function's contract; the runnable in it keeps it alive.
        let this = unsafe { &*cell.as_ptr().cast::<Self>() };
        // Ordering: Relaxed; published by the queue.
        let runnable = this.runnable.load(Ordering::Relaxed);
        let runnable = NonNull::new(runnable).expect("a flight in a queue has its runnable");
        // SAFETY: it came from `into_raw` in `schedule`, and is taken once for each time it is queued.
        unsafe { Runnable::from_raw(runnable) }
    }

    fn state(&self) -> &AtomicU64 {
        // SAFETY: the future has the queue's share of the cell.
        unsafe { &self.face.as_ref().state }
    }

    /// Whether its handle has cancelled it.
    fn is_sealed(&self) -> bool {
        // Ordering: Acquire; pairs with `abort`.
        self.state().load(Ordering::Acquire) & SEALED != 0
    }

    /// Whether it is about to be dropped, and needs no permit of its own.
    pub fn waits_without_permit(&self) -> bool {
        // Ordering: Relaxed; for a count.
        self.waits.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("waits", &self.waits_without_permit())
            .finish_non_exhaustive()
    }
}

/// The future inside the `async-task`: it has the queue's share of the cell, and gives the outcome there.
struct Body<F, T> {
    future: ManuallyDrop<F>,
    cell: *mut Joint<F, T>,
    flight: *const Flight,
    waits: Waits,
    listed: bool,
    ended: bool,
}

// SAFETY: the future and its result are Send; the pointers are to what may be used on any thread by the
// one who has the future.
unsafe impl<F: Send, T: Send> Send for Body<F, T> {}

impl<F, T> Body<F, T> {
    fn flight(&self) -> &Flight {
        // SAFETY: it lies in one allocation with this future.
        unsafe { &*self.flight }
    }

    fn job(&self) -> JobPtr {
        self.flight().header.job
    }

    fn visit(&self) -> Option<&Visit> {
        // Ordering: Relaxed; the one with the runnable has set it.
        let visit = self.flight().visit.load(Ordering::Relaxed);
        // SAFETY: it is on the stack of the one who runs this, below.
        unsafe { visit.as_ref() }
    }

    /// V1, after a poll that left it pending. Until the poll is over nobody else has the future.
    fn stay(&mut self) {
        let waits = self.waits.any();
        let job = self.job();
        let flight = self.flight();
        Context::with(|context| context.expect("a worker polls").keep_job());
        // Ordering: Relaxed all; the one with the runnable has them to itself.
        flight.waits.store(waits, Ordering::Relaxed);
        if !flight.in_flight.swap(true, Ordering::Relaxed) {
            job.pool().flight_starts();
        }
        let visit = self.visit().expect("a future is polled on a visit");
        visit.waits.set(waits);
        let Some(task) = visit.task.take() else { return };
        let key = self.cell.addr();
        flights().list(job, key, task); // F1
        let due = self.flight().is_sealed() || admission::is_dropped(job); // F2
        self.listed = true;
        if due {
            // It is dropped at the end of the poll.
            drop(flights().take(job, key));
        }
    }

    /// Ends the future, which is dropped already, with its outcome.
    fn end(&mut self, outcome: Result<T, JoinError>) {
        self.ended = true;
        let job = self.job();
        // Ordering: AcqRel; against `abort`.
        let sealed = self.flight().state().fetch_or(SEALED, Ordering::AcqRel) & SEALED != 0;
        let outcome = if sealed && outcome.is_ok() {
            unwind::drop_quietly(outcome);
            Err(JoinError::Cancelled)
        } else {
            outcome
        };
        // Ordering: Relaxed all; published to the joiner by DONE.
        match &outcome {
            Ok(_) => drop(job.tally.completed.fetch_add(1, Ordering::Relaxed)),
            Err(JoinError::Panicked(_)) => {
                job.tally.panicked.fetch_add(1, Ordering::Relaxed);
            }
            Err(JoinError::Cancelled) => {
                let flight = self.flight();
                if self.visit().is_some() || flight.uncounted.load(Ordering::Relaxed) {
                    job.count_cancelled();
                }
            }
        }
        if self.listed {
            if let Some(task) = flights().take(job, self.cell.addr()) {
                task.detach();
            }
        }
        if self.flight().in_flight.load(Ordering::Relaxed) {
            job.pool().flight_ends();
        }
        if let Some(visit) = self.visit() {
            visit.ended.set(true);
        }
        // SAFETY: the task was claimed when it started, the slot is empty, and the queue's share is
        // this future's, which gives it up once.
        unsafe { Joint::finish(self.cell, outcome, QUEUE) };
    }
}

impl<F: Future<Output = T>, T> Future for Body<F, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        // SAFETY: `future` is not moved before it is dropped.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: it is a field of what is pinned, and not dropped: `poll` is not called after it ended.
        let mut future = unsafe { Pin::new_unchecked(&mut *this.future) };
        let waits = &this.waits;
        let polled = Context::with(|context| {
            let _polled = Polled::enter(context.expect("a worker polls"), waits);
            unwind::halt(|| future.as_mut().poll(cx))
        });
        let outcome = match polled {
            Ok(Poll::Pending) => {
                this.stay();
                return Poll::Pending;
            }
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(JoinError::Panicked(payload)),
        };
        // SAFETY: it is not used again: `ended` is set next.
        unwind::drop_quietly(Dropping(&mut this.future));
        this.end(outcome);
        Poll::Ready(())
    }
}

impl<F, T> Drop for Body<F, T> {
    fn drop(&mut self) {
        if !self.ended {
            unwind::drop_quietly(Dropping(&mut self.future));
            self.end(Err(JoinError::Cancelled));
        }
    }
}

/// Drops a future in its place, when it is dropped itself.
struct Dropping<'a, F>(&'a mut ManuallyDrop<F>);

impl<F> Drop for Dropping<'_, F> {
    fn drop(&mut self) {
        // SAFETY: whoever makes this does not use the future again.
        unsafe { ManuallyDrop::drop(self.0) };
    }
}
