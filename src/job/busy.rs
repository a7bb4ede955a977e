//! The word with the two counts that keep a job's record: the number of its busy tasks and the number of its handles.

use crate::sync::atomic::{AtomicU64, Ordering};

/// The number of a job's busy tasks and the number of its handles, in one word. The job's record is freed when both are 0.
///
/// | bits   | field   | meaning                                                                     |
/// |--------|---------|-----------------------------------------------------------------------------|
/// | 0..36  | tasks   | one for each task that is ready or running; queued tasks are not counted    |
/// | 36     | waited  | a flag: a waiter waits until the tasks field is 0                           |
/// | 37..64 | handles | one for each handle, child job, and entry in the pool's list of held jobs   |
///
/// A worker can add several busy counts in advance, for tasks that it will push. At the end of its turn the worker subtracts
/// the counts that it has not used. So the number of busy tasks in the word can be too great for a while, but never too small.
#[derive(Debug)]
pub struct BusyCount(AtomicU64);

const WAITED: u64 = 1 << 36;
const TASKS: u64 = WAITED - 1;
const HANDLE: u64 = 1 << 37;
const MOST_HANDLES: u64 = 1 << 26;

/// One value of the word of a [`BusyCount`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left(u64);

impl Left {
    /// Returns true if the number of handles and the number of busy tasks are both 0. The thread that has changed the word to
    /// this value must free the job's record.
    pub const fn unneeded(self) -> bool {
        self.0 & !WAITED == 0
    }

    /// Returns true if no task is ready or running.
    pub const fn no_tasks(self) -> bool {
        self.0 & TASKS == 0
    }

    /// Returns true if no task is ready or running, and the flag *waited* is set.
    pub const fn awaited(self) -> bool {
        self.0 & TASKS == 0 && self.0 & WAITED != 0
    }

    /// Returns the busy count: the number of ready or running tasks.
    pub const fn tasks(self) -> u64 {
        self.0 & TASKS
    }

    /// Returns the number of handles.
    pub const fn handles(self) -> u64 {
        self.0 / HANDLE
    }
}

impl BusyCount {
    /// Makes the counts of a new record: one handle, no task.
    pub fn new() -> Self {
        Self(AtomicU64::new(HANDLE))
    }

    /// Reads the word.
    #[inline]
    pub fn load(&self) -> Left {
        // Ordering: Acquire; pairs with `drop_tasks`. A thread that sees no task left sees what the last task did.
        Left(self.0.load(Ordering::Acquire))
    }

    /// Adds `count` busy tasks. The caller must have a handle or a busy count of the job.
    #[inline]
    pub fn add_tasks(&self, count: u64) {
        // Ordering: Relaxed; a handle or a counted task keeps the record, and the queue or deque publishes the tasks.
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Subtracts `count` busy tasks. Returns the word after the change.
    #[inline]
    pub fn drop_tasks(&self, count: u64) -> Left {
        // Ordering: AcqRel; each use of the record happens before it is freed.
        Left(self.0.fetch_sub(count, Ordering::AcqRel) - count)
    }

    /// Adds a handle, and returns true. Adds none and returns false if there are 2²⁶ handles already. The caller must have a
    /// handle or a busy count of the job.
    #[must_use]
    pub fn add_handle(&self) -> bool {
        // Ordering: Relaxed; the caller's own count keeps the record.
        let before = self.0.fetch_add(HANDLE, Ordering::Relaxed);
        let few = Left(before).handles() < MOST_HANDLES;
        if !few {
            self.0.fetch_sub(HANDLE, Ordering::Relaxed);
        }
        few
    }

    /// Adds a handle for the library's own use. Never fails, because the handles of users fill at most half of the count's
    /// range.
    pub fn keep(&self) {
        // Ordering: as in `add_handle`.
        self.0.fetch_add(HANDLE, Ordering::Relaxed);
    }

    /// Adds a handle and returns true, if a handle or a busy task still keeps the record. Otherwise adds none and returns
    /// false. The caller needs no handle, but must make sure that no thread frees the record during the call.
    pub fn add_handle_if_needed(&self) -> bool {
        // Ordering: Acquire on success; pairs with the Release of the threads that have used the record.
        self.0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |count| {
                (!Left(count).unneeded()).then_some(count + HANDLE)
            })
            .is_ok()
    }

    /// Subtracts a handle. Returns the word after the change.
    #[inline]
    pub fn drop_handle(&self) -> Left {
        // Ordering: AcqRel; as in `drop_tasks`.
        Left(self.0.fetch_sub(HANDLE, Ordering::AcqRel) - HANDLE)
    }

    /// Clears the flag *waited*. The caller must hold the lock of the parking lot's bucket for the job's idle key. That bucket
    /// must have no waiter for the job.
    pub fn clear_waited(&self) {
        // Ordering: AcqRel; pairs with `drop_tasks`, which reads the flag.
        self.0.fetch_and(!WAITED, Ordering::AcqRel);
    }

    /// Sets the flag *waited* (`park-2`). The caller must hold the lock of the parking lot's bucket for the job's idle key.
    pub fn set_waited(&self) {
        // Ordering: AcqRel; pairs with `drop_tasks`, which reads the flag (unpark-1).
        self.0.fetch_or(WAITED, Ordering::AcqRel);
    }
}
