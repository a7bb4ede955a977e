//! A paced turn: the tasks that a worker runs under one permit, if the job or one of its ancestors has a rate.
//!
//! The code is apart from that of other turns, so that jobs without a rate pay nothing. Before each task but the first:
//! - `pace-1`: The worker checks the words of the job and of each ancestor, and pops a task. If one of these jobs is held off,
//!   the turn ends.
//! - `pace-2`: The worker takes the leave of all rates for the task (`rate-2`, `rate-3`). If a rate refuses, the task goes back
//!   to the front of the queue, and the turn ends. The release of the permit then checks the queue.

use super::COUNTED_EVERY;
use crate::base::task::CellPtr;
use crate::job::gate::rated;
use crate::job::record::JobPtr;
use crate::worker::core::{BUDGET, Then, Worker};

impl Worker<'_> {
    /// Runs a task that has its permits and the leave of all rates. Then runs further tasks of its job while the turn lasts.
    #[cold]
    pub fn run_tasks_paced(&self, cell: CellPtr, job: JobPtr) -> Then {
        let lease = self.context.lease();
        let mut next = Some(cell);
        let mut then = Then::GoOn;
        while let Some(cell) = next {
            then = self.run_cell(cell, job);
            lease.turn.set(lease.turn.get() + 1);
            match then {
                Then::LeavePermit => break,
                Then::GoOn => rated::note_end(job),
                Then::GoOnUnended => {}
            }
            next = self.next_paced(job);
        }
        then
    }

    /// Returns the next task of the job, to run under the permit held. Returns `None` if the turn ends.
    fn next_paced(&self, job: JobPtr) -> Option<CellPtr> {
        let lease = self.context.lease();
        // A thread without a seat runs no further task.
        let seat = self.context.seat()?;
        let turn = lease.turn.get();
        if turn.is_multiple_of(COUNTED_EVERY) {
            lease.settle(job);
        }
        if turn.is_multiple_of(BUDGET) && self.context.others_wait() {
            seat.others_first.set(true);
            return None;
        }
        if lease.parent.get().is_some_and(|parent| self.is_siblings_turn(parent)) {
            return None;
        }
        if !rated::may_go_on(job) {
            return None; // pace-1
        }
        let cell = self.pop_waiting(job)?;
        if rated::take_leave_for(cell) {
            return Some(cell); // pace-2
        }
        job.queue().push_returned(cell);
        None
    }
}
