//! Pushes, admits, starts and refuses tasks at their gates, and releases the permits of ended tasks.
//!
//! A job with room *admits* a task: it counts the task as ready (`reserve`), and the task goes to a deque. If the job has no
//! room, the task waits in the job's queue.
//!
//! - `push-1`: the pusher finds the job full, or tasks waiting.
//! - `push-2`: the pusher pushes the task into the queue.
//! - `push-3`: the pusher executes a full fence (in `Queue::push`).
//! - `push-4`: the pusher loads the word. If there is room after all, it admits tasks.
//!
//! - `release-1`: the thread that ends a task releases the permit. A raise of the limit and a resume do the same.
//! - `release-2`: that thread executes a full fence.
//! - `release-3`: that thread checks the queue. If a task waits and there is room, it admits tasks.
//!
//! No task waits while there is room, because of the two fences. The pusher sees the released permit (`push-4`), or the thread
//! that released the permit sees the pushed task (`release-3`).
//!
//! A thread that admits tasks takes the queue lock. A thread that fails to get the lock sets the pending bit, and the lock's
//! owner checks the queue again (module `queue`). The owner reserves before it pops, so that no later push overtakes the task.
//! A pusher that sees the queue empty also sees the reservation (`serial_in_order`).
//!
//! A task of a child passes the gates from the inside out. If a gate refuses it, the task joins the queue of that gate as the
//! one *delegate* of its child. The child is then marked `Blocked`. So each child has one task in that queue, and the children
//! take turns.

mod acquire;
pub mod adapt;
pub mod clear;
mod drops;
mod gone;
pub mod handed;
pub mod hold;
pub mod inline;
mod keep;
pub mod rated;
mod returns;
pub mod weigh;

pub use acquire::{give_back, push_behind, try_acquire};
pub use drops::{
    discard, drop_late, drop_task, inject_cleared, inject_to_drop, is_dropped, request_sweep, sweep,
};
pub use gone::{
    Dropped, drop_delegates_above, drop_delegates_in, drop_gone, drop_taken, is_stuck, take_gone,
    tidy_queue,
};
pub use keep::{hopeless, may_run_as_a_part, release_from, release_unkept, unkept};
#[cfg(feature = "futures")]
pub use returns::{come_back, go_on};

use crate::base::later::{self, Deferral};
use crate::base::sleep::Notified;
use crate::base::task::{CellPtr, Mark};
use crate::job::class;
use crate::job::events;
use crate::job::permits::{Asked, Flag, Snapshot};
use crate::job::queue::{Consumer, Popped, Unlocked};
use crate::job::record::JobPtr;
use crate::sync::{fence_after_rmw, thread};
use returns::{refuse, wait_at};

/// Pushes a task into the injector if its job has room, or else into the job's queue.
pub fn push(job: JobPtr, cell: CellPtr) {
    // The task must not overtake tasks that wait (push-1).
    if job.queue().is_empty() && job.permits.reserve(job.pool().ready_cap()).granted() {
        job.busy.add_tasks(1);
        if pass_outwards(cell, job) == Notified::TooLate {
            drop_late(job.pool());
        }
        return;
    }
    events::refused(job, cell);
    push_behind(job, cell);
}

/// Checks the queue, and admits tasks if there is room (push-4, release-3). The caller must keep the job alive. After its
/// change of the word or of the queue, the caller must have executed a full fence.
#[inline]
pub fn look(job: JobPtr) {
    if !job.queue().is_empty() {
        serve_if_due(job);
    }
}

/// Calls [`look`] for the job and each ancestor.
pub fn look_outwards(job: JobPtr) {
    job.gates().for_each(look);
}

/// Cancels a reservation at a gate, then checks the queue: a task may have been refused while the reservation was held.
fn leave_gate(gate: JobPtr) {
    gate.permits.unreserve();
    fence_after_rmw();
    look(gate);
}

/// Admits or drops tasks in the queue if one of them may leave it. Returns true in that case.
#[inline]
fn serve_if_due(job: JobPtr) -> bool {
    let word = job.permits.load();
    let cancelled = word.has(Flag::Cancelled);
    let due = job.wants_admission(word) || cancelled || job.pool().drops();
    if due {
        serve_queue(job);
    }
    due
}

/// Admits tasks from the queue while there is room, or requests a sweep if the job is cancelled.
#[cold]
pub fn serve_queue(job: JobPtr) {
    if let Some(consumer) = job.queue().try_lock() {
        serve_until_whole(job, consumer, false);
    }
}

/// Admits tasks from the queue as [`serve_queue`] does. The caller has the queue lock and has seen the pending bit. Unlocks the
/// queue.
#[cold]
pub fn serve_queue_with(job: JobPtr, consumer: Consumer<'_>) {
    serve_until_whole(job, consumer, true);
}

