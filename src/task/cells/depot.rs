//! Where threads exchange magazines of one size.

use super::blocks::Blocks;
use super::magazine::Magazine;
use super::{LARGE, SMALL};
use crate::sync::atomic::{AtomicUsize, Ordering};
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
        // Ordering: Relaxed; an estimate.
        if self.len.fetch_add(1, Ordering::Relaxed) < RESERVE {
            self.full.push(full);
            steal(&self.empty).unwrap_or_default()
        } else {
            self.len.fetch_sub(1, Ordering::Relaxed);
            self.blocks().take_home(&mut full);
            full
        }
    }
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
