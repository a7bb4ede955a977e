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

mod body;
mod start;

pub use start::flight;

use crate::job::admission;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use crate::task::handle::awaiting::Waits;
use crate::task::handle::joint::Face;
use crate::task::handle::state::SEALED;
use crate::task::{CellPtr, Header, Mark, Ran, VTable, never_gone};
use crate::worker::context::Context;
use async_task::{Runnable, ScheduleInfo};
use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

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
        admission::go_on(cell, Mark::Doomed, true);
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
