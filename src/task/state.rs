//! The state word of a task with a handle, and its transitions.
//!
//! | bits   | name      | meaning                                                                     |
//! |--------|-----------|-----------------------------------------------------------------------------|
//! | 0      | CLAIMED   | a thread has taken the closure, to run or to drop it; a future has started  |
//! | 1      | DONE      | the outcome is final                                                        |
//! | 2      | QUEUE     | the reference of the queues and workers                                     |
//! | 3      | HANDLE    | the reference of the handle                                                 |
//! | 4      | WAITED    | a waiter for the handle may be in the parking lot                           |
//! | 5      | TAKEN     | the handle has moved the outcome out                                        |
//! | 6      | INLINE    | the claimer is the task that joins this one, and counts it                  |
//! | 7      | CANCELLED | a closure should end soon; a future must be dropped, or has its outcome     |
//! | 8      | SCHEDULED | a future must be polled or dropped: a queue has it, or its poller queues it |
//! | 9      | POLLING   | a worker polls or drops the future                                          |
//! | 10     | LISTED    | the future is in the list of pending futures                                |
//! | 11     | NO_PERMIT | the pending future waits without a permit                                   |
//! | 12     | DELAYED   | the closure's time has not come: no join may run it inline                  |
//! | 16..40 | wakers    | references of wakers, of waits and of scopes                                |
//! | 40..64 | waits     | tasks and jobs of this library that the future awaits                       |
//!
//! # Which thread may touch what
//!
//! - The thread that sets CLAIMED owns the closure. That thread writes the outcome before it sets DONE.
//! - The handle owns the outcome from DONE on. Without a handle, the thread that sets DONE owns the outcome.
//! - The thread that sets POLLING owns the future, until it clears POLLING or sets DONE.
//! - The thread that gives up the last reference frees the cell. References are QUEUE, HANDLE, and those in `wakers`.
//!
//! # No wake-up is lost
//!
//! - `poll-1`: the poller sets POLLING and clears SCHEDULED. `poll-2`: the poller polls the future.
//! - `poll-3`: the poller clears POLLING. If SCHEDULED is set again, the poller queues the future itself.
//! - `schedule-1`: a waker sets SCHEDULED. If the future was neither scheduled nor polled, the waker queues it.
//!
//! All are changes of one word. So `poll-3` sees `schedule-1`, or `schedule-1` comes after `poll-3` and queues the future.
//! A waker that finds SCHEDULED set must write the word as well: `poll-1` then sees what the waker did before.

#![cfg_attr(
    not(feature = "futures"),
    allow(dead_code, reason = "the transitions of futures stand beside those of closures")
)]

use crate::sync::atomic::{AtomicU64, Ordering};

pub const CLAIMED: u64 = 1;
pub const DONE: u64 = 1 << 1;
const QUEUE: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
pub const WAITED: u64 = 1 << 4;
pub const TAKEN: u64 = 1 << 5;
const INLINE: u64 = 1 << 6;
pub const CANCELLED: u64 = 1 << 7;
pub const SCHEDULED: u64 = 1 << 8;
pub const POLLING: u64 = 1 << 9;
const LISTED: u64 = 1 << 10;
const NO_PERMIT: u64 = 1 << 11;
pub const DELAYED: u64 = 1 << 12;
const WAKER: u64 = 1 << 16;
const WAKERS: u64 = WAIT - WAKER;
const WAIT: u64 = 1 << 40;

/// The state word.
#[derive(Debug)]
pub struct State(AtomicU64);

/// A value of the state word. Its transitions return the next value, and change no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot(u64);

/// A reference to a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Reference {
    /// The reference of the queues, and of the worker that takes the cell from a queue.
    Queue = QUEUE,
    /// The reference of the handle.
    Handle = HANDLE,
    /// The reference of a waker, of a scope, or of an entry in the timer.
    Waker = WAKER,
    /// The reference of a future's wait for a task or a job of this library. It also counts the wait.
    Wait = WAIT + WAKER,
}