fn serve_until_whole(job: JobPtr, consumer: Consumer<'_>, word_left: bool) {
    // Wakers run when `_deferral` is dropped, with no queue lock held: a waker is the user's code.
    let _deferral = Deferral::begin();
    let mut whole = serve(job, consumer, word_left);
    while !whole {
        thread::yield_now();
        let Some(consumer) = job.queue().try_lock() else { return };
        whole = serve(job, consumer, true);
    }
}

/// Admits tasks while there is room, then unlocks the queue. Returns false if an unfinished push may hide cancelled tasks.
fn serve(job: JobPtr, mut consumer: Consumer<'_>, mut word_left: bool) -> bool {
    let (mut gone, mut cancelled) = (Vec::new(), false);
    let all_gone = loop {
        while consumer.can_pop() {
            let word = job.permits.load();
            cancelled = word.has(Flag::Cancelled) || job.pool().drops();
            if cancelled || !job.wants_admission(word) || !admit_one(job, &mut consumer) {
                break;
            }
        }
        // The pending bit may have been set for a task that its handle has cancelled. No worker pops that of a held job.
        let all =
            !word_left || !is_stuck(job) || take_gone(job, &mut consumer, |_| true, &mut gone);
        word_left = true;
        match consumer.unlock() {
            Unlocked::LookAgain(again) => consumer = again,
            Unlocked::Free => break all,
        }
    };
    drop_taken(job, gone);
    if cancelled {
        request_sweep(job); // sweep-1
    }
    // The job may be idle now. A waiter that failed to get the queue lock relies on this thread to wake it.
    wake_if_idle(job);
    all_gone
}

/// Reserves room for one task, then pops the task and admits it. Returns false if there is no room.
fn admit_one(job: JobPtr, consumer: &mut Consumer<'_>) -> bool {
    let word = job.permits.load();
    if word.has(Flag::Rated) && !weigh::first_fits(job, consumer) {
        return false; // weigh-1
    }
    let ready_cap = if job.is_unlimited(word) { 1 } else { job.pool().ready_cap() };
    if !job.permits.reserve(ready_cap).granted() {
        return false;
    }
    match consumer.pop() {
        Popped::Task(cell) => admit_delegate(cell, job),
        Popped::Empty | Popped::Unfinished => {
            // Another thread has popped the task, or the push of the task is unfinished. A pusher may have found the job full
            // because of this reservation, so the caller checks the queue again.
            job.permits.unreserve();
            fence_after_rmw();
        }
    }
    true
}

/// Unlocks the queue. If the pending bit was set, admits tasks from the queue first.
#[inline]
pub fn unlock(job: JobPtr, consumer: Consumer<'_>) {
    if let Unlocked::LookAgain(consumer) = consumer.unlock() {
        serve_queue_with(job, consumer);
    }
}

/// Admits a task from the queue of `gate`, where a reservation was made for it just now.
fn admit_delegate(cell: CellPtr, gate: JobPtr) {
    events::admitted(gate, cell);
    match child_below(gate, cell.job()) {
        None => gate.busy.add_tasks(1),
        Some(inner) => {
            // The child may put its next task into this queue. The cell keeps `inner` alive.
            inner.permits.clear(Flag::Blocked);
            fence_after_rmw();
            look(inner);
        }
    }
    if cell.is_waiter() {
        acquire::admit(cell, gate);
    } else {
        let _ = pass_outwards(cell, gate);
    }
}

/// Returns the child of `gate` that is `job` or an ancestor of it. Returns `None` if `gate` is `job`.
fn child_below(gate: JobPtr, job: JobPtr) -> Option<JobPtr> {
    let mut inner = job;
    while inner != gate {
        match inner.parent() {
            Some(outer) if outer == gate => return Some(inner),
            Some(outer) => inner = outer,
            None => unreachable!("a task waits at a gate that it has to pass"),
        }
    }
    None
}

/// Adds a reservation at each ancestor of `passed` for a task that has one at `passed`. Then injects the task. If an ancestor
/// has no room, the task waits in a queue instead. Returns what `inject` returns.
#[inline]
fn pass_outwards(cell: CellPtr, passed: JobPtr) -> Notified {
    let Some(outermost) = reserve_outside(cell, passed) else {
        return passed.pool().sleep.seen();
    };
    cell.set_mark(Mark::Ready);
    class::inject(outermost.pool(), cell)
}

/// Adds a reservation at each ancestor of `passed` for a task that has one at `passed`. Returns the outermost gate. Returns
/// `None` if a gate has no room: the task then waits in a queue. The caller must keep `passed` alive.
#[inline]
fn reserve_outside(cell: CellPtr, passed: JobPtr) -> Option<JobPtr> {
    let mut inner = passed;
    while let Some(outer) = inner.parent() {
        let free =
            outer.queue().is_empty() && outer.permits.reserve(outer.pool().ready_cap()).granted();
        if !free {
            wait_at(cell, outer);
            return None;
        }
        inner = outer;
    }
    Some(inner)
}

