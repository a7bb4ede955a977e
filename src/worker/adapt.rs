//! Measures how long tasks of adaptive jobs have their permits, and updates a job's limit at the end of each interval.
//!
//! An adaptive job has the flag `Rated`, so its tasks start by the same code as tasks with a rate. Only tasks of adaptive jobs,
//! and of jobs below them, have a sample. While a closure runs, its worker keeps the sample in its context. While a future is
//! pending, the list of pending futures keeps the sample. A [`Permit`](crate::Permit) keeps its sample itself.
//!
//! The thread that ends a task does these steps at each adaptive job: first at the task's own job, then at each ancestor.
//! - `adapt-1`: The thread adds the sample, under the lock of the job's interval. If the interval is over and no thread updates
//!   the limit, this thread takes the interval's samples, and notes that it updates the limit. Then the thread unlocks.
//! - `adapt-2`: The thread asks the rule for the next limit. If no other call has set the limit since the samples were taken
//!   (`adapt-1`), the thread sets the limit.
//! - `adapt-3`: Under the lock of the job's interval, the thread removes its note that it updates the limit. From then on
//!   another thread can end the next interval.
//!
//! Each interval of an adaptive job leads to one update of the limit, and the rule sees all samples of the interval. Only the
//! thread that has ended the task waits for the rule. The limit stays in the job's range, because each call that sets the limit
//! clamps the new limit.

use crate::job::control;
use crate::job::gate::adapt::samples;
use crate::job::record::JobPtr;
use crate::job::samples::{Ended, Sample};
use crate::sync::time::Instant;
use crate::worker::context::Context;
use std::time::Duration;

/// Starts the sample of a task that has its permits. Call this only if the task's job or an ancestor has an adaptive limit.
/// `resumed` must be true if the task is a future that has kept its permits since its last poll.
pub fn begin(job: JobPtr, resumed: bool) -> Sample {
    Sample { began: job.pool().now(), overloaded: false, resumed }
}

/// Adds the sample of an ended task of `job` to the interval of each adaptive gate of the task. Call this before the task's
/// permits are released.
#[cold]
pub fn end(job: JobPtr, sample: Sample) {
    let now = job.pool().now();
    add(job, now, now.saturating_duration_since(sample.began), sample.overloaded);
}

/// Adds a sample of a task of `job` to the interval of each adaptive gate of the task. The task has had its permits for the time
/// `took`, and must still have them. `overloaded` is true if the task has reported an overload.
#[cold]
pub fn end_after(job: JobPtr, took: Duration, overloaded: bool) {
    add(job, job.pool().now(), took, overloaded);
}

/// Adds one sample to the interval of each adaptive job among `job` and its ancestors. If the interval of one of these jobs is
/// over, updates the limit of that job.
fn add(job: JobPtr, now: Instant, took: Duration, overloaded: bool) {
    for gate in job.gates() {
        let Some(samples) = samples(&gate) else { continue };
        let ended = Ended { took, overloaded, running: gate.permits.load().running() };
        let limit = || control::limit_of(gate.permits.load());
        let Some(interval) = samples.add(now, ended, limit) else { continue }; // adapt-1
        let limit = Context::outside_of_tasks(|| samples.ask(&interval));
        control::replace_limit(gate, interval.limit, limit); // adapt-2
        samples.updated(); // adapt-3
    }
}
