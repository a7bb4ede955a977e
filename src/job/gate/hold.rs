//! Holds jobs off until a time, and opens them at that time: from then on their tasks can start.
//!
//! A thread that holds a job off does these steps under the lock of the job's `Times`:
//! - `off-1`: The thread notes the time until which the job is held off, and arms an entry for it in the pool's timer. If an
//!   entry of the job is already armed for the same or an earlier time, the thread arms no further entry. An entry owns a
//!   handle of the job.
//! - `off-2`: The thread sets the flag `HeldOff`, and advances the epoch. So a worker with a lease of the job checks the flag
//!   before its next task.
//!
//! A thread that fires the timer's entry of a job that is held off opens the job:
//! - `open-1`: Under the lock of the job's `Times`, the thread computes the time until which the job must stay held off. If
//!   that time is still to come, the thread arms the timer again and stops. Otherwise the thread clears the flag `HeldOff`.
//! - `open-2`: The thread executes a full fence.
//! - `open-3`: The thread checks the job's queue, and admits tasks from it.
//!
//! Claim: each task that waits because of the flag `HeldOff` is admitted when the job is opened. The flag and the timer's
//! entry change under one lock, so an entry is armed whenever the flag is set. A pusher pushes its task, and then loads the
//! word (`push-2` to `push-4` of module `gate`). The opening thread clears the flag, and then checks the queue (`open-1` to
//! `open-3`). Because both threads execute a fence in between, the pusher sees the flag cleared, or the opening thread sees
//! the task. In both cases the task is admitted.
//!
//! Claim: no task starts before the time until which its job is held off. A later call of `hold_off` can extend this time
//! without a new entry, so that the armed entry fires too early. So the thread that fires the entry reads the time again
//! (`open-1`).

use super::{drop_delegates_in, drop_late, look};
use crate::base::timer::{Key, NotArmed};
use crate::job::events;
use crate::job::lifetime;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::times::Times;
use crate::pool::due::{Act, Due, Timed};
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;

/// The timer's action that opens a job that was held off. A drain waits for this action if tasks wait in the job's queue.
static OPEN: Act =
    Act { fire: open, is_waited_for: |due| !JobPtr::of(due.job()).queue().is_empty() };

/// Holds the job off until the time `until`. Does nothing if the job is already held off until that time or a later one, or if
/// `until` has passed. After the return no task of the job acquires a permit before `until`.
///
/// # Errors
/// Returns an error if the timer's thread could not be started. In this case the job stays as it was before the call.
pub fn hold_off(job: JobPtr, until: Instant) -> std::io::Result<()> {
    {
        let mut times = job.extra_or_make().times();
        let before = times.held_until;
        if until <= job.pool().now() || before.is_some_and(|before| until <= before) {
            return Ok(());
        }
        times.held_until = Some(until);
        if let Err(error) = close_until(job, &mut times, until) {
            times.held_until = before;
            return match error {
                // The pool has ended, or drops all tasks: the job needs no hold-off.
                NotArmed::Closed => Ok(()),
                NotArmed::NoThread(error) => Err(error),
            };
        }
    }
    if job.permits.load().has(Flag::Parent) {
        // Usually a worker pops a cancelled delegate from the queue, and drops it. No worker pops from the queue of a job that
        // is held off, so this thread drops the cancelled delegates.
        drop_delegates_in(job);
    }
    Ok(())
}

/// Arms the timer for the time `until`, and sets the flag `HeldOff`. Does nothing if an entry of the job is already armed for
/// this time or an earlier one. When that entry fires, [`open`] arms the timer again if the job must stay held off. The caller
/// must have the lock of the job's `times`.
pub(super) fn close_until(job: JobPtr, times: &mut Times, until: Instant) -> Result<(), NotArmed> {
    if times.armed.is_some_and(|(when, _)| when <= until) {
        return Ok(());
    }
    job.busy.keep();
    match job.pool_ptr().arm(until, Due { waits: Timed::Job(job.opaque()), act: &OPEN }) {
        Ok(key) => times.armed = Some(key), // off-1
        Err(error) => {
            // The caller has another handle, so this call does not free the record.
            job.drop_handle();
            return Err(error);
        }
    }
    job.permits.set(Flag::HeldOff); // off-2
    job.pool().advance_epoch();
    Ok(())
}

/// Ends the hold-off of the job whose timer entry has fired, and admits tasks from its queue. If the job must stay held off
/// longer, arms the timer again instead.
fn open(due: Due, key: Key) {
    let job = JobPtr::of(due.job());
    {
        let mut times = job.extra_or_make().times();
        if times.armed != Some(key) {
            // Another thread has disarmed this entry, or has armed a later one, since the timer fired it. This thread leaves the
            // hold-off as it is.
            drop(times);
            return lifetime::drop_handle(job);
        }
        times.armed = None;
        let until = times.until(job.pool().now());
        if let Some(until) = until
            && let Ok(key) = job.pool_ptr().arm(until, due)
        {
            times.armed = Some(key);
            return;
        }
        events::opened(job);
        times.held_until = None;
        job.permits.clear(Flag::HeldOff); // open-1
    }
    fence_after_rmw(); // open-2
    look(job); // open-3
    drop_late(job.pool());
    lifetime::drop_handle(job);
}

/// Returns the time at which the job's rates allow a start, if that time is still to come.
pub fn paced_until(job: JobPtr) -> Option<Instant> {
    if !job.permits.load().has(Flag::HeldOff) {
        return None;
    }
    job.extra()?.times().paced_until(job.pool().now())
}

/// Returns the time until which the job is held off, if that time is still to come.
pub fn held_until(job: JobPtr) -> Option<Instant> {
    if !job.permits.load().has(Flag::HeldOff) {
        return None;
    }
    let until = job.extra()?.times().held_until;
    until.filter(|until| *until > job.pool().now())
}