/// The action that a worker must take for a cell from a deque.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Run the task: it holds its permits, and counts as busy.
    Run,
    /// Run the task, as for `Run`. A job with a rate is among its gates, so each further task under these permits needs a token
    /// of the rate.
    RunPaced,
    /// Do nothing: the task waits in a queue again or was dropped. The worker must not touch the cell.
    Gone,
    /// Drop the tasks in the queue of the cell's job. The cell itself is no task, but a *sweep*.
    Sweep,
}

/// Acquires the permits of a task that a worker has taken from a deque. If a gate refuses, puts the task back into a queue.
#[inline]
pub fn start(cell: CellPtr) -> Start {
    let job = cell.job();
    match cell.mark() {
        Mark::Admitted => return Start::Run,
        Mark::Sweep => return Start::Sweep,
        Mark::Handed => return handed::start(cell),
        Mark::ToDrop => {
            discard(cell);
            return Start::Gone;
        }
        Mark::Ready | Mark::Loose if is_dropped(job) => {
            discard(cell);
            return Start::Gone;
        }
        Mark::Loose => match job.permits.acquire() {
            Asked::Granted(word) => {
                job.tally.note_running(word);
                return Start::Run;
            }
            Asked::Refused(_) => {}
        },
        Mark::Ready => match job.permits.start() {
            Asked::Granted(word) => {
                job.tally.note_running(word);
                return start_outside(cell, job);
            }
            Asked::Refused(word) if word.has(Flag::Rated) => return start_at_a_rate(cell, job),
            Asked::Refused(_) => {}
        },
    }
    refuse(cell, job);
    Start::Gone
}

/// Starts a task that was refused because the job `gate` has a rate. Acquires the permits of `gate` and of each ancestor, and
/// takes a token of each rate.
#[cold]
fn start_at_a_rate(cell: CellPtr, gate: JobPtr) -> Start {
    match rated::start(cell, gate) {
        None => Start::RunPaced,
        Some(refused) => {
            if cell.is_gone() {
                weigh::drop_refused(cell, refused);
            } else {
                refuse(cell, refused);
            }
            Start::Gone
        }
    }
}

/// Acquires the permits of a task at the ancestors of its job. The task has the permit of its job already.
#[inline]
fn start_outside(cell: CellPtr, job: JobPtr) -> Start {
    for outer in job.gates().skip(1) {
        match outer.permits.start() {
            Asked::Granted(word) => outer.tally.note_running(word),
            Asked::Refused(word) if word.has(Flag::Rated) => return start_at_a_rate(cell, outer),
            Asked::Refused(_) => {
                refuse(cell, outer);
                return Start::Gone;
            }
        }
    }
    Start::Run
}

/// Wakes the waiters of the job if none of its tasks is ready or running. Call it where a job may become idle although no task
/// ends.
pub fn wake_if_idle(job: JobPtr) {
    if job.busy.load().awaited() {
        later::wake(job.idle_key());
    }
}

/// Wakes the waiters of [`Job::settled`](crate::Job::settled) if, by `word`, no more tasks run than the limit allows.
#[inline]
pub fn settle(gate: JobPtr, word: Snapshot) {
    if word.has(Flag::Settling) && word.is_settled() {
        gate.permits.clear(Flag::Settling);
        later::wake(gate.settle_key());
    }
}

/// Releases a task's permits at the job and each ancestor, and admits waiting tasks there (release-1 to release-3).
#[inline]
pub fn release(job: JobPtr) {
    job.gates().for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Releases the permits of a task of `job` at the job `gate`, and admits tasks that wait there.
#[inline]
fn release_at(gate: JobPtr, job: JobPtr) {
    let mut word = gate.permits.release(); // release-1
    if word.acts_at_release() {
        word = weigh::release_rest(gate, job, word);
    }
    settle(gate, word);
    fence_after_rmw(); // release-2
    look(gate); // release-3
}

/// Returns true if a task waits in the queue of this gate or of an ancestor.
pub fn is_waited_for(gate: JobPtr) -> bool {
    gate.gates().any(|gate| !gate.queue().is_empty())
}

/// Returns true if a further task may start under the permits of a task that has ended.
pub fn may_go_on(job: JobPtr) -> bool {
    // The loop is written by hand because each inline join runs it. The iterator `gates` would take three instructions more.
    let mut gate = Some(job);
    while let Some(outer) = gate {
        if !outer.permits.load().may_go_on() {
            return false;
        }
        gate = outer.parent();
    }
    !job.pool().drops()
}
