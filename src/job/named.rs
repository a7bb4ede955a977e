//! Enters the jobs that have a name and no parent into the list of their pool, and removes them from it.
//!
//! The list keeps no handles, so a listed job ends like any other job.
//!
//! - `root-1`: The thread that must free the record takes the lock, and removes the job from the list. Then the thread frees
//!   the record.
//! - `root-2`: The reader of the list takes the lock, and adds a handle of each job, unless the job's word says that nothing
//!   needs the record.
//! - `root-3`: A worker may usually free a record while its own busy counts are in the word. A worker must not do so with a
//!   listed job: such a word would let the reader add a handle.

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
