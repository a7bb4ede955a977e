//! The table of a keyed job: a map from each key to its job. The map is divided into shards, each under a lock.
//!
//! The table owns one handle of each key's job. These steps make sure that no key in use is evicted:
//!
//! - `key-1`: a thread that looks up a key adds a handle of the key's job while the thread holds the lock of the key's shard.
//! - `key-2`: a thread that has made a job for a key looks the key up again, and adds the job if there is still none. The
//!   thread holds the lock of the shard from the look-up until the job is added.
//! - `evict-1`: a thread that evicts idle keys holds the lock of the shard. For each job it reads the counts of handles and of
//!   busy tasks in one load. If the job has a handle besides the table's handle, or a busy task, the thread keeps the key.
//! - `evict-2`: the evicting thread then checks that the job's queue is empty and that the job is as made. If so, the thread
//!   removes the key.
//!
//! No key in use is evicted. A push needs a handle or a running task of the job, and the evicting thread reads the counts of
//! both (`evict-1`). A look-up cannot add a handle during the eviction, because it needs the lock of the shard. A permit counts
//! as a busy task. Each child of the job and each timer entry of the job owns a handle of the job. If a task waits in the queue
//! of a held job, the evicting thread sees that the queue is not empty (`evict-2`).
//!
//! No change of a job's state, such as a new limit, is lost by an eviction. A thread that changes the state has a handle, and
//! drops that handle after the change. The evicting thread first reads the counts (`evict-1`), and then checks the state
//! (`evict-2`). The drop of a handle releases, and the load of the counts acquires. So if the counts show that the handle was
//! dropped, the check sees the change.
//!
//! A look-up that makes a key evicts the idle keys of the key's shard if the shard has at least twice as many keys as after the
//! last eviction. So a look-up that makes a key checks about two other keys on average.

use crate::api::job::Job;
use crate::job::control;
use crate::job::record::JobPtr;
use crate::sync::{Mutex, MutexGuard, RandomState, shrunk};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// The number of shards. A power of two.
const SHARDS: usize = shrunk(64, 1);
/// A look-up evicts keys of a shard only if the shard has at least this number of keys.
const FEW: usize = shrunk(8, 1);

/// A map from each key to its job, in shards. A thread locks a shard to look up one key, or for one eviction.
pub struct Table<K>(Box<[Mutex<Shard<K>>]>);

struct Shard<K> {
    jobs: HashMap<K, Job, RandomState>,
    /// If this shard has at least this number of keys, the next look-up that makes a key in this shard first evicts the
    /// shard's idle keys.
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
        // The shard is selected by the upper half of the hash. The hash is a product: its high bits depend on all bits of the
        // key, and its low bits do not.
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

    /// Adds a key with the new job `made`, unless another thread has added the key since the caller's look-up. Returns the job
    /// that the table now has for the key.
    pub fn enter(&self, key: K, made: Job) -> Job {
        let mut shard = self.shard(&key);
        // Another thread may have added the key since the caller's look-up (`key-2`).
        if let Some(job) = shard.jobs.get(&key) {
            let job = job.clone();
            drop(shard);
            return job;
        }
        let evicted = if shard.jobs.len() >= shard.full { shard.evict() } else { Vec::new() };
        shard.jobs.insert(key, made.clone());
        drop(shard);
        // The destructor of a key is the user's code, so it must not run under the lock of the shard.
        drop(evicted);
        made
    }

    /// Removes a key. Returns the key with its job.
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

    /// Calls `see` for each key and its job. No lock is held during a call of `see`.
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
    /// Removes the keys of this shard whose jobs are idle and as made. Returns these keys with their jobs. The caller must drop
    /// the returned keys after it has unlocked the shard.
    fn evict(&mut self) -> Vec<(K, Job)> {
        let mut evicted: Vec<_> = self.jobs.extract_if(|_, job| is_evictable(job.ptr())).collect();
        // Sorts the jobs by address, so that cells that are neighbours in memory are freed one after the other. When this
        // thread uses the freed cells again, it then takes cells that lie close together.
        evicted.sort_unstable_by_key(|(_, job)| job.ptr());
        self.full = FEW.max(2 * self.jobs.len());
        if self.jobs.capacity() > 4 * self.full {
            self.jobs.shrink_to(self.full);
        }
        evicted
    }
}

/// Returns true if the job is idle and as made, and no user has a handle of it. The caller must hold the lock of the job's
/// shard.
fn is_evictable(job: JobPtr) -> bool {
    // The list of held jobs owns a handle of each of its jobs. A job that is as made can be in that list only if it was made
    // with a limit of 0. So the list is locked only for such a job.
    let held = (job.tally.limit_as_made() == 0).then(|| job.pool().held());
    let listed = held.as_ref().is_some_and(|held| held.contains(&job.opaque()));
    let left = job.busy.load(); // evict-1
    drop(held);
    let unused = left.no_tasks() && left.handles() == 1 + u64::from(listed);
    unused && job.queue().is_empty() && control::is_as_made(job) // evict-2
}

/// Locks a shard. If a key's `Hash` or `Eq` panics under the lock, other threads can still use the shard.
fn lock<K>(shard: &Mutex<Shard<K>>) -> MutexGuard<'_, Shard<K>> {
    shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A hasher that spreads keys over the shards. If a user chooses many keys that fall into one shard, these keys only share a
/// lock.
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
