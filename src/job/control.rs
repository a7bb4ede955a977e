//! Changes a job whose tasks might be running: sets its limit, pauses, resumes, closes, cancels and clears it.

use crate::base::parking::parking_lot;
use crate::job::events;
use crate::job::family;
use crate::job::gate::clear;
use crate::job::gate::weigh::wake_reclaimers;
use crate::job::gate::{drop_delegates_in, drop_late, inject_cleared, look, request_sweep, settle};
use crate::job::lifetime::Kept;
use crate::job::permits::{Flag, MOST, Snapshot};
use crate::job::record::JobPtr;
use crate::pool::core::Shared;
use crate::sync::fence_after_rmw;
use std::collections::BTreeSet;

/// Converts a limit to the value that a job's word holds. A limit above [`MOST`] becomes [`MOST`], which means "unlimited".
pub fn limit_bits(limit: usize) -> u64 {
    (limit as u64).min(MOST)
}

/// Returns the limit in `word` as users see it: `usize::MAX` means "unlimited".
pub fn limit_of(word: Snapshot) -> usize {
    if word.limit() == MOST { usize::MAX } else { word.limit() as usize }
}

/// Notes the limit and the rates with which the job of a key is made. [`is_as_made`] compares the job with them later. Call it
/// before other threads can find the job.
pub fn note_as_made(job: JobPtr) {
    job.tally.note_limit_as_made(job.permits.load());
    if let Some(extra) = job.extra() {
        extra.times().note_as_made();
    }
}

/// Returns true if a new job for the same key would equal `job`, which is idle. Compares everything in which two idle jobs of
/// one key can differ: the limit, the flags, the hold-off, and how much of each rate is used up.
pub fn is_as_made(job: JobPtr) -> bool {
    let word = job.permits.load();
    let closed = word.has(Flag::Closed) || word.has(Flag::Cancelled);
    // If the limit of `job` is adaptive, it need not equal the limit of a new job: a key's job is allowed to forget what its rule
    // has learnt.
    let adapts = job.extra().is_some_and(|extra| extra.samples.is_some());
    (adapts || word.limit() == job.tally.limit_as_made())
        && !word.has(Flag::Paused)
        && !word.has(Flag::HeldOff)
        && (!closed || job.parent().is_some_and(is_closed))
        && job.extra().is_none_or(|extra| extra.times().is_as_made(job.pool().now()))
}

/// Sets the job's limit. After the return no task of the job starts while `limit` or more of its tasks run.
pub fn set_limit(job: JobPtr, limit: u64) {
    let set = || {
        let before = job.permits.set_limit(limit);
        changed(job, before.is_held() || limit == 0);
    };
    if limit == 0 { job.pool().defer_end(set) } else { set() }
}

/// Changes the limit from `from` to `to`. Does nothing if the limit is not `from`. Neither `from` nor `to` may be 0.
pub fn replace_limit(job: JobPtr, from: usize, to: usize) {
    if from != to && job.permits.replace_limit(limit_bits(from), limit_bits(to)).granted() {
        changed(job, false);
    }
}

/// Pauses the job. After the return no task of the job starts until the job is resumed.
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

/// Makes a change of the job's limit, a pause or a resume take effect: each worker with a lease of the job checks the job's
/// word before its next task, and this thread admits queued tasks for which the job has room now. Call it after the change of
/// the word. `held_changed` must be true if the job was held before the change, or is held after it.
fn changed(job: JobPtr, held_changed: bool) {
    job.pool().advance_epoch();
    if held_changed {
        list_if_held(job);
    }
    events::changed(job);
    fence_after_rmw();
    look(job);
    let word = job.permits.load();
    if word.has(Flag::Reclaiming) {
        wake_reclaimers(job);
    }
    settle(job, word);
    if held_changed && word.is_held() && word.has(Flag::Parent) {
        // Usually a worker pops a cancelled delegate from the queue, and drops it. No worker pops from the queue of a held job,
        // so this thread drops the cancelled delegates.
        drop_delegates_in(job);
    }
    events::no_cause(job.pool());
    drop_late(job.pool());
}

/// Adds the job to the pool's list of held jobs if the job is held. Otherwise removes the job from that list. If the pool is
/// draining, cancels a held job instead of adding it. The list owns a handle of each job on it, so the record of such a job is
/// not freed.
///
/// The caller and a thread that drains the pool use the list of held jobs in these steps:
/// - `list-1`: the caller, which has changed the job's word, locks the list of held jobs and loads the word. If the job is
///   held and the pool is not draining, the caller adds the job to the list.
/// - `list-2`: under the lock, the caller checks the pool's flag *draining*. If the flag is set, the caller cancels a held job
///   instead of adding it.
/// - `drain-1`: the draining thread sets the flag *draining*.
/// - `drain-2`: the draining thread locks the list, takes all jobs off the list, unlocks the list, and cancels these jobs.
///
/// Claim: each job that is held during a drain is cancelled. If the caller adds the job to the list (`list-1`) before the
/// draining thread takes all jobs off the list (`drain-2`), the draining thread cancels the job. Otherwise the caller gets the
/// list's lock after the draining thread. So the caller sees the flag *draining* (`drain-1`), and cancels the job itself
/// (`list-2`).
pub fn list_if_held(job: JobPtr) {
    let mut held = job.pool().held(); // list-1
    if !job.permits.load().is_held() {
        let listed = held.remove(&job.opaque());
        drop(held);
        if listed {
            job.drop_handle();
        }
    } else if job.pool().draining() {
        // list-2
        drop(held);
        cancel_held(job);
    } else if held.insert(job.opaque()) {
        job.busy.keep();
    }
}

