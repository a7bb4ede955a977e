//! The cell of a waiter. A waiter waits in a job's queue for a permit, but is no task: it is a thread or a future.
//!
//! | bit | name     | meaning                                                                        |
//! |-----|----------|--------------------------------------------------------------------------------|
//! | 0   | GRANTED  | the waiter has its permits, one busy count and one flight                      |
//! | 1   | REFUSED  | the waiter gets no permit, because the job was cancelled                       |
//! | 2   | LEFT     | the waiter was dropped before its outcome was decided                          |
//! | 3   | SWAPPING | the waiter changes its waker                                                   |
//! | 4   | QUEUE    | the reference of the queue, then of the thread that decides the outcome        |
//! | 5   | WAITER   | the reference of the waiter                                                    |
//!
//! The thread that takes the cell from the queue *decides* the outcome of the wait (the *deciding thread*):
//! - `grant-1`: the deciding thread sets GRANTED or REFUSED, and reads the other bits, in one change. If LEFT is set, the waiter
//!   was dropped, and the thread keeps the permits.
//! - `grant-2`: if SWAPPING was not set, the waiter does not change its waker. So the deciding thread takes the waker out of the
//!   cell and wakes it. The thread does this step only when it holds no queue lock (module [`later`]).
//!
//! A waiter that is a future, when the future is polled again:
//! - `swap-1`: the waiter sets SWAPPING, so that a thread that decides later leaves the waker alone. In the same change the
//!   waiter reads the outcome. If the outcome is decided, the waiter is ready.
//! - `swap-2`: the waiter changes the waker. Then the waiter clears SWAPPING, and reads the outcome, in one change. If the
//!   outcome is decided, the waiter is ready.
//!
//! A waiter that is dropped:
//! - `leave-1`: the waiter sets SWAPPING (`swap-1`). If the outcome is not decided, the waiter drops its waker. Then, in one
//!   change, the waiter clears SWAPPING and reads the outcome, and sets LEFT if the outcome is still not decided. A waiter that
//!   was granted a permit gives the permit back, for the next task or waiter in the queue.
//!
//! All steps of a waiter, and of the thread that decides its outcome, are changes of one word. So no permit is lost if a waiter
//! is dropped. Either the deciding thread sees LEFT and keeps the permits (`grant-1`), or the waiter sees GRANTED and gives the
//! permits back (`leave-1`). No wake-up is lost either. If the deciding thread sees SWAPPING, it wakes no waker. But the waiter
//! clears SWAPPING later, and then sees the outcome (`swap-2`).
//!
//! Only one thread touches the waker of a waiter at a time. If the waiter has set SWAPPING before the outcome was decided, that
//! thread is the waiter. Otherwise it is the thread that decides the outcome.
//!
//! A waiter that is a thread has no waker. The thread that decides the outcome wakes it in the parking lot, where the key is
//! the address of the cell (`grant-2`).

use crate::base::parking::parking_lot;
use crate::base::task::{CellPtr, Header, Ran, VTable, WaiterTable};
use crate::base::{cache, later};
use crate::job::cancels::{cancels, note_gone};
use crate::job::events::{self, Number};
use crate::job::gate;
use crate::job::record::JobPtr;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::unwind;
use crate::worker::context::Context;
use std::mem::ManuallyDrop;
use std::task::Waker;

const GRANTED: u32 = 1;
const REFUSED: u32 = 1 << 1;
const LEFT: u32 = 1 << 2;
const SWAPPING: u32 = 1 << 3;
const QUEUE: u32 = 1 << 4;
const WAITER: u32 = 1 << 5;

/// The cell of a waiter in a job's queue.
#[repr(C)]
#[derive(Debug)]
struct Waiting {
    header: Header,
    state: State,
    /// The number by which the timeline identifies the waiter and its permit.
    number: Number,
    /// True if the waiter counts as a cancelled task when it is refused or dropped. False if the waiter is a pusher, because the
    /// pusher's task is counted instead.
    counts: bool,
    /// The waker of a waiting future. `None` for a waiting thread, and when the cell is freed.
    waker: UnsafeCell<Option<Waker>>,
}

/// The state word of a waiter: its outcome, and its references.
#[derive(Debug)]
struct State(AtomicU32);

/// One value of a waiter's state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Snapshot(u32);

