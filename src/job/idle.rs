//! Checks whether a job is idle, and lets a waiter park until the job is idle.

use crate::base::parking::parking_lot;
use crate::base::task::CellPtr;
use crate::job::cancels::cancels;
use crate::job::gate::{Dropped, drop_delegates_above, drop_gone, drop_late, serve_queue_with};
use crate::job::permits::Flag;
use crate::job::queue::{Consumer, Unlocked};
use crate::job::record::JobPtr;
use crate::sync::{fence_after_rmw, thread};
use std::cell::{Cell, RefCell};

/// Calls `enter`, which must add a waiter to the parking lot if the job is busy (`park-2`). The waiter's key is the job's
/// `idle_key`. If the job has other work that must be done before a wait, does this work and calls `enter` again. Returns what
/// the last call of `enter` returns: true if the waiter still waits.
///
/// The first argument of `enter` is a check, which returns true if the job is busy. `enter` must call the check under the lock
/// of the waiter's bucket of the parking lot, and must add the waiter only if the check returns true. Under that lock the check
/// runs no task and wakes no thread.
///
/// The check that `enter` calls returns false if the job is idle. It also returns false if other work must be done first: the
/// job's queue must be served, a handle has cancelled a task that can lie in the queue of this job or of a held ancestor, or an
/// unfinished push hides whether the queue has a task. Then this function serves the queue, drops the cancelled tasks or yields
/// the processor, and calls `enter` again.
///
/// The second argument of `enter` is a function that does the work which the check has found. For instance, it serves and
/// unlocks the job's queue if the check has taken the queue lock. `enter` must call this function before `enter` waits for
/// anything.
pub fn enter_while_busy(
    job: JobPtr,
    mut enter: impl FnMut(&dyn Fn() -> bool, &dyn Fn()) -> bool,
) -> bool {
    loop {
        let before = cancels();
        drop_delegates_above(job);
        drop_late(job.pool());
        let cancelled = || job.parent().is_some() && cancels() != before;
        let (line, found) = (RefCell::new(None), Cell::new(false));
        let clear = || {
            let work = line.take();
            if let Some(work) = work {
                found.set(true);
                Work::clear(work, job);
            }
        };
        let look = || {
            if line.borrow().is_some() || cancelled() {
                return false;
            }
            job.busy.set_waited();
            fence_after_rmw();
            // This thread has the lock of a bucket of the parking lot. So it must not wait for the queue lock, whose owner
            // might need the bucket's lock to wake a waiter. If another thread owns the queue lock, `try_lock` sets the pending
            // bit. The owner then checks the queue again, and wakes the waiters if the job is idle.
            match look_for_work(&job, || job.queue().try_lock()) {
                Work::None => false,
                Work::Some => true,
                work @ (Work::Line(_) | Work::Gone | Work::HalfSeen) => {
                    line.replace(Some(work));
                    false
                }
            }
        };
        let entered = enter(&look, &clear);
        clear();
        let again = found.get() || (!entered && cancelled());
        if !again {
            return entered;
        }
    }
}

/// Clears the job's flag *waited* if no thread or future waits until the job is idle. After that a thread that ends the job's
/// last task need not search the parking lot for waiters.
pub fn forget_waiters(job: JobPtr) {
    parking_lot().if_none_waits(job.idle_key(), || job.busy.clear_waited());
}

/// Returns true if the job has no task queued, ready or running.
pub fn is_idle(job: JobPtr) -> bool {
    loop {
        match look_for_work(&job, || Some(job.queue().lock())) {
            Work::None => return true,
            Work::Some => return false,
            work @ (Work::Line(_) | Work::Gone | Work::HalfSeen) => work.clear(job),
        }
    }
}

/// The result of a check of a job: whether the job has tasks queued, ready or running, and what the caller must do next.
enum Work<'a> {
    /// The job has no task queued, ready or running.
    None,
    /// The job has tasks queued, ready or running. Or another thread is moving the job's tasks, and will wake the waiters if
    /// the job is idle afterwards.
    Some,
    /// Another thread has set the pending bit during the check. The caller owns the queue lock, and must serve the queue.
    Line(Consumer<'a>),
    /// The job is held or held off, and handles have cancelled tasks in its queue. The caller must drop these tasks.
    Gone,
    /// A push was unfinished, so the check has seen only a part of the queue. The caller must check again, because the pusher
    /// wakes no waiter.
    HalfSeen,
}

impl Work<'_> {
    /// Does what this value asks for: `Line` serves the queue, `Gone` drops the cancelled tasks, and `HalfSeen` yields the
    /// processor. Because this call can drop tasks and wake threads, the caller must hold no lock, except the queue lock that
    /// `Line` contains.
    fn clear(self, job: JobPtr) {
        match self {
            Work::Line(consumer) => serve_queue_with(job, consumer),
            Work::Gone => {
                if drop_gone(job, |cell| cell.job() == job) != Dropped::Some {
                    // A push is unfinished, or another thread has the queue lock and drops the tasks. This thread yields the
                    // processor to that pusher or lock owner. Then the caller checks the job again.
                    thread::yield_now();
                }
            }
            Work::HalfSeen => thread::yield_now(),
            Work::None | Work::Some => {}
        }
        drop_late(job.pool());
    }
}

/// Checks whether the job has tasks queued, ready or running. Tasks of its children in its queue do not count.
///
/// `try_lock` must try to get the lock of the job's queue. While this thread has that lock, no other thread takes a task out of
/// the queue. So if the busy count is 0 meanwhile, all the job's tasks that have not ended are in the queue. If `try_lock`
/// fails, another thread might be moving tasks, and this function returns [`Work::Some`].
fn look_for_work<'a>(job: &'a JobPtr, try_lock: impl FnOnce() -> Option<Consumer<'a>>) -> Work<'a> {
    if !job.busy.load().no_tasks() {
        return Work::Some;
    }
    if job.permits.load().has(Flag::Cancelled) && !job.queue().is_empty() {
        // The job is cancelled, so a sweep will drop the tasks in its queue. The sweep needs the queue lock, so this thread
        // does not take that lock.
        return Work::Some;
    }
    let Some(consumer) = try_lock() else {
        // `try_lock` has failed, and has set the pending bit. The owner of the queue lock sees this bit, checks the job, and
        // wakes the waiters if the job is idle.
        return Work::Some;
    };
    let word = job.permits.load();
    let (mut waits, mut gone, mut half_seen) = (!job.queue().is_empty(), false, false);
    if waits && (word.is_stopped() || word.has(Flag::Parent)) {
        waits = false;
        let see = |cell: CellPtr| {
            let own = cell.job() == *job;
            gone |= own && word.is_stopped() && cell.is_gone();
            waits |= own;
        };
        half_seen = consumer.look_through(see).is_none() && !waits;
    }
    let quiet = job.busy.load().no_tasks();
    match consumer.unlock() {
        Unlocked::Free if gone => Work::Gone,
        Unlocked::Free if half_seen && quiet => Work::HalfSeen,
        Unlocked::Free if quiet && !waits => Work::None,
        Unlocked::Free => Work::Some,
        Unlocked::LookAgain(consumer) => Work::Line(consumer),
    }
}