/// Closes the job, so that it accepts no further tasks.
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

/// Closes the job and marks it as cancelled, so that no further task of the job starts. Returns false if the job was cancelled
/// before.
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

/// Makes workers drop the waiting tasks and the pending futures of a cancelled job.
pub fn drop_waiting(job: JobPtr) {
    sweep_queue(job);
    #[cfg(feature = "futures")]
    crate::job::pending::cancel(job);
}

/// Requests a sweep of a cancelled job if one of its tasks is queued or delayed. A worker then drops these tasks.
fn sweep_queue(job: JobPtr) {
    let waits =
        !job.queue().is_empty() || job.permits.load().has(Flag::Blocked) || job.delayed_tasks() > 0;
    if waits {
        request_sweep(job);
    }
}

/// Cancels a job that a drain has taken off the list of held jobs, and subtracts the list's handle of the job. Does not cancel
/// the job if it is no longer held, for instance because it was resumed. If such a job is held again later, [`list_if_held`]
/// cancels it.
pub fn cancel_listed(job: JobPtr) {
    if job.permits.load().is_held() {
        cancel_held(job);
    }
    job.drop_handle();
}

/// Cancels a held job, and all jobs below it, for a drain. The caller must keep the job alive.
fn cancel_held(job: JobPtr) {
    cancel(job);
    // During a drain, a task that has waited inside is allowed to re-acquire its permit although the job is held. So this
    // thread wakes the tasks that wait to re-acquire a permit.
    parking_lot().wake(job.permit_key());
}

/// Sets the flag `Futures` of the job and of each ancestor, so that none of them counts as unlimited. A pending future or a
/// permit without a task occupies no worker. So even a limit above the number of workers can be reached. Call it before the
/// job's first future or permit without a task.
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
    if !gate.busy.load().no_tasks() {
        // The new epoch makes each worker with a lease of this job load the job's word before its next task.
        gate.pool().advance_epoch();
    }
    // A pusher might have relied on a worker with a lease of this job to check the queue. So this thread checks the queue now.
    look(gate);
}

/// Starts the drain of a pool: refuses pushes from outside, cancels the held jobs, and lets the workers end when no task is
/// left.
pub fn drain(pool: &Shared) {
    pool.refuse_outsiders(); // drain-1
    pool.defer_end(|| {
        let held = std::mem::take(&mut *pool.held()); // drain-2
        for job in held {
            cancel_listed(JobPtr::of(job));
        }
        pool.sleep.drain(|| pool.is_busy());
    });
}

/// Cancels the job and all jobs below it.
pub fn cancel(job: JobPtr) {
    job.pool().defer_end(|| cancel_with_all_below(job));
    drop_late(job.pool());
}

fn cancel_with_all_below(job: JobPtr) {
    // The handles in `below` keep the jobs in `marked` alive until the calls of `drop_waiting`.
    let (mut below, mut marked) = (Vec::new(), Vec::new());
    let mut known = BTreeSet::new();
    if mark_cancelled(job) {
        marked.push(job);
    }
    // A child that is made during a pass of this loop can accept tasks before its parent is marked as cancelled. So the loop
    // ends only when a pass over all jobs below finds no new job.
    loop {
        let mut found = Vec::new();
        family::add_below(job, &mut found);
        found.retain(|child| known.insert(child.ptr()));
        if found.is_empty() {
            break;
        }
        marked.extend(found.iter().map(Kept::ptr).filter(|child| mark_cancelled(*child)));
        below.append(&mut found);
    }
    marked.into_iter().for_each(drop_waiting);
}

/// Makes workers drop the queued and the delayed tasks of the job and of all jobs below it. The jobs stay open.
pub fn clear(job: JobPtr) {
    job.pool().defer_end(|| {
        let (mut below, mut taken) = (Vec::new(), Vec::new());
        family::add_below(job, &mut below);
        // Each child is cleared before its parent: a task that waits can move from the queue of a child to the queue of the
        // parent.
        below.iter().rev().for_each(|child| clear::take_unstarted(child.ptr(), &mut taken));
        clear::take_unstarted(job, &mut taken);
        clear::take_delegates(job, &mut taken);
        if !taken.is_empty() {
            inject_cleared(job, taken); // clear-4
        }
    });
    drop_late(job.pool());
}
