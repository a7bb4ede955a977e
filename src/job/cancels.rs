//! The count of tasks that handles have cancelled.

use crate::base::parking::parking_lot;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;

global! {
    /// Returns the number of tasks that handles have cancelled while these tasks were in queues, over all pools. A thread that
    /// waits for a job checks the job again when the number has grown. No job keeps such a number, because the job may be freed
    /// before the handle counts.
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// Counts a task that was cancelled in a queue, and wakes the waiters of its job: that task may have been the last. The job may
/// be freed, so only its address is used.
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
