//! Drops the tasks of cancelled jobs: a worker drops them between two turns, one at a time.
//!
//! The destructor of a capture is the user's code, which can push, cancel or wait. So while a thread drops a task, it holds no
//! queue lock, no reservation, and no other task that it must still drop. The thread also holds no permit, except the permits
//! of a future that it drops.
//!
//! The tasks of a cancelled job are dropped in these steps:
//! - `sweep-1`: A thread that finds tasks in the queue of a cancelled job injects a *sweep*, a cell that is no task. The thread
//!   itself drops nothing.
//! - `sweep-2`: The worker that takes the sweep pops one task under the queue lock, unlocks, and drops the task. Then the
//!   worker pops the next task. The worker also takes the job's delayed tasks out of the timer, and drops them in the same way.
//! - `sweep-3`: If a destructor is about to wait, the worker first injects the sweep again. Another worker then continues with
//!   the queue.
//!
//! Claim: no task stays in the queue of a cancelled job. The thread that cancels the job sets the flag `Cancelled`, executes a
//! fence, and checks the queue. A pusher pushes its task, executes a fence, and loads the flag. Because of the fences, the
//! cancelling thread sees the task, or the pusher sees the flag and requests a sweep. A sweep is allowed to end when it finds a
//! push unfinished, because the pusher loads the flag after its push, and requests another sweep.
//!
//! If a task is pushed after all workers have ended, the pusher drops the task.
//!
//! A sweep can also own tasks that `Job::clear` has taken out of a queue (module `clear`). The worker that takes the sweep
//! drops these tasks first.

use super::{child_below, drop_delegates_above, leave_gate, release, wake_if_idle};
use crate::base::sleep::Notified;
use crate::base::task::{self, CellPtr, Mark};
use crate::job::events;
use crate::job::lifetime;
use crate::job::permits::Flag;
use crate::job::queue::{Consumer, Popped, Unlocked};
use crate::job::record::JobPtr;
use crate::pool::core::Shared;
use crate::sync::deque::Steal;
use crate::sync::spin_loop;

/// Returns true if the job or an ancestor is cancelled, or if the pool drops all tasks. Then a worker must drop a task of the
/// job instead of starting it.
#[inline]
pub fn is_dropped(job: JobPtr) -> bool {
    let mut gate = Some(job);
    while let Some(job) = gate {
        if job.permits.load().has(Flag::Cancelled) {
            return true;
        }
        gate = job.parent();
    }
    job.pool().drops()
}

/// Injects a sweep, so that a worker drops the tasks in the job's queue (sweep-1). The caller must keep the job alive.
#[cold]
pub fn request_sweep(job: JobPtr) {
    // The sweep keeps the job's record by a handle. A sweep is no task, so it has no busy count.
    job.busy.keep();
    let _ = job.pool().inject(task::sweep(job.opaque(), Vec::new()));
}

/// Injects a sweep that owns `tasks`, so that a worker drops them. Each of these tasks must have a busy count. The caller must
/// keep the job alive.
pub fn inject_cleared(job: JobPtr, mut tasks: Vec<CellPtr>) {
    tasks.reverse();
    job.busy.keep();
    let _ = job.pool().inject(task::sweep(job.opaque(), tasks));
}

/// Passes tasks to `drop_one`, which must drop them, one at a time (sweep-2). First passes the tasks that the sweep owns. If
/// the job of the sweep is cancelled, then passes the job's waiting tasks. Returns at once if `drop_one` returns false: then
/// `drop_one` must have injected the sweep again. The caller must not hold a queue lock.
pub fn sweep(sweep: CellPtr, mut drop_one: impl FnMut(CellPtr) -> bool) {
    let job = sweep.job();
    while let Some(task) = task::next_cleared(sweep).or_else(|| take_of_cancelled(job)) {
        if !drop_one(task) {
            return;
        }
    }
    drop_delegates_above(job);
    wake_if_idle(job);
    sweep.cancel();
    lifetime::drop_handle(job);
}

/// Takes one task of a cancelled job out of the job's queue or out of the timer. After the return the task has a busy count.
/// Returns `None` if there is no such task, or if the job is not cancelled.
fn take_of_cancelled(job: JobPtr) -> Option<CellPtr> {
    if !job.permits.load().has(Flag::Cancelled) && !job.pool().drops() {
        return None;
    }
    pop_one(job).or_else(|| take_delayed(job))
}