/// The result of an attempt to claim a closure.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller owns the closure.
    Granted,
    /// A worker or the handle has claimed the closure before. Or a join wants to run it inline, and its time has not come.
    Refused,
    /// The closure has run inside the task that joins it, and was counted there.
    Inline,
}

/// What a thread must do after it has made an outcome final.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Leave the outcome to the handle. The thread's reference is given up.
    Nothing,
    /// Wake the handle's waiter. The thread's reference is given up.
    Wake,
    /// Drop the outcome, then give up the reference, if the thread has one: there is no handle.
    Drop,
}

/// What a handle that is dropped must do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Take the outcome, then give up the reference.
    Take,
    /// Free the cell: the reference was the last.
    Free,
    /// Do nothing.
    Nothing,
}

/// What a worker must do with a future that it has taken from a queue. `listed`: the future is in the list of pending futures.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Poll the future.
    Poll { listed: bool },
    /// Drop the future.
    Drop { listed: bool },
    /// Count the future as cancelled: its handle has dropped it before its first poll.
    Gone,
}

/// What a poller must do with a future that is pending.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPoll {
    /// Drop the future: it was cancelled meanwhile.
    Cancelled,
    /// Leave the future to its wakers or, if it was woken meanwhile, queue it.
    Pending {
        /// The future was woken.
        woken: bool,
        /// The future waits without a permit.
        without_permit: bool,
    },
}

/// What a waker must do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Do nothing.
    Nothing,
    /// Queue the future.
    Queue { without_permit: bool },
    /// Free the cell: the waker's reference was the last.
    Free,
}

/// What a thread that cancels a future must do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Nothing: the future has ended, or was cancelled before.
    TooLate,
    /// Nothing: the worker that polls the future, or takes it from its queue, drops it.
    Noted,
    /// Queue the future. A worker drops it.
    Queue { without_permit: bool },
    /// Drop the future, which has not started, and finish.
    Drop,
}

impl Snapshot {
    /// Returns true if one of these bits is set.
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    /// Returns true if the future is pending, was not woken, and waits without a permit.
    pub fn waits_without_permit(self) -> bool {
        self.has(NO_PERMIT) && !self.has(POLLING | SCHEDULED)
    }

    /// Returns true if the queue's reference is the only one. The list of pending futures may still lead to the cell.
    pub const fn is_alone(self) -> bool {
        !self.has(HANDLE | WAKERS)
    }

    /// Returns true if a cell in a queue has no closure or future any more.
    pub const fn is_empty(self) -> bool {
        self.has(CLAIMED) && !self.has(SCHEDULED)
    }

    /// Returns true if no reference is left.
    const fn is_last(self) -> bool {
        !self.has(QUEUE | HANDLE | WAKERS)
    }

    const fn claim(self, inline: bool) -> (Self, Claim) {
        if self.has(INLINE) {
            (self, Claim::Inline)
        } else if self.has(CLAIMED) || (inline && self.has(DELAYED)) {
            (self, Claim::Refused)
        } else {
            (Self(self.0 | CLAIMED | if inline { INLINE } else { 0 }), Claim::Granted)
        }
    }

    const fn again(self) -> (Self, bool) {
        if self.has(CANCELLED) {
            (self, false)
        } else {
            (Self((self.0 & !CLAIMED) | DELAYED), true)
        }
    }

    const fn ask(self) -> (Self, bool) {
        if self.has(CLAIMED) { (Self(self.0 | CANCELLED), true) } else { (self, false) }
    }

    const fn finish(self, reference: u64) -> (Self, Finish) {
        let done = Self(self.0 | DONE);
        if !self.has(HANDLE) {
            return (done, Finish::Drop);
        }
        (Self(done.0 & !reference), if self.has(WAITED) { Finish::Wake } else { Finish::Nothing })
    }

