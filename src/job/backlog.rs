//! A job's tasks that wait for a permit: an intrusive list with many pushers and one consumer.
//!
//! Pushers swap the tail and link behind it. The consumer holds the *consumer right*, which is
//! tried for, never waited for; whoever fails to get it leaves word, and the holder looks again
//! before it lets go. The two ends are apart, so that pushers and consumer write different lines.
//!
//! | `tail` | `head` | next of head | meaning                                           |
//! |--------|--------|--------------|---------------------------------------------------|
//! | null   | null   |              | empty                                             |
//! | set    | set    | set or null  | tasks from head to tail, in order                 |
//! | set    | null   |              | the first push has swapped the tail, not linked   |
//! | ≠ head | set    | null         | the next push has swapped the tail, not linked    |
//!
//! In the last two rows a push is half done. The consumer then gives up at once; that pusher looks
//! at the job's permits after it has linked and makes good (step P4 in `admission`).

mod consumer;
#[cfg(any(test, fuzzing))]
#[path = "../../checking/sequential/backlog.rs"]
pub mod sequential;

pub use consumer::{Consumer, LetGo, Popped};

use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{fault, fence_after_rmw, full_fence};
use crate::task::{CellPtr, Header};
use std::ptr;

/// The pushers' end.
#[derive(Debug)]
#[repr(C)]
pub struct Arrivals {
    tail: AtomicPtr<Header>,
    /// How many were ever pushed, wrapping.
    pushed: AtomicU32,
}

/// The consumer's end.
#[derive(Debug)]
#[repr(C)]
pub struct Departures {
    /// Tasks that were ready and were refused at the gate; they go first. A stack. On this side,
    /// for each pop looks at it and hardly anybody pushes.
    returned: AtomicPtr<Header>,
    /// How many were ever popped, wrapping.
    taken: AtomicU32,
    consumer: AtomicU32,
    head: AtomicPtr<Header>,
}

const FREE: u32 = 0;
const HELD: u32 = 1;
const HELD_LOOK_AGAIN: u32 = 2;

/// Both ends of one job's backlog.
#[derive(Clone, Copy, Debug)]
pub struct Backlog<'a> {
    arrivals: &'a Arrivals,
    departures: &'a Departures,
}

impl Arrivals {
    /// An empty backlog's end.
    pub fn new() -> Self {
        Self { tail: AtomicPtr::new(ptr::null_mut()), pushed: AtomicU32::new(0) }
    }
}

