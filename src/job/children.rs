//! Adds a job to the pool's table of children, and removes a job from that table.

use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::children::{Ended, Family};
use crate::sync::atomic::Ordering;

impl Ended {
    /// Returns how many tasks of `job` have returned, how many have panicked, and how many were cancelled. Does not count
    /// tasks of the jobs below `job`.
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
    /// Adds `child` to the entry of `parent` in the table of children. The caller must keep the record of `child` alive.
    pub fn enter(&self, parent: JobPtr, child: JobPtr) {
        if !parent.permits.set(Flag::Parent).has(Flag::Parent) {
            // A job with a child is not unlimited. A worker with a lease of the parent might still run tasks as if the parent
            // were unlimited. The new epoch makes that worker check the parent's word.
            parent.pool().advance_epoch();
        }
        self.shard(parent.opaque())
            .entry(parent.opaque())
            .or_default()
            .children
            .insert(child.opaque());
    }

    /// Removes `child` from the table of children. Adds the counts of ended tasks of `child`, and of the freed jobs below
    /// `child`, to the entry of `parent`. Call it when the record of `child` is about to be freed.
    pub fn leave(&self, parent: JobPtr, child: JobPtr) {
        let mut ended = Ended::of(child);
        ended += self.forget(child);
        let mut shard = self.shard(parent.opaque());
        // Ordering: Release; a thread that does not find the child takes the same lock later.
        self.left.fetch_add(1, Ordering::Release);
        // In a model the table might have no entry of the parent, because the child was never added.
        if let Some(below) = shard.get_mut(&parent.opaque()) {
            below.children.remove(&child.opaque());
            below.left += ended;
        }
    }

    /// Removes the entry of `job` from the table of children. Returns the counts of ended tasks of the freed jobs below `job`.
    /// If `job` never had a child, there is no such entry, and all counts are 0. Call it when the record of `job` is about to
    /// be freed.
    #[cold]
    pub fn forget(&self, job: JobPtr) -> Ended {
        if !job.permits.load_alone().has(Flag::Parent) {
            return Ended::default();
        }
        self.shard(job.opaque()).remove(&job.opaque()).map(|below| below.left).unwrap_or_default()
    }
}
