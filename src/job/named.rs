//! The jobs that have a name and no parent enter and leave the list of their pool.
//!
//! The list has no handles, so a listed job ends like any other job.
//!
//! - `root-1`: The thread that must free the record takes the lock, and removes the job from the list. Then it frees the
//!   record.
//! - `root-2`: The reader of the list takes the lock. It adds a handle of each job, but not of a job whose word says that
//!   nothing needs the record.
//! - `root-3`: A worker may free a record while its own busy counts are in the word. It must not do so with a listed job,
//!   because the word then lets the reader add a handle.

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

    /// Removes a job whose record is about to be freed from the list (`root-1`).
    #[cold]
    pub fn leave_named_roots(self) {
        self.pool().named.lock().remove(&self.opaque());
    }
}
