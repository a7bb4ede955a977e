//! Acquires the permits of a task that another task joins and runs inline, although the two are of different jobs.
//!
//! A gate above both tasks is a *common gate*. There the joined task uses the permit of the joining task, so no word changes. At
//! each other gate of the joined task the joining thread acquires a permit, as a caller of `acquire` does.
//!
//! The joined task overtakes no earlier task of its job at a limit of 1 (`serial_in_order`). There are two cases:
//! - The job's queue is empty. The joined task was pushed before this check, so it has left the queue, behind all tasks that were
//!   pushed before it. At a limit of 1 a task leaves the queue only when the task before it has started.
//! - The joined task is the first in the queue, and no task is ready.
//!
//! A clear takes tasks out of the queue, too. No join runs such a task inline (`clear-1`).
//!
//! At a higher limit ready tasks do not matter. If one of them finds no permit now, it is refused, and the release of the permit
//! admits it again.
//!
//! At a limit of 1 the cell of a task that was ready and has run inline counts as ready until a worker takes it out. Until then the
//! next task of the job does not run inline.

use super::acquire::release_inside;
use super::{is_dropped, look, may_go_on, unlock};
use crate::base::later::Deferral;
use crate::base::task::CellPtr;
use crate::job::events;
use crate::job::permits::{Asked, Flag};
use crate::job::queue::Popped;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;

/// The permits of a task that runs inline in a task of another job.
#[must_use]
#[derive(Debug)]
pub struct Inline {
    job: JobPtr,
    /// The innermost common gate. `None` if the two jobs have no ancestor in common.
    common: Option<JobPtr>,
    /// The task's cell if it was taken out of the job's queue. Otherwise the cell stays in its queue or deque.
    taken: Option<CellPtr>,
}

impl Inline {
    /// Counts one busy task of `job`, and acquires the permits of the task in `cell`, which is of `job`, and which a task of `joining`
    /// joins (inline-1). Returns `None` if a gate does not admit the task at once. The caller must keep the jobs and the cell alive.
    pub fn acquire(cell: CellPtr, job: JobPtr, joining: JobPtr) -> Option<Self> {
        let admits = job.pool_ptr() == joining.pool_ptr()
            && is_of_same_class(job, joining)
            && !is_dropped(job);
        if !admits {
            return None;
        }
        let common = job.gates().find(|gate| joining.gates().any(|outer| outer == *gate));
        // A common gate that keeps permits bounds the tasks that have begun. There the two tasks may not share one permit.
        if common.is_some_and(|common| !may_go_on(common) || common.keeps_any_permit()) {
            return None;
        }
        // The count must come before the permits. A task that finds no permit may be the job's last, and relies on their holder.
        job.busy.add_tasks(1);
        let acquired = if job.queue().is_empty() {
            acquire_inside(job, common, false).then_some(Self { job, common, taken: None })
        } else {
            Self::acquire_first(cell, job, common)
        };
        if acquired.is_none() {
            job.drop_tasks(1);
        }
        acquired
    }

    /// Does what [`acquire`](Self::acquire) does, for a task that must be the first in the queue of its job. Takes the task out.
    fn acquire_first(cell: CellPtr, job: JobPtr, common: Option<JobPtr>) -> Option<Self> {
        // Wakers run when `_deferral` is dropped, with no queue lock held: a waker is the user's code.
        let _deferral = Deferral::begin();
        let mut consumer = job.queue().try_lock_quietly()?;
        if consumer.first() != Some(cell) || !acquire_inside(job, common, true) {
            unlock(job, consumer);
            return None;
        }
        // The permits come before the pop. So a pusher that sees the queue empty sees them, and does not overtake the task.
        let popped = consumer.pop();
        let taken = match popped {
            Popped::Task(popped) if popped == cell => {
                // A task in a queue has no busy count.
                job.busy.add_tasks(1);
                Some(cell)
            }
            Popped::Task(returned) => {
                // A task was refused meanwhile, and goes first.
                job.queue().push_returned(returned);
                unlock(job, consumer);
                fence_after_rmw();
                look(job);
                release_inside(job, common);
                return None;
            }
            // The next push is unfinished. The cell stays in the queue.
            Popped::Empty | Popped::Unfinished => None,
        };
        unlock(job, consumer);
        Some(Self { job, common, taken })
    }

    /// Returns the innermost common gate, at which the joining task lends its permit to the joined task.
    pub fn common(&self) -> Option<JobPtr> {
        self.common
    }

    /// Gives up the queue's reference to the cell, and the cell's busy count, if the cell was taken out of the queue. This thread or
    /// another one must have claimed the task, so the cell is empty.
    pub fn give_up_cell(&mut self) {
        if let Some(cell) = self.taken.take() {
            cell.cancel();
            self.job.drop_tasks(1);
        }
    }

    /// Releases the permits of the joined task, and admits tasks that wait there (release-1 to release-3). The task has ended, or
    /// another thread has claimed it. The caller must give the busy count back afterwards.
    pub fn release(self) {
        release_inside(self.job, self.common);
        events::released(self.job);
    }
}

/// Acquires a permit at the job and at each ancestor inside `end`. `queued` is true if the task is in the queue of the job. Acquires
/// none, and returns false, if a gate has no free permit, or if a task must go first.
fn acquire_inside(job: JobPtr, end: Option<JobPtr>, queued: bool) -> bool {
    let is_serial = |gate: JobPtr| queued && gate.permits.load().limit() == 1;
    if end == Some(job) && is_serial(job) && job.permits.load().ready() > 0 {
        // The joining task has re-acquired the permit that it lends while a task was ready. That task goes first.
        return false;
    }
    for gate in job.gates().take_while(|gate| Some(*gate) != end) {
        let in_order = is_serial(gate);
        let asked = match () {
            () if gate != job && !gate.queue().is_empty() => None,
            () if in_order => Some(gate.permits.acquire_in_room(gate.pool().ready_cap())),
            () => Some(gate.permits.acquire()),
        };
        let Some(Asked::Granted(word)) = asked else {
            release_inside(job, Some(gate));
            return false;
        };
        if word.has(Flag::Cancelled) {
            release_inside(job, gate.parent());
            return false;
        }
        gate.tally.note_running(word);
    }
    // A thread that pauses the common gate sees these permits, or this thread sees the pause.
    fence_after_rmw();
    if end.is_some_and(|common| !may_go_on(common)) {
        release_inside(job, end);
        return false;
    }
    true
}

/// Returns true if both jobs are of one class. Of two classes a worker must choose.
fn is_of_same_class(job: JobPtr, joining: JobPtr) -> bool {
    !job.pool().has_classes() || job.turns().priority == joining.turns().priority
}
