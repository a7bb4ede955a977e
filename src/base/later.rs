//! Delays a thread's wake-ups of waiters until the thread holds no queue lock.
//!
//! A waker runs user code, which can wait for a task. If a thread called a waker under a queue lock, that task might never
//! start, because another thread needs the lock to admit it. So a thread that grants permits to waiters under a queue lock puts
//! these waiters into a list, and notifies them after it has unlocked its last queue. The list links the waiters' cells by
//! their headers, so it needs no allocation.

use crate::base::parking::parking_lot;
use crate::base::task::{CellPtr, Header};
use crate::sync::atomic::Ordering;
use crate::sync::thread_static;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;

/// The delayed wake-ups of one thread. No field has a destructor, so the thread can use this value until the thread ends.
struct Later {
    /// The number of [`Deferral`]s on this thread. While this number is not 0, the thread delays its wake-ups.
    depth: Cell<u32>,
    first: Cell<*mut Header>,
    last: Cell<*mut Header>,
    /// The keys in the parking lot whose waiters this thread has still to wake. While the thread delays no wake-ups, the list
    /// is empty and has no allocation.
    keys: ManuallyDrop<Cell<Vec<usize>>>,
}

thread_static! {
    static LATER: Later = Later {
        depth: Cell::new(0),
        first: Cell::new(ptr::null_mut()),
        last: Cell::new(ptr::null_mut()),
        keys: ManuallyDrop::new(Cell::new(Vec::new())),
    };
}

/// While this value exists, its thread delays wake-ups.
#[must_use]
#[derive(Debug)]
pub struct Deferral(());

impl Deferral {
    /// Begins to delay this thread's wake-ups.
    pub fn begin() -> Self {
        LATER.with(|later| later.depth.set(later.depth.get() + 1));
        Self(())
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        let depth = LATER.with(|later| {
            later.depth.set(later.depth.get() - 1);
            later.depth.get()
        });
        if depth == 0 {
            LATER.with(Later::catch_up);
        }
    }
}

impl Later {
    /// Adds a waiter's cell at the end of the list of waiters that the thread notifies later.
    fn add(&self, cell: CellPtr) {
        // Ordering: Relaxed; the cell is in this thread's own list.
        cell.header().next.store(ptr::null_mut(), Ordering::Relaxed);
        match CellPtr::from_ptr(self.last.replace(cell.as_ptr())) {
            // Ordering: Relaxed; the cell is in this thread's own list.
            Some(last) => last.header().next.store(cell.as_ptr(), Ordering::Relaxed),
            None => self.first.set(cell.as_ptr()),
        }
    }

    /// Takes the first cell out of the list of waiters that the thread notifies later.
    fn take(&self) -> Option<CellPtr> {
        let cell = CellPtr::from_ptr(self.first.get())?;
        // Ordering: Relaxed; the list is this thread's own.
        let next = cell.header().next.load(Ordering::Relaxed);
        self.first.set(next);
        if next.is_null() {
            self.last.set(ptr::null_mut());
        }
        Some(cell)
    }

    /// Wakes all waiters whose wake-ups this thread has delayed. A waker that runs here can begin a further [`Deferral`]. The
    /// end of that deferral then calls this function again, for the wake-ups that were delayed meanwhile.
    fn catch_up(&self) {
        for key in self.keys.take() {
            parking_lot().wake(key);
        }
        while let Some(cell) = self.take() {
            cell.notify();
        }
    }
}

/// Notifies a waiter whose outcome is decided. While a [`Deferral`] exists on this thread, puts this off until the thread's last
/// `Deferral` is dropped.
pub fn notify(cell: CellPtr) {
    let now = LATER.with(|later| {
        let now = later.depth.get() == 0;
        if !now {
            later.add(cell);
        }
        now
    });
    if now {
        cell.notify();
    }
}

/// Wakes all waiters of `key` in the parking lot. While a [`Deferral`] exists on this thread, puts this off until the thread's
/// last `Deferral` is dropped.
pub fn wake(key: usize) {
    let now = LATER.with(|later| {
        let now = later.depth.get() == 0;
        if !now {
            let mut keys = later.keys.take();
            keys.push(key);
            later.keys.set(keys);
        }
        now
    });
    if now {
        parking_lot().wake(key);
    }
}
