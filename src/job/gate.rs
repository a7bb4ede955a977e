//! Pushes, admits, starts and refuses tasks at their gates, and releases the permits of ended tasks.
//!
//! A job has *room* if its word allows one more reservation. A thread that *admits* a task makes a reservation for it, and puts
//! the task into a deque or the injector. A task for which there is no room waits in the job's queue.
//!
//! A thread that pushes a task (the *pusher*):
//! - `push-1`: the pusher finds that the job has no room, or that tasks wait in the job's queue.
//! - `push-2`: the pusher pushes the task into the job's queue.
//! - `push-3`: the pusher executes a full fence (in `Queue::push`).
//! - `push-4`: the pusher loads the word. If the job has room now, the pusher admits tasks from the queue.
//!
//! A thread that makes room in a job:
//! - `release-1`: the thread releases the permit of a task that has ended, or raises the job's limit, or resumes the job.
//! - `release-2`: the thread executes a full fence.
//! - `release-3`: the thread checks the queue. If a task waits in the queue and the job has room, the thread admits tasks.
//!
//! Claim: no task waits in a job's queue while the job has room. A pusher pushes its task, and then loads the job's word. A
//! thread that makes room changes the word, and then checks the queue. Each of these two threads executes a full fence between
//! its two steps (`push-3`, `release-2`). So the pusher sees the changed word, or the thread that makes room sees the pushed
//! task.
//!
//! To admit tasks from a queue, a thread must own the queue lock. A thread that fails to get the lock sets the pending bit, so
//! that the lock's owner re-checks the queue (module `queue`). The owner makes a reservation before it pops a task. If a pusher
//! sees the queue empty after the pop, it also sees the reservation. So the pusher's task does not overtake the popped task
//! (`serial_in_order`).
//!
//! A task of a child passes the gate of its own job first, then the gate of each ancestor. If an ancestor refuses the task, the
//! task waits in the ancestor's queue. One child of this ancestor is the task's job, or is above the task's job. The waiting
//! task is the *delegate* of this child. While it waits, the child has the flag `Blocked`, and no other task of the child
//! enters the ancestor's queue. So each child has at most one task in the queue of its parent, and the children take turns.

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

/// Puts a task of `job` into the injector if each gate of the task has room and an empty queue. Otherwise puts the task into
/// the queue of `job` or of an ancestor.
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

/// Checks the job's queue, and admits tasks from it if the job has room (push-4, release-3). The caller must keep the job
/// alive. A caller that has changed the word or the queue must execute a full fence before this call.
#[inline]
pub fn look(job: JobPtr) {
    if !job.queue().is_empty() {
        serve_if_due(job);
    }
}

/// Checks the queues of the job and of each ancestor. If such a job has room, admits tasks from its queue, as [`look`] does.
pub fn look_outwards(job: JobPtr) {
    job.gates().for_each(look);
}

/// Cancels a reservation at a gate, then checks the gate's queue: the gate might have refused a task because of that
/// reservation.
fn leave_gate(gate: JobPtr) {
    gate.permits.unreserve();
    fence_after_rmw();
    look(gate);
}

/// If the job has room, or if the tasks in its queue must be dropped, calls [`serve_queue`] and returns true. Otherwise
/// returns false.
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

/// Admits tasks from the job's queue while the job has room. If the job is cancelled or the pool drops all tasks, requests a
/// sweep instead. If another thread has the queue lock, only sets the pending bit.
#[cold]
pub fn serve_queue(job: JobPtr) {
    if let Some(consumer) = job.queue().try_lock() {
        serve_until_whole(job, consumer, false);
    }
}

/// Admits tasks or requests a sweep as [`serve_queue`] does, then unlocks the queue. The caller must own the queue lock
/// already. Call this function if another thread has set the pending bit while the caller owned the lock.
#[cold]
pub fn serve_queue_with(job: JobPtr, consumer: Consumer<'_>) {
    serve_until_whole(job, consumer, true);
}

fn serve_until_whole(job: JobPtr, consumer: Consumer<'_>, word_left: bool) {
    // This thread might wake a waiter under the queue lock. The waker is the user's code, so it must not run under that lock.
    // It runs later, when `_deferral` is dropped.
    let _deferral = Deferral::begin();
    let mut whole = serve(job, consumer, word_left);
    while !whole {
        thread::yield_now();
        let Some(consumer) = job.queue().try_lock() else { return };
        whole = serve(job, consumer, true);
    }
}

/// Admits tasks while the job has room, then unlocks the queue. If `word_left` is true and no worker can take tasks out of the
/// queue now, also drops the cancelled tasks in the queue. `word_left` must be true if another thread might have set the
/// pending bit, for example a thread that has cancelled a task in the queue. Returns false if the caller must serve the queue
/// again: a push is unfinished, and cancelled tasks can lie behind it.
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
        // Another thread might have set the pending bit because of a cancelled task in the queue. While a gate of the job is
        // held or held off, no worker takes that task out of the queue. So this thread takes it out.
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
    // The job might be idle now. Another thread that waits until the job is idle might have tried to get the queue lock while
    // this thread had it. Such a waiting thread relies on this thread to wake it.
    wake_if_idle(job);
    all_gone
}

