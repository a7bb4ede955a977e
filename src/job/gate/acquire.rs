//! Acquires permits without tasks, grants them to waiters in queues, and gives them back.
//!
//! A *waiter* is a thread or future that waits for a permit. A waiter's cell lies in the job's queue, and passes the gates as a
//! task does (module `gate`). The thread that admits the waiter acquires the waiter's permits at once, without a worker or a
//! deque. A permit without a task counts as a running task, and as a flight, for which a drain waits.
//!
//! A thread that gives back a permit without a task grants it to the waiter that is first in the job's queue, under two
//! conditions. First, no gate of the job is held, held off, cancelled or over its limit, and none has the flag `Rated`.
//! Second, no task waits in the queue of an ancestor. The grant changes no job's word: the permits pass to the waiter, and are
//! never free in between. So no pusher can miss a free permit.

use super::{
    Start, drop_late, is_waited_for, look_outwards, may_go_on, rated, release, release_at,
    reserve_outside, serve_if_due, start, unlock, weigh,
};
use crate::base::task::{CellPtr, Mark};
use crate::job::permits::{Asked, Flag};
use crate::job::queue::Popped;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;

/// Acquires the permits of one task at each gate of the job, counts one busy task, and returns true. Acquires none and returns
/// false if a gate has no room, if a gate's queue is not empty, or if a rate has no token. The caller must keep the job alive,
/// and must have counted a flight.
#[inline]
pub fn try_acquire(job: JobPtr) -> bool {
    let (mut gate, mut rated) = (Some(job), false);
    while let Some(outer) = gate {
        // If a task or a waiter is in the gate's queue, the caller gets no permit, because it must not overtake (push-1).
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

/// Releases the permits of a task of `job` at each gate below `end`, or at each gate if `end` is `None`.
pub(super) fn release_inside(job: JobPtr, end: Option<JobPtr>) {
    job.gates().take_while(|gate| Some(*gate) != end).for_each(|gate| release_at(gate, job));
}

/// Pushes a task or a waiter into the queue of its job without a check for room. Then admits tasks from the queue if the job
/// has room (push-2 to push-4).
#[inline]
pub fn push_behind(job: JobPtr, cell: CellPtr) {
    job.queue().push(cell); // push-2, push-3
    let served = serve_if_due(job); // push-4
    if served {
        drop_late(job.pool());
    }
}

/// Acquires the permits of the waiter in `cell`, and grants them to the waiter. The waiter must have a reservation at `passed`,
/// which is its job or an ancestor of its job. If an ancestor of `passed` has no room, puts the waiter into that ancestor's queue
/// instead. The caller is allowed to hold queue locks.
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
    // The waiter has permits now, and no reservations. A gate might have refused a task because of one of the reservations, so
    // this thread checks the queues.
    fence_after_rmw();
    look_outwards(job);
    if !cell.grant() {
        // The waiter does not wait any more, so this thread releases the permits. This thread does not call `drop_late`, which
        // needs a caller without queue locks: the caller of this function is allowed to hold some.
        release(job);
        job.pool().flight_ends();
        job.drop_tasks(1);
    }
}

/// Releases permits of `job` and its ancestors that belong to no task. Also subtracts the busy count and the flight that belong
/// to these permits. If a waiter is first in the job's queue and no gate forbids it, grants the permits and both counts to that
/// waiter instead. The caller must own these permits, and must hold no queue lock.
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

/// Grants the caller's permits, busy count and flight to the first waiter in the job's queue, and returns true. Grants nothing
/// and returns false if the queue is empty or locked, if a task is first in the queue, or if a gate forbids the grant.
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

/// Pops the first cell of the job's queue if that cell belongs to a waiter of this job, and no gate forbids the grant. Leaves any
/// other cell first in the queue.
fn pop_waiter(job: JobPtr) -> Option<CellPtr> {
    let mut consumer = job.queue().try_lock_quietly()?;
    let waiter = match consumer.pop() {
        // A gate might have been paused after the caller's check, and the popped waiter might have been pushed after that. So
        // `may_go_on` reads the words again.
        Popped::Task(cell) if cell.is_waiter() && cell.job() == job && may_go_on(job) => Some(cell),
        Popped::Task(other) => {
            // The popped cell belongs to a task or to a waiter of a job below, or a gate forbids the grant. This thread puts the
            // cell back at the front of the queue. `give_back` then releases the caller's permits, and checks the queue again.
            job.queue().push_returned(other);
            None
        }
        Popped::Empty | Popped::Unfinished => None,
    };
    unlock(job, consumer);
    waiter
}
