//! The consumer's side of a backlog: what whoever holds the consumer right may do, and how the right is let go.

use super::{Arrivals, Backlog, FREE, HELD};
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::{fault, prefetch_write};
use crate::task::{CellPtr, Header};
use std::ptr;

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
    /// For whoever has just taken the right.
    pub(super) fn new(backlog: Backlog<'a>) -> Self {
        Self { backlog }
    }

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
    /// not look empty meanwhile. False: a push is half done; the one before it stays, and others are hidden behind it.
    pub fn take_out(
        &mut self,
        mut gone: impl FnMut(CellPtr) -> bool,
        taken: &mut Vec<CellPtr>,
    ) -> bool {
        self.take_out_returned(&mut gone, taken);
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
        // Ordering: Acquire; as in `look_through`.
        arrivals.tail.load(Ordering::Acquire) == before
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
