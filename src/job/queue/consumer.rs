//! What the owner of a queue lock can do: pop tasks, take tasks out of the middle of the queue, and unlock the queue.

use super::{Arrivals, FREE, HELD, Queue};
use crate::base::task::{CellPtr, Header};
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::prefetch_write;
use std::ptr;

/// The result of a pop.
#[derive(Debug)]
pub enum Popped {
    /// The task that was popped.
    Task(CellPtr),
    /// No task is in the queue.
    Empty,
    /// The next task cannot be popped, because a push is unfinished. The pusher will check the job's word after it has linked
    /// its cell.
    Unfinished,
}

/// The ownership of one queue's lock. Only the owner of the lock can take tasks out of the queue.
#[must_use]
#[derive(Debug)]
pub struct Consumer<'a> {
    queue: Queue<'a>,
}

/// The result of unlocking a queue.
#[must_use]
#[derive(Debug)]
pub enum Unlocked<'a> {
    /// The lock is free.
    Free,
    /// Another thread had set the pending bit, which is cleared now. The caller still owns the lock, and must re-check the
    /// queue.
    LookAgain(Consumer<'a>),
}

impl<'a> Consumer<'a> {
    /// Makes the value that owns the lock of `queue`. The calling thread must have just taken this lock.
    pub(super) fn new(queue: Queue<'a>) -> Self {
        Self { queue }
    }

