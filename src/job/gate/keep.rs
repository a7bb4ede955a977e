//! Finds the gates at which a task keeps its permit while it waits inside, and releases its permits of the other gates.

use super::{is_dropped, release_at};
use crate::base::task::OpaqueJob;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{events, family};

/// Returns the gates at which a task of `job` must release its permits before it waits inside. Leaves out each gate that keeps
/// permits. If `end` is not `None`, leaves out `end` and its ancestors: the waiting task lends its permits of these gates to a
/// task that runs inline.
pub fn unkept(job: JobPtr, end: Option<JobPtr>) -> impl Iterator<Item = JobPtr> {
    let inside = job.gates().take_while(move |gate| Some(*gate) != end);
    inside.filter(|gate| !gate.keeps_permits())
}

/// Releases the permits of a task of `job` at the gates that [`unkept`] returns. Admits tasks that wait at these gates
/// (release-1 to release-3).
pub fn release_unkept(job: JobPtr, end: Option<JobPtr>) {
    unkept(job, end).for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Releases the permits of a task of `job` at the gate `end` and at each ancestor of `end`. Admits tasks that wait at these
/// gates (release-1 to release-3). Call it only if none of these gates keeps permits.
#[cold]
pub fn release_from(end: JobPtr, job: JobPtr) {
    end.gates().for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Returns true if a task of `job` is allowed to run inline in another task of `job` that joins it, even if
/// [`may_go_on`](super::may_go_on) returns false.
///
/// A joined task is allowed to run inline if the joining task keeps a permit while it waits: otherwise the joined task might
/// never find a free permit. The joined task counts as a part of the joining task, so neither a pause nor a lower limit stops
/// it. A joined task of a gate with the flag `Rated` is not allowed to run inline, because each start at such a gate must go
/// through the code for rates.
#[cold]
pub fn may_run_as_a_part(job: JobPtr) -> bool {
    job.keeps_any_permit()
        && !is_dropped(job)
        && !job.gates().any(|gate| gate.permits.load().has(Flag::Rated))
}

/// Returns a gate at which no task of `needed` can begin while a task of `waiting` waits, because the waiting task keeps all
/// permits of that gate. Returns `None` if there is no such gate. The caller must keep `waiting` alive. The record of `needed`
/// might have been freed.
pub fn hopeless(waiting: JobPtr, needed: OpaqueJob) -> Option<JobPtr> {
    waiting.gates().filter(|gate| gate.keeps_permits()).find(|gate| {
        let (word, weight) = (gate.permits.load(), gate.permits_for(waiting));
        let is_only = word.running() == weight && (1..=weight).contains(&word.limit());
        is_only && begins_below(needed, *gate)
    })
}

/// Returns true if each task of `job` needs a permit of `gate`. This is so in two cases: `job` is below `gate`, or `job` is
/// `gate` and is not cancelled. Workers drop the tasks of a cancelled `gate` without a permit. But a task of a cancelled job
/// below `gate` needs a permit: the task can lie in the queue of `gate`, and leaves this queue only when a permit of `gate` is
/// free. This function does not read the record of `job`, which might have been freed.
fn begins_below(job: OpaqueJob, gate: JobPtr) -> bool {
    if job == gate.opaque() {
        return !is_dropped(gate);
    }
    let mut below = Vec::new();
    family::add_below(gate, &mut below);
    below.iter().any(|child| child.ptr().opaque() == job)
}
