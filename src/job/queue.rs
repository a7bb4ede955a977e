//! The queue of a job, which has the tasks that wait for a permit: an intrusive list with many pushers and one consumer.
//!
//! A pusher swaps the tail of the list, then links its cell behind the previous tail. The consumer is the thread that owns the
//! *queue lock*. Pushers and workers only try that lock, and never wait for it. A thread that fails to get the lock sets the
//! lock's *pending bit*. If this bit is set when the lock's owner unlocks, the owner re-checks the queue. Pushers write the
//! tail side and the consumer writes the head side; the two sides lie on different cache lines.
//!
//! | `tail` | `head` | next of head | meaning                                                         |
//! |--------|--------|--------------|-----------------------------------------------------------------|
//! | null   | null   |              | empty                                                           |
//! | set    | set    | set or null  | tasks from head to tail, in order                               |
//! | set    | null   |              | unfinished push: the first pusher has swapped, but not linked   |
//! | ≠ head | set    | null         | unfinished push: the second pusher has swapped, but not linked  |
//!
//! A consumer that finds a push unfinished stops popping. No task is lost, because the pusher checks the job's word after it
//! has linked its cell. If the job has room then, the pusher itself admits a task from the queue (`push-4` of `gate`).

mod consumer;
#[cfg(any(test, fuzzing))]
#[path = "../../checking/sequential/queue.rs"]
pub mod sequential;

pub use consumer::{Consumer, Popped, Unlocked};

use crate::base::task::{CellPtr, Header};
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{fence_after_rmw, thread};
use std::ptr;

/// The tail side of a queue: the fields that pushers write.
#[derive(Debug)]
#[repr(C)]
pub struct Arrivals {
    tail: AtomicPtr<Header>,
    /// The number of pushes into the queue so far, modulo 2³².
    pushed: AtomicU32,
}

/// The head side of a queue: the fields that the consumer writes.
#[derive(Debug)]
#[repr(C)]
pub struct Departures {
    /// The front stack: refused tasks, which the consumer pops before those of the list. The front stack lies on the head side,
    /// because every pop reads it, and few pushes write it.
    returned: AtomicPtr<Header>,
    /// The number of pops from the queue so far, modulo 2³².
    taken: AtomicU32,
    /// The queue lock: `FREE`, `HELD`, or `HELD_LOOK_AGAIN`, which means held and the pending bit set.
    consumer: AtomicU32,
    head: AtomicPtr<Header>,
}

const FREE: u32 = 0;
const HELD: u32 = 1;
const HELD_LOOK_AGAIN: u32 = 2;

/// Both sides of one job's queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue<'a> {
    arrivals: &'a Arrivals,
    departures: &'a Departures,
}

impl Arrivals {
    /// Makes the tail side of an empty queue.
    pub fn new() -> Self {
        Self { tail: AtomicPtr::new(ptr::null_mut()), pushed: AtomicU32::new(0) }
    }
}

