//! The state word of a task with a handle, and its transitions.
//!
//! | bits   | name      | meaning                                                                     |
//! |--------|-----------|-----------------------------------------------------------------------------|
//! | 0      | CLAIMED   | a thread owns the closure, to run or to drop it; a future has started       |
//! | 1      | DONE      | the outcome is final                                                        |
//! | 2      | QUEUE     | the reference of the queues and workers                                     |
//! | 3      | HANDLE    | the reference of the handle                                                 |
//! | 4      | WAITED    | a waiter for the task's end may be in the parking lot                       |
//! | 5      | TAKEN     | the handle has moved the outcome out                                        |
//! | 6      | INLINE    | a join has claimed this task, runs it inline, and counts it                 |
//! | 7      | CANCELLED | a running closure should end; a future must be dropped, or has its outcome  |
//! | 8      | SCHEDULED | a future must be polled or dropped: a queue has it, or its poller queues it |
//! | 9      | POLLING   | a worker polls or drops the future                                          |
//! | 10     | LISTED    | the future is in the list of pending futures                                |
//! | 11     | NO_PERMIT | the pending future waits without a permit                                   |
//! | 12     | DELAYED   | the task waits in the timer: no join may run it inline                      |
//! | 13     | PINNED    | a join uses the task's job, and the job must stay (module `inline`)         |
//! | 14     | CLEARED   | a clear drops the closure: no join may run it inline                        |
//! | 16..40 | wakers    | references of wakers, of waits and of scopes                                |
//! | 40..64 | waits     | tasks and jobs of this library that the future awaits                       |
//!
//! # Which thread may touch what
//!
//! These rules say which thread owns what in a cell:
//! - The thread that sets CLAIMED owns the closure. This thread writes the outcome, and then sets DONE.
//! - When DONE is set, the handle owns the outcome. If there is no handle, the thread that has set DONE owns the outcome.
//! - The thread that sets POLLING owns the future, until it clears POLLING or sets DONE.
//! - The thread that gives up the last reference frees the cell. The references are QUEUE, HANDLE, and those that the field
//!   `wakers` counts.
//!
//! # No wake-up is lost
//!
//! A future is polled and woken in these steps:
//! - `poll-1`: a worker (the *poller*) sets POLLING and clears SCHEDULED. `poll-2`: the poller polls the future.
//! - `poll-3`: the poller clears POLLING. If SCHEDULED is set again, the poller queues the future itself.
//! - `schedule-1`: a waker sets SCHEDULED. If the future was neither scheduled nor polled, the waker queues it.
//!
//! No wake-up of a future is lost, because each step of a poll or a wake-up is a change of one state word. If a waker sets
//! SCHEDULED (`schedule-1`) before the poller clears POLLING (`poll-3`), the poller sees SCHEDULED, and queues the future. If
//! all wakers set SCHEDULED later, the first of them sees that no worker polls the future, and queues it.
//!
//! A waker that finds SCHEDULED set, because the future was woken before, must still write the state word, although no bit
//! changes. By this write (Release) the poller of the next poll (Acquire) sees what the waking thread wrote before it called the
//! waker.

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
const PINNED: u64 = 1 << 13;
pub const CLEARED: u64 = 1 << 14;
const WAKER: u64 = 1 << 16;
const WAKERS: u64 = WAIT - WAKER;
const WAIT: u64 = 1 << 40;

/// The state word of a task: its flags, and its counts of references and waits.
#[derive(Debug)]
pub struct State(AtomicU64);

/// One value of the state word. A method that returns a further `Snapshot` computes the next value of the word, and changes no
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot(u64);

/// The kind of a reference to a cell. A cell is freed when its last reference is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Reference {
    /// The reference that belongs to the queues, and to the worker that takes the cell from a queue.
    Queue = QUEUE,
    /// The reference that belongs to the task's handle.
    Handle = HANDLE,
    /// The reference that belongs to a waker, to a scope, or to an entry in the timer.
    Waker = WAKER,
    /// The reference that belongs to a future's wait for a task or a job of this library. Such a reference also adds one to the
    /// future's count of waits.
    Wait = WAIT + WAKER,
}

