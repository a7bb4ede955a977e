//! Acquires the permits of a task that runs inline in a task that joins it, if the two tasks are of different jobs.
//!
//! A gate that both the joining and the joined task must pass is a *common gate*. The joined task uses the joining task's
//! permit of each common gate, so no word of a common gate changes. The joining thread acquires a permit of each other gate of
//! the joined task, without a reservation.
//!
//! Claim: at a limit of 1 a joined task that runs inline overtakes no earlier task of its job (`serial_in_order`). There are
//! two cases:
//! - The joining thread finds the job's queue empty. So the joined task was taken out of the queue, after all tasks that were
//!   pushed before it. At a limit of 1 a task is taken out only after the task before it has started.
//! - The joined task is the first in the job's queue. The joining thread runs it only if no task of the job is ready. So all
//!   earlier tasks have started.
//!
//! A task that `Job::clear` has removed from a queue has the bit CLEARED (`clear-1`). No join runs a task with this bit inline.
//!
//! At a limit above 1, a joined task that runs inline can start before ready tasks of its job. A worker that finds no permit
//! for a ready task then puts this task back into the queue. The next thread that releases a permit admits this task again.
//!
//! If a ready task has run inline, its empty cell counts as a ready task until a worker takes the cell out of the deque or the
//! injector. Until then, no task in the job's queue runs inline at a limit of 1.

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
    /// The common gate that is nearest to the task's job: that job itself, or an ancestor. `None` if there is no common gate.
    common: Option<JobPtr>,
    /// The task's cell, if it was taken out of the job's queue. `None` if the cell still lies in its queue, deque or injector.
    taken: Option<CellPtr>,
}

impl Inline {
    /// Acquires the permits of the joined task, which is the task in `cell`, and adds a busy count of its job, `job`
    /// (`inline-1`). Returns `None` if a gate does not let the joined task start at once. The calling thread must run a task of
    /// the job `joining`, and that task must join the task in `cell`. The caller must keep both jobs and the cell alive.
    pub fn acquire(cell: CellPtr, job: JobPtr, joining: JobPtr) -> Option<Self> {
        let admits = job.pool_ptr() == joining.pool_ptr()
            && is_of_same_class(job, joining)
            && !is_dropped(job);
        if !admits {
            return None;
        }
        let common = job.gates().find(|gate| joining.gates().any(|outer| outer == *gate));
        // A common gate that keeps permits bounds the tasks that have begun, so the joining and the joined task must not share
        // a permit of this gate.
        if common.is_some_and(|common| !may_go_on(common) || common.keeps_any_permit()) {
            return None;
        }
        // The busy count must be added before the permits are acquired. While this thread has the permits, another task of the
        // job can be refused, and wait in the queue without a busy count. In that case only this thread's busy count keeps the
        // job's record.
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

    /// Acquires the permits of the task in `cell`, if `cell` is the first in the queue of `job`, and takes the cell out of the
    /// queue. Returns `None` if another cell is the first, or if a gate does not let the task start at once.
    fn acquire_first(cell: CellPtr, job: JobPtr, common: Option<JobPtr>) -> Option<Self> {
        // This thread might wake a waiter under the queue lock. The waker is the user's code, so it must not run under that
        // lock. It runs later, when `_deferral` is dropped.
        let _deferral = Deferral::begin();
        let mut consumer = job.queue().try_lock_quietly()?;
        if consumer.first() != Some(cell) || !acquire_inside(job, common, true) {
            unlock(job, consumer);
            return None;
        }
        // The permits are acquired before the pop. So a pusher that sees the queue empty also sees that the permits are held,
        // and the pusher's task does not overtake the joined task.
        let popped = consumer.pop();
        let taken = match popped {
            Popped::Task(popped) if popped == cell => {
                // A task in a queue has no busy count, so the popped task gets one.
                job.busy.add_tasks(1);
                Some(cell)
            }
            Popped::Task(returned) => {
                // Another task was refused meanwhile, and was pushed onto the front stack. The pop has returned that task,
                // which must start first.
                job.queue().push_returned(returned);
                unlock(job, consumer);
                fence_after_rmw();
                look(job);
                release_inside(job, common);
                return None;
            }
            // `Unfinished`: a push behind the cell is unfinished, so the pop could not take the cell, and the cell stays in the
            // queue. `Empty` is impossible: the cell was in the queue when this thread locked the queue.
            Popped::Empty | Popped::Unfinished => None,
        };
        unlock(job, consumer);
        Some(Self { job, common, taken })
    }

    /// Returns the common gate that is nearest to the joined task's job. The joining task lends its permits of this gate and of
    /// its ancestors to the joined task.
    pub fn common(&self) -> Option<JobPtr> {
        self.common
    }

    /// Drops the task's cell and subtracts its busy count, if the cell was taken out of the queue. Call it after a thread has
    /// claimed the task, because the cell is empty from then on.
    pub fn give_up_cell(&mut self) {
        if let Some(cell) = self.taken.take() {
            cell.cancel();
            self.job.drop_tasks(1);
        }
    }

    /// Releases the permits that [`acquire`](Self::acquire) has acquired, and admits tasks that wait at these gates (release-1
    /// to release-3). Call it when the joined task has ended, or when another thread has claimed it. Afterwards the caller must
    /// subtract the busy count that [`acquire`](Self::acquire) has added.
    pub fn release(self) {
        release_inside(self.job, self.common);
        events::released(self.job);
    }
}

/// Acquires a permit of each gate of `job` below `end`, or of all its gates if `end` is `None`, for a task of `job` that will
/// run inline. `queued` must be true if that task lies in the queue of `job`. Acquires none, and returns false, if a gate has
/// no free permit, or if another task must start first.
fn acquire_inside(job: JobPtr, end: Option<JobPtr>, queued: bool) -> bool {
    let is_serial = |gate: JobPtr| queued && gate.permits.load().limit() == 1;
    if end == Some(job) && is_serial(job) && job.permits.load().ready() > 0 {
        // At a limit of 1 the joining task has the job's one permit, and another task of the job is ready. That ready task must
        // start before the queued one.
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
    // Because of the fence, a thread that pauses the common gate sees the permits that this thread has acquired, or this thread
    // sees the pause.
    fence_after_rmw();
    if end.is_some_and(|common| !may_go_on(common)) {
        release_inside(job, end);
        return false;
    }
    true
}

/// Returns true if both jobs are of the same class. Between two classes a worker must choose which task starts first, so no
/// join runs a task of another class inline.
fn is_of_same_class(job: JobPtr, joining: JobPtr) -> bool {
    !job.pool().has_classes() || job.turns().priority == joining.turns().priority
}
