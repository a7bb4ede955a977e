//! Tells whether the limit of a job adapts, and clamps limits to the adaptive range. Module `worker::adapt` takes the samples
//! and updates the limit.

use crate::job::record::JobPtr;
use crate::job::samples::Samples;

/// Returns the samples of the job `gate`, if its limit adapts.
pub fn samples(gate: &JobPtr) -> Option<&Samples> {
    gate.extra()?.samples.as_ref()
}

/// Returns true if the job's limit adapts.
pub fn is_adaptive_itself(job: JobPtr) -> bool {
    samples(&job).is_some()
}

/// Returns true if the limit of the job or of one of its ancestors adapts.
pub fn is_adaptive(job: JobPtr) -> bool {
    job.gates().any(|gate| samples(&gate).is_some())
}

/// Returns `limit`, clamped to the job's adaptive range if the job has one.
pub fn clamped(job: JobPtr, limit: usize) -> usize {
    samples(&job).map_or(limit, |samples| samples.clamped(limit))
}
