//! A future as a task: how it starts, what it is while it is in flight, and how it ends.
//!
//! A future lies in its cell from first to last. Until it starts, that cell is a task's with a handle like any
//! other, in a deque or in the backlog, to be claimed by a worker that has its permit, or by who cancels it. The
//! worker that claims it polls it where it lies. Many end there, and have cost no more than a closure.
//! One that is pending is *in flight*, and has an `async-task` of one pointer to the cell:
//!
//! - Its cell in deques is the header at the front of the [`Flight`], which is the metadata of the
//!   `async-task`: waking allocates nothing.
//! - It has a permit of each gate, or none (`awaiting`), and one token of its job.
//! - It is in the list of [`flights`], where who cancels finds it.
//!
//! `async-task` sees to it that there is one [`Runnable`] at most, whoever wakes, polls, cancels and drops at
//! the same time. Who has it has the [`Flight`] and the future to itself; that is the right by which
//! all that is not atomic for its own sake is touched here.
//!
//! # The first poll
//!
//! It is made with a waker that has nothing behind it. Who clones that waker makes the `async-task`, whose
//! own waker is the clone. So there may be a runnable before the poll is over, and the [`Stage`] says whose
//! the future is:
//!
//! - S1: `First`: it is being polled. Who wakes it leaves the runnable in the flight and sets `Woken`.
//! - S2: behind all that a pending poll has to note, the one who polls sets `Aloft`, or finds `Woken` and puts the
//!   runnable into a queue itself.
//! - S3: from `Aloft` on the future is the one's that has the runnable. A runnable of one that has `Ended` is
//!   dropped.
//!
//! S1 and S2 are changes of one value: the runnable is left before S2, or queued by who wakes after it.
//!
//! # The end
//!
//! Whether a future that is cancelled by its handle while it is polled ends or is cancelled is settled by
//! the bit SEALED: whoever sets it has its way. To end a future is, in this order: to drop it, seal, count, take
//! it off the list, and set DONE. With the handle gone, nobody is left to seal it against, or to tell.

use crate::error::JoinError;
use crate::job::admission;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{UnsafeCell, fault};
use crate::task::flights::flights;
use crate::task::handle::awaiting::{Polled, Waits};
use crate::task::handle::{
    CLAIMED, DONE, Face, HANDLE, Joint, QUEUE, SEALED, SideTable, Slot, TaskHandle, claim,
    is_claimed,
};
use crate::task::{CellPtr, Header, Mark, Ran, VTable, cells, never_gone};
use crate::unwind;
use crate::worker::context::Context;
use async_task::{Builder, Runnable, ScheduleInfo, Task, WithInfo};
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::task::{self, Poll, RawWaker, RawWakerVTable, Waker};

/// What a future in flight is to deques and to who wakes it.
#[repr(C)]
pub struct Flight {
    header: Header,
    /// The cell with the future; alive until that has ended.
    face: NonNull<Face>,
    stage: AtomicU32,
    /// The runnable, while the flight is in a queue, and at stage `Woken`.
    runnable: AtomicPtr<()>,
    /// Where the one who runs it wants to know what came of it; null with one who drops it.
    visit: AtomicPtr<Visit>,
    /// What of this library's it waits for.
    waits: Waits,
    /// V1: it waits without a permit.
    without_permit: AtomicBool,
    /// The drain waits for it.
    in_flight: AtomicBool,
    /// It has woken itself in its first poll, and goes behind all others.
    to_the_end: AtomicBool,
    /// It is dropped by a worker that has not counted it as cancelled.
    uncounted: AtomicBool,
}

// SAFETY: all but the atomics and the waits, which are Sync, does not change; `face` is alive until the
// future has ended, and of it only the atomic state is used here.
unsafe impl Send for Flight {}
// SAFETY: as above.
unsafe impl Sync for Flight {}

/// Whose the future is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Stage {
    First = 0,
    Woken = 1,
    Aloft = 2,
    Ended = 3,
}

