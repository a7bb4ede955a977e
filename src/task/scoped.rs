//! Tasks that borrow: a queue of parts beside the job's, and the count of those that have not ended.
//!
//! Each task of a scope is two cells. The *part* holds the closure and lies in the scope's own list; the
//! *turn* lies where the job's tasks lie, and stands for the permit of one part. Whoever gets a turn
//! runs the oldest part. The two are not tied to each other, so that the task that waits for the scope can run
//! parts itself, in order, or drop them; a turn that finds no part left is nothing.
//!
//! A part may borrow from the stack of whoever waits. What makes that sound:
//!
//! - `pending` is raised before a part is in the list, and lowered when its closure is gone: run to its
//!   end, or dropped.
//! - Whoever made the parts does not go back before `pending` is 0 ([`Shared::wait`]).
//! - Turns, which may come later, own no more than a share of [`Shared`], which borrows nothing.

use crate::job::control;
use crate::job::idle::note_gone;
use crate::job::queue::{Arrivals, Departures, Popped, Queue, Unlocked};
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, fence_after_rmw, shrunk, spin_loop, thread};
use crate::task::{CellPtr, Header, Ran, VTable, cells};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::waiting;
use std::any::Any;
use std::fmt;
use std::mem::ManuallyDrop;

/// Parts that the task that waits runs itself while others want its worker.
const HELPED_MOST: u32 = shrunk(16, 2) as u32;

const WAITED: u64 = 1;
const CLOSED: u64 = 1 << 1;
const PART: u64 = 1 << 2;

/// What the parts of one scope, their turns, and the one that waits for them share.
pub struct Shared {
    job: JobPtr,
    /// Whether a part is counted as a task; else it counts for itself what it does.
    counted: bool,
    arrivals: Arrivals,
    departures: Departures,
    /// Bit 0: somebody waits. Bit 1: turns are nothing any more. Above: parts that have not ended.
    pending: AtomicU64,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    /// No parts yet. Turns are pushed into `job`.
    pub fn new(job: JobPtr, counted: bool) -> Self {
        Self {
            job,
            counted,
            arrivals: Arrivals::new(),
            departures: Departures::new(),
            pending: AtomicU64::new(0),
            panic: Mutex::new(None),
        }
    }