/// The result of an attempt to claim a closure.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller owns the closure, and must run or drop it.
    Granted,
    /// The caller does not own the closure. Either another thread has claimed the closure before, or the caller is a join. A join
    /// may not run the closure inline if the task is delayed, or if a clear drops the task.
    Refused,
    /// The caller does not own the closure, because a join has claimed it before, to run it inline. The joining thread
    /// counts the task, so the caller must not count it.
    Inline,
    /// A join has pinned the task, because the join uses the task's job. The caller has taken the cell out of a queue. The caller
    /// must add a busy count of the job for the join, clear PINNED, and claim again.
    Pinned,
}

/// What a thread must do after it has made an outcome final.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The thread must do nothing: the handle owns the outcome. The thread's reference was given up.
    Nothing,
    /// The thread must wake the waiters for the end of the task. The thread's reference was given up.
    Wake,
    /// The thread must drop the outcome, because there is no handle, and then give up its reference if it has one.
    Drop,
}

/// What a handle must do with the task when the handle is dropped.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The handle must take the outcome, and then give up its reference.
    Take,
    /// The handle must free the cell, because its reference was the last.
    Free,
    /// The handle must do nothing.
    Nothing,
}

/// What a worker must do with a future that it has taken from a queue.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The worker must poll the future. `listed` is true if the future is in the list of pending futures.
    Poll { listed: bool },
    /// The worker must drop the future. `listed` is true if the future is in the list of pending futures.
    Drop { listed: bool },
    /// The worker must count the task as cancelled: the thread that cancelled it by its handle drops the future, which was
    /// never polled.
    Gone,
}

/// What a poller must do with a future that returned `Pending`.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPoll {
    /// The poller must drop the future, because the future was cancelled during the poll.
    Cancelled,
    /// If `woken` is true, the poller must queue the future. Otherwise the poller must not use the future any more, because a
    /// waker can queue it.
    Pending {
        /// True if the future was woken during the poll.
        woken: bool,
        /// True if the future waits without a permit.
        without_permit: bool,
    },
}

/// What a waker must do with the future that it wakes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The waker must do nothing.
    Nothing,
    /// The waker must queue the future. `without_permit` is true if the future waits without a permit.
    Queue { without_permit: bool },
    /// The waker must free the cell, because its reference was the last.
    Free,
}