/// What came of one run.
#[derive(Default)]
struct Visit {
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
        VTable { run: Self::start, cancel: Self::cancel_queued, is_gone: is_claimed };
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
        let ran = unsafe { Self::end(whole, outcome, true) };
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
            unsafe { Self::drop_future(whole) };
            if flight.in_flight.load(Ordering::Relaxed) {
                job.pool().flight_ends();
            }
            // SAFETY: the future was dropped just now.
            let ran = unsafe { Self::end(whole, Err(JoinError::Cancelled), true) };
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
            uncounted: AtomicBool::new(false),
        };
        let body = |flight: &Flight| Body { cell: cell.as_ptr().cast::<Self>(), flight };
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
    unsafe fn poll(
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
            context.as_task(whole.addr(), || unwind::halt(poll))
        });
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => Err(JoinError::Panicked(payload)),
        };
        // SAFETY: by this function's contract; it is not polled again.
        unsafe { Self::drop_future(whole) };
        Poll::Ready(outcome)
    }

    /// # Safety
    /// The slot is the future and the caller's; it is not used again.
    unsafe fn drop_future(whole: *mut Self) {
        // SAFETY: by this function's contract.
        let slot = unsafe { &(*whole).slot };
        slot.with_mut(|slot| {
            // SAFETY: by this function's contract.
            unwind::drop_quietly(Dropping(unsafe { &mut (*slot).task }));
        });
    }

    /// Seals and counts a future that was dropped already, and gives its outcome and the queue's share.
    /// `count`: one that was cancelled was not counted by the caller.
    ///
    /// # Safety
    /// The caller has claimed the cell, and has the queue's share; the slot is empty.
    unsafe fn end(whole: *mut Self, outcome: Result<T, JoinError>, count: bool) -> Ran {
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
            Err(JoinError::Cancelled) if count => job.count_cancelled(),
            Err(JoinError::Cancelled) => {}
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

/// Polls the future, or drops it if it is cancelled, and says what became of it.
fn run(runnable: Runnable<Flight>) -> Ran {
    let visit = Visit::default();
    let flight = runnable.metadata();
    // Ordering: Relaxed; the one with the runnable has it to itself.
    flight.visit.store(ptr::from_ref(&visit).cast_mut(), Ordering::Relaxed);
    runnable.run();
    match (visit.ended.get(), visit.waits.get()) {
        (true, _) => Ran::Counted,
        (false, false) => Ran::Pending,
        (false, true) => Ran::Waits,
    }
}

/// Sees to a future that was woken, or whose `async-task` was dropped.
fn schedule(runnable: Runnable<Flight>, info: ScheduleInfo) {
    let flight: *const Flight = runnable.metadata();
    // SAFETY: the runnable keeps it alive until it is left to somebody else.
    let this = unsafe { &*flight };
    match this.stage() {
        Stage::Aloft => queue(runnable, info.woken_while_running),
        Stage::Ended => drop(runnable),
        Stage::First | Stage::Woken => {
            this.leave_runnable(runnable);
            // S1
            let Err(stage) = this.change_stage(Stage::First, Stage::Woken) else { return };
            // SAFETY: it was left just now, and nobody else looks for it at this stage.
            let runnable = unsafe { this.take_runnable() };
            if stage == Stage::Aloft { queue(runnable, false) } else { drop(runnable) }
        }
    }
}

/// Puts a future in flight where a worker finds it.
fn queue(runnable: Runnable<Flight>, to_the_end: bool) {
    let flight: *const Flight = runnable.metadata();
    let cell = CellPtr::new(NonNull::from(runnable.metadata()).cast());
    // SAFETY: the runnable keeps it alive until the cell is taken from its queue.
    let this = unsafe { &*flight };
    let job = this.header.job;
    // Ordering: Relaxed all; the queue publishes them with the cell.
    let to_the_end = this.to_the_end.swap(false, Ordering::Relaxed) || to_the_end;
    let sealed = this.is_sealed();
    this.leave_runnable(runnable);
    if !this.without_permit.load(Ordering::Relaxed) {
        admission::go_on(cell, Mark::Admitted, to_the_end);
    } else if sealed || admission::is_dropped(job) {
        // It needs no permit to be dropped.
        this.uncounted.store(true, Ordering::Relaxed);
        admission::go_on(cell, Mark::Sweep, true);
    } else {
        let in_flight = this.in_flight.swap(false, Ordering::Relaxed);
        admission::come_back(cell, in_flight); // V3
    }
}

impl Flight {
    const VTABLE: VTable = VTable { run: Self::run, cancel: Self::cancel, is_gone: never_gone };

    /// # Safety
    /// The cell is a flight's, and the caller took it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract; the runnable in it keeps it alive.
        let this = unsafe { &*cell.as_ptr().cast::<Self>() };
        // SAFETY: it is in no queue any more.
        run(unsafe { this.take_runnable() })
    }

    /// # Safety
    /// As `run`.
    unsafe fn cancel(cell: CellPtr) {
        // SAFETY: as in `run`.
        let this = unsafe { &*cell.as_ptr().cast::<Self>() };
        // SAFETY: as in `run`.
        let runnable = unsafe { this.take_runnable() };
        // Ordering: Relaxed; the one with the runnable has it to itself.
        this.visit.store(ptr::null_mut(), Ordering::Relaxed);
        drop(runnable);
    }

    fn leave_runnable(&self, runnable: Runnable<Self>) {
        // Ordering: Relaxed; the queue, or the stage, publishes it.
        self.runnable.store(runnable.into_raw().as_ptr(), Ordering::Relaxed);
    }

    /// # Safety
    /// It was left, and the caller is the one to take it.
    unsafe fn take_runnable(&self) -> Runnable<Self> {
        // Ordering: Relaxed; as in `leave_runnable`.
        let runnable = NonNull::new(self.runnable.load(Ordering::Relaxed));
        let runnable = runnable.expect("a flight in a queue has its runnable");
        // SAFETY: it came from `into_raw`, and is taken once for each time it is left.
        unsafe { Runnable::from_raw(runnable) }
    }

    fn stage(&self) -> Stage {
        // Ordering: Acquire; pairs with the changes.
        Stage::of(self.stage.load(Ordering::Acquire))
    }

    fn set_stage(&self, stage: Stage) {
        // Ordering: Release; who sees the stage sees what was noted before.
        self.stage.store(stage as u32, Ordering::Release);
    }

    /// Ordering: AcqRel; in S1 Release for the runnable, in S2 for all that was noted; Acquire for the
    /// other's.
    fn change_stage(&self, from: Stage, to: Stage) -> Result<(), Stage> {
        self.stage
            .compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Stage::of)
    }

    /// The future has ended on its first poll: who wakes it drops the runnable.
    fn end_first(&self) {
        if self.change_stage(Stage::First, Stage::Ended).is_err() {
            self.set_stage(Stage::Ended);
            // SAFETY: who set `Woken` has left it.
            drop(unsafe { self.take_runnable() });
        }
    }

    /// V1, for a future that a poll left pending. Whether it waits without a permit.
    fn stay(&self) -> bool {
        let without_permit = self.waits.any();
        Context::with(|context| context.expect("a future is polled by a worker").keep_job());
        // Ordering: Relaxed both; the one with the runnable has them to itself.
        self.without_permit.store(without_permit, Ordering::Relaxed);
        if !self.in_flight.swap(true, Ordering::Relaxed) {
            self.header.job.pool().flight_starts();
        }
        without_permit
    }

    /// Whether its handle has cancelled it.
    fn is_sealed(&self) -> bool {
        // SAFETY: the future has not ended.
        let state = unsafe { &self.face.as_ref().state };
        // Ordering: Acquire; pairs with `abort`.
        state.load(Ordering::Acquire) & SEALED != 0
    }

    /// Whether it waits without a permit; for a count.
    pub fn is_without_permit(&self) -> bool {
        // Ordering: Relaxed; a figure.
        self.without_permit.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("stage", &self.stage()).finish_non_exhaustive()
    }
}

