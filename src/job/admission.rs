//! The way of a task: pushed, let through, started, ended, and its permit handed on.
//!
//! A task is *let through* when its job has room (`reserve`: counted as ready, then into a deque) and
//! otherwise waits in the backlog. Whoever makes room looks at the backlog. The two face each
//! other as in every sleep protocol:
//!
//! - P1: the pusher finds the job full, or others waiting before it.
//! - P2: it pushes into the backlog. P3: a full fence (both in `Backlog::push`).
//! - P4: it loads the word. Is there room after all, it *promotes*.
//!
//! - R1: whoever ends a task gives the permit back (or raises the limit, or resumes).
//! - R2: a full fence.
//! - R3: it looks at the backlog. Does anything wait, and is there room, it promotes.
//!
//! By the fences, P4 sees R1 or R3 sees P2: no task waits while there is room. *Promoting* takes the
//! consumer right; whoever fails to get it leaves word with the holder, who looks again (both in
//! `backlog`). The promoter reserves before it pops, so that nobody overtakes: a pusher that sees
//! the backlog empty sees the reservation, too (`serial_in_order`).
//!
//! A job under others passes the gates from the inside out. At a gate that refuses, the task joins that
//! gate's backlog as its job's one *delegate*, and the gate inside is marked `Blocked`: siblings stand
//! in line with one task each, which is what makes the line go round.

use crate::job::backlog::{Consumer, LetGo, Popped};
use crate::job::control;
use crate::job::permits::{Asked, Flag, Snapshot};
use crate::job::record::JobPtr;
use crate::sync::{fault, fence_after_rmw};
use crate::task::room::room;
use crate::task::{CellPtr, Mark};
#[cfg(feature = "futures")]
use crate::worker::context::{Context, LOCAL_MOST};

/// Takes a task into a job: into the injector if there is room, else into the backlog.
pub fn push(job: JobPtr, cell: CellPtr) {
    // P1: nobody passes those who wait.
    if job.backlog().is_empty() && job.permits.reserve(job.pool().window()).granted() {
        job.tokens.add_tasks(1);
        ascend(cell, job);
        return;
    }
    job.backlog().push(cell); // P2, P3
    make_good(job); // P4
}

/// P4, R3: looks whether a task waits for which there is room. The caller has a fence behind what it
/// did, and keeps the job alive.
#[inline]
pub fn look(job: JobPtr) {
    if !job.backlog().is_empty() {
        make_good(job);
    }
}

/// `look` at every gate of the job.
#[inline]
pub fn look_outwards(job: JobPtr) {
    look(job);
    let mut gate = job.parent();
    while let Some(outer) = gate {
        look(outer);
        gate = outer.parent();
    }
}

#[inline]
fn make_good(job: JobPtr) {
    let word = job.permits.load();
    let cancelled = word.has(Flag::Cancelled) && !fault("push-left-to-the-sweep");
    let due = job.wants_promotion(word) || cancelled || job.pool().drops();
    if due && !fault("pusher-never-promotes") {
        serve_line(job);
    }
}

/// Lets tasks through from the backlog while there is room, or drops them all if the job is cancelled.
#[cold]
pub fn serve_line(job: JobPtr) {
    if let Some(consumer) = job.backlog().try_consume() {
        serve_line_with(job, consumer);
    }
}

/// `serve_line` for who has the consumer right already; lets go of it.
#[cold]
pub fn serve_line_with<'a>(job: JobPtr, mut consumer: Consumer<'a>) {
    let mut tokens = 0;
    loop {
        while consumer.can_pop() {
            let word = job.permits.load();
            if word.has(Flag::Cancelled) || job.pool().drops() {
                tokens += drop_line(job, &mut consumer);
            } else if !job.wants_promotion(word) || !let_one_through(job, &mut consumer) {
                break;
            }
        }
        match consumer.let_go() {
            LetGo::Free => break,
            LetGo::LookAgain(again) => consumer = again,
        }
    }
    // Who waits looks under the lock that waking takes, and not beside somebody with the consumer right.
    if tokens > 0 {
        job.drop_tasks(tokens);
    }
    // The line of a parent may have been all that kept it from being idle; and who waits may have left word.
    wake_if_idle(job);
}

