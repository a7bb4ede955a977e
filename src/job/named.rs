//! Adds jobs to the list of named roots of their pool, and removes them from it. A named root is a job with a name and without
//! a parent.
//!
//! The list of named roots has no handles of its jobs, so a job on this list is freed like any other job.
//!
//! Three kinds of threads use the list of named roots, by these rules:
//! - `root-1`: The thread that must free the record of a named root takes the lock of the list, and removes the job from the
//!   list. Then the thread frees the record.
//! - `root-2`: A thread that reads the list takes the lock of the list, and adds a handle of each job on the list. The thread
//!   leaves out a job if no handle and no busy task keeps its record.
//! - `root-3`: A worker that ends its lease of a named root must subtract its busy counts of that job before it frees the
//!   record. Otherwise a thread that reads the list could add a handle while the worker frees the record. If the job is no
//!   named root, the worker need not subtract the busy counts of a record that it frees.

use crate::job::record::JobPtr;

impl JobPtr {
    /// Returns true if the job is a named root: it has a name and no parent.
    #[inline]
    pub fn is_named_root(self) -> bool {
        self.parent().is_none() && self.extra().is_some_and(|extra| extra.name.is_some())
    }

    /// Adds a new job to the pool's list of named roots if the job has a name and no parent.
    pub fn list_if_named_root(self) {
        if self.is_named_root() {
            self.pool().named.lock().insert(self.opaque());
        }
    }

    /// Removes a job from the pool's list of named roots (`root-1`). Call it when the job's record is about to be freed.
    #[cold]
    pub fn leave_named_roots(self) {
        self.pool().named.lock().remove(&self.opaque());
    }
}
