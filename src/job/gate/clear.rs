//! Takes the tasks that have not started out of a job, for `Job::clear`. The job stays open.
//!
//! A clear takes the tasks that wait in a queue or in the timer. A task that is ready or runs is not affected. So no task and
//! no word needs a mark that says "cleared".
//!
//! - `clear-1`: The thread takes the tasks out under the queue lock, and counts them as busy before it unlocks. So the job is not
//!   idle before a worker has dropped them. It sets CLEARED at each task, so that no join runs the task inline from then on.
//! - `clear-2`: If an unfinished push may hide tasks, the thread unlocks, and looks again. A task behind that push may have been
//!   pushed before the clear.
//! - `clear-3`: A task of a child in the queue of a parent gives up its reservations. The child may then send its next task.
//! - `clear-4`: The thread injects a sweep that owns the tasks. A worker drops them one at a time (`sweep-2`, `sweep-3`).
//!
//! No worker can start a task that was taken out. Three threads may try to claim such a task: the worker that drops it, the
//! task's handle, and a join that began before the clear and runs the task inline. The claim decides between them.

use super::drops::leave_queue;
use super::weigh::look_behind_a_weight;
use super::{child_below, unlock};
use crate::base::task::CellPtr;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::sync::thread;

/// Takes all tasks that have not started out of the job's queue and out of the pool's timer. Adds them to `taken`, each counted
/// as busy.
pub fn take_unstarted(job: JobPtr, taken: &mut Vec<CellPtr>) {
    take_delayed(job, taken);
    take_from(job, |_| true, taken);
}

/// Takes the tasks of the job, and of jobs below it, out of the queues of its ancestors. They are counted as busy.
pub fn take_delegates(job: JobPtr, taken: &mut Vec<CellPtr>) {
    let is_below = |cell: CellPtr| cell.job().gates().any(|gate| gate == job);
    for outer in job.gates().skip(1) {
        let child = child_below(outer, job).expect("an ancestor is outside the job");
        if child.permits.load().has(Flag::Blocked) {
            take_from(outer, is_below, taken);
        }
    }
}

/// Takes the tasks that have not started, and that `which` accepts, out of a queue. Each is counted as busy then.
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

/// Takes the job's delayed tasks out of the pool's timer, and adds them to `taken`. Delayed tasks are counted as busy already.
/// If another thread has taken an entry, that thread keeps the task.
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
