//! The capacity of a job: a bound on its tasks that have not started, and the wait for a free slot.
//!
//! Each accepted task of a job with a capacity owns one *slot*, here a [`Slot`]. The slot is released when the task's closure
//! starts or is dropped. So the number of taken slots is exactly the number of tasks that have not started, whether they are in
//! a queue or in a deque. A job without a capacity pays nothing.
//!
//! A pusher that finds no free slot:
//! - `full-1`: the pusher adds the key of the job's capacity, under which pushers wait in the parking lot, to the pool's list
//!   of blocked pushers.
//! - `full-2`: under the lock of the parking lot's bucket the pusher sets the *waited* bit and executes a full fence. Then the
//!   pusher checks that no slot is free and that the job and the pool are open. If both are true, the pusher parks.
//!
//! A thread that releases a slot:
//! - `slot-1`: the thread lowers the number of taken slots and reads the *waited* bit, in one read-modify-write.
//! - `slot-2`: if the bit was set, the thread wakes one pusher.
//!
//! A thread that closes the job or the pool:
//! - `close-1`: the thread sets the flag that closes the job or the pool.
//! - `close-2`: the thread wakes all pushers that wait under the keys in the pool's list of blocked pushers.
//!
//! A pusher that was woken and has taken a slot wakes the next pusher if a further slot is free. If no other pusher waits, the
//! woken pusher clears the *waited* bit instead. If the woken pusher is a task of another pool, it does so before it
//! re-acquires its permits, because it may wait for its permits.
//!
//! A handle that cancels a queued task releases the task's slot at once, but leaves the task's empty cell in the queue. A
//! worker frees the empty cell when the cell is first in the queue. A pusher frees all empty cells of the queue if they are at
//! least as many as the slots, and at least as many as the tasks in the queue. So the number of empty cells is never much
//! greater than the number of slots or of tasks in the queue, whichever is greater.
//!
//! A future that waits for a slot takes the same steps as a blocked thread (`full-1`, `full-2`): see module `reserve`.
//!
//! A pusher that is about to park misses no slot that is released. Either the pusher's check sees the free slot (`full-2`), or
//! the thread that releases the slot sees the *waited* bit and wakes a pusher (`slot-1`, `slot-2`).
//!
//! A pusher that is about to park is also woken if the job or the pool is closed. Either the closing thread finds the pusher's
//! key in the list of blocked pushers (`full-1`, `close-2`), or the pusher's check sees the flag (`close-1`, `full-2`).

use crate::api::job::Job;
use crate::base::parking::parking_lot;
use crate::job::capacity::{Capacity, Slot, WAITED};
use crate::job::gate;
use crate::pool::core::PoolPtr;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, fence_after_rmw};
use crate::unwind;
use crate::worker::blocking;
use crate::worker::context::Context;

/// The result of an attempt to take a slot without waiting.
#[derive(Debug)]
pub enum Asked {
    /// The job has no capacity, so the task needs no slot.
    Unbounded,
    /// A slot was free. The caller owns this slot now.
    Taken(Slot),
    /// No slot is free.
    Full,
}

impl Job {
    /// Takes a slot for one task. Blocks until a slot is free. Inside a task of the same pool, the call never blocks: if no
    /// slot is free, the call takes a slot beyond the capacity.
    ///
    /// Returns `None` if the job has no capacity, or if the job or its pool is closed before a slot is free.
    #[inline]
    #[track_caller]
    pub(crate) fn take_slot(&self) -> Option<Slot> {
        let capacity = self.extra()?.capacity.as_ref()?;
        self.take_slot_of(capacity)
    }

    /// Takes a slot for one task, if one is free. Never blocks.
    #[inline]
    pub(crate) fn try_take_slot(&self) -> Asked {
        match self.extra().and_then(|extra| extra.capacity.as_ref()) {
            None => Asked::Unbounded,
            Some(capacity) => {
                self.free_empty_cells(capacity);
                Slot::try_take(capacity).map_or(Asked::Full, Asked::Taken)
            }
        }
    }

