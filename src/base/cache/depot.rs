//! The depot: where threads exchange magazines, which are arrays of free cells of one size.

use super::magazine::Magazine;
use super::slabs::Slabs;
use super::{LARGE, SMALL};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::deque::{Injector, Steal};
use crate::sync::{Mutex, MutexGuard, global, shrunk};

/// The number of full magazines that the depot keeps in reserve. The cells of further full magazines go back to their slabs.
const RESERVE: usize = shrunk(64, 1);

/// Full and empty magazines of one size class, and the slabs that their cells come from.
pub struct Depot {
    full: Injector<Box<Magazine>>,
    empty: Injector<Box<Magazine>>,
    /// An estimate of the number of magazines in `full`.
    len: AtomicUsize,
    slabs: Mutex<Slabs>,
    /// True if the reserve of full magazines was over-full since the last call of [`tidy`](Self::tidy), as after many tasks have
    /// ended at once. The next call of `tidy` then empties the reserve.
    untidy: AtomicBool,
}

global! {
    /// Returns the depots of the process, by size class.
    fn depots() -> [Depot; 2] { [Depot::new(SMALL), Depot::new(LARGE)] }
}

/// Returns the depot of this size class.
pub fn depot(class: usize) -> &'static Depot {
    &depots()[class]
}

impl Depot {
    fn new(size: usize) -> Self {
        Self {
            full: Injector::new(),
            empty: Injector::new(),
            len: AtomicUsize::new(0),
            slabs: Mutex::new(Slabs::new(size)),
            untidy: AtomicBool::new(false),
        }
    }

    /// Locks the slabs of this size class.
    pub fn slabs(&self) -> MutexGuard<'_, Slabs> {
        // A poisoned lock is safe to use: under this lock only an allocation can panic, and it does so before any change.
        self.slabs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Exchanges an empty magazine for a magazine with cells.
    pub fn exchange_empty(&self, mut empty: Box<Magazine>) -> Box<Magazine> {
        let Some(full) = steal(&self.full) else {
            self.slabs().fill(&mut empty);
            empty.fetch_first();
            return empty;
        };
        // Ordering: Relaxed; the length is an estimate.
        self.len.fetch_sub(1, Ordering::Relaxed);
        full.fetch_first();
        self.empty.push(empty);
        full
    }

    /// Exchanges a full magazine for an empty one.
    pub fn exchange_full(&self, mut full: Box<Magazine>) -> Box<Magazine> {
        // Ordering: Relaxed both; the length is an estimate.
        if self.len.fetch_add(1, Ordering::Relaxed) < RESERVE {
            self.full.push(full);
            return steal(&self.empty).unwrap_or_default();
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        // The reserve is full, so the cells of one magazine go back to their slabs. This thread chooses `full`, whose cells lie
        // in this processor's cache, unlike those of a magazine in the reserve.
        self.take_back_all(&mut full);
        full
    }

    /// Returns the cells of a magazine to their slabs.
    fn take_back_all(&self, magazine: &mut Magazine) {
        self.slabs().take_back_all(magazine);
        // Ordering: Relaxed; this worker calls `tidy` itself before it parks.
        self.untidy.store(true, Ordering::Relaxed);
    }

    /// If `untidy` is set, clears it, and returns all cells of the reserve of full magazines to their slabs. If `untidy` is not
    /// set, does nothing.
    fn tidy(&self) {
        // Ordering: Relaxed both; this worker calls `tidy` itself after `take_back_all`, and the length is an estimate.
        if self.untidy.load(Ordering::Relaxed) {
            self.untidy.store(false, Ordering::Relaxed);
            while let Some(mut full) = steal(&self.full) {
                self.len.fetch_sub(1, Ordering::Relaxed);
                self.slabs().take_back_all(&mut full);
                self.empty.push(full);
            }
        }
    }
}

/// Returns the cells of the depots' reserves to their slabs, if a burst of tasks has over-filled a reserve. A worker calls this
/// function before it parks.
///
/// The whole reserve is emptied, because a slab goes back to the allocator only when all its cells are back in the slab. A single
/// cell in the reserve would keep its whole slab.
pub fn tidy() {
    depots().iter().for_each(Depot::tidy);
}

/// Puts the cells of the depots' reserves back into their slabs, and returns the number of magazines that the reserves had.
/// Panics if a cell is not in its slab then. Only models call this function, when no thread uses a cell.
#[cfg(tollgate_loom)]
pub fn empty_reserve() -> usize {
    let mut reserve = 0;
    for depot in depots() {
        while let Some(mut full) = steal(&depot.full) {
            depot.slabs().take_back_all(&mut full);
            // Ordering: Relaxed; no other thread uses the depot.
            depot.len.fetch_sub(1, Ordering::Relaxed);
            reserve += 1;
        }
        // Ordering: Relaxed; no other thread uses the depot.
        assert_eq!(depot.len.load(Ordering::Relaxed), 0, "the reserve is counted wrongly");
        assert!(depot.slabs().none_in_use(), "a cell was lost");
    }
    reserve
}

/// Steals one element. Returns `None` if the queue is empty.
fn steal<T>(from: &Injector<T>) -> Option<T> {
    loop {
        match from.steal() {
            Steal::Success(one) => return Some(one),
            Steal::Empty => return None,
            Steal::Retry => crate::sync::spin_loop(),
        }
    }
}
