//! Gates that count weights: a task takes as many permits there as it weighs.
//!
//! A gate that counts weights has the flag `Rated` from its build on. So at most one task is ready at the gate, and no other
//! task is admitted meanwhile. The ready task has reserved all free permits, so the word need not count the task's weight.
//!
//! A thread that admits tasks from the queue of such a gate:
//! - `weigh-1`: Under the queue lock, and before it reserves, it checks the weight of the first task against the word. If the
//!   weight does not fit, the thread admits nothing. So no task behind the heavy one overtakes it.
//! - `weigh-2`: At the start, a worker exchanges the reservation for all permits of the task at once, if they still fit.
//!   Otherwise the task goes back to the front of the queue.
//! - `weigh-3`: The thread that ends the task releases one permit (`release-1`), and then the rest. It executes the fence and
//!   checks the queue after that (`release-2`, `release-3`).
//!
//! A weight fits if the permits held and the weight together are within the limit, or if no permit is held. So a task with a
//! weight above the limit runs alone in the end, and does not wait for ever.
//!
//! No heavy task waits beside enough free permits. A thread that releases permits gets the queue lock, or sets the pending bit.
//! With the lock, it checks the weight itself. Otherwise the owner of the lock checks it again, with the word after the
//! release. If a task is ready, the thread that has the lock admits none: that task's start or refusal checks the queue again.
//!
//! No heavy task starves. While a heavy task is first in the queue and does not fit, the gate admits no task. Only three kinds
//! of tasks go ahead of the heavy task:
//! - tasks of a sibling that a worker runs to the end of its turn, under permits that the worker holds already;
//! - tasks that have waited inside and re-acquire their permits;
//! - woken futures that re-acquire their permits.
//!
//! Each turn ends, and the tasks of the other two kinds have begun before. As these tasks end, the number of permits held falls
//! until the weight fits.
//!
//! A heavy first task may leave the queue without a start: a clear takes it out, or a waiter leaves. The thread that takes it
//! out checks the queue, because the next task may fit. A thread that cancels a task by its handle must not touch the job. So
//! the cancelled task stays first in the queue until the next check of the queue, which admits it as one that fits. Then a
//! worker drops the cancelled task.

use super::{discard, is_dropped, look, settle};
use crate::base::parking::parking_lot;
use crate::base::task::CellPtr;
use crate::job::permits::{Asked, Flag, Snapshot};
use crate::job::queue::Consumer;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;

/// Returns false if the first task in the queue of `gate` does not fit by its weight (weigh-1). A cancelled task always fits.
/// The caller must have seen the flag `Rated`, which each gate that counts weights has.
#[cold]
pub(super) fn first_fits(gate: JobPtr, consumer: &Consumer<'_>) -> bool {
    if !gate.counts_weights() {
        return true;
    }
    // If an unfinished push hides the first task, the pop finds none.
    let Some(cell) = consumer.first() else { return true };
    let weight = cell.job().weight();
    // A cancelled task is dropped at its start.
    gate.permits.load().fits(weight) || cell.is_gone() || is_dropped(cell.job())
}

/// Drops a task that its handle has cancelled, and that the gate `refused` did not let start. Back in the queue, the task would
/// be first, and would be admitted again at once.
#[cold]
pub(super) fn drop_refused(cell: CellPtr, refused: JobPtr) {
    let job = cell.job();
    let mut inner = job;
    while inner != refused {
        unstart(inner, job);
        inner = inner.parent().expect("the gate that refused is outside the job");
    }
    discard(cell);
}

/// Exchanges the permits of a task of `job` at `gate` for a reservation again, because an ancestor of `gate` refuses the task.
/// Then wakes the tasks that wait to re-acquire their permits at `gate`, because perhaps no release follows that would wake
/// them.
#[cold]
pub(super) fn unstart(gate: JobPtr, job: JobPtr) {
    let word = gate.permits.unstart(gate.permits_for(job));
    if word.has(Flag::Reclaiming) {
        wake_reclaimers(gate);
    }
    settle(gate, word);
}

/// Checks the queue of each job that counts weights, among `job` and its ancestors. Call it after a task has left such a queue
/// without a start: the next task may weigh less, and fit.
#[cold]
pub fn look_behind_a_weight(job: JobPtr) {
    for gate in job.gates().filter(|gate| gate.counts_weights()) {
        fence_after_rmw();
        look(gate);
    }
}

/// Acquires the other permits of a waiter of `job` that has one permit of `gate`. If they do not fit, releases the one permit,
/// and returns `None`.
#[cold]
pub(super) fn acquire_rest(gate: JobPtr, job: JobPtr) -> Option<Snapshot> {
    match gate.permits.acquire_rest(gate.permits_for(job)) {
        Asked::Granted(word) => Some(word),
        Asked::Refused(_) => {
            let word = gate.permits.release();
            if word.has(Flag::Reclaiming) {
                wake_reclaimers(gate);
            }
            settle(gate, word);
            fence_after_rmw();
            look(gate);
            None
        }
    }
}

/// Releases the other permits of a task of `job` that has released one permit of `gate` (weigh-3). Then wakes the tasks that
/// wait to re-acquire permits of `gate`. `word` is the word after the first release. Returns the word after the last release.
#[cold]
pub(super) fn release_rest(gate: JobPtr, job: JobPtr, mut word: Snapshot) -> Snapshot {
    let rest = gate.permits_for(job) - 1;
    if rest > 0 {
        word = gate.permits.release_more(rest);
    }
    if word.has(Flag::Reclaiming) {
        wake_reclaimers(gate);
    }
    word
}

/// Wakes tasks that wait to re-acquire their permits of `gate`. If `gate` counts weights, wakes all of them: the first task may
/// need more permits than are free, and a later task fewer.
pub fn wake_reclaimers(gate: JobPtr) {
    if gate.counts_weights() {
        parking_lot().wake(gate.permit_key());
    } else {
        parking_lot().wake_one(gate.permit_key());
    }
}
