//! What a job's owner changes while it runs: limit, pause, close and cancel. And the removal of cancelled tasks from the queues of
//! held jobs.

use crate::base::parking::parking_lot;
use crate::base::task::CellPtr;
use crate::job::family;
use crate::job::gate::{
    doom, drop_task, is_dropped, look, request_sweep, settle, unlock, wake_if_idle,
};
use crate::job::permits::{Flag, MOST, Snapshot};
use crate::job::queue::Consumer;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;

/// Returns the limit in the form of the packed word. A limit above the greatest one means no limit.
pub fn limit_bits(limit: usize) -> u64 {
    (limit as u64).min(MOST)
}

/// Returns the limit of the packed word in the caller's form, where `usize::MAX` means no limit.
pub fn limit_of(word: Snapshot) -> usize {
    if word.limit() == MOST { usize::MAX } else { word.limit() as usize }
}

/// Returns true if no task of the job can start until its owner acts, or until the time has come that the job is held off for.
pub(super) fn is_stopped(word: Snapshot) -> bool {
    is_held(word) || word.has(Flag::HeldOff)
}

/// Returns true if no task of the job can start until its owner acts: the job is paused or has a limit of 0.
pub(super) fn is_held(word: Snapshot) -> bool {
    word.has(Flag::Paused) || word.limit() == 0
}

/// Notes the state of a new job of a key, before other threads know the job.
pub fn note_as_made(job: JobPtr) {
    job.tally.note_limit_as_made(job.permits.load());
    if let Some(extra) = job.extra() {
        extra.times().note_as_made();
    }
}

/// Returns true if a new job in the place of this job of a key would be the same. Checks each state that an idle job keeps: its limit,
/// what holds or closes it, and what its tasks have used up of its rates.
pub fn is_as_made(job: JobPtr) -> bool {
    let word = job.permits.load();
    let closed = word.has(Flag::Closed) || word.has(Flag::Cancelled);
    word.limit() == job.tally.limit_as_made()
        && !word.has(Flag::Paused)
        && !word.has(Flag::HeldOff)
        && (!closed || job.parent().is_some_and(is_closed))
        && job.extra().is_none_or(|extra| extra.times().is_as_made(job.pool().now()))
}

/// Sets the limit. After the return no task starts while as many tasks as the limit run.
pub fn set_limit(job: JobPtr, limit: u64) {
    let set = || {
        let before = job.permits.set_limit(limit);
        changed(job, is_held(before) || limit == 0);
    };
    if limit == 0 { job.pool().defer_end(set) } else { set() }
}

/// Pauses the job. After the return no task of it starts.
pub fn pause(job: JobPtr) {
    job.pool().defer_end(|| {
        job.permits.set(Flag::Paused);
        changed(job, true);
    });
}

/// Resumes a paused job.
pub fn resume(job: JobPtr) {
    job.permits.clear(Flag::Paused);
    changed(job, true);
}

/// Acts on a change of the word: workers with a lease must check the word, and this thread checks the queue.
fn changed(job: JobPtr, held_changed: bool) {
    job.pool().advance_epoch();
    if held_changed {
        list_if_held(job);
    }
    fence_after_rmw();
    look(job);
    let word = job.permits.load();
    if word.has(Flag::Reclaiming) {
        parking_lot().wake_one(job.permit_key());
    }
    settle(job, word);
    if held_changed && is_held(word) && word.has(Flag::Parent) {
        // Cancelled delegates would be dropped at their turn. A held gate has no turns, so they are dropped now.
        drop_delegates_in(job);
    }
    job.pool().drop_late();
}

/// Lists the job with the pool if its word says that it is held, and unlists it otherwise. Cancels a held job instead if
/// the pool is draining. The list keeps the job alive, so that a drain finds it.
///
/// - hold-1: the caller has changed the word. hold-2: it takes the list's lock, loads the word, and lists the job.
/// - end-1: the drain sets the pool's flag. end-2: it takes the list's lock and empties the list.
///
/// If hold-2 comes before end-2, the drain finds the job. Otherwise the lock orders end-1 before hold-2, which sees the flag.
pub fn list_if_held(job: JobPtr) {
    let mut held = job.pool().held();
    if !is_held(job.permits.load()) {
        let listed = held.remove(&job.opaque());
        drop(held);
        if listed {
            job.drop_handle();
        }
    } else if job.pool().draining() {
        drop(held);
        cancel_held(job);
    } else if held.insert(job.opaque()) {
        job.tokens.keep();
    }
}

