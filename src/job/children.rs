//! The children of jobs enter and leave the table of their pool.

use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::children::{Ended, Family};
use crate::sync::atomic::Ordering;

impl Ended {
    /// Returns the counts of one job, without the jobs below it.
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
    /// Adds a child. The caller must keep the child.
    pub fn enter(&self, parent: JobPtr, child: JobPtr) {
        if !parent.permits.set(Flag::Parent).has(Flag::Parent) {
            // A worker with a lease of the parent may have taken the parent for unlimited. It must check again.
            parent.pool().advance_epoch();
        }
        self.shard(parent.opaque())
            .entry(parent.opaque())
            .or_default()
            .children
            .insert(child.opaque());
    }

    /// Removes a child whose record is about to be freed. Adds its counts to its parent's.
    pub fn leave(&self, parent: JobPtr, child: JobPtr) {
        let mut ended = Ended::of(child);
        ended += self.forget(child);
        let mut shard = self.shard(parent.opaque());
        // Ordering: Release; a thread that does not find the child takes the same lock later.
        self.left.fetch_add(1, Ordering::Release);
        // Only a model's child, which never was in the table, finds no entry.
        if let Some(below) = shard.get_mut(&parent.opaque()) {
            below.children.remove(&child.opaque());
            below.left += ended;
        }
    }

    /// Removes the entry of a job that is about to be freed, if it had children. Returns the counts of the jobs below it.
    #[cold]
    pub fn forget(&self, job: JobPtr) -> Ended {
        if !job.permits.load_alone().has(Flag::Parent) {
            return Ended::default();
        }
        self.shard(job.opaque()).remove(&job.opaque()).map(|below| below.left).unwrap_or_default()
    }
}
