//! Puts a task that a gate has refused into the queue of its job or of an ancestor. Puts a woken future into a queue, a deque
//! or an injector.

use super::{
    child_below, drop_delegates_above, is_dropped, is_stuck, leave_gate, look, serve_if_due, weigh,
};
#[cfg(feature = "futures")]
use crate::base::queues::LOCAL_MOST;
use crate::base::task::{CellPtr, Mark};
use crate::job::cancels::cancels;
#[cfg(feature = "futures")]
use crate::job::class;
use crate::job::events;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
#[cfg(feature = "futures")]
use crate::pool::here::Here;
#[cfg(feature = "futures")]
use crate::priority::Priority;
use crate::sync::fence_after_rmw;

/// Pushes a task that `gate` has refused into the queue of `gate`, or into the queue of a job below. The task must have a
/// reservation at each gate below `gate`. One child of `gate` is the task's job or is above the task's job. If that child has
/// no delegate in the queue of `gate`, the task becomes its delegate, in that queue. Otherwise the same rule applies to the
/// queue of that child, and so on. At last the queue of the task's own job takes the task.
#[cold]
pub(super) fn wait_at(cell: CellPtr, gate: JobPtr) {
    events::refused(gate, cell);
    let job = cell.job();
    // Adds a handle of the job, which keeps the records of the job and of its ancestors. As soon as the task is in the queue,
    // another thread might run the task to its end and give up its busy count.
    job.busy.keep();
    let doubts = Doubts::of(cell);
    let mut line = gate;
    while let Some(inner) = child_below(line, job) {
        if !inner.permits.set(Flag::Blocked).has(Flag::Blocked) {
            break;
        }
        line = inner;
    }
    line.queue().push(cell);
    // The task is in the queue of `line` now. If `line` is below `gate`, this thread cancels the task's reservations at `line`
    // and at each gate between `line` and `gate`.
    let mut given_back = gate;
    while let Some(inner) = child_below(given_back, job).filter(|_| given_back != line) {
        leave_gate(inner);
        given_back = inner;
    }
    serve_if_due(line);
    if line == job {
        // A task in the queue of its own job has no busy count. So this thread subtracts the busy count that the task
        // had while it was ready.
        job.drop_tasks(1);
    }
    doubts.clear(job, line);
    job.drop_handle();
}

/// Puts a ready task that `gate` has refused back into a queue: the queue of `gate` or of a job below, by the rule of
/// [`wait_at`]. Puts the task at the front, because it was admitted before the tasks that wait in that queue.
#[cold]
pub(super) fn refuse(cell: CellPtr, gate: JobPtr) {
    events::refused(gate, cell);
    let job = cell.job();
    let loose = cell.mark() == Mark::Loose;
    job.busy.keep();
    let doubts = Doubts::of(cell);
    job.pool().count_refused();
    // At each gate below `gate` the task has its permits. This thread exchanges them for a reservation at each of these
    // gates.
    let mut inner = job;
    while inner != gate {
        weigh::unstart(inner, job);
        inner = inner.parent().expect("the gate that refused is outside the job");
    }
    // The task has a reservation at each ancestor of `gate`. This thread cancels these reservations.
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
    // While the flag `BatchOut` is set, pushers rely on a worker with a batch to check the queue. From now on pushers must
    // check the queue themselves.
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

/// Detects whether a task was cancelled while it was moved into the queue of a held gate, where no worker would drop it.
struct Doubts {
    gone: bool,
    cancels: u64,
}

impl Doubts {
    /// Reads whether the task in `cell` is cancelled, and how many cancels there have been in all queues. Returns both for
    /// `clear`. Call it before the task is put into a queue.
    fn of(cell: CellPtr) -> Self {
        Self { cancels: cancels(), gone: cell.is_gone() }
    }

    /// Drops a task of `job` that stands in the queue of an ancestor, `line`, if the task might have been cancelled since the
    /// call of [`of`](Self::of), and if no worker takes tasks out of that queue for now. If `line` is `job`, does nothing. The
    /// caller must have executed a full fence after the push. So a thread that cancels the task later finds it in the queue.
    fn clear(self, job: JobPtr, line: JobPtr) {
        let cancelled = || self.gone || cancels() != self.cancels || is_dropped(job);
        if line != job && is_stuck(line) && cancelled() {
            drop_delegates_above(job);
        }
    }
}

/// Puts a woken future that has no permit at the front of its job's queue. The future must have a busy count, which this
/// function subtracts.
#[cfg(feature = "futures")]
pub fn come_back(cell: CellPtr) {
    let job = cell.job();
    job.busy.keep();
    // A task in a queue has no busy count. So this thread subtracts the future's busy count, after it has pushed the future and
    // checked the queue (push-2 to push-4).
    job.queue().push_returned(cell);
    look(job);
    job.drop_tasks(1);
    job.drop_handle();
}

/// Puts a woken future that has its permits, or that must be dropped, into a deque or the injector. If `to_the_end` is true,
/// puts the future into the injector, behind all other tasks in it.
#[cfg(feature = "futures")]
pub fn go_on(cell: CellPtr, mark: Mark, to_the_end: bool) {
    let pool = cell.job().pool_ptr();
    // A task of the class `High` or `Low` must not lie in a deque, because a worker takes the tasks of its deque as tasks of
    // the class `Normal`.
    let has_class = pool.shared().has_classes() && cell.job().turns().priority != Priority::Normal;
    cell.set_mark(mark);
    let inside = Here::of_pool(pool, |here| match here.seat() {
        Some(seat) if !to_the_end && !has_class && seat.deque.len() < LOCAL_MOST => {
            seat.deque.push(cell);
            here.pool().notify();
        }
        _ => _ = class::inject(here.pool(), cell),
    });
    if !inside {
        // As soon as the future is injected, a worker might run it to its end, and the pool might be freed. The owner that is
        // added here keeps the pool's memory until the end of this function.
        pool.own();
        let _ = class::inject(pool.shared(), cell);
        pool.disown(1);
    }
}
