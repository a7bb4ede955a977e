//! A *paced* turn: a turn with a job that has a rate or an adaptive limit, or counts weights, or has such an ancestor.
//!
//! Paced turns have code of their own, so that turns with other jobs spend no time on rates and samples. In a paced turn, the
//! worker does these steps before each task but the first:
//! - `pace-1`: The worker checks the words of the job and of each ancestor, pops a task, and checks the words again. If one of
//!   the words allows no further task now, the turn ends, and a popped task goes back to the front of the queue.
//! - `pace-2`: The worker takes a token of each rate for the task (as in `rate-2` and `rate-3` of module `rated`). If a rate
//!   has no token, the task goes back to the front of the queue, and the turn ends. At the end of the turn the worker releases
//!   its permit, and checks the queue.
//!
//! The worker checks the words both before and after a pop (`pace-1`). If the first check fails, the worker does not touch the
//! queue. Between the first check and the pop, another thread can pause the job, and then push the task that the worker pops.
//! The second check finds this pause.
//!
//! After a pop the worker checks the words only if the lease's epoch is not the pool's epoch. But some changes of the words
//! advance no epoch. So the lease of a paced turn has an old epoch, and the worker checks the words after each pop.

use super::COUNTED_EVERY;
use crate::base::task::CellPtr;
use crate::job::gate::adapt::is_adaptive;
use crate::job::gate::rated;
use crate::job::record::JobPtr;
use crate::worker::adapt;
use crate::worker::core::{Then, Worker};

impl Worker<'_> {
    /// Runs a task that has its permits and a token of each rate, and then further tasks of its job while the turn lasts.
    /// `resumed` must be true if the task is a future that has kept its permits since its last poll.
    #[cold]
    pub fn run_tasks_paced(&self, cell: CellPtr, job: JobPtr, mut resumed: bool) -> Then {
        let lease = self.context.lease();
        let adapts = is_adaptive(job);
        let mut next = Some(cell);
        let mut then = Then::GoOn;
        while let Some(cell) = next {
            let resumes = std::mem::take(&mut resumed);
            self.context.sample.set(adapts.then(|| adapt::begin(job, resumes)));
            then = self.run_cell(cell, job);
            lease.turn.set(lease.turn.get() + 1);
            let sample = self.context.sample.take();
            match then {
                Then::LeavePermit => break,
                Then::GoOn => {
                    rated::note_end(job);
                    if let Some(sample) = sample {
                        adapt::end(job, sample);
                    }
                }
                Then::GoOnUnended => {}
            }
            next = self.next_paced(job);
        }
        then
    }

    /// Returns the next task of the job, which runs under the worker's permit. Returns `None` if the turn ends.
    fn next_paced(&self, job: JobPtr) -> Option<CellPtr> {
        let lease = self.context.lease();
        // A thread without a seat runs no further task.
        let seat = self.context.seat()?;
        let turn = lease.turn.get();
        if turn.is_multiple_of(COUNTED_EVERY) {
            lease.settle(job);
        }
        if self.is_others_turn() {
            seat.others_first.set(true);
            return None;
        }
        if lease.parent.get().is_some_and(|parent| self.is_siblings_turn(parent)) {
            return None;
        }
        if !rated::may_go_on(job) {
            return None; // pace-1
        }
        let cell = self.pop_waiting(job, rated::may_go_on)?; // pace-1
        if rated::take_tokens_for(cell) {
            return Some(cell); // pace-2
        }
        job.queue().push_returned(cell);
        None
    }
}