impl Departures {
    /// An empty backlog's end.
    pub fn new() -> Self {
        Self {
            taken: AtomicU32::new(0),
            consumer: AtomicU32::new(FREE),
            returned: AtomicPtr::new(ptr::null_mut()),
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl<'a> Backlog<'a> {
    /// The backlog with these two ends.
    pub fn new(arrivals: &'a Arrivals, departures: &'a Departures) -> Self {
        Self { arrivals, departures }
    }

    /// Adds a task at the end. On return the push is whole and a fence behind it: a look at the
    /// job's permits that follows is not older than the push (steps P2, P3).
    #[inline]
    pub fn push(self, cell: CellPtr) {
        let previous = self.swap_tail(cell);
        self.link(previous, cell);
    }

    /// The first half of a push; returns the node behind which the cell is to be linked.
    #[inline]
    fn swap_tail(self, cell: CellPtr) -> *mut Header {
        // Ordering: Relaxed; published by the link.
        cell.header().next.store(ptr::null_mut(), Ordering::Relaxed);
        // Ordering: AcqRel; Acquire for the previous node's header, which is written through
        // in `link`; Release for this node's, which the next pusher writes through.
        self.arrivals.tail.swap(cell.as_ptr(), Ordering::AcqRel)
    }

    /// The second half of a push.
    #[inline]
    fn link(self, previous: *mut Header, cell: CellPtr) {
        self.link_uncounted(previous, cell);
        self.count();
        if !fault("push-without-fence") {
            fence_after_rmw();
        }
    }

    #[inline]
    fn link_uncounted(self, previous: *mut Header, cell: CellPtr) {
        let link = if previous.is_null() {
            &self.departures.head
        } else {
            // SAFETY: `pop` takes the last node only if the tail is still it, so the previous node
            // stays in the list, alive, until it is linked below.
            unsafe { &(*previous).next }
        };
        let ordering = if fault("relaxed-push") { Ordering::Relaxed } else { Ordering::Release };
        // Ordering: Release; pairs with the consumer's Acquire load of the link: it publishes the
        // cell's contents.
        link.store(cell.as_ptr(), ordering);
    }

    /// `push` of a task that has a token yet. It is left out of the count until `count`, when the token has gone back: who
    /// counts both must not find it twice.
    pub fn push_uncounted(self, cell: CellPtr) {
        let previous = self.swap_tail(cell);
        self.link_uncounted(previous, cell);
        full_fence();
    }

    /// Counts a task that was pushed.
    #[inline]
    pub fn count(self) {
        // Ordering: AcqRel; in a push it is the store that the fence follows, and counts for `len`.
        self.arrivals.pushed.fetch_add(1, Ordering::AcqRel);
    }

    /// Puts a task back that was ready and was refused; it goes before all others.
    pub fn push_returned(self, cell: CellPtr) {
        self.push_returned_uncounted(cell);
        self.count();
    }

    /// `push_returned` of a task that has a token yet, as with `push_uncounted`.
    pub fn push_returned_uncounted(self, cell: CellPtr) {
        let stack = &self.departures.returned;
        // Ordering: Relaxed; the exchange checks the value.
        let mut top = stack.load(Ordering::Relaxed);
        loop {
            // Ordering: Relaxed; published by the exchange.
            cell.header().next.store(top, Ordering::Relaxed);
            // Ordering: Release on success, pairs with the Acquire load in `pop_returned`.
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
        fence_after_rmw();
    }

    /// Whether nothing waits; a half-done push counts as waiting.
    #[inline]
    pub fn is_empty(self) -> bool {
        // Ordering: Acquire; pairs with the exchange in `pop` that empties the list: who sees it
        // empty sees the permit that the popped task was given first.
        self.arrivals.tail.load(Ordering::Acquire).is_null()
            && self.departures.returned.load(Ordering::Acquire).is_null()
    }

    /// Whether the oldest task can be reached: a look at the consumer's end alone, which pushers to a
    /// backlog that is not empty leave in peace. False may also mean that a push is half done.
    #[inline]
    pub fn has_head(self) -> bool {
        // Ordering: Relaxed; only saves a try for the consumer right.
        !self.departures.head.load(Ordering::Relaxed).is_null()
            || !self.departures.returned.load(Ordering::Relaxed).is_null()
    }

    /// How many wait; exact when nobody pushes or pops meanwhile.
    pub fn len(self) -> usize {
        // Ordering: Acquire; `taken` first, so that the difference is never negative.
        let taken = self.departures.taken.load(Ordering::Acquire);
        difference(self.pushed(), taken)
    }

    /// How many were ever pushed, wrapping.
    pub fn pushed(self) -> u32 {
        // Ordering: Acquire; as in `len`.
        self.arrivals.pushed.load(Ordering::Acquire)
    }

    /// How many are left at least of those that had been pushed when that was read; fewer than none if some were taken that
    /// are counted later.
    pub fn left_of(self, pushed: u32) -> i64 {
        // Ordering: Acquire; as in `len`.
        let taken = self.departures.taken.load(Ordering::Acquire);
        i64::from(pushed.wrapping_sub(taken).cast_signed())
    }

    /// Tries for the consumer right. Who fails has left word: the holder looks again.
    #[inline]
    pub fn try_consume(self) -> Option<Consumer<'a>> {
        let state = &self.departures.consumer;
        // Ordering: Acquire, pairs with the Release in `release`: the former consumer's `head`.
        let mut seen = FREE;
        loop {
            let next = if seen == FREE { HELD } else { HELD_LOOK_AGAIN };
            // Ordering: AcqRel; Release for those who leave word, so that the holder, when it
            // takes the word, sees the permit they gave back.
            match state.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(FREE) => return Some(Consumer::new(self)),
                Ok(_) => return None,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether nobody has the consumer right: a look, that leaves the line with whoever has it.
    #[inline]
    pub fn can_consume(self) -> bool {
        // Ordering: Relaxed; only saves a try.
        self.departures.consumer.load(Ordering::Relaxed) == FREE
    }

    /// Tries for the consumer right without leaving word.
    #[inline]
    pub fn try_consume_quietly(self) -> Option<Consumer<'a>> {
        // Ordering: as in `try_consume`.
        self.departures
            .consumer
            .compare_exchange(FREE, HELD, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then(|| Consumer::new(self))
    }
}

/// How many were pushed and not taken. A pop may overtake the count of its own push: read as nothing rather than as
/// four thousand millions.
fn difference(pushed: u32, taken: u32) -> usize {
    let waiting = pushed.wrapping_sub(taken);
    if waiting > u32::MAX / 2 { 0 } else { waiting as usize }
}