/// Pops one task from the queue of a cancelled job, and counts it as busy. Returns `None` if the queue is empty, if a push is
/// unfinished, or if another thread has the queue lock. That thread then re-checks the queue.
fn pop_one(job: JobPtr) -> Option<CellPtr> {
    let mut consumer = job.queue().try_lock()?;
    loop {
        match consumer.pop() {
            Popped::Task(cell) => {
                if cell.job() == job {
                    job.busy.add_tasks(1);
                }
                unlock(consumer);
                leave_queue(cell, job);
                return Some(cell);
            }
            Popped::Empty | Popped::Unfinished => match consumer.unlock() {
                Unlocked::Free => return None,
                Unlocked::LookAgain(again) => consumer = again,
            },
        }
    }
}

/// Takes one delayed task of the job out of the pool's timer. Returns `None` if the job has no delayed task. A delayed task has
/// a busy count already.
fn take_delayed(job: JobPtr) -> Option<CellPtr> {
    loop {
        let key = job.extra()?.times().delayed.pop_first()?;
        // If another thread has taken the timer entry meanwhile, that thread drops the task (delay-2).
        if let Some(due) = job.pool().timer.cancel(key) {
            return Some(due.cell());
        }
    }
}

/// Unlocks the queue, and ignores the pending bit: the sweep pops from this queue again in any case.
fn unlock(mut consumer: Consumer<'_>) {
    while let Unlocked::LookAgain(again) = consumer.unlock() {
        consumer = again;
    }
}

/// Drops a task, and subtracts its busy count.
pub fn drop_task(cell: CellPtr) {
    let job = cell.job();
    events::dropped(cell);
    cell.cancel();
    job.drop_tasks(1);
}

/// Drops the task in a cell that was taken out of a deque or an injector. Releases the task's permits, cancels its
/// reservations, and subtracts its busy count. If the cell is a sweep, drops the tasks of the sweep. The caller must hold no
/// queue lock.
#[cold]
pub fn discard(cell: CellPtr) {
    let job = cell.job();
    match cell.mark() {
        Mark::Admitted => {
            // This cell belongs to a future that has its permits. Its captures must be dropped before these permits are
            // released.
            cell.cancel();
            release(job);
            job.drop_tasks(1);
        }
        Mark::Ready => {
            // A destructor of the captures can wait for a task that needs room at the gates of this job. So this thread first
            // cancels the reservations at these gates.
            job.gates().for_each(leave_gate);
            drop_task(cell);
        }
        Mark::Handed => {
            release(job);
            drop_task(cell);
        }
        Mark::Loose | Mark::ToDrop => drop_task(cell),
        Mark::Sweep => sweep(cell, |task| {
            drop_task(task);
            true
        }),
    }
}

/// Injects a cancelled task that was taken out of the queue of `gate`, so that a worker drops it. The task must have a busy
/// count.
pub fn inject_to_drop(cell: CellPtr, gate: JobPtr) {
    let pool = cell.job().pool_ptr();
    leave_queue(cell, gate);
    cell.set_mark(Mark::ToDrop);
    // As soon as the cell is injected, a worker might drop the task, and free the job and the pool. The owner that is added
    // here keeps the pool's memory until the end of this function.
    pool.own();
    let _ = pool.shared().inject(cell);
    pool.disown(1);
}

/// Cancels the reservations that the task in `cell` has at the jobs below `gate`. Call it after the task was taken out of the
/// queue of `gate`. If the task was a delegate of a child of `gate`, that child is no longer blocked after the return.
pub(super) fn leave_queue(cell: CellPtr, gate: JobPtr) {
    let job = cell.job();
    if job == gate {
        return;
    }
    let delegate = child_below(gate, job).expect("a delegate is of a job below");
    delegate.permits.clear(Flag::Blocked);
    let mut inner = job;
    while inner != gate {
        leave_gate(inner);
        inner = inner.parent().expect("the gate is outside the job");
    }
}

/// Drops the tasks that were injected after all workers of the pool had ended. The caller must not hold a queue lock.
#[inline]
pub fn drop_late(pool: &Shared) {
    if pool.sleep.seen() == Notified::TooLate {
        discard_injected(pool);
    }
}

#[cold]
fn discard_injected(pool: &Shared) {
    if !pool.sleep.workers_left() {
        return;
    }
    loop {
        match pool.steal_injected() {
            Steal::Success(cell) => discard(cell),
            Steal::Empty => return,
            Steal::Retry => spin_loop(),
        }
    }
}
