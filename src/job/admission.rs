//! The way of a task: pushed, let through, started, ended, and its permit handed on.
//!
//! A task is *let through* when its job has room (`reserve`: counted as ready, then into a deque) and
//! otherwise waits in the backlog. Whoever makes room looks at the backlog. The two face each
//! other as in every sleep protocol:
//!
//! - P1: the pusher finds the job full, or others waiting before it.
//! - P2: it pushes into the backlog. P3: a full fence (both in `Queue::push`).
//! - P4: it loads the word. Is there room after all, it *promotes*.
//!
//! - R1: whoever ends a task gives the permit back (or raises the limit, or resumes).
//! - R2: a full fence.
//! - R3: it looks at the backlog. Does anything wait, and is there room, it promotes.
//!
//! By the fences, P4 sees R1 or R3 sees P2: no task waits while there is room. *Promoting* takes the
//! consumer right; whoever fails to get it leaves word with the holder, who looks again (both in
//! `queue`). The promoter reserves before it pops, so that nobody overtakes: a pusher that sees
//! the backlog empty sees the reservation, too (`serial_in_order`).
//!
//! A job under others passes the gates from the inside out. At a gate that refuses, the task joins that
//! gate's backlog as its job's one *delegate*, and the gate inside is marked `Blocked`: siblings stand
//! in line with one task each, which is what makes the line go round.

mod acquire;
mod drops;
pub mod hold;
mod returns;

pub use acquire::{give_back, push_behind, try_acquire};
pub use drops::{discard, doom, drop_task, is_dropped, request_sweep, sweep};
#[cfg(feature = "futures")]
pub use returns::{come_back, go_on};

use crate::job::control;
use crate::job::permits::{Asked, Flag, Snapshot};
use crate::job::queue::{Consumer, Popped, Unlocked};
use crate::job::record::JobPtr;
use crate::sync::{fence_after_rmw, thread};
use crate::task::later::{self, Deferral};
use crate::task::parking::parking_lot;
use crate::task::{CellPtr, Mark};
use crate::worker::sleep::Notified;
use returns::{refuse, wait_at};

/// Takes a task into a job: into the injector if there is room, else into the backlog.
pub fn push(job: JobPtr, cell: CellPtr) {
    // P1: nobody passes those who wait.
    if job.queue().is_empty() && job.permits.reserve(job.pool().ready_cap()).granted() {
        job.tokens.add_tasks(1);
        if ascend(cell, job) == Notified::TooLate {
            job.pool().drop_late();
        }
        return;
    }
    push_behind(job, cell);
}

/// P4, R3: looks whether a task waits for which there is room. The caller has a fence behind what it
/// did, and keeps the job alive.
#[inline]
pub fn look(job: JobPtr) {
    if !job.queue().is_empty() {
        make_good(job);
    }
}

/// `look` at every gate of the job.
pub fn look_outwards(job: JobPtr) {
    let mut gate = Some(job);
    while let Some(outer) = gate {
        look(outer);
        gate = outer.parent();
    }
}

/// Gives up a task's room at a gate that it will not pass now: another may have waited for it.
fn leave_gate(gate: JobPtr) {
    gate.permits.unreserve();
    fence_after_rmw();
    look(gate);
}

/// Serves the queue if a waiting task should leave it; returns true if so.
#[inline]
fn make_good(job: JobPtr) -> bool {
    let word = job.permits.load();
    let cancelled = word.has(Flag::Cancelled);
    let due = job.wants_admission(word) || cancelled || job.pool().drops();
    if due {
        serve_line(job);
    }
    due
}

/// Lets tasks through from the backlog while there is room, or requests a sweep if the job is cancelled.
#[cold]
pub fn serve_line(job: JobPtr) {
    if let Some(consumer) = job.queue().try_lock() {
        serve_until_whole(job, consumer, false);
    }
}

/// `serve_line` for who has the consumer right already, and has been left word; lets go of it.
#[cold]
pub fn serve_line_with(job: JobPtr, consumer: Consumer<'_>) {
    serve_until_whole(job, consumer, true);
}

fn serve_until_whole(job: JobPtr, consumer: Consumer<'_>, word_left: bool) {
    // Ends when no queue lock is held: a waker is foreign code.
    let _deferral = Deferral::begin();
    let mut whole = serve(job, consumer, word_left);
    while !whole {
        thread::yield_now();
        let Some(consumer) = job.queue().try_lock() else { return };
        whole = serve(job, consumer, true);
    }
}

/// Serves the queue and unlocks it. Returns false if an unfinished push may hide cancelled tasks.
fn serve(job: JobPtr, mut consumer: Consumer<'_>, mut word_left: bool) -> bool {
    let (mut gone, mut cancelled) = (Vec::new(), false);
    let all_gone = loop {
        while consumer.can_pop() {
            let word = job.permits.load();
            cancelled = word.has(Flag::Cancelled) || job.pool().drops();
            if cancelled || !job.wants_admission(word) || !let_one_through(job, &mut consumer) {
                break;
            }
        }
        // The pending bit may have been set for a task that its handle has cancelled. No worker pops that of a held job.
        let all = !word_left
            || !control::is_stuck(job)
            || control::take_gone(job, &mut consumer, |_| true, &mut gone);
        word_left = true;
        match consumer.unlock() {
            Unlocked::LookAgain(again) => consumer = again,
            Unlocked::Free => break all,
        }
    };
    control::drop_taken(job, gone);
    if cancelled {
        request_sweep(job); // sweep-1
    }
    // A waiter may have set the pending bit. And the parent's queue may have been all that kept the parent busy.
    wake_if_idle(job);
    all_gone
}

