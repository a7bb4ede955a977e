//! Adds the children of jobs to the table of their pool, and removes them from it.

use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::children::{Ended, Family};
use crate::sync::atomic::Ordering;

impl Ended {
    /// Returns the counts of ended tasks of one job, without the jobs below.
    pub fn of(job: JobPtr) -> Self {
        let tally = &job.tally;
        // Ordering: Relaxed all; figures. A wait for the job orders them before the waiter reads them.
        Self {
            completed: tally.completed.load(Ordering::Relaxed),
            panicked: tally.panicked.load(Ordering::Relaxed),
            cancelled: tally.cancelled.load(Ordering::Relaxed),
        }
    }
}

impl Family {
    /// Adds a child to the table. The caller must keep the child's record alive.
    pub fn enter(&self, parent: JobPtr, child: JobPtr) {
        if !parent.permits.set(Flag::Parent).has(Flag::Parent) {
            // A worker with a lease of the parent may have found the parent unlimited, and must check the parent's word again.
            parent.pool().advance_epoch();
        }
        self.shard(parent.opaque())
            .entry(parent.opaque())
            .or_default()
            .children
            .insert(child.opaque());
    }

    /// Removes a child from the table, because its record is about to be freed. Adds the counts of ended tasks of the child,
    /// and of the jobs below it, to the parent's entry.
    pub fn leave(&self, parent: JobPtr, child: JobPtr) {
        let mut ended = Ended::of(child);
        ended += self.forget(child);
        let mut shard = self.shard(parent.opaque());
        // Ordering: Release; a thread that does not find the child takes the same lock later.
        self.left.fetch_add(1, Ordering::Release);
        // In a model the table may have no entry of the parent, because the child was never added.
        if let Some(below) = shard.get_mut(&parent.opaque()) {
            below.children.remove(&child.opaque());
            below.left += ended;
        }
    }

    /// Removes the entry of a job that is about to be freed, if the job had children. Returns the counts of ended tasks of the
    /// jobs below it.
    #[cold]
    pub fn forget(&self, job: JobPtr) -> Ended {
        if !job.permits.load_alone().has(Flag::Parent) {
            return Ended::default();
        }
        self.shard(job.opaque()).remove(&job.opaque()).map(|below| below.left).unwrap_or_default()
    }
}