    /// Returns true if a call of `pop` would return a task now. If another thread begins a push before that call, `pop` can
    /// still return `Unfinished`.
    #[inline]
    pub fn can_pop(&self) -> bool {
        let Queue { arrivals, departures } = self.queue;
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

    /// Returns the first task of the queue, which is the next to pop, and leaves it in the queue. Returns `None` if the queue
    /// is empty, or if the push of its first task is unfinished.
    pub fn first(&self) -> Option<CellPtr> {
        let departures = self.queue.departures;
        // Ordering: Acquire both; as in `pop_returned` and `pop`. Only this consumer removes cells, so the cell stays.
        CellPtr::from_ptr(departures.returned.load(Ordering::Acquire))
            .or_else(|| CellPtr::from_ptr(departures.head.load(Ordering::Acquire)))
    }

    /// Pops the first task of the queue: the top of the front stack, or the head of the list if the front stack is empty.
    #[inline]
    pub fn pop(&mut self) -> Popped {
        if let Some(cell) = self.pop_returned() {
            return self.counted(cell);
        }
        let Queue { arrivals, departures } = self.queue;
        // Ordering: Acquire; pairs with the first pusher's Release link.
        let Some(first) = CellPtr::from_ptr(departures.head.load(Ordering::Acquire)) else {
            // Ordering: Acquire; only tells an unfinished push from an empty list.
            return if arrivals.tail.load(Ordering::Acquire).is_null() {
                Popped::Empty
            } else {
                Popped::Unfinished
            };
        };
        // Ordering: Acquire; pairs with the pusher's Release link.
        let next = first.header().next.load(Ordering::Acquire);
        if !next.is_null() {
            prefetch_write(next.cast());
            // Ordering: Relaxed; the queue lock publishes it to the next consumer.
            departures.head.store(next, Ordering::Relaxed);
            return self.counted(first);
        }
        // This thread must store null in the head before it changes the tail: once the tail is null, a pusher can set the head.
        // Ordering: Relaxed; the exchange below publishes it to that pusher.
        departures.head.store(ptr::null_mut(), Ordering::Relaxed);
        // Ordering: AcqRel; pairs with `is_empty`. A thread that sees the list empty sees this task's reservation.
        let emptied = arrivals.tail.compare_exchange(
            first.as_ptr(),
            ptr::null_mut(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if emptied.is_ok() {
            return self.counted(first);
        }
        // A pusher has swapped the tail meanwhile. That pusher links its cell behind `first`, and does not write the head.
        // Ordering: Relaxed; the queue lock publishes it to the next consumer.
        departures.head.store(first.as_ptr(), Ordering::Relaxed);
        Popped::Unfinished
    }

    /// Calls `look` with each task in the queue, and takes no task out. This call must not empty the queue even for a moment:
    /// otherwise a thread that has released a permit could miss a task that it must admit. Returns `None` if tasks lie behind
    /// an unfinished push, where this call cannot see them.
    pub fn look_through(&self, mut look: impl FnMut(CellPtr)) -> Option<()> {
        let Queue { arrivals, departures } = self.queue;
        // Ordering: Acquire all; as in `pop` and `pop_returned`. Only this consumer removes cells, so a linked cell stays.
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
        whole.then_some(())
    }

    /// Moves each task for which `gone` returns true from the queue to `taken`. The other tasks keep their places, and no
    /// thread sees the queue empty while a task is in it. Returns false if a push is unfinished. In that case tasks behind this
    /// push stay in the queue, and the task before this push can stay even if `gone` returns true for it.
    pub fn take_out(
        &mut self,
        mut gone: impl FnMut(CellPtr) -> bool,
        taken: &mut Vec<CellPtr>,
    ) -> bool {
        self.take_out_returned(&mut gone, taken);
        let Queue { arrivals, departures } = self.queue;
        let mut link = &departures.head;
        let mut before = ptr::null_mut();
        let mut stays = false;
        // Ordering: Acquire all loads; as in `pop`.
        while let Some(cell) = CellPtr::from_ptr(link.load(Ordering::Acquire)) {
            let next = cell.header().next.load(Ordering::Acquire);
            if gone(cell) {
                if Self::unlink(arrivals, link, before, cell, next) {
                    self.note_taken();
                    taken.push(cell);
                    continue;
                }
                stays = true;
            }
            before = cell.as_ptr();
            // SAFETY: `cell` stays in the list, of which this is the one consumer, and so it stays alive.
            link = unsafe { &(*before).next };
        }
        // Ordering: Acquire; as in `look_through`.
        !stays && arrivals.tail.load(Ordering::Acquire) == before
    }

    /// Unlinks `cell`, which lies between `before` and `next`. `link` is the field that points to `cell`, in `before` or in the
    /// head side. Returns false, and keeps the cell in the list, if `cell` is the last and a push behind it is unfinished.
    fn unlink(
        arrivals: &Arrivals,
        link: &AtomicPtr<Header>,
        before: *mut Header,
        cell: CellPtr,
        next: *mut Header,
    ) -> bool {
        // Ordering: Release; publishes the next cell, as its push did. No pusher writes a link that is not null.
        link.store(next, Ordering::Release);
        if !next.is_null() {
            return true;
        }
        // `cell` is the last, so the store above has set `link` to null. As in `pop`, this store must come before the tail
        // moves back to `before`: from then on a pusher can write `link`.
        // Ordering: as in `pop`; Release also for the header of `before`, which the next pusher writes through.
        let cut = arrivals.tail.compare_exchange(
            cell.as_ptr(),
            before,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if cut.is_err() {
            // The tail is not `cell` any more: a pusher has pushed a task behind `cell`. So `cell` must stay, and this store puts
            // it back behind `before`. No other thread writes `link`, because that pusher writes the link of `cell`.
            link.store(cell.as_ptr(), Ordering::Release);
        }
        cut.is_ok()
    }

    /// Moves each task for which `gone` returns true from the front stack to `taken`.
    fn take_out_returned(
        &mut self,
        gone: &mut impl FnMut(CellPtr) -> bool,
        taken: &mut Vec<CellPtr>,
    ) {
        let mut stays: Option<CellPtr> = None;
        let top = &self.queue.departures.returned;
        // Ordering: Acquire; pairs with the Release of `push_returned`.
        let mut next = top.load(Ordering::Acquire);
        while let Some(cell) = CellPtr::from_ptr(next) {
            // Ordering: Relaxed; only the consumer changes a link inside the front stack.
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

    /// Returns the task directly above `cell` in the front stack. Call it only if `cell` is in the front stack, and another
    /// thread has pushed a task above `cell`.
    fn returned_above(&self, cell: CellPtr) -> CellPtr {
        // Ordering: Acquire; as in `pop_returned`.
        let mut next = self.queue.departures.returned.load(Ordering::Acquire);
        loop {
            let above = CellPtr::from_ptr(next).expect("only the consumer takes it out");
            next = above.header().next.load(Ordering::Relaxed);
            if next == cell.as_ptr() {
                return above;
            }
        }
    }

    /// Unlocks the queue. If the pending bit is set, does not unlock the queue: clears the bit, and returns the lock to the
    /// caller.
    #[inline]
    pub fn unlock(self) -> Unlocked<'a> {
        let state = &self.queue.departures.consumer;
        // Ordering: AcqRel; pairs with `try_lock`. Acquire on failure: shows the permit released before the pending bit.
        match state.compare_exchange(HELD, FREE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Unlocked::Free,
            Err(_) => {
                // Ordering: AcqRel; clears the pending bit, Acquire as above.
                state.swap(HELD, Ordering::AcqRel);
                Unlocked::LookAgain(self)
            }
        }
    }

    /// Pops the task on top of the front stack.
    #[inline]
    fn pop_returned(&mut self) -> Option<CellPtr> {
        let stack = &self.queue.departures.returned;
        // Ordering: Acquire; pairs with the Release of `push_returned`.
        let mut top = stack.load(Ordering::Acquire);
        loop {
            let cell = CellPtr::from_ptr(top)?;
            // Ordering: Relaxed; the load of the top acquired it. Only this consumer pops, so the link does not change.
            let rest = cell.header().next.load(Ordering::Relaxed);
            // Ordering: AcqRel; Acquire on failure for a task pushed meanwhile.
            match stack.compare_exchange_weak(top, rest, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(cell),
                Err(now) => top = now,
            }
        }
    }

    /// Counts a pop, and returns the popped task `cell` as the result of `pop`.
    #[inline]
    fn counted(&mut self, cell: CellPtr) -> Popped {
        self.note_taken();
        Popped::Task(cell)
    }

    /// Adds one to the number of pops from the queue.
    #[inline]
    fn note_taken(&mut self) {
        let taken = &self.queue.departures.taken;
        // Ordering: Relaxed load, because only the consumer writes it; the Release store pairs with `len`.
        taken.store(taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}
