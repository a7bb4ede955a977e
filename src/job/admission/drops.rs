//! Tasks that are dropped instead of run: whose, and what they leave behind in line, deque and count.

use super::{child_below, look, release, serve_line};
use crate::job::backlog::{Consumer, Popped};
use crate::job::control;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::sync::{fault, fence_after_rmw};
use crate::task::{CellPtr, Mark};

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

/// Drops a task from a deque without running it, or does what a sweeper is there for.
#[cold]
pub fn discard(cell: CellPtr) {
    let job = cell.job();
    let mark = cell.mark();
    if mark == Mark::Sweep && !fault("sweeper-taken-for-a-task") {
        cell.cancel();
        serve_line(job);
        control::drop_delegates_above(job);
        job.drop_tasks(1);
        return;
    }
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
pub(super) fn drop_line(gate: JobPtr, consumer: &mut Consumer<'_>) -> u64 {
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
