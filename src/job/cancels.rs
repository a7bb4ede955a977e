//! The count of tasks that handles have cancelled.

use crate::base::parking::parking_lot;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;

global! {
    /// Returns the number of tasks that handles have cancelled, in all pools. A thread that waits for a job checks it again
    /// when the number has grown. The number is no job's, because a job may be gone when the handle counts.
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// Wakes the waiters of a job in whose queue a handle has cancelled a task, because that task may be the last. Uses only the
/// job's address.
pub fn note_gone(job: JobPtr) {
    // Ordering: AcqRel; before the wake, for `enter_while_busy`.
    cancel_count().fetch_add(1, Ordering::AcqRel);
    parking_lot().wake(job.idle_key());
}

/// Returns a number that changes when a task in a queue was cancelled by its handle, or emptied otherwise.
pub fn cancels() -> u64 {
    // Ordering: Acquire; a thread that sees the number sees the claim.
    cancel_count().load(Ordering::Acquire)
}
