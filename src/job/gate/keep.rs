//! The gates at which a task keeps its permit while it waits inside.

use super::{is_dropped, release_at};
use crate::base::task::OpaqueJob;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{events, family};

/// Returns the gates of a task of `job` at which the task has no permit while it waits inside: those that keep no permits. `end` is
/// the innermost gate whose permit the task lends to a task that runs inline. At that gate and those outside of it, the
/// permits stay where they are.
pub fn unkept(job: JobPtr, end: Option<JobPtr>) -> impl Iterator<Item = JobPtr> {
    let inside = job.gates().take_while(move |gate| Some(*gate) != end);
    inside.filter(|gate| !gate.keeps_permits())
}

/// Releases the permits of a task that waits inside, and admits waiting tasks there (release-1 to release-3). `end` is as in
/// [`unkept`].
pub fn release_unkept(job: JobPtr, end: Option<JobPtr>) {
    unkept(job, end).for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Releases the permits of a task of `job` at the gate `end` and at its ancestors, of which none keeps permits. Admits waiting tasks
/// there (release-1 to release-3).
#[cold]
pub fn release_from(end: JobPtr, job: JobPtr) {
    end.gates().for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Returns true if a joined task of `job` may run inline although [`may_go_on`](super::may_go_on) forbids a further task. The
/// joining task keeps its permit, so the joined task may find no permit on another thread. So the joined task counts as a part
/// of the joining task: a pause or a lower limit does not stop it. A gate with the flag `Rated` does, because each start there
/// must go through the code for rates.
#[cold]
pub fn may_run_as_a_part(job: JobPtr) -> bool {
    job.keeps_any_permit()
        && !is_dropped(job)
        && !job.gates().any(|gate| gate.permits.load().has(Flag::Rated))
}

/// Returns the gate that lets no task of `needed` begin while a task of `waiting` waits, or `None`. At that gate the waiting task
/// keeps all the permits that there are. The caller must keep `waiting` alive. `needed` is only compared.
pub fn hopeless(waiting: JobPtr, needed: OpaqueJob) -> Option<JobPtr> {
    waiting.gates().filter(|gate| gate.keeps_permits()).find(|gate| {
        let (word, weight) = (gate.permits.load(), gate.permits_for(waiting));
        let is_only = word.running() == weight && (1..=weight).contains(&word.limit());
        is_only && begins_below(needed, *gate)
    })
}

/// Returns true if `job` is `gate` and is not cancelled, or if it is a job below. The tasks of a cancelled gate are dropped, and need
/// no permit for that. A cancelled task of a child may stand in the queue of the gate, which serves it only with a permit. The
/// record of `job` may have been freed.
fn begins_below(job: OpaqueJob, gate: JobPtr) -> bool {
    if job == gate.opaque() {
        return !is_dropped(gate);
    }
    let mut below = Vec::new();
    family::add_below(gate, &mut below);
    below.iter().any(|child| child.ptr().opaque() == job)
}
