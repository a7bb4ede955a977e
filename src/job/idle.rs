//! Whether a job has nothing queued or running, and the wait until it has not.

use crate::job::admission::serve_line_with;
use crate::job::control::{Dropped, drop_delegates_above, drop_gone, is_stopped};
use crate::job::permits::Flag;
use crate::job::queue::{Consumer, Unlocked};
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::time::Instant;
use crate::sync::{fence_after_rmw, global, thread};
use crate::task::CellPtr;
use crate::task::parking::parking_lot;
use crate::worker::waiting;
use std::cell::{Cell, RefCell};

/// Waits until the job has nothing queued or running, or `enough` returns true. False if the job is busy then.
pub fn wait(job: JobPtr, until: Option<Instant>, enough: impl Fn() -> bool) -> bool {
    if is_idle(job) {
        return true;
    }
    enter_while_busy(job, |wait, clear| {
        waiting::wait_then(job.idle_key(), until, || !enough() && wait(), clear);
        false
    });
    forget_waiters(job);
    is_idle(job)
}

/// Calls `enter`, which enters somebody in the room for the job's idle key, with the look that W2 asks for;
/// passes on what it returns.
///
/// The look is taken under the room's lock, where nothing may be run or woken: if it finds that a line is to be
/// served, nobody is entered, the line is served outside, and `enter` called again. So it is when a handle has cancelled
/// a task meanwhile that may stand in the line of a held job above. `enter` is given the look, and what serves that line: it
/// may come with the consumer right, which is not to be kept while anything is waited for.
pub fn enter_while_busy(
    job: JobPtr,
    mut enter: impl FnMut(&dyn Fn() -> bool, &dyn Fn()) -> bool,
) -> bool {
    loop {
        let before = cancels();
        drop_delegates_above(job);
        job.pool().drop_late();
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
            job.tokens.set_waited();
            fence_after_rmw();
            // The right is not waited for: whoever has it may be about to wake somebody, for which it needs the lock under which
            // this look is taken. It is left word; then it looks again, and wakes who waits.
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

/// If nobody waits any more for the job to be idle, nobody need look into the room.
pub fn forget_waiters(job: JobPtr) {
    parking_lot().if_none_waits(job.idle_key(), || job.tokens.clear_waited());
}

/// Whether the job has nothing queued or running.
pub fn is_idle(job: JobPtr) -> bool {
    loop {
        match look_for_work(&job, || Some(wait_for_consumer(&job))) {
            Work::None => return true,
            Work::Some => return false,
            work @ (Work::Line(_) | Work::Gone | Work::HalfSeen) => work.clear(job),
        }
    }
}

/// What a job has queued or running.
enum Work<'a> {
    None,
    Some,
    /// Somebody left word meanwhile: the line is the caller's to serve.
    Line(Consumer<'a>),
    /// The job is held, and handles have cancelled tasks in its line: they are the caller's to drop.
    Gone,
    /// A push is half done, and hides what is behind it: its pusher wakes nobody.
    HalfSeen,
}

impl Work<'_> {
    /// Does what the caller is to do, where tasks may be run and others woken.
    fn clear(self, job: JobPtr) {
        match self {
            Work::Line(consumer) => serve_line_with(job, consumer),
            Work::Gone => {
                if drop_gone(job, |cell| cell.job() == job) != Dropped::Some {
                    // A push is half done, or somebody else does it.
                    thread::yield_now();
                }
            }
            Work::HalfSeen => thread::yield_now(),
            Work::None | Work::Some => {}
        }
        job.pool().drop_late();
    }
}

/// The consumer right, waited for. Not under a lock.
fn wait_for_consumer(job: &JobPtr) -> Consumer<'_> {
    loop {
        match job.queue().try_lock_quietly() {
            Some(consumer) => return consumer,
            None => thread::yield_now(),
        }
    }
}

/// Tasks of children that stand in the job's line are the children's.
///
/// With the consumer right in hand, nothing leaves the backlog: whatever was outstanding when the
/// tokens were read as none lies there still. Without the right, somebody is moving tasks.
fn look_for_work<'a>(job: &'a JobPtr, try_lock: impl FnOnce() -> Option<Consumer<'a>>) -> Work<'a> {
    if !job.tokens.load().no_tasks() {
        return Work::Some;
    }
    if job.permits.load().has(Flag::Cancelled) && !job.queue().is_empty() {
        // Somebody comes to drop it, and is not to be kept from the line.
        return Work::Some;
    }
    let Some(consumer) = try_lock() else {
        // Whoever has the right has been left word.
        return Work::Some;
    };
    let word = job.permits.load();
    let (mut waits, mut gone, mut half_seen) = (!job.queue().is_empty(), false, false);
    if waits && (is_stopped(word) || word.has(Flag::Parent)) {
        waits = false;
        let see = |cell: CellPtr| {
            let own = cell.job() == *job;
            gone |= own && is_stopped(word) && cell.is_gone();
            waits |= own;
        };
        half_seen = consumer.look_through(see).is_none() && !waits;
    }
    let quiet = job.tokens.load().no_tasks();
    match consumer.unlock() {
        Unlocked::Free if gone => Work::Gone,
        Unlocked::Free if half_seen && quiet => Work::HalfSeen,
        Unlocked::Free if quiet && !waits => Work::None,
        Unlocked::Free => Work::Some,
        Unlocked::LookAgain(consumer) => Work::Line(consumer),
    }
}

global! {
    /// Returns the number of tasks that handles have cancelled, in all pools. A thread that waits for a job checks it again
    /// when the number has grown. The number is no job's, because a job may be gone when the handle counts.
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// Wakes the waiters of a job in whose queue a handle has cancelled a task, because that task may be the last. Uses only the
/// job's address.
pub fn note_gone(job: JobPtr) {
    // Ordering: AcqRel; before the wake, for `enter_while_busy`.
    cancel_count().fetch_add(1, Ordering::AcqRel);
    parking_lot().wake(job.idle_key());
}

/// Returns a number that changes when a task in a queue was cancelled by its handle, or emptied otherwise.
pub fn cancels() -> u64 {
    // Ordering: Acquire; a thread that sees the number sees the claim.
    cancel_count().load(Ordering::Acquire)
}