impl Stage {
    fn of(stage: u32) -> Self {
        match stage {
            0 => Self::First,
            1 => Self::Woken,
            2 => Self::Aloft,
            _ => Self::Ended,
        }
    }
}

/// The future of the `async-task`: the cell's, once that is aloft.
struct Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    cell: *mut Joint<F, T>,
    flight: *const Flight,
}

// SAFETY: the future and its result are Send; the pointers are to what may be used on any thread by the
// one who has the runnable.
unsafe impl<F, T> Send for Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
}

impl<F, T> Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn flight(&self) -> &Flight {
        // SAFETY: it lies in one allocation with this.
        unsafe { &*self.flight }
    }

    fn visit(&self) -> Option<&Visit> {
        // Ordering: Relaxed; the one with the runnable has set it.
        let visit = self.flight().visit.load(Ordering::Relaxed);
        // SAFETY: it is on the stack of the one who runs this, below.
        unsafe { visit.as_ref() }
    }

    /// Ends the future, which was dropped just now.
    fn end(&self, outcome: Result<T, JoinError>) {
        let flight = self.flight();
        let job = flight.header.job;
        flight.set_stage(Stage::Ended);
        if let Some(task) = flights().take(job, self.cell.addr()) {
            task.detach();
        }
        // Ordering: Relaxed both; the one with the runnable has them to itself.
        if flight.in_flight.load(Ordering::Relaxed) {
            job.pool().flight_ends();
        }
        let visit = self.visit();
        let count = visit.is_some() || flight.uncounted.load(Ordering::Relaxed);
        // SAFETY: it was claimed when it started, the slot is empty, and the queue's share is its.
        let ran = unsafe { Joint::end(self.cell, outcome, count) };
        if let Ran::Completed = ran {
            // Ordering: Relaxed; published by the permit that is given back.
            job.tally.completed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(visit) = visit {
            visit.ended.set(true);
        }
    }
}

impl<F, T> Future for Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let flight = self.flight();
        if flight.stage() == Stage::First {
            return Poll::Pending;
        }
        // SAFETY: it is aloft, and this has the runnable.
        match unsafe { Joint::poll(self.cell, &flight.waits, cx) } {
            Poll::Pending => {
                let visit = self.visit().expect("a future is polled on a visit");
                visit.waits.set(flight.stay());
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                self.end(outcome);
                Poll::Ready(())
            }
        }
    }
}

impl<F, T> Drop for Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn drop(&mut self) {
        if self.flight().stage() == Stage::Ended {
            return;
        }
        // SAFETY: it is aloft, this has the runnable, and is the last to use the future.
        unsafe { Joint::drop_future(self.cell) };
        self.end(Err(JoinError::Cancelled));
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
