//! The futures in flight, listed by job: where who cancels finds them.
//!
//! Closures that run cannot be stopped, and queued tasks lie where they are found. A future that waits to be
//! woken is in no queue, so it is listed here, from its first pending poll until it ends.
//!
//! - C1: who cancels sets the job's flag (or the pool's, or the handle's SEALED). C2: it takes the futures
//!   off the list, and drops their `async-task`s: each is dropped by a worker, or at the end of its poll.
//! - F1: whoever polled the future puts it on the list. F2: it looks at all three flags.
//!
//! C2 and F1 lock the same shard. If F1 comes first, C2 finds the future; else F2 sees the flag.

use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::shared::PoolPtr;
use crate::sync::{Mutex, MutexGuard, global, shrunk};
use crate::task::handle::flight::Flight;
use async_task::Task;
use std::collections::BTreeMap;

const SHARDS: usize = shrunk(64, 1);

/// By job, and by the cell that the future started from.
type Shard = BTreeMap<(JobPtr, usize), Task<(), Flight>>;

/// The list.
#[derive(Debug)]
pub struct Flights {
    shards: Vec<Mutex<Shard>>,
}

global! {
    /// The one list of the process.
    pub fn flights() -> Flights { Flights::new() }
}

impl Flights {
    fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect() }
    }

    /// Nothing under the lock runs foreign code: tasks are dropped outside.
    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn shard_of(&self, cell: usize) -> MutexGuard<'_, Shard> {
        self.lock((cell >> 3).wrapping_mul(0x9E37_79B9) / 64 % SHARDS)
    }

    /// Returns true if no future is listed. Used by models.
    #[cfg(any(tollgate_loom, tollgate_shuttle))]
    pub fn is_empty(&self) -> bool {
        (0..SHARDS).all(|shard| self.lock(shard).is_empty())
    }

    /// F1.
    pub fn list(&self, job: JobPtr, cell: usize, task: Task<(), Flight>) {
        let before = self.shard_of(cell).insert((job, cell), task);
        debug_assert!(before.is_none(), "a future is listed once");
    }

    /// C2 for one future. The job need not be alive any more.
    pub fn take(&self, job: JobPtr, cell: usize) -> Option<Task<(), Flight>> {
        self.shard_of(cell).remove(&(job, cell))
    }

    /// C2 for those whose keys `due` picks.
    fn take_all(&self, due: impl Fn(&Shard) -> Vec<(JobPtr, usize)>) -> Vec<Task<(), Flight>> {
        let mut taken = Vec::new();
        for shard in 0..SHARDS {
            let mut shard = self.lock(shard);
            taken.extend(due(&shard).iter().filter_map(|key| shard.remove(key)));
        }
        taken
    }
}

/// C2 for a job whose flag is set.
pub fn cancel(job: JobPtr) {
    if !job.permits.load().has(Flag::Futures) {
        return;
    }
    let of_job =
        |shard: &Shard| shard.range((job, 0)..=(job, usize::MAX)).map(|(key, _)| *key).collect();
    drop(flights().take_all(of_job));
}

/// C2 for all jobs of a pool.
pub fn cancel_all(pool: PoolPtr) {
    // A job is alive while a future of it is listed.
    let of_pool =
        |shard: &Shard| shard.keys().filter(|(job, _)| job.pool_ptr() == pool).copied().collect();
    drop(flights().take_all(of_pool));
}
