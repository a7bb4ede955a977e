//! The list of pending futures, by job. A thread that cancels a job finds the job's pending futures in this list.
//!
//! A pending future is in no queue, so a thread that cancels the job could not find it there. The first poll of a future that
//! returns `Pending` adds the future to the list. The future stays on the list until its end, also while it is woken or polled.
//!
//! A thread that cancels, and a thread that polls a future, use the list of pending futures in these steps:
//! - `cancel-1`: the thread that cancels a job, or drops all tasks of a pool, sets a flag of the job or pool. `cancel-2`: that
//!   thread cancels the futures of the job or pool that are on the list.
//! - `pend-1`: the thread that polls a future adds the future to the list. `pend-2`: that thread checks the flags of the job
//!   and of the pool, and cancels the future if one of them is set.
//!
//! Claim: each pending future of a cancelled job is cancelled. The polling thread and the cancelling thread lock the same shard
//! of the list (`pend-1`, `cancel-2`). If the polling thread locks the shard first, the cancelling thread finds the future.
//! Otherwise the polling thread sees the flag that the cancelling thread has set (`pend-2`). A future is removed from the list
//! before its cell can be freed. So the cancelling thread can use the cell while it has the lock of the shard.

use crate::base::task::CellPtr;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::samples::Sample;
use crate::pool::core::PoolPtr;
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard, global, shrunk};
use std::collections::BTreeMap;

const SHARDS: usize = shrunk(64, 1);

/// Pending futures. The key of a future is its job and the address of its cell.
type Futures = BTreeMap<(JobPtr, usize), CellPtr>;

#[derive(Debug, Default)]
struct Shard {
    futures: Futures,
    /// The samples of the futures on the list, each with the time of the future's last poll. A future has a sample only if its
    /// job or an ancestor has an adaptive limit. The key is the address of the future's cell.
    samples: BTreeMap<usize, (Sample, Instant)>,
}

/// The list of pending futures, in shards with a lock each.
#[derive(Debug)]
pub struct List {
    shards: Vec<Mutex<Shard>>,
}

global! {
    /// Returns the list of pending futures, one for the whole process.
    pub fn pending() -> List {
        List { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl List {
    /// Locks one shard of the list. The caller must not run user code under the lock.
    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn shard_of(&self, cell: CellPtr) -> MutexGuard<'_, Shard> {
        self.lock((cell.as_ptr().addr() >> 3).wrapping_mul(0x9E37_79B9) / 64 % SHARDS)
    }

    /// Returns true if the list of pending futures is empty. Only models call it.
    #[cfg(any(tollgate_loom, tollgate_shuttle))]
    pub fn is_empty(&self) -> bool {
        let is_empty = |shard: &Shard| shard.futures.is_empty() && shard.samples.is_empty();
        (0..SHARDS).all(|shard| is_empty(&self.lock(shard)))
    }

    /// Adds a future, which is pending for the first time, to the list of pending futures.
    pub fn list(&self, cell: CellPtr) {
        let key = (cell.job(), cell.as_ptr().addr());
        let before = self.shard_of(cell).futures.insert(key, cell);
        debug_assert!(before.is_none(), "a future is listed once");
    }

    /// Removes a future, and its sample if it has one, from the list of pending futures.
    pub fn unlist(&self, cell: CellPtr) {
        let key = (cell.job(), cell.as_ptr().addr());
        let mut shard = self.shard_of(cell);
        let listed = shard.futures.remove(&key);
        debug_assert!(listed.is_some(), "a future is taken off once");
        if !shard.samples.is_empty() {
            shard.samples.remove(&key.1);
        }
    }

    /// Stores the unfinished sample of a pending future. `now` is the time of the poll that has just ended.
    #[cold]
    pub fn keep_sample(&self, cell: CellPtr, sample: Sample, now: Instant) {
        self.shard_of(cell).samples.insert(cell.as_ptr().addr(), (sample, now));
    }

    /// Removes and returns the unfinished sample of a pending future, with the time of the future's last poll.
    #[cold]
    pub fn take_sample(&self, cell: CellPtr) -> Option<(Sample, Instant)> {
        self.shard_of(cell).samples.remove(&cell.as_ptr().addr())
    }

    /// Returns how many pending futures of the job hold no permit and were not woken yet.
    pub fn without_permit(&self, job: JobPtr) -> usize {
        // No future ends before it is removed from the list, so `cell` stays alive while this thread has the lock.
        let waits = |cell: &CellPtr| cell.waits_without_permit();
        let of = |shard| {
            self.lock(shard)
                .futures
                .range((job, 0)..=(job, usize::MAX))
                .map(|(_, cell)| *cell)
                .filter(waits)
                .count()
        };
        (0..SHARDS).map(of).sum()
    }

    /// Calls `due` once for each shard of the list, with the pending futures in that shard. Cancels the futures that `due`
    /// returns (`cancel-2`).
    fn cancel(&self, due: impl Fn(&Futures) -> Vec<CellPtr>) {
        for shard in 0..SHARDS {
            let mut woken = Vec::new();
            let shard = self.lock(shard);
            for cell in due(&shard.futures) {
                // No future ends before it is removed from the list, so `cell` stays alive while this thread has the lock.
                if let Some(without_permit) = cell.cancel_pending() {
                    woken.push((cell, without_permit));
                }
            }
            drop(shard);
            for (cell, without_permit) in woken {
                cell.queue_cancelled(without_permit);
            }
        }
    }
}

/// Cancels the pending futures of a job. Call it after the flag *cancelled* of the job was set (`cancel-1`).
pub fn cancel(job: JobPtr) {
    if job.permits.load().has(Flag::Futures) {
        pending().cancel(|shard| {
            shard.range((job, 0)..=(job, usize::MAX)).map(|(_, cell)| *cell).collect()
        });
    }
}

/// Cancels the pending futures of all jobs of a pool. Call it after the pool's flag *drops* was set (`cancel-1`).
pub fn cancel_all(pool: PoolPtr) {
    // The job of each future on the list is alive, because its future has not ended.
    pending().cancel(|shard| {
        shard.values().copied().filter(|cell| cell.job().pool_ptr() == pool).collect()
    });
}
