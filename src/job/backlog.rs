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

use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{fault, fence_after_rmw, full_fence, prefetch_write};
use crate::task::{CellPtr, Header};
use std::ptr;

#[cfg(any(test, fuzzing))]
pub mod sequential;

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

/// What a pop found.
#[derive(Debug)]
pub enum Popped {
    /// The oldest task.
    Task(CellPtr),
    /// Nothing waits.
    Empty,
    /// A push is half done; its pusher will look at the permits when it is whole.
    HalfDone,
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
                Ok(FREE) => return Some(Consumer { backlog: self }),
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
            .then_some(Consumer { backlog: self })
    }
}

/// How many were pushed and not taken. A pop may overtake the count of its own push: read as nothing rather than as
/// four thousand millions.
fn difference(pushed: u32, taken: u32) -> usize {
    let waiting = pushed.wrapping_sub(taken);
    if waiting > u32::MAX / 2 { 0 } else { waiting as usize }
}

/// The right to take tasks out of one backlog.
#[must_use]
#[derive(Debug)]
pub struct Consumer<'a> {
    backlog: Backlog<'a>,
}

/// What letting go of the consumer right came to.
#[must_use]
#[derive(Debug)]
pub enum LetGo<'a> {
    /// The right is free.
    Free,
    /// Somebody left word: look again, with the right still held.
    LookAgain(Consumer<'a>),
}

impl<'a> Consumer<'a> {
    /// Whether `pop` would find a task; a push that comes between may still spoil it.
    #[inline]
    pub fn can_pop(&self) -> bool {
        let Backlog { arrivals, departures } = self.backlog;
        // Ordering: Acquire all; as in `pop` and `pop_returned`.
        if !departures.returned.load(Ordering::Acquire).is_null() {
            return true;
        }
        let Some(first) = CellPtr::from_ptr(departures.head.load(Ordering::Acquire)) else {
            return false;
        };
        !first.header().next.load(Ordering::Acquire).is_null()
            || arrivals.tail.load(Ordering::Acquire) == first.as_ptr()
    }

