//! Starts tasks at gates that count weights: a task takes as many permits of such a gate as it weighs.
//!
//! A gate that counts weights always has the flag `Rated`, as a gate with a rate has. This flag allows one ready task at a time:
//! while a task is ready, the gate admits no other task. So the word need not count the ready task's weight.
//!
//! A task passes a gate that counts weights in these steps:
//! - `weigh-1`: A thread that admits tasks first checks whether the weight of the first task in the queue fits. The thread owns
//!   the queue lock, and has made no reservation yet. If the weight does not fit, the thread admits no task, so no later task
//!   overtakes the first.
//! - `weigh-2`: The worker that starts the task exchanges the reservation for all of the task's permits at once. If the weight
//!   does not fit any more, the worker puts the task back at the front of the queue.
//! - `weigh-3`: The thread that ends the task releases one permit (`release-1` of `gate`), and then the others. After that the
//!   thread executes the fence and checks the queue (`release-2`, `release-3`).
//!
//! A weight fits if the weight and the permits held are together within the limit, or if no permit is held. So a task whose
//! weight exceeds the limit runs alone, and does not wait for ever.
//!
//! No heavy task waits for long while its weight fits. A thread that has released permits of a gate tries to get the lock of
//! the gate's queue. If the thread gets the lock, it checks the weight of the first task. Otherwise it sets the pending bit,
//! and the lock's owner checks that weight again, with a word that shows the released permits.
//!
//! While another task of a gate is ready, a heavy task in the gate's queue waits although its weight might fit. The worker that
//! starts the ready task, or puts it back, then checks the queue again.
//!
//! No heavy task starves. While a heavy task is first in a gate's queue and does not fit, the gate admits no task. Only these
//! tasks use permits of the gate meanwhile:
//! - tasks that a worker runs to the end of its turn, under permits that the worker has already;
//! - tasks that have waited in `join`, `wait` or `scope`, and re-acquire their permits;
//! - woken futures that re-acquire their permits.
//!
//! While a heavy task is first in a gate's queue and does not fit, all tasks that use permits of the gate end. Each turn in
//! progress has a bounded number of tasks. Outside these turns no task starts, and only tasks that have started can re-acquire
//! permits. So the number of held permits falls until the heavy task's weight fits.
//!
//! A heavy task or waiter that is first in a queue can leave the queue without a start: `Job::clear` removes the task, or the
//! waiter does not wait any more. The thread that removes the cell then checks the queue, because the next task might fit.
//!
//! A thread that cancels a heavy task by its handle does not check the queue, because the job's record might have been freed.
//! So the cancelled task stays first in the queue until a later check. The thread of that check admits the cancelled task,
//! whose weight always fits, and a worker drops it.

use super::{discard, is_dropped, look, settle};
use crate::base::parking::parking_lot;
use crate::base::task::CellPtr;
use crate::job::permits::{Asked, Flag, Snapshot};
use crate::job::queue::Consumer;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;

/// Returns false if `gate` counts weights and the weight of the first task in its queue does not fit (weigh-1). Otherwise
/// returns true. The weight of a cancelled task always fits. Call it only if `gate` has the flag `Rated`: a gate without this
/// flag counts no weights.
#[cold]
pub(super) fn first_fits(gate: JobPtr, consumer: &Consumer<'_>) -> bool {
    if !gate.counts_weights() {
        return true;
    }
    // The queue is empty, or the push of its first task is unfinished. In both cases the caller's pop finds no task.
    let Some(cell) = consumer.first() else { return true };
    let weight = cell.job().weight();
    // The weight of a cancelled task always fits, because a worker drops the task instead of starting it.
    gate.permits.load().fits(weight) || cell.is_gone() || is_dropped(cell.job())
}

/// Drops a cancelled task that the gate `refused` has refused. If the task were put back into the queue, a thread would admit
/// it again at once: the weight of a cancelled task always fits.
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

/// Exchanges the permits of `gate` that a task of `job` has for a reservation. Then wakes tasks that wait to re-acquire permits
/// of `gate`, because there might be no later release that wakes them. Call it for a task that does not start, because another
/// gate has refused it or a rate has no token.
#[cold]
pub(super) fn unstart(gate: JobPtr, job: JobPtr) {
    let word = gate.permits.unstart(gate.permits_for(job));
    if word.has(Flag::Reclaiming) {
        wake_reclaimers(gate);
    }
    settle(gate, word);
}

/// Checks the queue of each gate of `job` that counts weights. Call it after a thread has taken a task out of such a queue and
/// not started it: the next task might weigh less, and fit.
#[cold]
pub fn look_behind_a_weight(job: JobPtr) {
    for gate in job.gates().filter(|gate| gate.counts_weights()) {
        fence_after_rmw();
        look(gate);
    }
}

/// Acquires the remaining permits of `gate` for a waiter of `job` that has one permit of `gate` already. Returns the word after
/// the change. If the waiter's weight does not fit, releases that one permit, and returns `None`.
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

/// Releases the remaining permits of `gate` for a task of `job` that has released one of them already (weigh-3). Then wakes
/// tasks that wait to re-acquire permits of `gate`. `word` is the word after the first release. Returns the word after the last
/// release.
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

/// Wakes one task that waits to re-acquire its permit of `gate`. If `gate` counts weights, wakes all such tasks: if the first
/// of them needs more permits than are free, a later one might need fewer.
pub fn wake_reclaimers(gate: JobPtr) {
    if gate.counts_weights() {
        parking_lot().wake(gate.permit_key());
    } else {
        parking_lot().wake_one(gate.permit_key());
    }
}