/// The outcome of a wait for a permit.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The waiter has a permit of each gate, one busy count and one flight. The caller now owns all of these, and must give
    /// them back.
    Granted,
    /// The waiter gets no permit, because the job was cancelled.
    Refused,
}

impl Snapshot {
    const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    fn outcome(self) -> Option<Outcome> {
        match (self.has(GRANTED), self.has(REFUSED)) {
            (true, _) => Some(Outcome::Granted),
            (_, true) => Some(Outcome::Refused),
            _ => None,
        }
    }
}

impl State {
    /// Reads the state word. Ordering: Acquire; pairs with `decide`. A waiter that sees GRANTED also sees the writes of the tasks
    /// that had the permit before.
    fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Decides the outcome of the wait: sets GRANTED or REFUSED (`grant-1`). Returns the state word before the change.
    fn decide(&self, bit: u32) -> Snapshot {
        // Ordering: AcqRel; Release for the waiter, Acquire for the waker that the waiter has stored.
        Snapshot(self.0.fetch_or(bit, Ordering::AcqRel))
    }

    /// Sets SWAPPING before the waiter changes its waker (`swap-1`). Returns the state word before the change.
    fn begin_swap(&self) -> Snapshot {
        // Ordering: AcqRel; pairs with `decide`.
        Snapshot(self.0.fetch_or(SWAPPING, Ordering::AcqRel))
    }

    /// Clears SWAPPING after the waiter has changed its waker (`swap-2`). Returns the state word before the change.
    fn end_swap(&self) -> Snapshot {
        // Ordering: AcqRel; Release for the new waker, Acquire for what the permit's last owner did.
        Snapshot(self.0.fetch_and(!SWAPPING, Ordering::AcqRel))
    }

    /// Clears SWAPPING for a waiter that is dropped. If the outcome is not decided, sets LEFT and gives up the waiter's reference
    /// in the same change (`leave-1`). Returns the state word before the change.
    fn leave(&self) -> Snapshot {
        // Ordering: AcqRel; Release for the new state of the waker, Acquire for what the permit's last owner did.
        let left = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let decided = Snapshot(word).outcome().is_some();
            let next = if decided { word } else { (word | LEFT) & !WAITER };
            Some(next & !SWAPPING)
        });
        Snapshot(left.unwrap_or_else(|word| word))
    }

    /// Gives up a reference to the cell. Returns true if the reference was the last: the caller must then free the cell.
    #[must_use]
    fn release(&self, reference: u32) -> bool {
        // Ordering: AcqRel; all use of the cell comes before its memory is freed.
        let before = self.0.fetch_and(!reference, Ordering::AcqRel);
        before & (QUEUE | WAITER) == reference
    }
}

impl Waiting {
    /// Counts the waiter, which was refused or dropped, as a cancelled task. Does nothing if the waiter is a pusher.
    fn count_cancelled(&self) {
        if self.counts {
            self.header.job().count_cancelled();
        }
    }
}

/// The functions of a waiter's cell. A cell has this table if and only if it is a waiter's.
static VTABLE: VTable = VTable {
    is_gone,
    is_claimed: is_gone,
    clear: None,
    waiter: Some(&WaiterTable { grant, notify }),
    ..VTable::of::<Waiting>(run, cancel)
};

/// Returns the contents of a waiter's cell.
///
/// # Safety
/// The cell must be a waiter's, and the caller must keep it alive.
unsafe fn waiting<'a>(cell: CellPtr) -> &'a Waiting {
    // SAFETY: the cell is a waiter's, and the caller keeps it alive.
    unsafe { cell.cast::<Waiting>().as_ref() }
}

/// # Safety
/// The cell must be a waiter's, and no thread may use it any more.
unsafe fn free(cell: CellPtr) {
    // SAFETY: by this function's contract. The waker's slot is empty, so it needs no drop.
    unsafe { cache::free(cell.as_ptr().cast::<Waiting>()) };
}

/// # Safety
/// The cell must be a waiter's. The caller must have taken it from its queue, or must have the queue's lock.
unsafe fn is_gone(cell: CellPtr) -> bool {
    // SAFETY: the cell is a waiter's, and the queue's reference keeps it alive.
    unsafe { waiting(cell) }.state.load().has(LEFT)
}

