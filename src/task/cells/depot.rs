//! Where threads exchange magazines of one size.

use super::blocks::Blocks;
use super::magazine::Magazine;
use super::{LARGE, SMALL};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::deque::{Injector, Steal};
use crate::sync::{Mutex, MutexGuard, global, shrunk};

/// Full magazines that the depot keeps before cells go home.
const RESERVE: usize = shrunk(64, 1);

/// Full magazines and empty ones, and the blocks behind them.
pub struct Depot {
    full: Injector<Box<Magazine>>,
    empty: Injector<Box<Magazine>>,
    /// About how many magazines `full` holds.
    len: AtomicUsize,
    blocks: Mutex<Blocks>,
    /// Cells went home: the reserve is what a burst has left.
    untidy: AtomicBool,
}

global! {
    /// A depot per size.
    fn depots() -> [Depot; 2] { [Depot::new(SMALL), Depot::new(LARGE)] }
}

/// The depot of the cells of this class.
pub fn depot(class: usize) -> &'static Depot {
    &depots()[class]
}

impl Depot {
    fn new(size: usize) -> Self {
        Self {
            full: Injector::new(),
            empty: Injector::new(),
            len: AtomicUsize::new(0),
            blocks: Mutex::new(Blocks::new(size)),
            untidy: AtomicBool::new(false),
        }
    }

    /// The blocks; waits for the thread that is inside.
    pub fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // Nothing under the lock can panic but an allocation, before anything was changed.
        self.blocks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Gives an empty magazine for one with cells.
    pub fn exchange_empty(&self, mut empty: Box<Magazine>) -> Box<Magazine> {
        let Some(full) = steal(&self.full) else {
            self.blocks().fill(&mut empty);
            empty.fetch_first();
            return empty;
        };
        // Ordering: Relaxed; an estimate.
        self.len.fetch_sub(1, Ordering::Relaxed);
        full.fetch_first();
        self.empty.push(empty);
        full
    }

    /// Gives a full magazine for an empty one.
    pub fn exchange_full(&self, mut full: Box<Magazine>) -> Box<Magazine> {
        // Ordering: Relaxed both; an estimate.
        if self.len.fetch_add(1, Ordering::Relaxed) < RESERVE {
            self.full.push(full);
            return steal(&self.empty).unwrap_or_default();
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        // This one, for its cells are in this processor's cache.
        self.take_home(&mut full);
        full
    }

    fn take_home(&self, magazine: &mut Magazine) {
        self.blocks().take_home(magazine);
        // Ordering: Relaxed; who sets it looks at it before it sleeps.
        self.untidy.store(true, Ordering::Relaxed);
    }

    fn tidy(&self) {
        // Ordering: Relaxed both; as in `take_home`, and an estimate.
        if self.untidy.load(Ordering::Relaxed) {
            self.untidy.store(false, Ordering::Relaxed);
            while let Some(mut full) = steal(&self.full) {
                self.len.fetch_sub(1, Ordering::Relaxed);
                self.blocks().take_home(&mut full);
                self.empty.push(full);
            }
        }
    }
}

/// For a worker that goes to sleep after a burst: brings the reserve home, whose cells would keep their blocks from the allocator.
pub fn tidy() {
    depots().iter().for_each(Depot::tidy);
}

fn steal<T>(from: &Injector<T>) -> Option<T> {
    loop {
        match from.steal() {
            Steal::Success(one) => return Some(one),
            Steal::Empty => return None,
            Steal::Retry => crate::sync::spin_loop(),
        }
    }
}
