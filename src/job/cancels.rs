//! The count of tasks that handles have cancelled.

use crate::base::parking::parking_lot;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;

global! {
    /// Returns the number of tasks, over all pools, that handles have cancelled while these tasks were in queues. A thread that
    /// waits for a job checks the job again when the number has grown. The number is not kept by job, because a job may be
    /// freed before the thread that cancels its task counts the task.
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// Counts a task that was cancelled in a queue, and wakes the waiters of its job, because the task may have been the job's
/// last. The record of the job may have been freed, so only its address is used.
pub fn note_gone(job: JobPtr) {
    // Ordering: AcqRel; before the wake, for `enter_while_busy`.
    cancel_count().fetch_add(1, Ordering::AcqRel);
    parking_lot().wake(job.idle_key());
}

/// Returns a number that grows when a cell in a queue becomes empty: a handle has cancelled its task, or a join has run it
/// inline.
pub fn cancels() -> u64 {
    // Ordering: Acquire; a thread that sees the number sees the claim.
    cancel_count().load(Ordering::Acquire)
}