/// Makes a reservation, then pops a task from the queue and admits the task. Returns false if the job has no room, or if the
/// first task's weight does not fit.
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
            // No task can be popped now, for instance because a push is unfinished. So this thread cancels the reservation. A
            // pusher might have found the job full because of the reservation. So this function returns true, and the caller
            // checks the queue again.
            job.permits.unreserve();
            fence_after_rmw();
        }
    }
    true
}

/// Unlocks the job's queue. If another thread has set the pending bit, serves the queue first.
#[inline]
pub fn unlock(job: JobPtr, consumer: Consumer<'_>) {
    if let Unlocked::LookAgain(consumer) = consumer.unlock() {
        serve_queue_with(job, consumer);
    }
}

/// Admits a task that was popped from the queue of `gate`. The caller must have made a reservation at `gate` for the task.
fn admit_delegate(cell: CellPtr, gate: JobPtr) {
    events::admitted(gate, cell);
    match child_below(gate, cell.job()) {
        None => gate.busy.add_tasks(1),
        Some(inner) => {
            // From now on the child `inner` is allowed to put its next task into the queue of `gate`. The task in `cell` keeps
            // `inner` alive.
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

/// Returns the child of `gate` that is `job` or an ancestor of `job`. Returns `None` if `gate` is `job`. The caller must pass
/// `job` or one of its ancestors as `gate`.
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

/// Makes a reservation at each ancestor of `passed` for the task in `cell`, which has a reservation at `passed`. Then injects
/// the task, and returns what `class::inject` returns. If an ancestor has no room, puts the task into a queue instead.
#[inline]
fn pass_outwards(cell: CellPtr, passed: JobPtr) -> Notified {
    let Some(outermost) = reserve_outside(cell, passed) else {
        return passed.pool().sleep.seen();
    };
    cell.set_mark(Mark::Ready);
    class::inject(outermost.pool(), cell)
}

/// Makes a reservation at each ancestor of `passed` for the task in `cell`, which has a reservation at `passed`. Returns the
/// ancestor without a parent, or `passed` if it has no parent itself. If an ancestor has no room, puts the task into a queue
/// and returns `None`. The caller must keep `passed` alive.
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
    /// Run the task. The task has its permits and a busy count.
    Run,
    /// Run the task, which has its permits and a busy count. One of its gates has a rate, so each further task that the worker
    /// runs under the same permits needs a token of that rate.
    RunPaced,
    /// Do nothing: the task was dropped, or waits in a queue again. The worker must not use the cell any more.
    Gone,
    /// Drop the tasks in the queue of the cell's job. The cell itself is no task, but a *sweep*: a request to drop these tasks.
    Sweep,
}

/// Acquires the permits of a task that a worker has taken from a deque, and returns what the worker must do. If a gate refuses
/// the task, puts the task back into a queue.
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

/// Acquires the permits of `gate` and of each ancestor of `gate` for a task, and takes a token of each rate. Call this
/// function if `gate` has the flag `Rated`. The task must have its permits of each gate below `gate`.
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

/// Acquires a permit of each ancestor of `job` for a task that has the permit of `job` already. If an ancestor refuses the
/// task, puts it back into a queue.
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

/// Wakes the threads and futures that wait until the job is idle, if none of its tasks is ready or running. Call it after a
/// change, other than the end of a task, that might have made the job idle.
pub fn wake_if_idle(job: JobPtr) {
    if job.busy.load().awaited() {
        later::wake(job.idle_key());
    }
}

/// Wakes the waiters of [`Job::settled`](crate::Job::settled) if at most as many tasks of `gate` run as its limit allows.
/// `word` is the word of `gate`.
#[inline]
pub fn settle(gate: JobPtr, word: Snapshot) {
    if word.has(Flag::Settling) && word.is_settled() {
        gate.permits.clear(Flag::Settling);
        later::wake(gate.settle_key());
    }
}

/// Releases the permits of a task of `job` at `job` and at each ancestor. Admits tasks that wait at these gates (release-1 to
/// release-3).
#[inline]
pub fn release(job: JobPtr) {
    job.gates().for_each(|gate| release_at(gate, job));
    events::released(job);
}

/// Releases the permits that a task of `job` has of `gate`. Admits tasks that wait in the queue of `gate`.
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

/// Returns true if a task waits in the queue of this gate or of one of its ancestors.
pub fn is_waited_for(gate: JobPtr) -> bool {
    gate.gates().any(|gate| !gate.queue().is_empty())
}

/// Returns true if a further task of `job` is allowed to start under the permits of a task of `job` that has ended.
pub fn may_go_on(job: JobPtr) -> bool {
    // Each inline join runs this loop. So the loop does not use the iterator `gates`, which takes three more instructions.
    let mut gate = Some(job);
    while let Some(outer) = gate {
        if !outer.permits.load().may_go_on() {
            return false;
        }
        gate = outer.parent();
    }
    !job.pool().drops()
}
