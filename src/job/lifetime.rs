//! Frees the record of a job when no busy task and no handle keeps it.

use crate::base::{cache, later};
use crate::job::permits::Flag;
use crate::job::record::{JobPtr, Record};
use crate::sync::RESTS;
use crate::sync::atomic::Ordering;

impl JobPtr {
    /// Subtracts `count` from the job's busy count. If no busy task and no handle is left, frees the record. If only handles
    /// are left, wakes the threads and futures that wait until the job is idle.
    #[inline]
    pub fn drop_tasks(self, count: u64) {
        let key = self.idle_key();
        let left = self.busy.drop_tasks(count);
        if left.unneeded() {
            // SAFETY: no handle and no busy task is left.
            unsafe { self.free(0) };
        } else if left.awaited() {
            later::wake(key);
        }
    }

    /// Subtracts a handle of the job. If no handle and no busy task is left, frees the record.
    #[inline]
    pub fn drop_handle(self) {
        if self.give_back_handle() {
            // SAFETY: no handle and no busy task is left.
            unsafe { self.free(0) };
        }
    }

    /// Subtracts a handle of the job. Returns true if no handle and no busy task is left: the caller must then free the record.
    #[inline]
    #[must_use]
    pub fn give_back_handle(self) -> bool {
        let left = self.busy.drop_handle();
        left.unneeded()
    }

    /// Frees the record, and subtracts the record's handle of the job's parent. If the parent then has no handle and no busy
    /// task, frees the parent in the same way, and so on. `held` is the number of the job's tasks whose permits the caller
    /// still holds.
    ///
    /// # Panics
    /// In builds that check freed records ([`RESTS`]), panics if the job still has a task or a waiter, or if a permit is held
    /// other than those of the `held` tasks.
    ///
    /// # Safety
    /// The caller must make sure that no other thread uses the record during this call or after it.
    #[inline]
    pub unsafe fn free(self, held: u64) {
        // SAFETY: by this function's contract.
        let mut parent = unsafe { self.free_one(held) };
        while let Some(outer) = parent {
            if !give_back_handle(outer) {
                return;
            }
            // SAFETY: no handle and no busy task is left.
            parent = unsafe { outer.free_one(0) };
        }
    }

    /// Frees this record, and returns the job's parent, whose record is not freed. The caller now owns the freed record's
    /// handle of the parent, and must subtract this handle.
    ///
    /// # Safety
    /// As [`free`](Self::free).
    #[inline]
    #[must_use]
    unsafe fn free_one(self, held: u64) -> Option<Self> {
        assert!(
            !RESTS || self.is_at_rest(held * self.permits_for(self)),
            "a job is freed that is not at rest: {self:?}"
        );
        assert!(!RESTS || self.has_no_waiters(), "a job is freed, and a waiter is left");
        if let Some(parent) = self.parent() {
            self.pool().family.leave(parent, self);
        } else if self.permits.load_alone().has(Flag::Parent) {
            self.pool().family.forget(self);
        }
        if self.is_named_root() {
            self.leave_named_roots();
        }
        let (pool, parent) = (self.pool_ptr(), self.parent());
        // Ordering: Relaxed; by this function's contract no other thread uses the record.
        let extra = self.extra.load(Ordering::Relaxed);
        // SAFETY: by this function's contract no other thread uses the record.
        unsafe { self.0.as_ptr().drop_in_place() };
        // SAFETY: its contents were dropped just now, and it came from `cache::make`.
        unsafe { cache::free(self.0.as_ptr()) };
        if !extra.is_null() {
            // SAFETY: it came from `Box::into_raw`, and is freed only here.
            let extra = unsafe { Box::from_raw(extra) };
            #[cfg(feature = "timeline")]
            pool.shared().log.job_freed(&extra.track);
            drop(extra);
        }
        pool.record_freed();
        parent
    }
}

impl Record {
    /// Returns true if no task of the job is queued or ready, no delegate waits in its parent's queue, no task waits to
    /// re-acquire a permit, all slots are free, and exactly `held` permits are held.
    ///
    /// Call it only while no other thread uses the record. The loads are Relaxed on purpose. So a loom model fails if an access
    /// of another thread is not ordered before this call: the model can then load an old value.
    fn is_at_rest(&self, held: u64) -> bool {
        let word = self.permits.load_alone();
        let waited_for = word.has(Flag::Blocked) || word.has(Flag::Reclaiming);
        let capacity = self.extra().and_then(|extra| extra.capacity.as_ref());
        word.running() == held
            && word.ready() == 0
            && !waited_for
            && self.queue().is_unused()
            && capacity.is_none_or(|capacity| capacity.is_unused())
    }
}

/// Subtracts a handle of a job. If no handle and no busy task is left, frees the record. If only the handle of the pool's list
/// of held jobs is left, and the job has no task, removes the job from that list, and frees the record.
#[inline]
pub fn drop_handle(job: JobPtr) {
    if give_back_handle(job) {
        // SAFETY: no handle and no busy task is left.
        unsafe { job.free(0) };
    }
}

/// Subtracts a handle of a job as [`drop_handle`] does, but frees nothing. Returns true if the caller must free the record.
/// With this function a loop can free a job, its parent, and so on, without recursion.
#[inline]
#[must_use]
pub fn give_back_handle(job: JobPtr) -> bool {
    if job.permits.load().is_held() {
        give_back_handle_of_held(job)
    } else {
        job.give_back_handle()
    }
}

#[cold]
fn give_back_handle_of_held(job: JobPtr) -> bool {
    let mut held = job.pool().held();
    if !held.contains(&job.opaque()) {
        drop(held);
        return job.give_back_handle();
    }
    // This thread subtracts the handle under the lock of the list of held jobs. So if two threads subtract the last two handles
    // that are not the list's, the second thread sees that only the list's handle is left. While this thread has the lock, no
    // other thread removes the job from the list, so the list's handle keeps the record.
    let left = job.busy.drop_handle();
    if left.handles() == 1 && left.no_tasks() && job.queue().is_empty() {
        held.remove(&job.opaque());
        drop(held);
        return job.give_back_handle();
    }
    false
}

/// A handle of a job. It keeps the job's record until this value is dropped.
#[derive(Debug)]
pub struct Kept(JobPtr);

impl Kept {
    /// Makes a value that owns a handle of `job`. The caller must have added this handle.
    pub fn from_handle(job: JobPtr) -> Self {
        Self(job)
    }

    /// Returns the job. From then on the caller owns the handle, and must subtract it.
    pub fn into_handle(self) -> JobPtr {
        std::mem::ManuallyDrop::new(self).0
    }

    /// Returns the job.
    pub fn ptr(&self) -> JobPtr {
        self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop_handle(self.0);
    }
}
