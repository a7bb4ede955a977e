//! Drops cancelled tasks in the queues of held jobs. No worker pops tasks from such a queue.

use super::weigh::look_behind_a_weight;
use super::{drop_task, inject_to_drop, is_dropped, look, unlock, wake_if_idle};
use crate::base::task::CellPtr;
use crate::job::family;
use crate::job::queue::Consumer;
use crate::job::record::JobPtr;

/// What a call of [`drop_gone`] did.
#[must_use]
#[derive(PartialEq, Eq)]
pub enum Dropped {
    /// No task was dropped. Either there was none to drop, or another thread has the queue lock, sees the pending bit, and
    /// drops the tasks.
    None,
    /// At least one task was dropped.
    Some,
    /// A push was unfinished: behind it can lie further tasks that must be dropped. Tasks before the unfinished push might have
    /// been dropped.
    NotYet,
}

/// Drops the cancelled tasks in the queue of `job` for which `which` returns true. A task is cancelled if its handle has
/// cancelled it, or if it belongs to a cancelled job below `job`. This function also works while `job` is held and no worker
/// pops its tasks. All other tasks keep their places in the queue.
pub fn drop_gone(job: JobPtr, which: impl Fn(CellPtr) -> bool) -> Dropped {
    let Some(mut consumer) = job.queue().try_lock() else { return Dropped::None };
    let mut taken = Vec::new();
    let all = take_gone(job, &mut consumer, which, &mut taken);
    unlock(job, consumer);
    let some = !taken.is_empty();
    drop_taken(job, taken);
    if some {
        look_behind_a_weight(job);
    }
    match (all, some) {
        (false, _) => Dropped::NotYet,
        (true, true) => Dropped::Some,
        (true, false) => Dropped::None,
    }
}

/// Moves the cancelled tasks for which `which` returns true from the queue of the job `line` to `taken`. After the return each
/// moved task has a busy count. Returns false if a push was unfinished: further cancelled tasks can lie behind it.
pub fn take_gone(
    line: JobPtr,
    consumer: &mut Consumer<'_>,
    which: impl Fn(CellPtr) -> bool,
    taken: &mut Vec<CellPtr>,
) -> bool {
    let with_its_job = |cell: CellPtr| cell.job() != line && is_dropped(cell.job());
    let before = taken.len();
    let whole =
        consumer.take_out(|cell| which(cell) && (cell.is_gone() || with_its_job(cell)), taken);
    let own = taken[before..].iter().filter(|cell| cell.job() == line).count() as u64;
    if own > 0 {
        // The tasks get their busy counts before the queue is unlocked. Otherwise the job could be idle, and its record be
        // freed, before the tasks are dropped.
        line.busy.add_tasks(own);
    }
    whole
}

/// Drops the tasks that [`take_gone`] has moved from the queue of `line` to `taken`. The caller must not hold the lock of that
/// queue.
pub fn drop_taken(line: JobPtr, taken: Vec<CellPtr>) {
    if taken.is_empty() {
        return;
    }
    for cell in taken {
        if cell.job() == line {
            // The handle has dropped the task's captures, so only the cell must be freed.
            drop_task(cell);
        } else {
            inject_to_drop(cell, line);
        }
    }
    wake_if_idle(line);
}

/// Returns true if no worker takes tasks out of the gate's queue for now: the gate or one of its ancestors is paused, is held
/// off, or has a limit of 0.
pub fn is_stuck(gate: JobPtr) -> bool {
    gate.gates().any(|gate| gate.permits.load().is_stopped())
}

/// Visits the ancestors of `job` that are stuck (see [`is_stuck`]), and drops the cancelled delegates in the queue of each. No
/// worker pops tasks from the queue of a stuck ancestor. If another thread has the lock of such a queue, that thread drops the
/// delegates.
pub fn drop_delegates_above(job: JobPtr) {
    for outer in job.gates().skip(1) {
        drop_delegates_at(outer, || is_stuck(outer));
        if outer.counts_weights() {
            // The first task in the queue might be a cancelled heavy task. The weight of a cancelled task always fits. So this
            // check of the queue admits that task, and a worker drops it.
            look(outer);
        }
    }
}

/// Drops the cancelled delegates in the queue of `gate`, and in the queues of the jobs below `gate` that have had children.
/// Leaves a queue alone if workers take tasks out of it (see [`is_stuck`]).
pub fn drop_delegates_in(gate: JobPtr) {
    drop_delegates_at(gate, || is_stuck(gate));
    let mut below = family::gates_in(gate);
    while let Some(inner) = below.pop() {
        // The closure first checks the word of `gate`: if `gate` is held or held off, no worker takes tasks out of the
        // queues below. Otherwise the slower `is_stuck` checks `inner` and all its ancestors.
        drop_delegates_at(inner.ptr(), || {
            gate.permits.load().is_stopped() || is_stuck(inner.ptr())
        });
        below.append(&mut family::gates_in(inner.ptr()));
    }
}

fn drop_delegates_at(gate: JobPtr, is_stuck: impl Fn() -> bool) {
    // Each child can have one delegate in the queue. When the delegate was taken out, the child is allowed to put another task
    // into the queue. That task might be cancelled, too, so this thread tries again.
    while is_stuck() {
        match drop_gone(gate, |cell| cell.job() != gate) {
            Dropped::None => break,
            Dropped::Some => {}
            Dropped::NotYet => crate::sync::thread::yield_now(),
        }
    }
}

/// Drops the tasks in the job's queue that belong to this job and were cancelled by their handles. Also drops the cells of
/// those waiters of the job that do not wait any more.
pub fn tidy_queue(job: JobPtr) {
    let _ = drop_gone(job, |cell| cell.job() == job);
}
