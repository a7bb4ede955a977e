//! Refuses a wait that could never end, because what the task waits for needs the one permit that the task itself keeps.

use crate::base::task::OpaqueJob;
use crate::job::gate;
use crate::job::record::JobPtr;
use crate::unwind;
use crate::worker::context::Context;

/// Refuses a wait for tasks of the job `needed`, if these tasks need the one permit that the task on this thread keeps. Returns
/// if the wait can end, or if no task runs on this thread. The awaited tasks must not have begun.
///
/// # Panics
/// Refuses by [`unwind::refuse`].
pub fn refuse_if_hopeless(needed: OpaqueJob) {
    let waiting = Context::with(|context| context?.lease().job.get());
    if let Some(gate) = waiting.and_then(|waiting| gate::hopeless(waiting, needed)) {
        unwind::refuse(message(gate));
    }
}

/// Refuses a wait that ends when any one of several tasks ends. Returns if one of these tasks has begun, or can begin without a
/// permit that the task on this thread keeps. Otherwise the wait could never end. `needed` yields the job of each awaited task
/// that has not begun, and `None` for each that has begun.
///
/// # Panics
/// Refuses by [`unwind::refuse`].
pub fn refuse_if_all_hopeless(mut needed: impl Iterator<Item = Option<OpaqueJob>>) {
    let waiting = Context::with(|context| context?.lease().job.get());
    let Some(waiting) = waiting.filter(|waiting| waiting.keeps_any_permit()) else { return };
    let mut full = None;
    if needed.all(|job| {
        full = job.and_then(|job| gate::hopeless(waiting, job));
        full.is_some()
    }) && let Some(gate) = full
    {
        unwind::refuse(message(gate));
    }
}

#[cold]
fn message(gate: JobPtr) -> String {
    let of = gate.of_its_name();
    format!(
        "a task waits for another one that needs a permit{of}, and keeps the only one itself, so this could never end: join a \
         closure of the same job, which runs inline, or do without `keep_permits`"
    )
}
