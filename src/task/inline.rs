//! Runs the very task that a task joins inline, although the two are of different jobs. So a chain of joins needs a thread for each
//! 32 levels.
//!
//! The joining thread has no handle of the joined task's job. If a worker runs the joined task to its end meanwhile, that job may be
//! freed. So the joining thread *pins* the task first:
//!
//! - `pin-1`: The joining thread sets PINNED at the task, unless a thread has claimed the task. So the cell is in a queue or with a
//!   thread that has not claimed the task, and the job is alive.
//! - `pin-2`: A thread that has taken the cell out of its queue finds PINNED set when it claims the task. It adds a busy count of the
//!   job for the joining thread, and clears PINNED. Then it claims the task.
//!
//! - `inline-1`: The joining thread counts the joined task as busy, and acquires its permits (module `gate::inline`).
//! - `inline-2`: It claims the task and clears PINNED, in one exchange. If PINNED was clear, it gives back the busy count of
//!   `pin-2`. If another thread has claimed the task, the joining thread releases the permits, and waits as any join does.
//! - `inline-3`: The joining task releases its own permits (wait-2), and the joined task runs.
//! - `inline-4`: The thread releases the permits of the joined task (release-1 to release-3), and re-acquires those of the joining
//!   task (wait-4). If it has to wait for them, it lends its seat before, and releases the permits at the common gates.
//!
//! The job stays alive from `pin-1` to `inline-2`: its cell keeps it, or the busy count of `pin-2`. From `inline-1` on it has the
//! busy count of the inline task. A cell that has left the job's queue stays in its deque, and is empty from `inline-2` on. The thread
//! that takes it out finds it claimed, and drops it.
//!
//! An inline run adds no circle of waits. Without it the joining task would wait for the joined task, too. While the thread waits
//! for a permit in `inline-4`, it has no seat, and it holds no permit of a gate further out.
//!
//! A delayed task is pushed by the timer, which clears DELAYED before. Between the two the task has no place in the queue yet, so a
//! join cannot tell which tasks go first. So a task that was delayed does not run inline in a task of another job.

use crate::job::events;
use crate::job::gate::inline::Inline;
use crate::process;
use crate::task::pointer::{TaskPtr, note_empty};
use crate::task::state::Claim;
use crate::worker::blocking;
use crate::worker::context::{Context, DEPTH_MOST};

/// Runs `task` inline if the task that runs on this thread belongs to another job, and the gates of `task` admit it at once. Returns
/// true if the task ran. Does nothing if the task has started.
#[cold]
pub fn run(context: &Context, task: TaskPtr) -> bool {
    let Some((run, joining)) = task.table.run.zip(context.lease().job.get()) else { return false };
    let (job, key, cell) = (task.job(), task.key(), task.cell());
    // A hook of the pool may join, too, and is no task.
    let in_task = context.serves.get() && !context.blocked.get();
    let has_place = in_task && context.seat().is_some() && context.depth.get() < DEPTH_MOST;
    if !has_place || job == joining || task.table.is_delayed || process::is_child() {
        return false;
    }
    if !task.state().pin() {
        return false; // pin-1
    }
    let Some(mut permits) = Inline::acquire(cell, job, joining) else {
        if !task.state().unpin() {
            job.drop_tasks(1);
        }
        return false;
    };
    let (claim, pinned) = task.state().claim_pinned(); // inline-2
    if !pinned {
        job.drop_tasks(1);
    }
    permits.give_up_cell();
    if claim != Claim::Granted {
        permits.release();
        job.drop_tasks(1);
        return false;
    }
    // inline-3
    blocking::instead(context, joining, permits.common(), || {
        context.open_inside(job);
        let outer = events::started_inside(job, cell);
        context.as_task(key, Some(cell), || {
            // SAFETY: this thread claimed the closure just now, and the owner of `task` has a reference.
            unsafe { run(task.cell) };
        });
        events::ended_inside(job, key, outer);
        note_empty(job);
        let busy = context.close_inside(job, joining);
        permits.release(); // inline-4
        job.drop_tasks(busy);
    });
    true
}
