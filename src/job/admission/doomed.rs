//! Cancelled tasks that a thread has taken out of lines and has yet to drop.
//!
//! What captures do when they are dropped is somebody else's: they may push, cancel, wait.
//!
//! - X1: the thread takes the tasks out of a line, with the consumer right, and lists them here. Each has a token of its job,
//!   which is not idle before the task is dropped.
//! - X2: it lets go of all consumer rights. X3: it drops what is listed, one after the other.
//! - X4: before it waits for anything, it drops what is still listed: what it waits for may be among it, and no other
//!   thread has it. A stack has an end: inside many waits of this kind it drops no more than what it waits for, if that is
//!   listed; inside many more it leaves what is listed to the workers.
//!
//! So nobody waits for a right while captures are dropped, and a drop that waits for what stood behind it in line does not wait
//! for itself. Nor may it wait for anything else that its thread has: who still has permits, reservations, tokens or a cell to
//! see to, has it dropped afterwards; who is in the midst of a task leaves it to the workers.

use crate::sync::atomic::Ordering;
use crate::sync::{fault, shrunk, thread_static};
use crate::task::{CellPtr, Header, Mark};
use crate::worker::context::Context;
use std::cell::Cell;
use std::ptr;

/// What one thread has to drop. Used by it alone.
struct Doomed {
    /// Linked through their headers.
    first: Cell<*mut Header>,
    last: Cell<*mut Header>,
    /// How many there are further up on the stack who drop it later, or do so now.
    later: Cell<u32>,
    /// How many of them drop, inside one another's waits.
    depth: Cell<u32>,
}

/// Drops inside one another's waits before a further wait leaves listed what it does not wait for.
const DEEP: u32 = shrunk(32, 2) as u32;
/// And before it leaves it all to the workers.
const DEPTH_MOST: u32 = 4 * DEEP;

thread_static! {
    static DOOMED: Doomed = Doomed {
        first: Cell::new(ptr::null_mut()),
        last: Cell::new(ptr::null_mut()),
        later: Cell::new(0),
        depth: Cell::new(0),
    };
}

/// While it is there, what its thread lists is not dropped, unless the thread waits.
struct Later<'a>(&'a Doomed);

impl<'a> Later<'a> {
    fn begin(doomed: &'a Doomed) -> Self {
        doomed.later.set(doomed.later.get() + 1);
        Self(doomed)
    }
}

impl Drop for Later<'_> {
    fn drop(&mut self) {
        self.0.later.set(self.0.later.get() - 1);
    }
}

/// X1: lists a task that is out of its line and has a token.
pub(super) fn doom(cell: CellPtr) {
    // Ordering: Relaxed; this thread's own.
    cell.header().next.store(ptr::null_mut(), Ordering::Relaxed);
    let listed = DOOMED.try_with(|doomed| {
        let last = doomed.last.replace(cell.as_ptr());
        match CellPtr::from_ptr(last) {
            Some(last) => last.header().next.store(cell.as_ptr(), Ordering::Relaxed),
            None => doomed.first.set(cell.as_ptr()),
        }
    });
    if listed.is_err() {
        // The thread is at its end.
        drop_now(cell);
    }
}

/// X2 and X3: runs `f`, which takes tasks out of lines, and drops them once the last such call on the stack has come to its end.
#[inline]
pub fn drop_afterwards<R>(f: impl FnOnce() -> R) -> R {
    let mut f = Some(f);
    let mut run = || f.take().expect("it is run once")();
    let result = DOOMED.try_with(|doomed| {
        let later = Later::begin(doomed);
        let result = run();
        drop(later);
        if doomed.later.get() == 0 && !doomed.first.get().is_null() {
            if has_a_task() { leave_listed(doomed) } else { drop_listed(doomed) }
        }
        result
    });
    result.unwrap_or_else(|_| run())
}

/// Whether the thread is in the midst of a task, or of a turn between two, for which something that is dropped here might wait.
pub fn has_a_task() -> bool {
    Context::with(|context| context.is_some_and(|context| context.in_turn.get()))
}

/// X4. The caller has no consumer right, and is about to wait for this key of the waiting room.
#[inline]
pub fn drop_before_a_wait(key: usize) {
    let _ = DOOMED.try_with(|doomed| {
        if doomed.first.get().is_null() || fault("waits-for-what-it-drops") {
            return;
        }
        if doomed.depth.get() < DEEP {
            drop_listed(doomed);
        } else {
            drop_waited_for(doomed, key);
        }
    });
}

/// X3.
#[cold]
fn drop_listed(doomed: &Doomed) {
    drop_those_that(doomed, |_| true);
}

fn drop_those_that(doomed: &Doomed, is_it: impl Fn(CellPtr) -> bool) {
    let _now = Later::begin(doomed);
    doomed.depth.set(doomed.depth.get() + 1);
    while let Some(cell) = take_first_that(doomed, &is_it) {
        drop_now(cell);
    }
    doomed.depth.set(doomed.depth.get() - 1);
}

/// Has what is listed dropped by workers, or drops it here if they have gone.
#[cold]
fn leave_listed(doomed: &Doomed) {
    let _now = Later::begin(doomed);
    while let Some(cell) = take_first_that(doomed, |_| true) {
        let pool = cell.job().pool_ptr();
        if pool.shared().sleep.terminated() {
            drop_now(cell);
            continue;
        }
        cell.set_mark(Mark::Doomed);
        // Once in the injector the cell may go, and the pool with it.
        pool.own();
        pool.shared().inject(cell);
        pool.disown(1);
    }
}

/// Drops what is waited for under this key, if it is listed: a task, or those of a job. Too deep down for that it leaves them
/// to others, with the rest, for which theirs may wait in turn.
#[cold]
fn drop_waited_for(doomed: &Doomed, key: usize) {
    let is_it = |cell: CellPtr| cell.as_ptr().addr() == key || cell.job().is_waited_for_by(key);
    if doomed.depth.get() < DEPTH_MOST {
        drop_those_that(doomed, is_it);
    } else if let Some(cell) = take_first_that(doomed, is_it) {
        doom(cell);
        leave_listed(doomed);
    }
}

/// Takes the first listed task that `is_it` picks.
fn take_first_that(doomed: &Doomed, is_it: impl Fn(CellPtr) -> bool) -> Option<CellPtr> {
    // Ordering: Relaxed all; this thread's own.
    let mut before: Option<CellPtr> = None;
    let mut next = doomed.first.get();
    loop {
        let cell = CellPtr::from_ptr(next)?;
        next = cell.header().next.load(Ordering::Relaxed);
        if is_it(cell) {
            match before {
                Some(before) => before.header().next.store(next, Ordering::Relaxed),
                None => doomed.first.set(next),
            }
            if next.is_null() {
                doomed.last.set(before.map_or(ptr::null_mut(), CellPtr::as_ptr));
            }
            return Some(cell);
        }
        before = Some(cell);
    }
}

/// Drops a task that has a token.
fn drop_now(cell: CellPtr) {
    let job = cell.job();
    cell.cancel();
    job.drop_tasks(1);
}
