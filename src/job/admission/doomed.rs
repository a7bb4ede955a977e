//! Cancelled tasks that a thread has taken out of lines and has yet to drop.
//!
//! What captures do when they are dropped is somebody else's: they may push, cancel, wait.
//!
//! - X1: the thread takes the tasks out of a line, with the consumer right, and lists them here. Each has a token of its job,
//!   which is not idle before the task is dropped.
//! - X2: it lets go of all consumer rights. X3: it drops what is listed, one after the other.
//! - X4: before it waits for anything, it drops what is still listed: what it waits for may be among it, and no other
//!   thread has it.
//!
//! So nobody waits for a right while captures are dropped, and a drop that waits for what stood behind it in line does not wait
//! for itself.

use crate::job::record::JobPtr;
use crate::sync::atomic::Ordering;
use crate::sync::{fault, thread_static};
use crate::task::{CellPtr, Header};
use std::cell::Cell;
use std::ptr;

/// What one thread has to drop.
struct Doomed {
    /// Linked through their headers.
    first: Cell<*mut Header>,
    last: Cell<*mut Header>,
    /// How many there are further up on the stack who drop it later, or do so now.
    later: Cell<u32>,
}

thread_static! {
    static DOOMED: Doomed = Doomed {
        first: Cell::new(ptr::null_mut()),
        last: Cell::new(ptr::null_mut()),
        later: Cell::new(0),
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
pub fn drop_afterwards<R>(f: impl FnOnce() -> R) -> R {
    let mut f = Some(f);
    let mut run = || f.take().expect("it is run once")();
    let result = DOOMED.try_with(|doomed| {
        let result = {
            let _later = Later::begin(doomed);
            run()
        };
        if doomed.later.get() == 0 && !doomed.first.get().is_null() {
            let _now = Later::begin(doomed);
            drop_listed(doomed);
        }
        result
    });
    result.unwrap_or_else(|_| run())
}

/// X4. The caller has no consumer right, and is about to wait.
#[inline]
pub fn drop_before_a_wait() {
    let _ = DOOMED.try_with(|doomed| {
        if !doomed.first.get().is_null() && !fault("waits-for-what-it-drops") {
            drop_listed(doomed);
        }
    });
}

#[cold]
fn drop_listed(doomed: &Doomed) {
    while let Some(cell) = CellPtr::from_ptr(doomed.first.get()) {
        // Ordering: Relaxed; this thread's own.
        let next = cell.header().next.load(Ordering::Relaxed);
        doomed.first.set(next);
        if next.is_null() {
            doomed.last.set(ptr::null_mut());
        }
        drop_now(cell);
    }
}

fn drop_now(cell: CellPtr) {
    let job: JobPtr = cell.job();
    cell.cancel();
    job.drop_tasks(1);
}