    /// Takes the oldest task.
    #[inline]
    pub fn pop(&mut self) -> Popped {
        if let Some(cell) = self.pop_returned() {
            return self.counted(cell);
        }
        let Backlog { arrivals, departures } = self.backlog;
        // Ordering: Acquire; pairs with the first pusher's Release link.
        let Some(first) = CellPtr::from_ptr(departures.head.load(Ordering::Acquire)) else {
            // Ordering: Acquire; only tells half done from empty.
            return if arrivals.tail.load(Ordering::Acquire).is_null() {
                Popped::Empty
            } else {
                Popped::HalfDone
            };
        };
        // Ordering: Acquire; pairs with the pusher's Release link.
        let next = first.header().next.load(Ordering::Acquire);
        if !next.is_null() {
            prefetch_write(next.cast());
            // Ordering: Relaxed; the consumer right carries it to the next consumer.
            departures.head.store(next, Ordering::Relaxed);
            return self.counted(first);
        }
        // Before the tail is given up: behind it, a pusher may set the head at once.
        departures.head.store(ptr::null_mut(), Ordering::Relaxed);
        // Ordering: AcqRel; Release so that who sees the list empty sees what came before.
        let emptied = arrivals.tail.compare_exchange(
            first.as_ptr(),
            ptr::null_mut(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if emptied.is_ok() {
            return self.counted(first);
        }
        // A push came in between: no pusher touches `head`, for the list is not empty.
        departures.head.store(first.as_ptr(), Ordering::Relaxed);
        Popped::HalfDone
    }

    /// Shows the tasks that wait to `look`, and leaves them where they are: a line that was emptied, if only for a
    /// moment, would look empty to whoever has a permit for it. `None`: a push is half done, and hides others.
    pub fn look_through(&self, mut look: impl FnMut(CellPtr)) -> Option<()> {
        let Backlog { arrivals, departures } = self.backlog;
        // Ordering: Acquire all; as in `pop` and `pop_returned`. Only this consumer takes, so what is linked stays.
        let mut next = departures.returned.load(Ordering::Acquire);
        while let Some(cell) = CellPtr::from_ptr(next) {
            look(cell);
            next = cell.header().next.load(Ordering::Acquire);
        }
        let mut last = ptr::null_mut();
        next = departures.head.load(Ordering::Acquire);
        while let Some(cell) = CellPtr::from_ptr(next) {
            look(cell);
            last = next;
            next = cell.header().next.load(Ordering::Acquire);
        }
        let whole = arrivals.tail.load(Ordering::Acquire) == last;
        (whole || fault("look-through-to-the-gap")).then_some(())
    }

    /// Takes the tasks out that `gone` picks, wherever they stand; the others stay in their places, and the line does
    /// not look empty meanwhile. One behind which a push is half done stays, too.
    pub fn take_out(&mut self, mut gone: impl FnMut(CellPtr) -> bool) -> Vec<CellPtr> {
        let mut taken = Vec::new();
        self.take_out_returned(&mut gone, &mut taken);
        let Backlog { arrivals, departures } = self.backlog;
        let mut link = &departures.head;
        let mut before = ptr::null_mut();
        // Ordering: Acquire all loads; as in `pop`.
        while let Some(cell) = CellPtr::from_ptr(link.load(Ordering::Acquire)) {
            let next = cell.header().next.load(Ordering::Acquire);
            if gone(cell) && Self::unlink(arrivals, link, before, cell, next) {
                self.note_taken();
                taken.push(cell);
                continue;
            }
            before = cell.as_ptr();
            // SAFETY: `cell` stays in the list, of which this is the one consumer, and so it stays alive.
            link = unsafe { &(*before).next };
        }
        taken
    }

    /// Takes `cell` out from between `before`, whose link to it is given (or the head, if it is the first), and `next`.
    /// False: it is the last, and a push behind it is half done.
    fn unlink(
        arrivals: &Arrivals,
        link: &AtomicPtr<Header>,
        before: *mut Header,
        cell: CellPtr,
        next: *mut Header,
    ) -> bool {
        // Ordering: Release; publishes what stands behind, as the link that its push set. No pusher writes a link that
        // is not null.
        link.store(next, Ordering::Release);
        if !next.is_null() {
            return true;
        }
        // It is the last. Its link is gone before the tail is, as in `pop`: behind that, a pusher may set it at once.
        if fault("cut-without-exchange") {
            arrivals.tail.store(before, Ordering::Release);
            return true;
        }
        // Ordering: as in `pop`; Release also for the header of `before`, which the next pusher writes through.
        let cut = arrivals.tail.compare_exchange(
            cell.as_ptr(),
            before,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if cut.is_err() {
            // A push came in between: its pusher links behind `cell`, and nobody else writes here.
            link.store(cell.as_ptr(), Ordering::Release);
        }
        cut.is_ok()
    }

    /// `take_out` among those that go first.
    fn take_out_returned(
        &mut self,
        gone: &mut impl FnMut(CellPtr) -> bool,
        taken: &mut Vec<CellPtr>,
    ) {
        let mut stays: Option<CellPtr> = None;
        let top = &self.backlog.departures.returned;
        // Ordering: Acquire; pairs with the Release of `push_returned`.
        let mut next = top.load(Ordering::Acquire);
        while let Some(cell) = CellPtr::from_ptr(next) {
            // Ordering: Relaxed; only the consumer changes a link of what was returned.
            next = cell.header().next.load(Ordering::Relaxed);
            if !gone(cell) {
                stays = Some(cell);
                continue;
            }
            // Ordering: AcqRel, Acquire; as in `pop_returned`.
            let is_top = stays.is_none()
                && top
                    .compare_exchange(cell.as_ptr(), next, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
            if !is_top {
                let above = stays.unwrap_or_else(|| self.returned_above(cell));
                above.header().next.store(next, Ordering::Relaxed);
            }
            self.note_taken();
            taken.push(cell);
        }
    }

    /// What was returned since, right before `cell`, which was on top.
    fn returned_above(&self, cell: CellPtr) -> CellPtr {
        // Ordering: Acquire; as in `pop_returned`.
        let mut next = self.backlog.departures.returned.load(Ordering::Acquire);
        loop {
            let above = CellPtr::from_ptr(next).expect("only the consumer takes it out");
            next = above.header().next.load(Ordering::Relaxed);
            if next == cell.as_ptr() {
                return above;
            }
        }
    }

    /// Lets go of the right.
    #[inline]
    pub fn let_go(self) -> LetGo<'a> {
        let state = &self.backlog.departures.consumer;
        // Ordering: Release, pairs with the Acquire in `try_consume`; Acquire on failure for the
        // permit that whoever left word has given back.
        match state.compare_exchange(HELD, FREE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => LetGo::Free,
            Err(_) if fault("consumer-ignores-word") => {
                state.store(FREE, Ordering::Release);
                LetGo::Free
            }
            Err(_) => {
                // Ordering: AcqRel; takes the word: Acquire as above.
                state.swap(HELD, Ordering::AcqRel);
                LetGo::LookAgain(self)
            }
        }
    }

    #[inline]
    fn pop_returned(&mut self) -> Option<CellPtr> {
        let stack = &self.backlog.departures.returned;
        // Ordering: Acquire; pairs with the Release of `push_returned`.
        let mut top = stack.load(Ordering::Acquire);
        loop {
            let cell = CellPtr::from_ptr(top)?;
            // Only this consumer takes, so the top's link cannot change under it.
            let rest = cell.header().next.load(Ordering::Relaxed);
            // Ordering: AcqRel; Acquire for what was pushed since.
            match stack.compare_exchange_weak(top, rest, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(cell),
                Err(now) => top = now,
            }
        }
    }

    #[inline]
    fn counted(&mut self, cell: CellPtr) -> Popped {
        self.note_taken();
        Popped::Task(cell)
    }

    #[inline]
    fn note_taken(&mut self) {
        let taken = &self.backlog.departures.taken;
        // Ordering: Relaxed load, only the consumer writes it; Release store for `len`.
        taken.store(taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}