    /// The key under which the room knows who waits.
    pub fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    fn queue(&self) -> Queue<'_> {
        Queue::new(&self.arrivals, &self.departures)
    }

    /// Takes a part in; returns its turn, for the caller to push into the job.
    ///
    /// # Safety
    /// What `part` borrows lives until [`wait`](Self::wait) has returned.
    #[must_use = "without its turn the part is not run"]
    pub unsafe fn enter<F: FnOnce() -> Ran + Send>(shared: &Arc<Self>, part: F) -> CellPtr {
        // Ordering: Relaxed; the part is published by its list, and read by who waits later on
        // this thread or behind a part that is pending itself.
        shared.pending.fetch_add(PART, Ordering::Relaxed);
        shared.queue().push(Part::make(shared.job, part));
        Turn::make(shared.job, shared.clone())
    }

    /// As `enter`, for a part that borrows nothing.
    #[must_use = "without its turn the part is not run"]
    pub fn enter_owned<F: FnOnce() -> Ran + Send + 'static>(
        shared: &Arc<Self>,
        part: F,
    ) -> CellPtr {
        // SAFETY: it borrows nothing.
        unsafe { Self::enter(shared, part) }
    }

    /// Takes the oldest part out.
    fn next(&self) -> Option<CellPtr> {
        const SPINS: u32 = 32;
        let mut spins = 0;
        while !self.queue().is_empty() {
            if let Some(mut consumer) = self.queue().try_lock_quietly() {
                let popped = consumer.pop();
                // Nobody leaves word here: who comes in between tries again.
                if let Unlocked::LookAgain(_) = consumer.unlock() {
                    unreachable!("word is left with the consumer of a scope's parts");
                }
                if let Popped::Task(part) = popped {
                    return Some(part);
                }
            }
            // Somebody is in the middle of a pop or a push.
            spins += 1;
            if spins < SPINS {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
        None
    }

    fn run(&self, part: CellPtr) {
        match part.run() {
            Ran::Panicked(payload) => {
                self.count(false);
                self.note_panic(payload);
            }
            Ran::Completed => self.count(true),
            Ran::Counted => {}
            _ => {
                unreachable!("a part is no handle's and no future")
            }
        }
        self.end_one();
    }

    /// Counts a task that has ended, before it is reported.
    pub fn count(&self, completed: bool) {
        let tally = &self.job.tally;
        // Ordering: Relaxed both; published by what reports the end.
        if completed {
            tally.completed.fetch_add(1, Ordering::Relaxed);
        } else {
            tally.panicked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The job whose tasks the parts are.
    pub fn job(&self) -> JobPtr {
        self.job
    }

    /// How many parts have not ended; for a person.
    pub fn pending(&self) -> u64 {
        // Ordering: Relaxed; a figure.
        self.pending.load(Ordering::Relaxed) / PART
    }

    fn end_one(&self) {
        // Ordering: AcqRel; all use of what the part borrowed comes before. E1 of the room.
        let before = self.pending.fetch_sub(PART, Ordering::AcqRel);
        if before & !CLOSED == PART | WAITED {
            crate::task::parking::parking_lot().wake(self.key());
        }
    }

    /// Whether every part has ended.
    pub fn is_done(&self) -> bool {
        // Ordering: Acquire; pairs with `end_one`.
        self.pending.load(Ordering::Acquire) < PART
    }

    /// Notes that somebody is about to wait; whether parts have yet to end. For use under the room's
    /// lock, as W2.
    pub fn set_waited(&self) -> bool {
        // Ordering: AcqRel; W2 against E1 in `end_one`, Acquire for what the parts did.
        self.pending.fetch_or(WAITED, Ordering::AcqRel) >= PART
    }

    /// No part will be run any more: turns that are left are nothing. In a job that is held nobody comes by for them, and who
    /// waits for it need not wait for them.
    pub fn close(&self) {
        // Ordering: AcqRel; before the wake.
        self.pending.fetch_or(CLOSED, Ordering::AcqRel);
        // Either this sees the job held, or who waits for the job sees the mark.
        fence_after_rmw();
        if control::is_stuck(self.job) {
            note_gone(self.job);
        }
    }

    /// Keeps the first panic, to be passed on.
    pub fn note_panic(&self, payload: Box<dyn Any + Send>) {
        let mut first = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if first.is_none() {
            *first = Some(payload);
        } else {
            drop(first);
            unwind::drop_quietly(payload);
        }
    }

    /// The first panic.
    pub fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Drops the parts that have not started.
    pub fn cancel_unstarted(&self) {
        while let Some(part) = self.next() {
            if self.counted {
                self.job.count_cancelled();
            }
            part.cancel();
            self.end_one();
        }
    }

    /// Waits until every part has ended; never unwinds.
    ///
    /// Inside a task of the same job, parts that have not started are run here first, under its permit.
    /// If there is no spare worker for the rest, what has not started is dropped, and the panic that says
    /// so is kept.
    pub fn wait(&self) {
        let abort = AbortOnUnwind;
        self.help();
        let left = || self.set_waited();
        if let Err(payload) = unwind::halt(|| waiting::wait(self.key(), None, left)) {
            self.note_panic(payload);
            self.cancel_unstarted();
            waiting::wait_in_any_case(self.key(), left);
        }
        std::mem::forget(abort);
    }

    fn help(&self) {
        Context::with(|context| {
            let Some(context) = context else { return };
            let mut helped = 0;
            while context.may_run_inside(self.job)
                && (helped < HELPED_MOST || !context.others_wait())
            {
                let Some(part) = self.next() else { break };
                context.depth.set(context.depth.get() + 1);
                self.run(part);
                context.depth.set(context.depth.get() - 1);
                helped += 1;
            }
        });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

/// Ends the process when it is dropped: tasks may still be using the stack that is about to go.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// The cell of a closure that may borrow.
#[repr(C)]
struct Part<F> {
    header: Header,
    task: ManuallyDrop<F>,
}

impl<F: FnOnce() -> Ran + Send> Part<F> {
    const VTABLE: VTable = VTable::of::<Self>(Self::run, Self::cancel);

    fn make(job: JobPtr, task: F) -> CellPtr {
        let part = Self { header: Header::new(&Self::VTABLE, job), task: ManuallyDrop::new(task) };
        CellPtr::new(cells::make(part).cast())
    }

    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract.
        let task = unsafe { Self::take(cell) };
        unwind::halt(task).unwrap_or_else(Ran::Panicked)
    }

    /// # Safety
    /// As `run`.
    unsafe fn cancel(cell: CellPtr) {
        // SAFETY: by this function's contract.
        unwind::drop_quietly(unsafe { Self::take(cell) });
    }

    /// Moves the closure out and frees the cell.
    ///
    /// # Safety
    /// As `run`.
    unsafe fn take(cell: CellPtr) -> F {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract the cell is whole, and nobody else has it.
        let Self { header: _, task } = unsafe { whole.read() };
        // SAFETY: its contents were moved out just now.
        unsafe { cells::free(whole) };
        ManuallyDrop::into_inner(task)
    }
}

/// The cell of the right to run one part.
#[repr(C)]
struct Turn {
    header: Header,
    shared: ManuallyDrop<Arc<Shared>>,
}

impl Turn {
    const VTABLE: VTable =
        VTable { is_gone: Self::is_gone, ..VTable::of::<Self>(Self::run, Self::cancel) };

    fn make(job: JobPtr, shared: Arc<Shared>) -> CellPtr {
        let turn =
            Self { header: Header::new(&Self::VTABLE, job), shared: ManuallyDrop::new(shared) };
        CellPtr::new(cells::make(turn).cast())
    }

    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract.
        let shared = unsafe { Self::take(cell) };
        if let Some(part) = shared.next() {
            shared.run(part);
        }
        Ran::Counted
    }

    /// # Safety
    /// As `run`.
    unsafe fn cancel(cell: CellPtr) {
        let job = cell.job();
        // SAFETY: by this function's contract.
        let shared = unsafe { Self::take(cell) };
        if let Some(part) = shared.next() {
            if shared.counted {
                job.count_cancelled();
            }
            part.cancel();
            shared.end_one();
        }
    }

    /// # Safety
    /// As `run`, but the cell may still be in its queue.
    unsafe fn is_gone(cell: CellPtr) -> bool {
        // SAFETY: by this function's contract.
        let turn = unsafe { &*cell.as_ptr().cast::<Self>() };
        // Ordering: Acquire; as in `close`.
        turn.shared.pending.load(Ordering::Acquire) & CLOSED != 0
    }

    /// # Safety
    /// As `run`.
    unsafe fn take(cell: CellPtr) -> Arc<Shared> {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract the cell is whole, and nobody else has it.
        let Self { header: _, shared } = unsafe { whole.read() };
        // SAFETY: its contents were moved out just now.
        unsafe { cells::free(whole) };
        ManuallyDrop::into_inner(shared)
    }
}
