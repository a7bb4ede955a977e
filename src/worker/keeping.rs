//! Refuses a wait of a task for what needs the permit that the task keeps itself.

use crate::base::task::OpaqueJob;
use crate::job::gate;
use crate::job::record::JobPtr;
use crate::unwind;
use crate::worker::context::Context;

/// Refuses a wait for tasks of `needed` that have not begun, if the task on this thread keeps the one permit that they need. Does
/// nothing outside of tasks.
///
/// # Panics
/// By [`unwind::refuse`].
pub fn refuse_if_hopeless(needed: OpaqueJob) {
    let waiting = Context::with(|context| context?.lease().job.get());
    if let Some(gate) = waiting.and_then(|waiting| gate::hopeless(waiting, needed)) {
        unwind::refuse(message(gate));
    }
}

/// Does what [`refuse_if_hopeless`] does, if each task that the caller waits for is of a job that `needed` yields. An item that is
/// `None` is of a task that has begun.
///
/// # Panics
/// By [`unwind::refuse`].
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