/// Grants the waiter the permits that this worker has acquired for the waiter's cell. The cell came from a deque. If the waiter
/// was dropped before, counts the waiter as cancelled and returns `Ran::Cancelled`: the worker keeps the permits.
///
/// # Safety
/// The cell must be a waiter's, and the caller must have taken it from its queue.
unsafe fn run(cell: CellPtr) -> Ran {
    let job = cell.job();
    Context::with(|context| context.expect("a worker calls").keep_job());
    job.pool().flight_starts();
    // SAFETY: the cell is a waiter's, and the caller of `run` took it from its queue.
    if unsafe { grant(cell) } {
        return Ran::Pending;
    }
    job.pool().flight_ends();
    Ran::Cancelled
}

/// Gives the waiter the caller's permits, one busy count and one flight (`grant-1`). If the waiter was dropped before, frees
/// the cell and returns false: the caller keeps the permits, the busy count and the flight.
///
/// # Safety
/// The cell must be a waiter's, and the caller must have taken it from its queue.
unsafe fn grant(cell: CellPtr) -> bool {
    let job = cell.job();
    // SAFETY: the cell is a waiter's, and the queue's reference keeps it alive.
    let noted = events::granted(cell, unsafe { waiting(cell) }.number);
    // SAFETY: the cell is a waiter's, and the caller of `grant` took it from its queue.
    let granted = unsafe { decide(cell, GRANTED) };
    if !granted {
        // The waiter was dropped before, so it gets no permit. The timeline has an event of the grant already, so a further event
        // notes that the permit was given back. The job stays alive, because the caller has permits and a busy count of the job.
        events::given_back(job, noted);
    }
    granted
}

/// Refuses the waiter a permit, and counts the waiter as cancelled.
///
/// # Safety
/// The cell must be a waiter's, and the caller must have taken it from its queue.
unsafe fn cancel(cell: CellPtr) {
    // SAFETY: the cell is a waiter's, and the caller of `cancel` took it from its queue.
    unsafe { waiting(cell) }.count_cancelled();
    // SAFETY: the cell is a waiter's, and the caller of `cancel` took it from its queue.
    let _ = unsafe { decide(cell, REFUSED) };
}

/// Decides the outcome of a waiter. If the waiter was dropped before, frees the cell and returns false.
///
/// # Safety
/// The cell must be a waiter's, and the caller must have taken it from its queue.
unsafe fn decide(cell: CellPtr, outcome: u32) -> bool {
    // SAFETY: the cell is a waiter's, and the queue's reference keeps it alive.
    let state = unsafe { &waiting(cell).state };
    let before = state.decide(outcome);
    if before.has(LEFT) {
        if outcome == GRANTED {
            // SAFETY: the waiter has given up its reference, and the caller has the queue's reference.
            unsafe { waiting(cell) }.count_cancelled();
        }
        // SAFETY: the waiter has given up its reference, and this thread has the queue's reference, which is the last.
        unsafe { free(cell) };
        return false;
    }
    if before.has(SWAPPING) {
        // Another thread is polling or dropping the waiter now. That thread sees the outcome when it clears SWAPPING, so no wake-up
        // is needed. This thread only releases the queue's reference.
        if state.release(QUEUE) {
            // SAFETY: the last reference was given up just now.
            unsafe { free(cell) };
        }
    } else {
        later::notify(cell);
    }
    true
}

/// Wakes a waiter whose outcome is decided, and gives up the queue's reference (`grant-2`).
///
/// # Safety
/// The cell must be a waiter's. The caller must have decided the outcome, while SWAPPING was not set.
unsafe fn notify(cell: CellPtr) {
    // SAFETY: the cell is a waiter's, and the queue's reference keeps it alive.
    let this = unsafe { waiting(cell) };
    // SAFETY: this thread decided the outcome while SWAPPING was not set, so only this thread may touch the waker.
    let waker = this.waker.with_mut(|slot| unsafe { (*slot).take() });
    if this.state.release(QUEUE) {
        // SAFETY: the last reference was given up just now.
        unsafe { free(cell) };
    }
    match waker {
        // The waiter is a thread, which has no waker. The cell might have been freed, so only its address is used.
        None => parking_lot().wake(cell.as_ptr().addr()),
        Some(waker) => {
            if let Err(payload) = unwind::halt(|| waker.wake()) {
                unwind::drop_quietly(payload);
            }
        }
    }
}

/// A waiter: the reference to its cell in the job's queue. If this value is dropped before the outcome is decided, the waiter
/// gets no permit. If the waiter was granted a permit before, the drop gives the permit back.
#[derive(Debug)]
pub struct Waiter(CellPtr);