/// Subtracts a handle of a job. If only the handle of the list of held jobs is left, and the job has no task, removes the job from
/// that list.
#[inline]
pub fn drop_handle(job: JobPtr) {
    if give_back_handle(job) {
        // SAFETY: no handle and no busy task is left.
        unsafe { job.free(0) };
    }
}

/// Does what [`drop_handle`] does, but returns true if the caller must free the record: so a chain of parents is freed in a
/// loop.
#[inline]
#[must_use]
pub fn give_back_handle(job: JobPtr) -> bool {
    if is_held(job.permits.load()) { give_back_handle_of_held(job) } else { job.give_back_handle() }
}

#[cold]
fn give_back_handle_of_held(job: JobPtr) -> bool {
    let mut held = job.pool().held();
    if !held.contains(&job.opaque()) {
        drop(held);
        return job.give_back_handle();
    }
    // The lock is kept over the change: of two threads that drop handles at once, the second must see that its handle is the
    // last. While the lock is held, the list's own handle keeps the record.
    let left = job.tokens.drop_handle();
    if left.handles() == 1 && left.no_tasks() && job.queue().is_empty() {
        held.remove(&job.opaque());
        drop(held);
        return job.give_back_handle();
    }
    false
}

/// Closes the job: it accepts no further tasks.
pub fn close(job: JobPtr) {
    job.permits.set(Flag::Closed);
    job.pool().blocked_pushers.wake();
}

/// Returns true if the job or one of its ancestors is closed.
#[inline]
pub fn is_closed(job: JobPtr) -> bool {
    let mut gate = job;
    loop {
        if gate.permits.load().has(Flag::Closed) {
            return true;
        }
        match gate.parent() {
            Some(outer) => gate = outer,
            None => return false,
        }
    }
}

/// Closes the job and marks it as cancelled: no task of it starts any more. Returns false if it was cancelled before.
pub fn mark_cancelled(job: JobPtr) -> bool {
    job.permits.set(Flag::Closed);
    if job.permits.set(Flag::Cancelled).has(Flag::Cancelled) {
        return false;
    }
    job.pool().blocked_pushers.wake();
    job.pool().advance_epoch();
    fence_after_rmw();
    true
}

/// Requests that workers drop all tasks of a cancelled job that have not started, and its pending futures.
pub fn drop_waiting(job: JobPtr) {
    sweep_line(job);
    #[cfg(feature = "futures")]
    crate::task::future::pending::cancel(job);
}

/// Requests that workers drop the queued and the delayed tasks of a cancelled job.
fn sweep_line(job: JobPtr) {
    let waits =
        !job.queue().is_empty() || job.permits.load().has(Flag::Blocked) || job.delayed_tasks() > 0;
    if waits {
        request_sweep(job);
    }
}

/// Cancels a job that a drain has taken off the list, unless the job is not held any more: a resume changes the word first
/// and the list afterwards. If the job is held again later, `list_if_held` sees the drain. Gives the list's handle back.
pub fn cancel_listed(job: JobPtr) {
    if is_held(job.permits.load()) {
        cancel_held(job);
    }
    job.drop_handle();
}

/// Cancels a held job, and all below it, for a drain. The caller must keep the job alive.
fn cancel_held(job: JobPtr) {
    family::cancel(job);
    // A drain lets a task that has started take its permit back although the job is held.
    parking_lot().wake(job.permit_key());
}

/// What a call of [`drop_gone`] did.
#[must_use]
#[derive(PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It dropped no task: there was none to drop, or another thread has the queue lock, and will see the pending bit.
    None,
    /// It dropped at least one task.
    Some,
    /// It dropped no task, but an unfinished push may hide tasks to drop.
    NotYet,
}