impl Departures {
    /// Makes the head side of an empty queue.
    pub fn new() -> Self {
        Self {
            taken: AtomicU32::new(0),
            consumer: AtomicU32::new(FREE),
            returned: AtomicPtr::new(ptr::null_mut()),
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl<'a> Queue<'a> {
    /// Makes the queue of a job from the queue's two sides.
    pub fn new(arrivals: &'a Arrivals, departures: &'a Departures) -> Self {
        Self { arrivals, departures }
    }

    /// Adds a task at the tail of the list, then executes a full fence (`push-2` and `push-3` of module `gate`).
    ///
    /// The fence orders the push before each later load of the job's word by this thread.
    #[inline]
    pub fn push(self, cell: CellPtr) {
        let previous = self.swap_tail(cell);
        self.link(previous, cell);
    }

    /// Makes the cell the tail of the list. This is the first half of a push. Returns the previous tail, behind which the
    /// caller must link the cell.
    #[inline]
    fn swap_tail(self, cell: CellPtr) -> *mut Header {
        // Ordering: Relaxed; `link` publishes it.
        cell.header().next.store(ptr::null_mut(), Ordering::Relaxed);
        // Ordering: AcqRel; pairs with other pushers' swaps. A pusher writes to the previous tail's header, which must be ready.
        self.arrivals.tail.swap(cell.as_ptr(), Ordering::AcqRel)
    }

    /// Links the cell behind the previous tail, counts the push, and executes a full fence. This is the second half of a push.
    #[inline]
    fn link(self, previous: *mut Header, cell: CellPtr) {
        let link = if previous.is_null() {
            &self.departures.head
        } else {
            // SAFETY: the tail is another cell now, so no consumer takes `previous` before the store below links `cell` to it.
            unsafe { &(*previous).next }
        };
        // Ordering: Release; pairs with the consumer's Acquire load of the link, and publishes the cell's contents.
        link.store(cell.as_ptr(), Ordering::Release);
        self.count();
        fence_after_rmw();
    }

    /// Adds one to the number of pushes into the queue.
    #[inline]
    fn count(self) {
        // Ordering: AcqRel; pairs with the load in `len`. The fence in `link` needs a read-modify-write before it.
        self.arrivals.pushed.fetch_add(1, Ordering::AcqRel);
    }

    /// Adds a refused task to the front stack, so that the consumer pops it before all tasks of the list.
    pub fn push_returned(self, cell: CellPtr) {
        let stack = &self.departures.returned;
        // Ordering: Relaxed; the exchange checks the value.
        let mut top = stack.load(Ordering::Relaxed);
        loop {
            // Ordering: Relaxed; the exchange publishes it.
            cell.header().next.store(top, Ordering::Relaxed);
            // Ordering: Release on success; pairs with the Acquire load in `pop_returned`.
            match stack.compare_exchange_weak(
                top,
                cell.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        self.count();
        fence_after_rmw();
    }

    /// Returns true if no task is in the queue. The task of an unfinished push counts as one in the queue.
    #[inline]
    pub fn is_empty(self) -> bool {
        // Ordering: Acquire; pairs with `pop`, which empties the list: so the last popped task's reservation is seen, too.
        self.arrivals.tail.load(Ordering::Acquire).is_null()
            && self.departures.returned.load(Ordering::Acquire).is_null()
    }

    /// Returns true if no task is in the queue, the queue lock is free, and as many pops as pushes were counted. Call it only
    /// while no other thread uses the queue.
    pub fn is_unused(self) -> bool {
        let Self { arrivals, departures } = self;
        // Ordering: Relaxed all; no other thread uses the queue.
        arrivals.tail.load(Ordering::Relaxed).is_null()
            && departures.head.load(Ordering::Relaxed).is_null()
            && departures.returned.load(Ordering::Relaxed).is_null()
            && departures.consumer.load(Ordering::Relaxed) == FREE
            && arrivals.pushed.load(Ordering::Relaxed) == departures.taken.load(Ordering::Relaxed)
    }

    /// Returns true if the head of the list or the front stack has a task.
    ///
    /// This check reads only the head side. It is cheap, because a push into a non-empty queue does not write the head side. If
    /// the check returns false, the queue can still have a task whose push is unfinished.
    #[inline]
    pub fn has_head(self) -> bool {
        // Ordering: Relaxed; a hint that saves an attempt at the queue lock.
        !self.departures.head.load(Ordering::Relaxed).is_null()
            || !self.departures.returned.load(Ordering::Relaxed).is_null()
    }

    /// Returns the number of tasks in the queue. The number is exact if no thread pushes or pops meanwhile.
    pub fn len(self) -> usize {
        // Ordering: Acquire; pairs with `note_taken`. `taken` is read first, so that the difference is seldom negative.
        let taken = self.departures.taken.load(Ordering::Acquire);
        // Ordering: Acquire; pairs with the AcqRel in `count`.
        difference(self.arrivals.pushed.load(Ordering::Acquire), taken)
    }

    /// Tries to get the queue lock. If another thread has the lock, sets the pending bit, so that the owner re-checks the
    /// queue.
    #[inline]
    pub fn try_lock(self) -> Option<Consumer<'a>> {
        let state = &self.departures.consumer;
        let mut seen = FREE;
        loop {
            let next = if seen == FREE { HELD } else { HELD_LOOK_AGAIN };
            // Ordering: AcqRel; pairs with `unlock`: shows the last owner's head, and publishes a released permit with the bit.
            match state.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(FREE) => return Some(Consumer::new(self)),
                Ok(_) => return None,
                Err(now) => seen = now,
            }
        }
    }

    /// Returns true if the queue lock is free. This check does not write the lock, so the cache line stays with the core of the
    /// lock's owner.
    #[inline]
    pub fn is_unlocked(self) -> bool {
        // Ordering: Relaxed; a hint that saves an attempt.
        self.departures.consumer.load(Ordering::Relaxed) == FREE
    }

    /// Gets the queue lock, and waits for it if need be. The caller must hold no other lock.
    pub fn lock(self) -> Consumer<'a> {
        loop {
            match self.try_lock_quietly() {
                Some(consumer) => return consumer,
                None => thread::yield_now(),
            }
        }
    }

    /// Tries to get the queue lock. If another thread has the lock, returns `None`, and does not set the pending bit.
    #[inline]
    pub fn try_lock_quietly(self) -> Option<Consumer<'a>> {
        // Ordering: as in `try_lock`.
        self.departures
            .consumer
            .compare_exchange(FREE, HELD, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then(|| Consumer::new(self))
    }
}

/// Returns the number of tasks that were pushed and not popped.
///
/// A task can be popped before its push is counted. If `pushed` is less than `taken` for this reason, the function returns 0.
fn difference(pushed: u32, taken: u32) -> usize {
    let waiting = pushed.wrapping_sub(taken);
    if waiting > u32::MAX / 2 { 0 } else { waiting as usize }
}