    const fn leave(self) -> (Self, Leave) {
        if self.has(DONE) && !self.has(TAKEN) {
            return (self, Leave::Take);
        }
        let next = Self(self.0 & !HANDLE);
        (next, if next.is_last() { Leave::Free } else { Leave::Nothing })
    }

    /// Starts a poll of a future, or its drop (`poll-1`).
    const fn start(self, to_drop: bool) -> (Self, Start) {
        if self.is_empty() {
            return (self, Start::Gone);
        }
        let listed = self.has(LISTED);
        let next = (self.0 | CLAIMED | POLLING) & !(SCHEDULED | NO_PERMIT);
        if to_drop || self.has(CANCELLED) {
            (Self(next | CANCELLED), Start::Drop { listed })
        } else {
            (Self(next), Start::Poll { listed })
        }
    }

    /// Ends the poll of a pending future (`poll-3`). A future that awaits something of this library waits without a permit
    /// (`await-1`).
    const fn end_poll(self) -> (Self, EndPoll) {
        if self.has(CANCELLED) {
            return (self, EndPoll::Cancelled);
        }
        let (woken, without_permit) = (self.has(SCHEDULED), self.0 >= WAIT);
        let next = (self.0 & !POLLING) | LISTED | if without_permit { NO_PERMIT } else { 0 };
        (Self(next), EndPoll::Pending { woken, without_permit })
    }

    /// Schedules a future (`schedule-1`). If `ends`, also gives up the waker's reference.
    const fn wake(self, ends: bool) -> (Self, Wake) {
        let next = Self(if ends { self.0 - WAKER } else { self.0 });
        if self.has(DONE) {
            (next, if next.is_last() { Wake::Free } else { Wake::Nothing })
        } else if self.has(SCHEDULED | POLLING) {
            (Self(next.0 | SCHEDULED), Wake::Nothing)
        } else {
            (Self(next.0 | SCHEDULED), Wake::Queue { without_permit: self.has(NO_PERMIT) })
        }
    }

    const fn cancel(self) -> (Self, Cancel) {
        let next = self.0 | CANCELLED;
        if self.has(DONE | CANCELLED) {
            (self, Cancel::TooLate)
        } else if !self.has(CLAIMED) {
            (Self((next | CLAIMED) & !SCHEDULED), Cancel::Drop)
        } else if self.has(SCHEDULED | POLLING) {
            (Self(next), Cancel::Noted)
        } else {
            (Self(next | SCHEDULED), Cancel::Queue { without_permit: self.has(NO_PERMIT) })
        }
    }
}

impl State {
    /// Makes the state of a closure in a queue, with a handle.
    pub fn of_closure() -> Self {
        Self(AtomicU64::new(QUEUE | HANDLE))
    }

    /// Makes the state of a closure in the timer, with a handle.
    pub fn of_delayed() -> Self {
        Self(AtomicU64::new(QUEUE | HANDLE | DELAYED))
    }

    /// Makes the state of a closure in a queue, with the reference of a scope. If `handle`, it has a handle, too.
    pub fn of_scoped(handle: bool) -> Self {
        Self(AtomicU64::new(QUEUE | WAKER | if handle { HANDLE } else { 0 }))
    }

    /// Makes the state of a future in a queue, with a handle.
    pub fn of_future() -> Self {
        Self(AtomicU64::new(QUEUE | HANDLE | SCHEDULED))
    }

