//! Drops the tasks of cancelled jobs: on a worker between two turns, one at a time.
//!
//! The destructor of a capture is the user's code: it may push, cancel or wait. So a thread that runs one holds no queue lock,
//! no permit, no reservation, and no second task to drop.
//!
//! - `sweep-1`: A thread that finds tasks in the queue of a cancelled job injects a *sweep*, a cell that is no task. This thread
//!   drops nothing itself.
//! - `sweep-2`: The worker that takes the sweep pops one task under the queue lock, unlocks, and drops the task. Then it pops the
//!   next one. It does the same with the job's delayed tasks, which it takes out of the timer.
//! - `sweep-3`: Before the destructor waits, the worker injects the sweep again. Another worker goes on with the queue.
//!
//! No task stays in the queue of a cancelled job. The canceller sets the flag, fences, and looks at the queue. A pusher
//! pushes, fences, and loads the flag. By the fences one of the two sees the other. A sweep that meets a half-done push ends:
//! the pusher loads the flag after its push.
//!
//! A push that comes too late, when the workers have left, is dropped by the pusher.

use super::{child_below, drop_delegates_above, leave_gate, release, wake_if_idle};
use crate::base::sleep::Notified;
use crate::base::task::{self, CellPtr, Mark};
use crate::job::lifetime;
use crate::job::permits::Flag;
use crate::job::queue::{Consumer, Popped, Unlocked};
use crate::job::record::JobPtr;
use crate::pool::core::Shared;
use crate::sync::deque::Steal;
use crate::sync::spin_loop;

/// Returns true if tasks of the job are dropped instead of started.
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

/// Injects a sweep of the job's queue (sweep-1). The caller must keep the job alive.
#[cold]
pub fn request_sweep(job: JobPtr) {
    // A sweep has a handle and no token, for it is no task.
    job.tokens.keep();
    let _ = job.pool().inject(task::sweep(job.opaque()));
}

/// Drops the tasks in the queue of the sweep's job by `drop_one`, one at a time (sweep-2). Ends early if `drop_one` returns
/// false, because it has injected the sweep again. The caller must not hold a queue lock.
pub fn sweep(sweep: CellPtr, mut drop_one: impl FnMut(CellPtr) -> bool) {
    let job = sweep.job();
    while let Some(task) = pop_one(job).or_else(|| take_delayed(job)) {
        if !drop_one(task) {
            return;
        }
    }
    drop_delegates_above(job);
    wake_if_idle(job);
    sweep.cancel();
    lifetime::drop_handle(job);
}

/// Pops one task, with a token, from the queue of a cancelled job. `None`: the queue is empty, a push is half done, or
/// another thread has the queue lock and looks again.
fn pop_one(job: JobPtr) -> Option<CellPtr> {
    let mut consumer = job.queue().try_lock()?;
    loop {
        match consumer.pop() {
            Popped::Task(cell) => {
                if cell.job() == job {
                    job.tokens.add_tasks(1);
                }
                unlock(consumer);
                leave_queue(cell, job);
                return Some(cell);
            }
            Popped::Empty | Popped::HalfDone => match consumer.unlock() {
                Unlocked::Free => return None,
                Unlocked::LookAgain(again) => consumer = again,
            },
        }
    }
}

/// Takes one delayed task, with its token, out of the pool's timer.
fn take_delayed(job: JobPtr) -> Option<CellPtr> {
    loop {
        let key = job.extra()?.times().delayed.pop_first()?;
        // Another thread may have taken the entry, or is about to arm it. That thread has the task.
        if let Some(due) = job.pool().timer.cancel(key) {
            return Some(due.cell());
        }
    }
}

/// Unlocks the queue, and ignores the pending bit: the sweep serves this queue again in any case.
fn unlock(mut consumer: Consumer<'_>) {
    while let Unlocked::LookAgain(again) = consumer.unlock() {
        consumer = again;
    }
}

/// Drops a task that has a token.
pub fn drop_task(cell: CellPtr) {
    let job = cell.job();
    cell.cancel();
    job.drop_tasks(1);
}

/// Drops a cell from a deque without running it. The caller holds no queue lock.
#[cold]
pub fn discard(cell: CellPtr) {
    let job = cell.job();
    match cell.mark() {
        Mark::Admitted => {
            // The permit is released after the future's captures are dropped.
            cell.cancel();
            release(job);
            job.drop_tasks(1);
        }
        Mark::Ready => {
            // The captures may wait for a task that needs the reservations.
            job.gates().for_each(leave_gate);
            drop_task(cell);
        }
        Mark::Loose | Mark::Doomed => drop_task(cell),
        Mark::Sweep => sweep(cell, |task| {
            drop_task(task);
            true
        }),
    }
}

/// Hands a cancelled task from the queue of `gate`, with a token, to the workers, which drop it.
pub fn doom(cell: CellPtr, gate: JobPtr) {
    let pool = cell.job().pool_ptr();
    leave_queue(cell, gate);
    cell.set_mark(Mark::Doomed);
    // Once injected, the cell may be dropped, and its job and the pool with it.
    pool.own();
    let _ = pool.shared().inject(cell);
    pool.disown(1);
}

/// Cancels what a delegate has in the jobs inside `gate`, from whose queue it was taken: the next of its siblings may come,
/// and its reservations are given back.
fn leave_queue(cell: CellPtr, gate: JobPtr) {
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

/// Drops the tasks that were injected after the workers had left. The caller must not hold a queue lock.
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
        match pool.injector().steal() {
            Steal::Success(cell) => discard(cell),
            Steal::Empty => return,
            Steal::Retry => spin_loop(),
        }
    }
}
