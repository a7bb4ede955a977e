//! Finds the gates at which a task keeps its permit while it waits inside, and releases its permits of the other gates.

use super::{is_dropped, release_at};
use crate::base::task::OpaqueJob;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{events, family};

/// Returns the gates whose permits a task of `job` releases while it waits inside: each gate below `end` that keeps no permits.
/// If the waiting task lends its permits to a task that runs inline, `end` is the first gate, counted from `job`, whose permit
/// is lent. At `end` and its ancestors the task releases no permit.
pub fn unkept(job: JobPtr, end: Option<JobPtr>) -> impl Iterator<Item = JobPtr> {
    let inside = job.gates().take_while(move |gate| Some(*gate) != end);
    inside.filter(|gate| !gate.keeps_permits())
}

/// Releases the permits of a task of `job` at the gates of [`unkept`]. Admits tasks that wait at these gates (release-1 to
/// release-3).
pub fn release_unkept(job: JobPtr, end: Option<JobPtr>) {
    unkept(job, end).for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Releases the permits of a task of `job` at the gate `end` and at its ancestors, of which none keeps permits. Admits tasks
/// that wait at these gates (release-1 to release-3).
#[cold]
pub fn release_from(end: JobPtr, job: JobPtr) {
    end.gates().for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Returns true if a task of `job` may run inline in a task of `job` that joins it, although [`may_go_on`](super::may_go_on)
/// forbids a further task. The joining task keeps its permit, so the joined task may never find a free permit. So the joined
/// task counts as a part of the joining task: neither a pause nor a lower limit stops it. A gate with the flag `Rated` stops
/// the joined task, because each start at such a gate must go through the code for rates.
#[cold]
pub fn may_run_as_a_part(job: JobPtr) -> bool {
    job.keeps_any_permit()
        && !is_dropped(job)
        && !job.gates().any(|gate| gate.permits.load().has(Flag::Rated))
}

/// Returns a gate at which no task of `needed` can begin while a task of `waiting` waits, because the waiting task keeps all
/// permits of that gate. Returns `None` if there is no such gate. The caller must keep `waiting` alive. The record of `needed`
/// may have been freed.
pub fn hopeless(waiting: JobPtr, needed: OpaqueJob) -> Option<JobPtr> {
    waiting.gates().filter(|gate| gate.keeps_permits()).find(|gate| {
        let (word, weight) = (gate.permits.load(), gate.permits_for(waiting));
        let is_only = word.running() == weight && (1..=weight).contains(&word.limit());
        is_only && begins_below(needed, *gate)
    })
}

/// Returns true if each task of `job` needs a permit of `gate`: `job` is below `gate`, or `job` is `gate` and is not cancelled.
/// The tasks of a cancelled `gate` are dropped without a permit. But a cancelled task of a child may lie in the queue of
/// `gate`, and leaves it only if a permit is free. The record of `job` may have been freed.
fn begins_below(job: OpaqueJob, gate: JobPtr) -> bool {
    if job == gate.opaque() {
        return !is_dropped(gate);
    }
    let mut below = Vec::new();
    family::add_below(gate, &mut below);
    below.iter().any(|child| child.ptr().opaque() == job)
}
