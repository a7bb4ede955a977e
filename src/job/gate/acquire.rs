//! Permits without tasks: acquires them, grants them to waiters in the queue, and gives them back.
//!
//! A waiter stands in its job's queue like a task, and passes the gates like one (push-1 to push-4, release-1 to release-3).
//! The thread that admits the waiter acquires the permits for it at once, without a worker or a deque. A held permit counts as
//! a running task. A held permit also counts as one flight, for which a drain waits.
//!
//! A permit that is given back goes directly to the first waiter of the job, if the gates allow a further task under the same
//! permit. They do if no gate is held, cancelled or over its limit, and no sibling waits at an ancestor. The word does not
//! change, so no pusher may miss room.

use super::{
    Start, drop_late, is_waited_for, look_outwards, may_go_on, rated, release, release_at,
    reserve_outside, serve_if_due, start, unlock, weigh,
};
use crate::base::task::{CellPtr, Mark};
use crate::job::permits::{Asked, Flag};
use crate::job::queue::Popped;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;

/// Acquires a permit at each gate of the job, and counts one busy task. Returns false if a gate has no room, or if a task or a
/// waiter stands in its queue. The caller must keep the job alive, and must have counted a flight.
#[inline]
pub fn try_acquire(job: JobPtr) -> bool {
    let (mut gate, mut rated) = (Some(job), false);
    while let Some(outer) = gate {
        // A permit must not overtake a task or a waiter in the queue (push-1).
        let Some(Asked::Granted(mut word)) = outer
            .queue()
            .is_empty()
            .then(|| outer.permits.acquire_in_room(outer.pool().ready_cap()))
        else {
            release_inside(job, Some(outer));
            return false;
        };
        if word.has(Flag::Rated) {
            rated = true;
            match weigh::acquire_rest(outer, job) {
                Some(whole) => word = whole,
                None => {
                    release_inside(job, Some(outer));
                    return false;
                }
            }
        }
        outer.tally.note_running(word);
        gate = outer.parent();
    }
    if rated && !rated::take_tokens_of(job) {
        release(job);
        return false;
    }
    job.busy.add_tasks(1);
    true
}

/// Releases the permits at the job's gates inside `end`, or at all its gates if `end` is `None`.
pub(super) fn release_inside(job: JobPtr, end: Option<JobPtr>) {
    job.gates().take_while(|gate| Some(*gate) != end).for_each(|gate| release_at(gate, job));
}

/// Pushes a task or a waiter into the queue of its job, whether or not there is room (push-2 to push-4).
#[inline]
pub fn push_behind(job: JobPtr, cell: CellPtr) {
    job.queue().push(cell); // push-2, push-3
    let served = serve_if_due(job); // push-4
    if served {
        drop_late(job.pool());
    }
}

/// Grants the permits to a waiter that has a reservation at `passed`, or leaves it in the queue of an ancestor without room.
/// The caller may hold queue locks.
#[cold]
pub(super) fn admit(cell: CellPtr, passed: JobPtr) {
    if reserve_outside(cell, passed).is_none() {
        return;
    }
    cell.set_mark(Mark::Ready);
    if !matches!(start(cell), Start::Run | Start::RunPaced) {
        return;
    }
    let job = cell.job();
    job.pool().flight_starts();
    // The start has ended a reservation. A pusher may have been refused because of that reservation, so this thread checks the
    // queues.
    fence_after_rmw();
    look_outwards(job);
    if !cell.grant() {
        // The waiter has left, so the permits are released. `drop_late` must not be called here, because the caller may hold
        // queue locks.
        release(job);
        job.pool().flight_ends();
        job.drop_tasks(1);
    }
}

/// Gives back a permit of each gate of the job, and no longer counts the permit as a busy task and a flight. If the gates
/// allow it, the first waiter of the job gets the permits instead. The caller must hold no queue lock.
pub fn give_back(job: JobPtr) {
    if hand_over(job) {
        return;
    }
    rated::note_end(job);
    release(job);
    drop_late(job.pool());
    job.pool().flight_ends();
    job.drop_tasks(1);
}

/// Grants the caller's permits to the first waiter in the job's queue, which then counts as busy in the caller's place.
/// Returns false if the caller keeps the permits: a task is first, the queue is locked or empty, or a gate does not allow it.
fn hand_over(job: JobPtr) -> bool {
    while !job.queue().is_empty() {
        let siblings_wait = job.parent().is_some_and(is_waited_for);
        if siblings_wait || !may_go_on(job) {
            return false;
        }
        let Some(cell) = pop_waiter(job) else { return false };
        if cell.grant() {
            return true;
        }
    }
    false
}

/// Pops the first cell of the job's queue if it is a waiter of this job. Any other cell stays first in the queue.
fn pop_waiter(job: JobPtr) -> Option<CellPtr> {
    let mut consumer = job.queue().try_lock_quietly()?;
    let waiter = match consumer.pop() {
        Popped::Task(cell) if cell.is_waiter() && cell.job() == job => Some(cell),
        Popped::Task(other) => {
            // The task stays. The caller releases its permit, and checks the queue after that.
            job.queue().push_returned(other);
            None
        }
        Popped::Empty | Popped::Unfinished => None,
    };
    unlock(job, consumer);
    waiter
}