/// Reserves room for one task, then takes it out of the backlog. False: there is no room.
fn let_one_through(job: JobPtr, consumer: &mut Consumer<'_>) -> bool {
    let unlimited = job.is_unlimited(job.permits.load());
    let ready_cap = if unlimited { 1 } else { job.pool().ready_cap() };
    if !job.permits.reserve(ready_cap).granted() {
        return false;
    }
    match consumer.pop() {
        Popped::Task(cell) => admit_delegate(cell, job),
        Popped::Empty | Popped::HalfDone => {
            // A push came between. Who pushed meanwhile may have found the job full because of this
            // reservation: the caller looks once more.
            job.permits.unreserve();
            fence_after_rmw();
        }
    }
    true
}

/// Lets go of the consumer right, and looks again if somebody asked for it.
#[inline]
pub fn unlock(job: JobPtr, consumer: Consumer<'_>) {
    if let Unlocked::LookAgain(consumer) = consumer.unlock() {
        serve_line_with(job, consumer);
    }
}

/// Lets a task through that waited at `gate` and has just been counted there.
fn admit_delegate(cell: CellPtr, gate: JobPtr) {
    match child_below(gate, cell.job()) {
        None => gate.tokens.add_tasks(1),
        Some(inner) => {
            // The next of its siblings may come. The cell in hand keeps `inner` alive.
            inner.permits.clear(Flag::Blocked);
            fence_after_rmw();
            look(inner);
        }
    }
    if cell.is_waiter() {
        acquire::admit(cell, gate);
    } else {
        let _ = ascend(cell, gate);
    }
}

/// The gate that a task of `job` passed last before it came to `gate`.
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

/// Takes a task that was counted at `passed` through the gates further out, and injects it. `TooLate`: as for `inject`.
#[inline]
fn ascend(cell: CellPtr, passed: JobPtr) -> Notified {
    let Some(outermost) = reserve_outside(cell, passed) else {
        return passed.pool().sleep.seen();
    };
    cell.set_mark(Mark::Ready);
    outermost.pool().inject(cell)
}

/// Reserves room for a task, which was counted at `passed`, at each gate further out. Returns the outermost gate, or `None` if a
/// gate has no room: the task is in its queue then. The caller must keep `passed` alive.
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

/// What became of a task that a worker took from a deque.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It holds its permits and a token: run it.
    Run,
    /// It waits again, or was dropped: it is no longer the caller's.
    Gone,
    /// It is no task: sweep the queue of its job.
    Sweep,
}

/// Takes the permits of a task from a deque.
#[inline]
pub fn start(cell: CellPtr) -> Start {
    let job = cell.job();
    match cell.mark() {
        Mark::Admitted => return Start::Run,
        Mark::Sweep => return Start::Sweep,
        Mark::Doomed => {
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
                let Some(refused) = start_outside(job) else {
                    return Start::Run;
                };
                refuse(cell, refused);
                return Start::Gone;
            }
            Asked::Refused(_) => {}
        },
    }
    refuse(cell, job);
    Start::Gone
}

/// Starts a task at the gates outside its own; returns the one that refused.
#[inline]
fn start_outside(job: JobPtr) -> Option<JobPtr> {
    let mut gate = job.parent();
    while let Some(outer) = gate {
        match outer.permits.start() {
            Asked::Granted(word) => outer.tally.note_running(word),
            Asked::Refused(_) => return Some(outer),
        }
        gate = outer.parent();
    }
    None
}

/// Wakes those who wait for the job if it may have become idle without a task's end.
pub fn wake_if_idle(job: JobPtr) {
    if job.tokens.load().awaited() {
        later::wake(job.idle_key());
    }
}

/// Wakes those who wait until no more tasks run than the limit allows, if `word` says so.
#[inline]
pub fn settle(gate: JobPtr, word: Snapshot) {
    if word.has(Flag::Settling) && word.is_settled() {
        gate.permits.clear(Flag::Settling);
        later::wake(gate.settle_key());
    }
}

/// Releases a task's permits at every gate of the job, and hands them on (R1 to R3).
#[inline]
pub fn release(job: JobPtr) {
    let mut gate = Some(job);
    while let Some(outer) = gate {
        release_at(outer);
        gate = outer.parent();
    }
}

/// Releases a permit at one gate, and hands it on.
#[inline]
fn release_at(gate: JobPtr) {
    let word = gate.permits.release(); // R1
    if word.has(Flag::Reclaiming) {
        parking_lot().wake_one(gate.permit_key());
    }
    settle(gate, word);
    fence_after_rmw(); // R2
    look(gate); // R3
}

/// Returns true if tasks wait at this gate or further out.
pub fn is_waited_for(gate: JobPtr) -> bool {
    let mut gate = Some(gate);
    while let Some(outer) = gate {
        if !outer.queue().is_empty() {
            return true;
        }
        gate = outer.parent();
    }
    false
}

/// Returns true if a further task may start under the permits of one that has ended.
pub fn may_go_on(job: JobPtr) -> bool {
    let mut gate = Some(job);
    while let Some(outer) = gate {
        if !outer.permits.load().may_go_on() {
            return false;
        }
        gate = outer.parent();
    }
    !job.pool().drops()
}
