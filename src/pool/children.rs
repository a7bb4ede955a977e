//! The children of a pool's jobs, as a table.
//!
//! A task needs only the way from a job to its parent, which the record has. The way down is needed by `cancel` and `wait`. This
//! table has it, so that a job without children needs no field for it.

use crate::base::task::OpaqueJob;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};

const SHARDS: usize = crate::sync::shrunk(16, 1);

/// The entries of one shard.
pub type Children = BTreeMap<OpaqueJob, Below>;

/// The children of all jobs of a pool.
#[derive(Debug)]
pub struct Family {
    shards: [Mutex<Children>; SHARDS],
    /// The number of children that have left the table.
    pub left: AtomicU64,
}

/// The children of one job, from its first child on until the job is freed.
#[derive(Debug, Default)]
pub struct Below {
    /// The children whose records are not freed.
    pub children: BTreeSet<OpaqueJob>,
    /// Counts of ended tasks: those of the children that are gone from this table, and of all jobs below these children.
    pub left: Ended,
}

/// How many tasks have ended, by the way they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tasks that returned.
    pub completed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks that were dropped.
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
    /// Makes an empty table.
    pub fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(BTreeMap::new()));
        Self { shards, left: AtomicU64::new(0) }
    }

    /// Locks the shard with the entry of this job.
    pub fn shard(&self, parent: OpaqueJob) -> MutexGuard<'_, Children> {
        let shard =
            &self.shards[parent.record().as_ptr().addr() / crate::base::cache::LARGE % SHARDS];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Locks one shard after the other.
    pub fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Children>> {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Returns the number of children that have left the table.
    pub fn left(&self) -> u64 {
        // Ordering: Acquire; pairs with `leave`.
        self.left.load(Ordering::Acquire)
    }
}
