//! Runs a joined task inline that belongs to another job than the joining task. If each task of a chain joins the next one,
//! the chain then needs one thread for each 32 joins, and not one for each join.
//!
//! The joining thread has no handle of the joined task's job. If a worker runs the joined task to its end meanwhile, that job
//! can be freed. So the joining thread first *pins* the joined task:
//! - `pin-1`: If no thread has claimed the joined task, the joining thread sets PINNED in the state word of the joined task.
//!   The job is alive at that moment, because a task that no thread has claimed keeps its job alive.
//! - `pin-2`: A thread that has taken the cell out of its queue can find PINNED set when it tries to claim the joined task.
//!   That thread adds a busy count of the job for the joining thread, and clears PINNED. Then that thread claims the task.
//!
//! After the pin, the joining thread runs the joined task inline:
//! - `inline-1`: The joining thread counts the joined task as busy, and acquires the permits of the joined task (module
//!   `gate::inline`). The joining task still holds its own permits.
//! - `inline-2`: The joining thread claims the joined task and clears PINNED, in one exchange. If PINNED was clear, the joining
//!   thread gives back the busy count that another thread has added for it (`pin-2`). If another thread has claimed the joined
//!   task, the joining thread releases the joined task's permits, and waits as any join does.
//! - `inline-3`: The joining thread releases the permits of the joining task, except at common gates (`wait-2`). Then the thread
//!   runs the joined task.
//! - `inline-4`: The joining thread releases the permits of the joined task (`release-1` to `release-3`), and re-acquires the
//!   permits of the joining task (`wait-4`). Before the thread waits for such a permit, it lends its seat, and releases the
//!   permits at the common gates.
//!
//! The joined task's job stays alive while the joining thread uses it. While no thread has claimed the joined task, that task
//! keeps its job alive. Before another thread claims the joined task, it adds a busy count for the joining thread (`pin-2`).
//! After the joining thread has counted the joined task as busy (`inline-1`), that count keeps the job alive.
//!
//! If the cell of a task that runs inline lies in a deque or in the injector, the cell stays there, and is empty from then on.
//! The worker that takes the cell out finds the task claimed, and gives up the cell.
//!
//! Tasks that wait for each other in a circle are a deadlock. An inline run closes such a circle only if a usual join would close
//! it, too: in both cases the joining task continues only after the joined task has ended. After an inline run the joining thread
//! might have to wait for a permit of the joining task (`inline-4`). That wait closes no circle either. The thread has no seat
//! meanwhile, so it blocks no worker. The joining task then holds no permit of a gate above the gate at which it waits, except at
//! gates that keep permits.
//!
//! A task that was delayed never runs inline in a task of another job. The timer's thread clears DELAYED in the state word of a
//! delayed task, and then pushes the task. Between these two steps the task is in no queue, so a joining thread cannot tell
//! which tasks must start before it.

use crate::job::events;
use crate::job::gate::inline::Inline;
use crate::process;
use crate::task::pointer::{TaskPtr, note_empty};
use crate::task::state::Claim;
use crate::worker::blocking;
use crate::worker::context::{Context, DEPTH_MOST};

/// Runs `task` inline if the task on this thread belongs to another job, and if the gates of `task` admit `task` at once.
/// Returns true if `task` ran. Does nothing if `task` has started.
#[cold]
pub fn run(context: &Context, task: TaskPtr) -> bool {
    let Some((run, joining)) = task.table.run.zip(context.lease().job.get()) else { return false };
    let (job, key, cell) = (task.job(), task.key(), task.cell());
    // A joined task runs inline only if this thread runs a task that is not inside `blocking`. `serves` is false in other user
    // code on this thread, such as the rule of an adaptive limit. `blocked` is true inside `blocking`.
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