/// Reserves room for one task, then takes it out of the backlog. False: there is no room.
fn let_one_through(job: JobPtr, consumer: &mut Consumer<'_>) -> bool {
    let open = job.is_open(job.permits.load());
    let window = if open { 1 } else { job.pool().window() };
    if !job.permits.reserve(window).granted() {
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
pub fn let_go(job: JobPtr, consumer: Consumer<'_>) {
    if let LetGo::LookAgain(consumer) = consumer.let_go() {
        serve_line_with(job, consumer);
    }
}

/// Lets a task through that waited at `gate` and has just been counted there.
fn admit_delegate(cell: CellPtr, gate: JobPtr) {
    match child_below(gate, cell.job()) {
        None => gate.tokens.add_tasks(1),
        Some(inner) => {
            // The next of its siblings may come. The cell in hand keeps `inner` alive.
            if !fault("delegate-leaves-gate-blocked") {
                inner.permits.clear(Flag::Blocked);
            }
            fence_after_rmw();
            look(inner);
        }
    }
    ascend(cell, gate);
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

/// Takes a task that was counted at `passed` through the gates further out, and into a deque.
#[inline]
fn ascend(cell: CellPtr, passed: JobPtr) {
    let mut inner = passed;
    while let Some(outer) = inner.parent() {
        let free =
            outer.backlog().is_empty() && outer.permits.reserve(outer.pool().window()).granted();
        if !free {
            wait_at(cell, outer);
            return;
        }
        inner = outer;
    }
    cell.set_mark(Mark::Ready);
    inner.pool().inject(cell);
}

/// Puts a task that was counted at all gates inside `gate` into the line there. If the gate
/// inside has a delegate in that line already, the task waits one gate further in.
#[cold]
fn wait_at(cell: CellPtr, gate: JobPtr) {
    let job = cell.job();
    // Once in the line the task may be run by others: this handle keeps the gates alive.
    job.tokens.keep();
    let mut line = gate;
    while let Some(inner) = child_below(line, job) {
        if !inner.permits.set(Flag::Blocked).has(Flag::Blocked) {
            break;
        }
        line = inner;
    }
    let own = line == job;
    if own {
        line.backlog().push_uncounted(cell);
    } else {
        line.backlog().push(cell);
    }
    // The gates between are not waited for any more.
    let mut given_back = gate;
    while let Some(inner) = child_below(given_back, job).filter(|_| given_back != line) {
        inner.permits.unreserve();
        fence_after_rmw();
        look(inner);
        given_back = inner;
    }
    make_good(line);
    if own {
        trade_token(job);
    }
    job.drop_handle();
}

/// A task that had a token is in its job's line, and not counted there so far. The caller keeps the job alive.
fn trade_token(job: JobPtr) {
    job.drop_tasks(1);
    if !fault("counted-with-its-token") {
        job.backlog().count();
    }
}

/// What became of a task that a worker took from a deque.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It holds its permits and a token: run it.
    Run,
    /// It waits again, or was dropped: it is no longer the caller's.
    Gone,
}

/// Takes the permits of a task from a deque.
#[inline]
pub fn start(cell: CellPtr) -> Start {
    let job = cell.job();
    match cell.mark() {
        Mark::Admitted => return Start::Run,
        Mark::Sweep => {
            cell.cancel();
            serve_line(job);
            control::drop_delegates_above(job);
            job.drop_tasks(1);
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

/// Whether tasks of the job are dropped instead of started.
#[inline]
pub fn is_dropped(job: JobPtr) -> bool {
    let mut gate = Some(job);
    while let Some(job) = gate {
        if job.permits.load().has(Flag::Cancelled) {
            return true;
        }
        gate = job.parent();
    }
    job.pool().drops()
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

/// Sends a ready task back to the line of the gate that refused it: in front, for it was let through
/// before those who wait there.
#[cold]
fn refuse(cell: CellPtr, gate: JobPtr) {
    let job = cell.job();
    let loose = cell.mark() == Mark::Loose;
    job.tokens.keep();
    job.pool().count_refused();
    // Inside the gate: started, and only ready again.
    let mut inner = job;
    while inner != gate {
        settle(inner, inner.permits.unstart());
        inner = inner.parent().expect("the gate that refused is outside the job");
    }
    // Outside the gate: no longer waited for.
    let mut outside = gate.parent();
    while let Some(outer) = outside {
        outer.permits.unreserve();
        fence_after_rmw();
        look(outer);
        outside = outer.parent();
    }
    let mut line = gate;
    let mut leaves = vec![];
    if !loose {
        leaves.push(gate);
    }
    while let Some(inner) = child_below(line, job) {
        if !inner.permits.set(Flag::Blocked).has(Flag::Blocked) {
            break;
        }
        line = inner;
        leaves.push(inner);
    }
    let own = line == job;
    if own && !fault("counted-with-its-token") {
        line.backlog().push_returned_uncounted(cell);
    } else {
        line.backlog().push_returned(cell);
    }
    // Whoever counted on this task to look at the backlog counts on nobody now.
    line.permits.clear(Flag::Covered);
    for gate in leaves {
        gate.permits.unreserve();
        fence_after_rmw();
        if !fault("refuse-without-look") {
            look(gate);
        }
    }
    fence_after_rmw();
    if !fault("refuse-without-look") {
        look(line);
    }
    if own {
        trade_token(job);
    }
    job.drop_handle();
}

/// Sends a future back to its job's line, in front: it had its permits, gave them back while it waited for
/// something of this library's, and needs them again. Its token comes with it.
#[cfg(feature = "futures")]
pub fn come_back(cell: CellPtr, in_flight: bool) {
    let job = cell.job();
    // P2 to P4, for a pusher that has a token. Now it is a task in a backlog like any other, which
    // has none, and for which a drain does not wait if it is held.
    job.tokens.keep();
    job.backlog().push_returned_uncounted(cell);
    look(job);
    if in_flight {
        job.pool().flight_ends();
    }
    trade_token(job);
    job.drop_handle();
}

/// Puts a future that was woken, and holds its permits, where a worker finds it.
#[cfg(feature = "futures")]
pub fn go_on(cell: CellPtr, mark: Mark, to_the_end: bool) {
    let pool = cell.job().pool_ptr();
    cell.set_mark(mark);
    let inside = Context::of_pool(pool, |context| match context.place() {
        Some(place) if !to_the_end && place.deque.len() < LOCAL_MOST => {
            place.deque.push(cell);
            context.pool().notify();
        }
        _ => context.pool().inject(cell),
    });
    if !inside {
        // Once pushed, the task may run and the pool end.
        pool.own();
        pool.shared().inject(cell);
        pool.disown(1);
    }
}

/// Drops a task from a deque without running it.
#[cold]
pub fn discard(cell: CellPtr) {
    let job = cell.job();
    let mark = cell.mark();
    job.count_cancelled();
    cell.cancel();
    if mark == Mark::Admitted {
        release(job);
    }
    if mark == Mark::Ready {
        let mut gate = Some(job);
        while let Some(outer) = gate {
            outer.permits.unreserve();
            fence_after_rmw();
            look(outer);
            gate = outer.parent();
        }
    }
    job.drop_tasks(1);
}

/// Drops all that waits at a cancelled job's gate. Returns how many tokens of it the caller gives back when it has let go of the
/// consumer right.
fn drop_line(gate: JobPtr, consumer: &mut Consumer<'_>) -> u64 {
    let Popped::Task(mut cell) = consumer.pop() else { return 0 };
    // What captures do when they are dropped is somebody else's: who asks there whether the job is idle must not
    // wait for the consumer right. It is the token of the first, which is out of the line: who counts what has not
    // started counts that one here.
    gate.tokens.add_tasks(1);
    loop {
        let job = cell.job();
        job.count_cancelled();
        cell.cancel();
        if job != gate {
            leave_line(job, gate);
        }
        let Popped::Task(next) = consumer.pop() else { break };
        cell = next;
    }
    1
}

/// A delegate of `job` is out of the line at `gate` and was dropped: it was counted at the gates inside that one.
pub fn leave_line(job: JobPtr, gate: JobPtr) {
    let delegate = child_below(gate, job).expect("a delegate is of a job below");
    delegate.permits.clear(Flag::Blocked);
    let mut inner = job;
    while inner != gate {
        inner.permits.unreserve();
        fence_after_rmw();
        look(inner);
        inner = inner.parent().expect("the gate is outside the job");
    }
    job.drop_tasks(1);
}

/// Wakes those who wait for the job if it may have become idle without a task's end.
pub fn wake_if_idle(job: JobPtr) {
    if job.tokens.load().awaited() {
        room().wake(job.idle_key());
    }
}

/// Wakes those who wait until no more tasks run than the limit allows, if `word` says so.
#[inline]
pub fn settle(gate: JobPtr, word: Snapshot) {
    if word.has(Flag::Settling) && word.running() <= word.limit() {
        gate.permits.clear(Flag::Settling);
        room().wake(gate.settle_key());
    }
}

/// R1 to R3 at every gate of the job: gives a task's permits back and hands them on.
#[inline]
pub fn release(job: JobPtr) {
    let mut gate = Some(job);
    while let Some(outer) = gate {
        if fault("look-before-release") {
            look(outer);
            let _ = outer.permits.release();
        } else {
            let word = outer.permits.release(); // R1
            if word.has(Flag::Returning) {
                room().wake_one(outer.permit_key());
            }
            if !fault("excess-ends-quietly") {
                settle(outer, word);
            }
            if !fault("release-without-fence") {
                fence_after_rmw(); // R2
            }
            if outer == job || !fault("hand-on-at-own-gate-only") {
                look(outer); // R3
            }
        }
        gate = outer.parent();
    }
}
