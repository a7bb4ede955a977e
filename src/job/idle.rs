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

/// Makes `enter` add a waiter to the parking lot, under the job's idle key, if the job is busy (`park-2`). Returns what `enter`
/// returns.
///
/// The first argument of `enter` checks the job. `enter` must call it under the lock of the key's bucket, where no task may run
/// and no thread may be woken. `enter` adds the waiter only if this check returns true. The check returns false if the job is
/// idle. It also returns false if the queue must be served first, or if a handle has cancelled a task meanwhile: that task may
/// be in the queue of a held ancestor. In these two cases this function serves the queue and calls `enter` again.
///
/// The second argument of `enter` serves the job's queue and unlocks it, if the first argument has taken the queue lock. A
/// thread that waits for anything else inside `enter` must call the second argument before that wait.
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
            // This thread must not wait for the queue lock, because the lock's owner may need the bucket's lock to wake a
            // waiter. If another thread owns the queue lock, `try_lock` sets the pending bit. The owner then checks the queue
            // again, and wakes the waiters.
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

/// Clears the job's flag *waited* if no waiter waits until the job is idle. Then a thread that ends a task need not lock the
/// bucket.
pub fn forget_waiters(job: JobPtr) {
    parking_lot().if_none_waits(job.idle_key(), || job.busy.clear_waited());
}

/// Returns true if the job has no task queued or running.
pub fn is_idle(job: JobPtr) -> bool {
    loop {
        match look_for_work(&job, || Some(job.queue().lock())) {
            Work::None => return true,
            Work::Some => return false,
            work @ (Work::Line(_) | Work::Gone | Work::HalfSeen) => work.clear(job),
        }
    }
}

/// Whether a job has tasks queued or running, and what the caller must do.
enum Work<'a> {
    /// The job has no task queued or running.
    None,
    /// The job has tasks queued or running. Or another thread moves the job's tasks, and wakes the waiters afterwards.
    Some,
    /// Another thread has set the pending bit meanwhile. The caller owns the queue lock, and must serve the queue.
    Line(Consumer<'a>),
    /// The job is held, and handles have cancelled tasks in its queue. The caller must drop these tasks.
    Gone,
    /// An unfinished push hides the tasks behind it. The caller must check again, because the pusher wakes no waiter.
    HalfSeen,
}

impl Work<'_> {
    /// Serves the queue, drops the cancelled tasks, or yields, as the variant says. The caller must hold no lock except the
    /// queue lock in `Line`, because this call may drop tasks and wake threads.
    fn clear(self, job: JobPtr) {
        match self {
            Work::Line(consumer) => serve_queue_with(job, consumer),
            Work::Gone => {
                if drop_gone(job, |cell| cell.job() == job) != Dropped::Some {
                    // A push is unfinished, or another thread has the queue lock and drops the tasks.
                    thread::yield_now();
                }
            }
            Work::HalfSeen => thread::yield_now(),
            Work::None | Work::Some => {}
        }
        drop_late(job.pool());
    }
}

/// Checks whether the job has tasks queued or running. Tasks of its children in its queue do not count.
///
/// `try_lock` tries to get the queue lock. While this thread has the lock, no task leaves the queue. So if the busy count is 0
/// meanwhile, all the job's tasks that have not ended are in the queue. If `try_lock` fails, another thread may be moving
/// tasks, and the result is `Some`.
fn look_for_work<'a>(job: &'a JobPtr, try_lock: impl FnOnce() -> Option<Consumer<'a>>) -> Work<'a> {
    if !job.busy.load().no_tasks() {
        return Work::Some;
    }
    if job.permits.load().has(Flag::Cancelled) && !job.queue().is_empty() {
        // A sweep will drop the tasks in this queue. The sweep needs the queue lock, so this thread does not take it.
        return Work::Some;
    }
    let Some(consumer) = try_lock() else {
        // The owner of the queue lock sees the pending bit, and wakes the waiters.
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
