//! Tasks that were counted as ready and are not let on: back into a line, their own job's or that of a gate further
//! out. And futures that were woken.

use super::{child_below, is_dropped, leave_gate, look, make_good, settle};
use crate::job::control;
use crate::job::idle::cancels;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;
use crate::task::{CellPtr, Mark};
#[cfg(feature = "futures")]
use crate::worker::context::{Context, LOCAL_MOST};

/// Puts a task that was counted at all gates inside `gate` into the line there. If the gate
/// inside has a delegate in that line already, the task waits one gate further in.
#[cold]
pub(super) fn wait_at(cell: CellPtr, gate: JobPtr) {
    let job = cell.job();
    // Once in the line the task may be run by others: this handle keeps the gates alive.
    job.tokens.keep();
    let doubts = Doubts::of(cell);
    let mut line = gate;
    while let Some(inner) = child_below(line, job) {
        if !inner.permits.set(Flag::Blocked).has(Flag::Blocked) {
            break;
        }
        line = inner;
    }
    line.queue().push(cell);
    // The gates between are not waited for any more.
    let mut given_back = gate;
    while let Some(inner) = child_below(given_back, job).filter(|_| given_back != line) {
        leave_gate(inner);
        given_back = inner;
    }
    make_good(line);
    if line == job {
        // The task waits in its own job's queue, where a task has no token.
        job.drop_tasks(1);
    }
    doubts.clear(job, line);
    job.drop_handle();
}

/// Sends a ready task back to the line of the gate that refused it: in front, for it was let through
/// before those who wait there.
#[cold]
pub(super) fn refuse(cell: CellPtr, gate: JobPtr) {
    let job = cell.job();
    let loose = cell.mark() == Mark::Loose;
    job.tokens.keep();
    let doubts = Doubts::of(cell);
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
        leave_gate(outer);
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
    line.queue().push_returned(cell);
    // Whoever counted on this task to look at the backlog counts on nobody now.
    line.permits.clear(Flag::BatchOut);
    for gate in leaves {
        gate.permits.unreserve();
        fence_after_rmw();
        look(gate);
    }
    fence_after_rmw();
    look(line);
    if line == job {
        job.drop_tasks(1);
    }
    doubts.clear(job, line);
    job.drop_handle();
}

/// Whether a task may have been cancelled on its way into a line where nobody would come by for it.
struct Doubts {
    gone: bool,
    cancels: u64,
}

impl Doubts {
    /// Before it is in the line.
    fn of(cell: CellPtr) -> Self {
        Self { cancels: cancels(), gone: cell.is_gone() }
    }

    /// Once it is, with a fence behind the push: who cancels from now on finds it there.
    fn clear(self, job: JobPtr, line: JobPtr) {
        let cancelled = || self.gone || cancels() != self.cancels || is_dropped(job);
        if line != job && control::is_stuck(line) && cancelled() {
            control::drop_delegates_above(job);
        }
    }
}

/// Puts a future that waits without a permit, and was woken, at the front of its job's queue. The future has a token.
#[cfg(feature = "futures")]
pub fn come_back(cell: CellPtr) {
    let job = cell.job();
    job.tokens.keep();
    // P2 to P4. A task in a queue has no token.
    job.queue().push_returned(cell);
    look(job);
    job.drop_tasks(1);
    job.drop_handle();
}

/// Puts a future that was woken, and holds its permits or must be dropped, where a worker finds it.
#[cfg(feature = "futures")]
pub fn go_on(cell: CellPtr, mark: Mark, to_the_end: bool) {
    let pool = cell.job().pool_ptr();
    cell.set_mark(mark);
    let inside = Context::of_pool(pool, |context| match context.seat() {
        Some(seat) if !to_the_end && seat.deque.len() < LOCAL_MOST => {
            seat.deque.push(cell);
            context.pool().notify();
        }
        _ => _ = context.pool().inject(cell),
    });
    if !inside {
        // Once pushed, the task may run and the pool end.
        pool.own();
        let _ = pool.shared().inject(cell);
        pool.disown(1);
    }
}
