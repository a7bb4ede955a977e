//! The statistics in a job's record.

use crate::job::permits::Snapshot;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A job's statistics: how its tasks ended, and the most tasks that ran at once.
///
/// A worker adds to `completed` after each 16 tasks of a turn. So that field is the last one: in a job's record it is beside the
/// fields that only workers write.
#[derive(Debug)]
#[repr(C)]
pub struct Tally {
    /// The number of tasks that were dropped without running.
    pub cancelled: AtomicU64,
    /// The number of tasks that panicked.
    pub panicked: AtomicU64,
    /// The greatest number of the job's tasks that ran at once.
    most_running: AtomicU32,
    /// For the job of a key: the bit [`OF_KEY`], and the limit with which the job was made, in the encoding of the job's word. So
    /// the pool can tell whether the job is still as it was made. For any other job: 0. The field lies here because the tally has
    /// 4 bytes that nothing else uses.
    limit_as_made: AtomicU32,
    /// The number of tasks that returned.
    pub completed: AtomicU64,
}

/// The bit of `limit_as_made` that is set for the job of a key. Each limit is less than this bit.
const OF_KEY: u32 = 1 << 31;

impl Tally {
    pub fn new() -> Self {
        Self {
            completed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            most_running: AtomicU32::new(0),
            limit_as_made: AtomicU32::new(0),
        }
    }

    /// Counts a task that has ended: in `completed` if `returned` is true, otherwise in `panicked`.
    pub fn count(&self, returned: bool) {
        let count = if returned { &self.completed } else { &self.panicked };
        // Ordering: Relaxed; the report of the task's end publishes it.
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Raises `most_running` to the number of permits that are held according to `word`. If that number is smaller, changes
    /// nothing.
    #[inline]
    pub fn note_running(&self, word: Snapshot) {
        let running = word.running() as u32;
        // Ordering: Relaxed both; a statistic. A wait for the job orders it before the waiter reads it.
        if running > self.most_running.load(Ordering::Relaxed) {
            self.most_running.fetch_max(running, Ordering::Relaxed);
        }
    }

    /// Returns the number of tasks that have ended: returned, panicked or cancelled.
    pub fn ended(&self) -> u64 {
        // Ordering: Relaxed; read behind a look at the busy count, from which a task is subtracted after it was counted here.
        self.completed.load(Ordering::Relaxed)
            + self.cancelled.load(Ordering::Relaxed)
            + self.panicked.load(Ordering::Relaxed)
    }

    /// Notes that the job belongs to a key. Call it before other threads can find the job.
    pub fn note_key(&self) {
        // Ordering: Relaxed; the lock of the table of children publishes it together with the job.
        self.limit_as_made.store(OF_KEY, Ordering::Relaxed);
    }

    /// Returns true if the job belongs to a key.
    pub fn is_of_key(&self) -> bool {
        // Ordering: Relaxed; the lock of the table of children publishes it, and the bit never changes later.
        self.limit_as_made.load(Ordering::Relaxed) & OF_KEY != 0
    }

    /// Notes the limit in `word` as the limit with which the job was made. Call it on a new job of a key, before other threads
    /// can find the job.
    pub fn note_limit_as_made(&self, word: Snapshot) {
        // Ordering: Relaxed; the table's lock publishes it together with the job.
        self.limit_as_made.store(word.limit() as u32 | OF_KEY, Ordering::Relaxed);
    }

    /// Returns the limit with which the job of a key was made. Call it only for the job of a key.
    pub fn limit_as_made(&self) -> u64 {
        // Ordering: Relaxed; the table's lock publishes it, and it never changes later.
        (self.limit_as_made.load(Ordering::Relaxed) & !OF_KEY).into()
    }

    /// Returns the greatest number of the job's tasks that ran at once.
    pub fn most_running(&self) -> usize {
        // Ordering: Relaxed; a figure.
        self.most_running.load(Ordering::Relaxed) as usize
    }
}