/// Drops the cancelled tasks in a job's queue that `which` accepts: those cancelled by their handles, and those of cancelled jobs.
/// Call it if no worker pops from the queue. All other tasks keep their places, because the job may be resumed meanwhile.
pub(crate) fn drop_gone(job: JobPtr, which: impl Fn(CellPtr) -> bool) -> Dropped {
    let Some(mut consumer) = job.queue().try_lock() else { return Dropped::None };
    let mut taken = Vec::new();
    let all = take_gone(job, &mut consumer, which, &mut taken);
    unlock(job, consumer);
    let some = !taken.is_empty();
    drop_taken(job, taken);
    match (all, some) {
        (false, _) => Dropped::NotYet,
        (true, true) => Dropped::Some,
        (true, false) => Dropped::None,
    }
}

/// Removes the cancelled tasks that `which` accepts from a queue, each with a token. Returns false if an unfinished push may hide
/// some.
pub fn take_gone(
    line: JobPtr,
    consumer: &mut Consumer<'_>,
    which: impl Fn(CellPtr) -> bool,
    taken: &mut Vec<CellPtr>,
) -> bool {
    let with_its_job = |cell: CellPtr| cell.job() != line && is_dropped(cell.job());
    let before = taken.len();
    let whole =
        consumer.take_out(|cell| which(cell) && (cell.is_gone() || with_its_job(cell)), taken);
    let own = taken[before..].iter().filter(|cell| cell.job() == line).count() as u64;
    if own > 0 {
        // The job must not be idle before the tasks are counted.
        line.tokens.add_tasks(own);
    }
    whole
}

/// Drops the cancelled tasks that were taken out of a queue. The caller does not hold the lock of that queue.
pub fn drop_taken(line: JobPtr, taken: Vec<CellPtr>) {
    if taken.is_empty() {
        return;
    }
    for cell in taken {
        if cell.job() == line {
            // Its handle has dropped the captures. Only the cell is left.
            drop_task(cell);
        } else {
            doom(cell, line);
        }
    }
    wake_if_idle(line);
}

/// Returns true if no task leaves the gate's queue for now: the job or one of its ancestors is paused, held off or has a limit
/// of 0.
pub fn is_stuck(gate: JobPtr) -> bool {
    gate.gates().any(|gate| is_stopped(gate.permits.load()))
}

/// Drops the cancelled delegates in the queues of stuck ancestors of this job, because no worker pops them there. If another thread
/// has a queue lock there, that thread drops them.
pub fn drop_delegates_above(job: JobPtr) {
    for outer in job.gates().skip(1) {
        drop_delegates_at(outer, || is_stuck(outer));
    }
}

/// Drops the cancelled delegates in the queues of this gate and of all gates inside of it, which have become stuck.
pub(super) fn drop_delegates_in(gate: JobPtr) {
    drop_delegates_at(gate, || is_stuck(gate));
    let mut below = family::gates_in(gate);
    while let Some(inner) = below.pop() {
        // This gate is checked first: otherwise each gate of a chain would walk the whole chain.
        drop_delegates_at(inner.ptr(), || is_stopped(gate.permits.load()) || is_stuck(inner.ptr()));
        below.append(&mut family::gates_in(inner.ptr()));
    }
}

fn drop_delegates_at(gate: JobPtr, is_stuck: impl Fn() -> bool) {
    // When a delegate leaves, its child may send another one.
    while is_stuck() {
        match drop_gone(gate, |cell| cell.job() != gate) {
            Dropped::None => break,
            Dropped::Some => {}
            Dropped::NotYet => crate::sync::thread::yield_now(),
        }
    }
}

/// Notes, at a job's first future or permit without a task, that its limit and those above it may bind whatever the number of
/// workers.
#[inline]
pub fn expect_futures(job: JobPtr) {
    for gate in job.gates() {
        if !gate.permits.load().has(Flag::Futures) {
            note_futures(gate);
        }
    }
}

#[cold]
fn note_futures(gate: JobPtr) {
    gate.permits.set(Flag::Futures);
    fence_after_rmw();
    if !gate.tokens.load().no_tasks() {
        // The worker that runs the job must load the word before its next task.
        gate.pool().advance_epoch();
    }
    // Tasks may have been left to that worker.
    look(gate);
}

/// Takes the tasks that their handles have cancelled, and the waiters that have left, out of the job's queue.
pub fn tidy_queue(job: JobPtr) {
    let _ = drop_gone(job, |cell| cell.job() == job);
}
