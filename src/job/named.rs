//! Adds the jobs that have a name and no parent to the list of their pool, and removes them from it.
//!
//! The list has no handles of its jobs, so a job on the list is freed like any other job.
//!
//! - `root-1`: The thread that must free a record takes the lock of the list, and removes the job. Then the thread frees the
//!   record.
//! - `root-2`: A thread that reads the list takes the lock, and adds a handle of each job on the list. It leaves out a job if
//!   no handle and no busy task keeps the record.
//! - `root-3`: A worker that closes its lease must subtract its busy counts of a job on the list before it frees the record.
//!   Otherwise the reader of the list could add a handle while the record is freed. For other jobs the worker need not subtract
//!   them.

use crate::job::record::JobPtr;

impl JobPtr {
    /// Returns true if the job is on the list of its pool.
    #[inline]
    pub fn is_named_root(self) -> bool {
        self.parent().is_none() && self.extra().is_some_and(|extra| extra.name.is_some())
    }

    /// Adds a new job to the list of its pool if the job has a name and no parent.
    pub fn list_if_named_root(self) {
        if self.is_named_root() {
            self.pool().named.lock().insert(self.opaque());
        }
    }

    /// Removes a job from the list of its pool, because its record is about to be freed (`root-1`).
    #[cold]
    pub fn leave_named_roots(self) {
        self.pool().named.lock().remove(&self.opaque());
    }
}
