//! Tasks that are dropped instead of run: whose, and what they leave behind in line, deque and count.

use super::doomed::{doom, drop_afterwards};
use super::{child_below, leave_gate, release, serve_line};
use crate::job::backlog::{Consumer, Popped};
use crate::job::control;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::sync::fault;
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
    if mark == Mark::Sweep {
        cell.cancel();
        drop_afterwards(|| {
            if !fault("sweeper-drops-nothing") {
                serve_line(job);
                control::drop_delegates_above(job);
            }
        });
        control::drop_handle(job);
        return;
    }
    // Its token keeps the job until it is dropped. What it had in prospect goes before, for its captures may wait for one who
    // needs it.
    drop_afterwards(|| match mark {
        Mark::Admitted => {
            // A future's captures are dropped under its permit.
            cell.cancel();
            release(job);
            job.drop_tasks(1);
        }
        Mark::Ready => {
            let mut gate = Some(job);
            while let Some(outer) = gate {
                leave_gate(outer);
                gate = outer.parent();
            }
            doom(cell);
        }
        _ => doom(cell),
    });
}

/// Takes all out that waits at a cancelled job's gate, to be dropped.
pub(super) fn doom_line(gate: JobPtr, consumer: &mut Consumer<'_>) {
    while let Popped::Task(cell) = consumer.pop() {
        if cell.job() == gate {
            gate.tokens.add_tasks(1);
        }
        doom_taken(cell, gate);
    }
}

/// A task is out of the line at `gate` with a token, to be dropped. A delegate was counted at the gates inside that one.
pub fn doom_taken(cell: CellPtr, gate: JobPtr) {
    let job = cell.job();
    if job != gate {
        leave_line(job, gate);
    }
    doom(cell);
}

/// A delegate of `job` is out of the line at `gate`: the next of its siblings may come, and its room at the gates inside is
/// another's.
fn leave_line(job: JobPtr, gate: JobPtr) {
    let delegate = child_below(gate, job).expect("a delegate is of a job below");
    delegate.permits.clear(Flag::Blocked);
    let mut inner = job;
    while inner != gate {
        leave_gate(inner);
        inner = inner.parent().expect("the gate is outside the job");
    }
}
