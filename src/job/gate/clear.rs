//! Removes the tasks that have not started from the queues and from the timer, for `Job::clear`. The job stays open.
//!
//! `Job::clear` removes the tasks of the job that wait in a queue or in the pool's timer. Ready and running tasks stay.
//!
//! The thread that calls `Job::clear` is the *clearing thread*:
//! - `clear-1`: The clearing thread removes the tasks from a queue under the queue lock. The thread sets the bit CLEARED of
//!   each removed task, so that no later join runs the task inline. Before the thread unlocks the queue, it counts the removed
//!   tasks as busy. So the job is not idle until a worker has dropped these tasks.
//! - `clear-2`: If tasks lie behind an unfinished push, the clearing thread unlocks the queue, and then searches it again. Such
//!   a task might have been pushed before the clear.
//! - `clear-3`: The clearing thread cancels the reservations of each removed delegate. The child of which it is the delegate is
//!   then allowed to put its next task into the parent's queue.
//! - `clear-4`: The clearing thread injects a sweep that owns the removed tasks. A worker drops these tasks one at a time
//!   (`sweep-2`, `sweep-3` of `drops`).
//!
//! No worker can start a task that `Job::clear` has removed from a queue. Three threads can try to claim such a task: the
//! worker that drops the task, a thread that cancels the task by its handle, and a thread that joins the task. If the join
//! began before the clear, the joining thread can get the claim, and then runs the task inline. Only one of the three threads
//! gets the claim.

use super::drops::leave_queue;
use super::weigh::look_behind_a_weight;
use super::{child_below, unlock};
use crate::base::task::CellPtr;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::sync::thread;

/// Moves the tasks that have not started from the job's queue, and the job's delayed tasks from the pool's timer, to `taken`.
/// After the return each moved task has a busy count.
pub fn take_unstarted(job: JobPtr, taken: &mut Vec<CellPtr>) {
    take_delayed(job, taken);
    take_from(job, |_| true, taken);
}

/// Moves the delegates of the job and of the jobs below it from the queues of the job's ancestors to `taken`. A delegate has a
/// busy count already.
pub fn take_delegates(job: JobPtr, taken: &mut Vec<CellPtr>) {
    let is_below = |cell: CellPtr| cell.job().gates().any(|gate| gate == job);
    for outer in job.gates().skip(1) {
        let child = child_below(outer, job).expect("an ancestor is outside the job");
        if child.permits.load().has(Flag::Blocked) {
            take_from(outer, is_below, taken);
        }
    }
}

/// Moves each task that has not started, and for which `which` returns true, from the queue of `line` to `taken`. After the
/// return each moved task has a busy count.
fn take_from(line: JobPtr, which: impl Fn(CellPtr) -> bool, taken: &mut Vec<CellPtr>) {
    loop {
        let before = taken.len();
        let mut consumer = line.queue().lock();
        let whole = consumer.take_out(|cell| which(cell) && cell.clears(), taken);
        taken[before..].iter().for_each(|cell| cell.note_cleared());
        let own = taken[before..].iter().filter(|cell| cell.job() == line).count() as u64;
        if own > 0 {
            line.busy.add_tasks(own); // clear-1
        }
        unlock(line, consumer);
        for cell in &taken[before..] {
            leave_queue(*cell, line); // clear-3
        }
        if taken.len() > before {
            look_behind_a_weight(line);
        }
        if whole {
            return;
        }
        thread::yield_now(); // clear-2
    }
}

/// Moves the job's delayed tasks from the pool's timer to `taken`. A delayed task has a busy count already. If another thread
/// has removed a task's timer entry, leaves the task to that thread.
fn take_delayed(job: JobPtr, taken: &mut Vec<CellPtr>) {
    let Some(extra) = job.extra() else { return };
    let keys: Vec<_> = extra.times().delayed.iter().copied().collect();
    for key in keys {
        if let Some(due) = job.pool().timer.cancel(key) {
            extra.times().delayed.remove(&key);
            taken.push(due.cell());
        }
    }
}