/// What a thread that cancels a future must do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The thread must do nothing: the future has ended, or was cancelled before.
    TooLate,
    /// The thread must do nothing: a worker that polls the future, or takes it from a queue, drops the future.
    Noted,
    /// The thread must queue the future, so that a worker drops it. `without_permit` is true if the future waits without a
    /// permit.
    Queue { without_permit: bool },
    /// The thread must drop the future, which has not started, and finish the task.
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

    /// Returns true if the queue's reference is the only one left. The list of pending futures can still have a pointer to the
    /// cell.
    pub const fn is_alone(self) -> bool {
        !self.has(HANDLE | WAKERS)
    }

    /// Returns true if a cell in a queue is empty: another thread has taken its closure or future.
    pub const fn is_empty(self) -> bool {
        self.has(CLAIMED) && !self.has(SCHEDULED)
    }

    /// Returns true if no reference to the cell is left.
    const fn is_last(self) -> bool {
        !self.has(QUEUE | HANDLE | WAKERS)
    }

    const fn claim(self, inline: bool) -> (Self, Claim) {
        if self.has(INLINE) {
            (self, Claim::Inline)
        } else if self.has(CLAIMED) || (inline && self.has(DELAYED | CLEARED)) {
            (self, Claim::Refused)
        } else {
            (Self(self.0 | CLAIMED | if inline { INLINE } else { 0 }), Claim::Granted)
        }
    }

    /// Claims the closure for a thread that has taken the cell out of a queue.
    const fn claim_taken(self) -> (Self, Claim) {
        if !self.has(CLAIMED | INLINE | PINNED) {
            return (Self(self.0 | CLAIMED), Claim::Granted);
        }
        if self.has(PINNED) { (self, Claim::Pinned) } else { self.claim(false) }
    }

    const fn pin(self) -> (Self, bool) {
        if self.has(CLAIMED | DELAYED | PINNED | CLEARED) {
            (self, false)
        } else {
            (Self(self.0 | PINNED), true)
        }
    }

    const fn claim_pinned(self) -> (Self, (Claim, bool)) {
        let (next, claim) = Self(self.0 & !PINNED).claim(true);
        (next, (claim, self.has(PINNED)))
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

    /// Starts a poll of a future (`poll-1`). If `to_drop` is true, or if the future was cancelled, starts the drop of the
    /// future instead.
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

    /// Ends a poll in which the future returned `Pending` (`poll-3`). A future that awaits a task or a job of this library
    /// waits without a permit (`await-1`).
    const fn end_poll(self) -> (Self, EndPoll) {
        if self.has(CANCELLED) {
            return (self, EndPoll::Cancelled);
        }
        let (woken, without_permit) = (self.has(SCHEDULED), self.0 >= WAIT);
        let next = (self.0 & !POLLING) | LISTED | if without_permit { NO_PERMIT } else { 0 };
        (Self(next), EndPoll::Pending { woken, without_permit })
    }

    /// Notes that a waker has woken the future, which must be polled again (`schedule-1`). If `ends` is true, also gives up the
    /// waker's reference.
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
    /// Makes the state of a closure that is in a queue and has a handle.
    pub fn of_closure() -> Self {
        Self(AtomicU64::new(QUEUE | HANDLE))
    }

    /// Makes the state of a closure that is in the timer and has a handle.
    pub fn of_delayed() -> Self {
        Self(AtomicU64::new(QUEUE | HANDLE | DELAYED))
    }

    /// Makes the state of a closure that is in a queue. The references to its cell are that of the queue, that of a scope, and
    /// that of a handle if `handle` is true.
    pub fn of_scoped(handle: bool) -> Self {
        Self(AtomicU64::new(QUEUE | WAKER | if handle { HANDLE } else { 0 }))
    }

    /// Makes the state of a future that is in a queue and has a handle.
    pub fn of_future() -> Self {
        Self(AtomicU64::new(QUEUE | HANDLE | SCHEDULED))
    }

    /// Reads the state word.
    #[inline]
    pub fn load(&self) -> Snapshot {
        // Ordering: Acquire; pairs with each change: DONE shows the outcome, a last reference all earlier use of the cell.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Applies a transition to the state word. Writes the word even if no bit changes, so that later transitions on other
    /// threads see what this thread wrote before.
    #[inline]
    fn change<R>(&self, transition: impl Fn(Snapshot) -> (Snapshot, R)) -> R {
        let mut result = None;
        // Ordering: AcqRel, or Acquire on failure; publishes this thread's writes to later changes, and shows earlier ones.
        let changed = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (next, then) = transition(Snapshot(word));
            result = Some(then);
            Some(next.0)
        });
        debug_assert!(changed.is_ok(), "a transition has a next value");
        result.expect("the transition was applied")
    }

    /// Sets `bits` in the state word. Returns the word before the change.
    pub fn set(&self, bits: u64) -> Snapshot {
        // Ordering: AcqRel; Release publishes this thread's writes, Acquire shows those of earlier changes.
        Snapshot(self.0.fetch_or(bits, Ordering::AcqRel))
    }

    /// Clears `bits` in the state word.
    pub fn clear(&self, bits: u64) {
        // Ordering: AcqRel; Release publishes this thread's writes, Acquire shows those of earlier changes.
        self.0.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Adds a reference of the kind `Waker` or `Wait`. The caller must keep the cell alive during the call.
    pub fn add(&self, reference: Reference) {
        // Ordering: Relaxed; the caller keeps the cell alive, and publishes the reference by other means.
        let before = self.0.fetch_add(reference as u64, Ordering::Relaxed);
        if before & WAKERS > WAKERS / 2 {
            // The program leaks wakers in a loop. Aborts before the count overflows, as `Arc` does.
            std::process::abort();
        }
    }

    /// Gives up a reference to the cell. Returns true if the reference was the last: the caller must then free the cell.
    #[inline]
    #[must_use = "the holder of the last reference must free the cell"]
    pub fn release(&self, reference: Reference) -> bool {
        let reference = reference as u64;
        // Ordering: AcqRel; all use of the cell comes before its memory is freed.
        Snapshot(self.0.fetch_sub(reference, Ordering::AcqRel) - reference).is_last()
    }

    /// Claims the task's closure, to run or to drop it. `inline` must be true if the caller is a join, which will run the
    /// closure inline.
    #[inline]
    pub fn claim(&self, inline: bool) -> Claim {
        self.change(|word| word.claim(inline))
    }

    /// Claims the task's closure, to run or to drop it, for a thread that has taken the cell out of a queue. Unlike
    /// [`claim`](Self::claim), returns `Claim::Pinned` if a join has pinned the task.
    #[inline]
    pub fn claim_taken(&self) -> Claim {
        self.change(Snapshot::claim_taken)
    }

    /// Pins the task for a join: sets PINNED (`pin-1`). Changes nothing and returns false if the closure was claimed, the task is
    /// delayed, a clear drops the task, or PINNED is set already.
    pub fn pin(&self) -> bool {
        self.change(Snapshot::pin)
    }

    /// Ends the pin of the task by a join: clears PINNED. Returns false if another thread has cleared PINNED before.
    pub fn unpin(&self) -> bool {
        self.change(|word| (Snapshot(word.0 & !PINNED), word.has(PINNED)))
    }

    /// Claims the closure for a join that has pinned the task, and clears PINNED. The second result is false if another thread
    /// has cleared PINNED before.
    pub fn claim_pinned(&self) -> (Claim, bool) {
        self.change(Snapshot::claim_pinned)
    }

    /// Gives up the claim of a closure that will be called again, and sets DELAYED, so that no join runs the closure inline. If
    /// the handle has asked the task to end, changes nothing and returns false: the caller keeps the claim.
    pub fn again(&self) -> bool {
        self.change(Snapshot::again)
    }

    /// Asks the running closure of the task to end soon. Returns false, and changes nothing, if no thread has claimed the
    /// closure.
    pub fn ask(&self) -> bool {
        self.change(Snapshot::ask)
    }

    /// Sets DONE, which makes the outcome final, after the outcome was written (`unpark-1`). If the task has a handle, gives up
    /// `reference` in the same change. Afterwards the caller must not use the cell, except if it has another reference.
    #[inline]
    pub fn finish(&self, reference: Option<Reference>) -> Finish {
        let reference = reference.map_or(0, |reference| reference as u64);
        self.change(|word| word.finish(reference))
    }

    /// Gives up the handle's reference. If the handle must take the outcome first, changes nothing and returns `Leave::Take`.
    #[inline]
    pub fn leave(&self) -> Leave {
        self.change(Snapshot::leave)
    }

    /// Starts the poll of a future that was taken from a queue (`poll-1`). If `to_drop` is true, or if the future was
    /// cancelled, starts the drop of the future instead.
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

    /// Ends a poll in which the future returned `Pending`.
    pub fn end_poll(&self) -> EndPoll {
        self.change(Snapshot::end_poll)
    }

    /// Notes that a waker has woken the future, which must be polled again (`schedule-1`). If `ends` is true, also gives up the
    /// waker's reference.
    pub fn wake(&self, ends: bool) -> Wake {
        self.change(|word| word.wake(ends))
    }

    /// Cancels a future.
    pub fn cancel(&self) -> Cancel {
        self.change(Snapshot::cancel)
    }
}