    /// Frees the empty cells in the job's queue, in one pass over the queue, if a pass is due. A cell in the queue without a
    /// slot is usually empty, because a cancelled task releases its slot at once. A pass is due if the number of cells without
    /// a slot reaches the greatest of three numbers: the slots, the taken slots, and twice the cells without a slot that the
    /// last pass left in the queue.
    ///
    /// A pass over the queue visits each cell, and frees the empty ones. In a job without children at least half of the visited
    /// cells are empty. So in such a job all passes together visit at most two cells for each push, on average.
    pub(super) fn free_empty_cells(&self, capacity: &Capacity) {
        let job = self.ptr();
        if capacity.is_pass_due(capacity.without_slot(job.queue().len())) {
            // This pass does not reach the cells behind an unfinished push. The next push checks again whether a pass is due.
            let _ = gate::drop_gone(job, |cell| cell.job() == job);
            let left = capacity.without_slot(job.queue().len());
            // Ordering: Relaxed; the number is a hint for the next pass.
            capacity.left.store(2 * left, Ordering::Relaxed);
        }
    }

    /// Takes a slot of `capacity`, which is this job's capacity, as [`take_slot`](Self::take_slot) does.
    #[cold]
    #[track_caller]
    fn take_slot_of(&self, capacity: &Arc<Capacity>) -> Option<Slot> {
        self.free_empty_cells(capacity);
        if Context::of_pool(self.ptr().pool_ptr(), |_| ()) {
            return Some(Slot::take_over(capacity));
        }
        if let Some(slot) = Slot::try_take(capacity) {
            return Some(slot);
        }
        let _blocked = BlockedPusher::enter(self.ptr().pool_ptr(), capacity.key()); // full-1
        while self.accepts() {
            if let Some(taken) = Slot::try_take(capacity) {
                self.pass_on(capacity);
                return Some(taken);
            }
            let wait = || self.must_wait_for_slot(capacity);
            // If the pusher is a task of another pool, it must re-acquire its permits after the wait. So it wakes the next
            // pusher before it re-acquires them.
            unwind::at_caller(|| {
                blocking::wait_then(capacity.key(), None, None, wait, || self.pass_on(capacity));
            });
        }
        None
    }

    /// Returns true if the pusher must wait: no slot is free, and the job accepts tasks. Before this check, sets the *waited*
    /// bit of `capacity`, so that a thread that releases a slot wakes the pusher. The caller must hold the lock of the parking
    /// lot's bucket (`full-2`).
    pub(super) fn must_wait_for_slot(&self, capacity: &Capacity) -> bool {
        // Ordering: AcqRel; pairs with `slot-1`, in which a thread reads the bit (full-2).
        capacity.taken.fetch_or(WAITED, Ordering::AcqRel);
        fence_after_rmw();
        capacity.is_full() && self.accepts()
    }

    /// Wakes the pusher that has waited longest if a slot is free. Clears the *waited* bit if no pusher waits.
    pub(super) fn pass_on(&self, capacity: &Capacity) {
        let others = parking_lot().if_none_waits(capacity.key(), || {
            // Ordering: AcqRel; as in `full-2`, in which a pusher sets the bit under the same lock.
            capacity.taken.fetch_and(!WAITED, Ordering::AcqRel);
        });
        if others && !capacity.is_full() {
            parking_lot().wake_one(capacity.key());
        }
    }
}

/// One key in the pool's list of blocked pushers: the key under which a pusher waits in the parking lot. Dropping this value
/// removes the key from the list. The caller must keep the pool alive while this value exists.
#[derive(Debug)]
pub struct BlockedPusher {
    pool: PoolPtr,
    key: usize,
}

impl BlockedPusher {
    /// Adds `key`, under which a pusher is about to wait in the parking lot, to the pool's list of blocked pushers (`full-1`).
    pub fn enter(pool: PoolPtr, key: usize) -> Self {
        pool.shared().blocked_pushers.add(key);
        Self { pool, key }
    }
}

impl Drop for BlockedPusher {
    fn drop(&mut self) {
        self.pool.shared().blocked_pushers.remove(self.key);
    }
}