    /// Reads the word.
    #[inline]
    pub fn load(&self) -> Snapshot {
        // Ordering: Acquire; pairs with the Release of each change. A thread that sees DONE sees the outcome. The holder of the
        // last reference sees what the other holders did.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Applies a transition. It writes the word even if the transition changes nothing.
    #[inline]
    fn change<R>(&self, transition: impl Fn(Snapshot) -> (Snapshot, R)) -> R {
        let mut result = None;
        // Ordering: AcqRel; Release publishes this thread's writes to the next thread that changes the word. Acquire shows this
        // thread the writes of the earlier ones. Acquire on failure: the transition is computed from the value read.
        let changed = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (next, then) = transition(Snapshot(word));
            result = Some(then);
            Some(next.0)
        });
        debug_assert!(changed.is_ok(), "a transition has a next value");
        result.expect("the transition was applied")
    }

    /// Sets these bits. Returns the word before.
    pub fn set(&self, bits: u64) -> Snapshot {
        // Ordering: AcqRel; Release publishes this thread's writes, Acquire shows those of earlier changes.
        Snapshot(self.0.fetch_or(bits, Ordering::AcqRel))
    }

    /// Clears these bits.
    pub fn clear(&self, bits: u64) {
        // Ordering: AcqRel; Release publishes this thread's writes, Acquire shows those of earlier changes.
        self.0.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Adds a reference of a waker or of a wait. The caller must keep the cell alive meanwhile.
    pub fn add(&self, reference: Reference) {
        // Ordering: Relaxed; the caller keeps the cell alive, and publishes the reference by other means.
        let before = self.0.fetch_add(reference as u64, Ordering::Relaxed);
        if before & WAKERS > WAKERS / 2 {
            // The program leaks wakers in a loop. Aborts before the count overflows, as `Arc` does.
            std::process::abort();
        }
    }

    /// Gives up a reference. Returns true if it was the last: the caller must free the cell.
    #[inline]
    #[must_use = "the holder of the last reference must free the cell"]
    pub fn release(&self, reference: Reference) -> bool {
        let reference = reference as u64;
        // Ordering: AcqRel; all use of the cell comes before its memory is freed.
        Snapshot(self.0.fetch_sub(reference, Ordering::AcqRel) - reference).is_last()
    }

    /// Claims a closure, to run or to drop it. If `inline`, the task that joins it runs it.
    #[inline]
    pub fn claim(&self, inline: bool) -> Claim {
        self.change(|word| word.claim(inline))
    }

    /// Gives up the claim of a closure that will be run again, and sets DELAYED. If the handle has asked the task to end,
    /// returns false: then the claim stays.
    pub fn again(&self) -> bool {
        self.change(Snapshot::again)
    }

    /// Asks a closure that was claimed to end soon. Returns false if no thread has claimed the closure.
    pub fn ask(&self) -> bool {
        self.change(Snapshot::ask)
    }

    /// Sets DONE after the outcome was written (`unpark-1`), and gives up `reference` if the task has a handle. Then the caller
    /// needs another reference to use the cell afterwards.
    #[inline]
    pub fn finish(&self, reference: Option<Reference>) -> Finish {
        let reference = reference.map_or(0, |reference| reference as u64);
        self.change(|word| word.finish(reference))
    }

    /// Gives up the handle's reference, unless the outcome must be taken first.
    #[inline]
    pub fn leave(&self) -> Leave {
        self.change(Snapshot::leave)
    }

    /// Starts the poll of a future that was taken from a queue. If `to_drop`, or if the future was cancelled, starts its drop.
    #[inline]
    pub fn start(&self, to_drop: bool) -> Start {
        let word = self.load();
        if word.is_alone() && !word.has(CLAIMED) {
            let (next, start) = word.start(to_drop);
            // Ordering: Relaxed; no other thread can reach the cell before this thread hands out a waker.
            self.0.store(next.0, Ordering::Relaxed);
            return start;
        }
        self.change(|word| word.start(to_drop))
    }

    /// Ends the poll of a future that is pending.
    pub fn end_poll(&self) -> EndPoll {
        self.change(Snapshot::end_poll)
    }

    /// Schedules a future. If `ends`, also gives up the waker's reference.
    pub fn wake(&self, ends: bool) -> Wake {
        self.change(|word| word.wake(ends))
    }

    /// Cancels a future.
    pub fn cancel(&self) -> Cancel {
        self.change(Snapshot::cancel)
    }
}
