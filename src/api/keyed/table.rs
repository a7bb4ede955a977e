//! The table of a keyed job: a map from each key to its job, in shards, each under a lock.
//!
//! The table has one handle of each key's job.
//!
//! - `key-1`: a look-up adds a handle under the lock of the key's shard.
//! - `key-2`: a thread that has made a job looks the key up again. The thread holds the lock of the shard from this look-up
//!   until it has entered the job.
//! - `evict-1`: an evictor, under the same lock, reads the counts of the job's record in one load. The table's handle must be
//!   the only one, and no task may be busy.
//! - `evict-2`: then the evictor checks that the queue is empty and that the job is as made. If so, it takes the key out.
//!
//! No key in use is dropped. A push comes by a handle or from a running task, and the evictor reads both counts (`evict-1`). A
//! look-up adds no handle meanwhile, because it needs the lock of the shard. A permit counts as a busy task. A child has a
//! handle of its parent, and each timer entry of the job has a handle. If a task waits in the queue of a held job, the evictor
//! sees that the queue is not empty (`evict-2`).
//!
//! No change is lost. A thread that changes the job's state has a handle. If the evictor reads the counts after that handle was
//! dropped, its check of the state sees the change, because the drop of a handle releases, and the load of the counts acquires.
//! So the evictor must read the counts first (`evict-1`), and check the state afterwards (`evict-2`).
//!
//! A look-up that makes a key evicts the idle keys of its shard, if the shard has twice as many keys as the last eviction
//! left. So such a look-up checks about two other keys on average.

use crate::api::job::Job;
use crate::job::control;
use crate::job::record::JobPtr;
use crate::sync::{Mutex, MutexGuard, RandomState, shrunk};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// The number of shards. A power of two.
const SHARDS: usize = shrunk(64, 1);
/// The number of keys in a shard below which no look-up evicts keys.
const FEW: usize = shrunk(8, 1);

/// A map from each key to its job, in shards. Each shard is locked for one key at a time, or for one eviction.
pub struct Table<K>(Box<[Mutex<Shard<K>>]>);

struct Shard<K> {
    jobs: HashMap<K, Job, RandomState>,
    /// The number of keys in this shard at which the next look-up that makes a key evicts idle keys first.
    full: usize,
}

impl<K> Table<K> {
    /// Makes an empty table of keys and jobs.
    pub fn new() -> Self {
        let shard = || Mutex::new(Shard { jobs: HashMap::default(), full: FEW });
        Self((0..SHARDS).map(|_| shard()).collect())
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).jobs.len()).sum()
    }
}

impl<K: Hash + Eq> Table<K> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Shard<K>> {
        let mut spread = Spread(0);
        key.hash(&mut spread);
        // Selects the shard by the upper half of the hash. The hash is a product, so its high bits depend on all bits of the
        // key and its low bits do not.
        lock(&self.0[(spread.finish() >> 32) as usize % SHARDS])
    }

    /// Returns a new handle of the key's job (`key-1`), or `None` if the key is not in the table.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<Job>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).jobs.get(key).cloned()
    }

    /// Enters a key with a new job, unless another thread has entered the key since the caller's look-up. Returns the job that
    /// the table has for the key.
    pub fn enter(&self, key: K, made: Job) -> Job {
        let mut shard = self.shard(&key);
        // Another thread may have entered the key since the caller's look-up (`key-2`).
        if let Some(job) = shard.jobs.get(&key) {
            let job = job.clone();
            drop(shard);
            return job;
        }
        let evicted = if shard.jobs.len() >= shard.full { shard.evict() } else { Vec::new() };
        shard.jobs.insert(key, made.clone());
        drop(shard);
        // The destructor of a key is the user's code, so it must not run under the lock.
        drop(evicted);
        made
    }

    /// Removes a key, and returns it with its job.
    pub fn remove<Q>(&self, key: &Q) -> Option<(K, Job)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).jobs.remove_entry(key)
    }

    /// Evicts all keys whose jobs are idle and as made. Returns the number of evicted keys.
    pub fn evict(&self) -> usize {
        let evict = |shard| {
            let mut shard = lock(shard);
            let evicted = shard.evict();
            let full = shard.full;
            shard.jobs.shrink_to(full);
            drop(shard);
            evicted.len()
        };
        self.0.iter().map(evict).sum()
    }

    /// Calls `see` for each key and its job. Holds no lock during these calls.
    pub fn for_each(&self, mut see: impl FnMut(&K, &Job))
    where
        K: Clone,
    {
        for shard in &self.0 {
            let entries: Vec<_> = lock(shard).jobs.iter().map(entry).collect();
            entries.iter().for_each(|(key, job)| see(key, job));
        }
    }
}

fn entry<K: Clone>((key, job): (&K, &Job)) -> (K, Job) {
    (key.clone(), job.clone())
}

impl<K: Hash + Eq> Shard<K> {
    /// Removes the idle keys of this shard, and returns them with their jobs. The caller must drop them after it has unlocked
    /// the shard.
    fn evict(&mut self) -> Vec<(K, Job)> {
        let mut evicted: Vec<_> = self.jobs.extract_if(|_, job| is_evictable(job.ptr())).collect();
        // Sorts the jobs by address. The thread keeps the last freed records as free cells, and neighbours in memory lie in few
        // slabs.
        evicted.sort_unstable_by_key(|(_, job)| job.ptr());
        self.full = FEW.max(2 * self.jobs.len());
        if self.jobs.capacity() > 4 * self.full {
            self.jobs.shrink_to(self.full);
        }
        evicted
    }
}

/// Returns true if the table has the only handle of the job, and a new job in its place would be the same. The caller must hold
/// the lock of the job's shard.
fn is_evictable(job: JobPtr) -> bool {
    // The list of held jobs has a handle of each job in it. A job that is as made is in that list only if its first limit was
    // 0.
    let held = (job.tally.limit_as_made() == 0).then(|| job.pool().held());
    let listed = held.as_ref().is_some_and(|held| held.contains(&job.opaque()));
    let left = job.busy.load(); // evict-1
    drop(held);
    let unused = left.no_tasks() && left.handles() == 1 + u64::from(listed);
    unused && job.queue().is_empty() && control::is_as_made(job) // evict-2
}

/// Locks a shard. If a key's `Hash` or `Eq` panics under the lock, the map stays usable.
fn lock<K>(shard: &Mutex<Shard<K>>) -> MutexGuard<'_, Shard<K>> {
    shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A hasher that spreads keys over the shards. The hasher does not resist keys that were chosen to collide: such keys only
/// share a lock.
struct Spread(u64);

impl Hasher for Spread {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
