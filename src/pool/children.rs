//! The table of the children of a pool's jobs.
//!
//! A job's record has a pointer to the job's parent, but none to its children, so that a job without children needs no memory
//! for them. `Job::cancel` and `Job::wait` find a job's children in the table of children.

use crate::base::task::OpaqueJob;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};

const SHARDS: usize = crate::sync::shrunk(16, 1);

/// The entries of one shard of the table of children. The key of an entry is the parent.
pub type Children = BTreeMap<OpaqueJob, Below>;

/// The table of the children of all jobs of a pool.
#[derive(Debug)]
pub struct Family {
    shards: [Mutex<Children>; SHARDS],
    /// The number of children that were removed from the table of children so far.
    pub left: AtomicU64,
}

/// The entry of one parent in the table of children. The entry is made with the parent's first child, and removed when the
/// parent is freed.
#[derive(Debug, Default)]
pub struct Below {
    /// The children whose records are not freed yet.
    pub children: BTreeSet<OpaqueJob>,
    /// The counts of ended tasks of those children that were removed from the table, and of all jobs that were below these
    /// children.
    pub left: Ended,
}

/// How many tasks of a job, or of several jobs, have ended, counted apart for each of the three ways to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The number of tasks that returned.
    pub completed: u64,
    /// The number of tasks that panicked.
    pub panicked: u64,
    /// The number of tasks that were dropped.
    pub cancelled: u64,
}

impl std::ops::AddAssign for Ended {
    fn add_assign(&mut self, more: Self) {
        self.completed += more.completed;
        self.panicked += more.panicked;
        self.cancelled += more.cancelled;
    }
}

impl Family {
    /// Makes an empty table of children.
    pub fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(BTreeMap::new()));
        Self { shards, left: AtomicU64::new(0) }
    }

    /// Locks the shard of the table of children that has the entry of `parent`, and returns that shard.
    pub fn shard(&self, parent: OpaqueJob) -> MutexGuard<'_, Children> {
        let shard =
            &self.shards[parent.record().as_ptr().addr() / crate::base::cache::LARGE % SHARDS];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns an iterator over all shards of the table of children. Each shard is locked when the iterator returns it.
    pub fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Children>> {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns the number of children that were removed from the table of children so far.
    pub fn left(&self) -> u64 {
        // Ordering: Acquire; pairs with `leave`.
        self.left.load(Ordering::Acquire)
    }
}
