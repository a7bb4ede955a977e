//! The table of the children of a pool's jobs.
//!
//! A task needs only the pointer from its job to the parent, which the job's record has. `cancel` and `wait` need the children
//! of a job. These are in this table, so that a job without children needs no field for them.

use crate::base::task::OpaqueJob;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};

const SHARDS: usize = crate::sync::shrunk(16, 1);

/// The entries of one shard, by parent.
pub type Children = BTreeMap<OpaqueJob, Below>;

/// The table of the children of all jobs of a pool.
#[derive(Debug)]
pub struct Family {
    shards: [Mutex<Children>; SHARDS],
    /// The number of children that were removed from the table.
    pub left: AtomicU64,
}

/// The children of one job. This entry is made with the job's first child, and removed when the job is freed.
#[derive(Debug, Default)]
pub struct Below {
    /// The children whose records are not freed yet.
    pub children: BTreeSet<OpaqueJob>,
    /// The counts of the ended tasks of children that were removed from this table, and of all jobs below these children.
    pub left: Ended,
}

/// How many tasks have ended, by the way in which they ended.
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

    /// Locks the shard with the entry of the job `parent`.
    pub fn shard(&self, parent: OpaqueJob) -> MutexGuard<'_, Children> {
        let shard =
            &self.shards[parent.record().as_ptr().addr() / crate::base::cache::LARGE % SHARDS];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Locks the shards, one after the other.
    pub fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Children>> {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns the number of children that were removed from the table.
    pub fn left(&self) -> u64 {
        // Ordering: Acquire; pairs with `leave`.
        self.left.load(Ordering::Acquire)
    }
}
