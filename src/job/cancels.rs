//! Counts the tasks that were cancelled in queues, for threads that wait for a job: when this count has grown, such a thread
//! checks its job again.

use crate::base::parking::parking_lot;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;

global! {
    /// Returns the number of calls of [`note_gone`], over all pools. A thread that waits for a job checks the job again when
    /// this number has grown. There is one number for all jobs, because the record of a job can be freed before the call of
    /// [`note_gone`].
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// Counts a task of `job` that was cancelled in a queue. Wakes the threads and futures that wait until `job` is idle, because
/// the cancelled task might have been the job's last task. The record of `job` might have been freed, so this function uses
/// only its address.
pub fn note_gone(job: JobPtr) {
    // Ordering: AcqRel; before the wake, for `enter_while_busy`.
    cancel_count().fetch_add(1, Ordering::AcqRel);
    parking_lot().wake(job.idle_key());
}

/// Returns a number that grows whenever a task in a queue is cancelled, or is run inline by a join while its gate is held.
pub fn cancels() -> u64 {
    // Ordering: Acquire; a thread that sees the number sees the claim.
    cancel_count().load(Ordering::Acquire)
}
