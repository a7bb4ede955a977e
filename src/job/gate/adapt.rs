//! Whether the limit of a job adapts, and the range within which it does. Module `worker::adapt` has the samples and the updates.

use crate::job::record::JobPtr;
use crate::job::samples::Samples;

/// Returns the samples of a job, if its limit adapts.
pub fn samples(gate: &JobPtr) -> Option<&Samples> {
    gate.extra()?.samples.as_ref()
}

/// Returns true if the job's limit adapts.
pub fn is_adaptive_itself(job: JobPtr) -> bool {
    samples(&job).is_some()
}

/// Returns true if the limit of the job or of one above it adapts.
pub fn is_adaptive(job: JobPtr) -> bool {
    job.gates().any(|gate| samples(&gate).is_some())
}

/// Returns `limit`, clamped to the range of the job if the job's limit adapts.
pub fn clamped(job: JobPtr, limit: usize) -> usize {
    samples(&job).map_or(limit, |samples| samples.clamped(limit))
}