// SAFETY: the state word says which thread may touch what in the cell; a waker is Send.
unsafe impl Send for Waiter {}
// SAFETY: through a shared reference only the state word is read.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// Makes the cell of a waiter, and pushes it into the job's queue. A future passes its waker, a thread passes `None`. The
    /// caller must keep the job alive while the waiter exists.
    ///
    /// If `counts` is true, a waiter that is refused or dropped counts as a cancelled task.
    pub fn push(job: JobPtr, waker: Option<Waker>, counts: bool) -> Self {
        let cell = cache::make(Waiting {
            header: Header::new(&VTABLE, job.opaque()),
            state: State(AtomicU32::new(QUEUE | WAITER)),
            number: events::new_number(job),
            counts,
            waker: UnsafeCell::new(waker),
        });
        let cell = CellPtr::new(cell.cast::<Header>());
        // `this` must exist before the push, so that the waiter's reference is given up if the push unwinds.
        let this = Self(cell);
        events::pushed(job, cell);
        events::refused(job, cell);
        gate::push_behind(job, cell);
        this
    }

    fn cell(&self) -> &Waiting {
        // SAFETY: the waiter's reference keeps the cell alive.
        unsafe { waiting(self.0) }
    }

    /// Returns the key in the parking lot for a thread that waits for this waiter's outcome.
    pub fn key(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Returns the number by which the timeline identifies this waiter and its permit.
    pub fn number(&self) -> Number {
        self.cell().number
    }

    /// Returns true if the waiter's outcome is decided.
    pub fn is_decided(&self) -> bool {
        self.cell().state.load().outcome().is_some()
    }

    /// Takes the outcome of the wait if it is decided. Otherwise returns the waiter.
    pub fn take(self) -> Result<Outcome, Self> {
        match self.cell().state.load().outcome() {
            Some(outcome) => {
                self.give_up();
                Ok(outcome)
            }
            None => Err(self),
        }
    }

    /// Takes the outcome of the wait if it is decided. Otherwise replaces the waker (`swap-1`, `swap-2`), and returns the
    /// waiter.
    pub fn poll(self, waker: &Waker) -> Result<Outcome, Self> {
        let waker = waker.clone();
        let this = self.cell();
        if this.state.begin_swap().outcome().is_none() {
            // SAFETY: SWAPPING was set before the outcome, so the waiter owns the slot.
            let mut other = this.waker.with_mut(|slot| unsafe { (*slot).replace(waker) });
            if this.state.end_swap().outcome().is_some() {
                // SAFETY: the deciding thread has seen SWAPPING, so the waiter still owns the slot.
                other = this.waker.with_mut(|slot| unsafe { (*slot).take() });
            }
            drop(other);
        }
        self.take()
    }

    /// Gives up the waiter's reference to its cell. The outcome must be decided.
    fn give_up(self) {
        let cell = ManuallyDrop::new(self).0;
        // SAFETY: the waiter's reference keeps the cell alive.
        if unsafe { waiting(cell) }.state.release(WAITER) {
            // SAFETY: the last reference was given up just now.
            unsafe { free(cell) };
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let (cell, job) = (self.0, self.0.job());
        let state = &self.cell().state;
        if state.begin_swap().outcome().is_none() {
            // SAFETY: SWAPPING was set before the outcome, so the waiter owns the slot.
            drop(self.cell().waker.with_mut(|slot| unsafe { (*slot).take() }));
        }
        let Some(outcome) = state.leave().outcome() else {
            // `leave` has given up the waiter's reference, so the cell might have been freed. Only the job is used from here
            // on.
            note_gone(job);
            gate::weigh::look_behind_a_weight(job);
            return tidy_sometimes(job);
        };
        let this = Self(cell);
        let number = this.number();
        if outcome == Outcome::Granted {
            this.cell().count_cancelled();
        }
        this.give_up();
        if outcome == Outcome::Granted {
            events::given_back(job, number);
            gate::give_back(job);
        }
    }
}

/// Takes the cells of dropped waiters out of the job's queue and frees them, if such cells might be about half of the queue.
/// Called once for each dropped waiter. A queue of n cells is searched about once in n / 2 calls, so the mean cost of a call
/// does not depend on n.
fn tidy_sometimes(job: JobPtr) {
    let half = job.queue().len() as u64 / 2 + 1;
    if cancels().is_multiple_of(half) {
        gate::tidy_queue(job);
    }
}
