//! The slots of a job with a capacity. Module [`api::capacity`](crate::api::capacity) explains how pushers wait for a slot.

use crate::base::parking::parking_lot;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The bit of [`Capacity::taken`] that is set while a pusher waits for a slot.
pub const WAITED: u64 = 1;
const TASK: u64 = 1 << 1;

/// The slots of one job: how many there are, and how many are taken.
#[derive(Debug)]
pub struct Capacity {
    most: u64,
    /// Bit 0 ([`WAITED`]) is set while a pusher waits for a slot. The other bits hold the number of taken slots.
    pub taken: AtomicU64,
    /// A *pass* over the job's queue frees the empty cells in it. No pass is due while the number of cells without a slot in
    /// the queue is less than this field. At the end of a pass, this field becomes twice the number of cells without a slot
    /// that are still in the queue. Most of these cells belong to tasks of children, which own no slot of this job.
    pub left: AtomicU64,
}

impl Capacity {
    /// Makes `most` slots, which are all free.
    pub fn new(most: usize) -> Self {
        Self {
            most: (most as u64).min(u64::MAX / TASK),
            taken: AtomicU64::new(0),
            left: AtomicU64::new(0),
        }
    }

    /// Returns true if the capacity is 0. In this case a pusher must push each task together with the task's permits.
    pub fn is_none(&self) -> bool {
        self.most == 0
    }

    /// Returns the number of slots.
    pub fn most(&self) -> usize {
        self.most as usize
    }

    /// Returns the key in the parking lot under which pushers wait for a slot of this job.
    pub fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Returns true if all slots are free. Call it only while no other thread uses the slots.
    pub fn is_unused(&self) -> bool {
        // Ordering: Relaxed; no other thread uses the slots.
        self.taken.load(Ordering::Relaxed) / TASK == 0
    }

    /// Returns a lower bound for the number of cells in the queue that own no slot. `cells` is the number of all cells in the
    /// queue.
    pub fn without_slot(&self, cells: usize) -> u64 {
        // Ordering: Relaxed; a hint.
        (cells as u64).saturating_sub(self.taken.load(Ordering::Relaxed) / TASK)
    }

    /// Returns true if the caller should make a pass over the queue now. A pass frees the empty cells in the queue. `empty` is
    /// the number of cells in the queue that own no slot.
    pub fn is_pass_due(&self, empty: u64) -> bool {
        // Ordering: Relaxed both; hints.
        let tasks = self.taken.load(Ordering::Relaxed) / TASK;
        empty >= self.most.max(tasks).max(self.left.load(Ordering::Relaxed))
    }

    /// Returns true if no slot is free.
    pub fn is_full(&self) -> bool {
        // Ordering: Acquire; pairs with the release of a slot. In `full-2` the caller has executed a fence.
        self.taken.load(Ordering::Acquire) / TASK >= self.most
    }
}

/// A slot of a job with a capacity. A task owns the slot until the task starts or is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Capacity>);

impl Slot {
    /// Takes a slot, or returns `None` if no slot is free.
    pub fn try_take(capacity: &Arc<Capacity>) -> Option<Self> {
        // Ordering: AcqRel on success; pairs with the release of a slot. Relaxed on failure: only the count matters.
        let taken = capacity.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
            (taken / TASK < capacity.most).then_some(taken + TASK)
        });
        taken.is_ok().then(|| Self(capacity.clone()))
    }

    /// Takes a slot even if none is free. So the number of taken slots can exceed the capacity.
    pub fn take_over(capacity: &Arc<Capacity>) -> Self {
        // Ordering: as in `try_take`.
        capacity.taken.fetch_add(TASK, Ordering::AcqRel);
        Self(capacity.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Ordering: AcqRel; pairs with `full-2`, which sets the bit (slot-1).
        if self.0.taken.fetch_sub(TASK, Ordering::AcqRel) & WAITED != 0 {
            parking_lot().wake_one(self.0.key()); // slot-2
        }
    }
}
