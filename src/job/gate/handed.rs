//! Pushes a task together with its permits, for jobs with a capacity of 0.
//!
//! A push into a job with a capacity of 0 succeeds only if permits are free. The pusher first acquires the task's permits
//! (module `acquire`), and then pushes the task together with these permits.
//!
//! A task that is pushed together with its permits passes these steps:
//! - `hand-1`: The pusher gets the task's permits of each gate, one busy count and one flight, from
//!   [`acquire`](super::acquire).
//! - `hand-2`: The pusher injects the task, which owns the permits and the busy count from then on. Then the pusher ends the
//!   flight. So a drain sees the flight or the task.
//! - `hand-3`: The worker that takes the task from the injector checks the word of each gate. If the job or an ancestor was
//!   cancelled meanwhile, the worker drops the task. If a gate is held, held off or over its limit, the task must not start.
//! - `hand-4`: If the task must not start, the worker puts it at the front of the job's queue. Then the worker releases the
//!   permits and checks the queue, as any thread that makes room (module `gate`). So the task starts as soon as the gates allow
//!   it.

use super::{Start, discard, drop_late, give_back, hold, is_dropped, rated, release};
use crate::base::task::{CellPtr, Mark};
use crate::job::class;
use crate::job::events::{self, Number};
use crate::job::record::JobPtr;
use std::mem::ManuallyDrop;

/// The permits of a task that is about to be pushed: its permits of its job and of each ancestor. Dropping this value gives the
/// permits back.
#[derive(Debug)]
pub struct Handed {
    /// The job of the task. The busy count that belongs to the permits keeps the job's record.
    job: JobPtr,
    /// The number by which the timeline identifies these permits.
    number: Number,
}

impl Handed {
    /// Makes a value that owns the caller's permits of each gate of `job`, one busy count and one flight (`hand-1`).
    pub fn new(job: JobPtr, number: Number) -> Self {
        Self { job, number }
    }

    /// Injects a task of the job together with these permits. The caller must keep the job alive, and hold no queue lock.
    pub fn push(self, cell: CellPtr) {
        let Self { job, number } = *ManuallyDrop::new(self);
        events::given_back(job, number);
        events::pushed(job, cell);
        cell.set_mark(Mark::Handed);
        let _ = class::inject(job.pool(), cell); // hand-2
        drop_late(job.pool());
        job.pool().flight_ends();
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        events::given_back(self.job, self.number);
        give_back(self.job);
    }
}

/// Returns what the worker must do with a task that was pushed together with its permits. If a gate does not let the task start
/// now, puts the task into its job's queue and releases the permits.
#[cold]
pub(super) fn start(cell: CellPtr) -> Start {
    let job = cell.job();
    if is_dropped(job) {
        discard(cell); // hand-3
        return Start::Gone;
    }
    let Some(refuses) = job.gates().find(|gate| !may_begin(*gate, job)) else {
        return if rated::is_at_a_rate(job) { Start::RunPaced } else { Start::Run };
    };
    events::refused(refuses, cell);
    job.pool().count_refused();
    // Adds a handle, which keeps the gates alive until the end of this function: as soon as the task is in the queue, another
    // thread might run it to its end.
    job.busy.keep();
    job.queue().push_returned(cell); // hand-4
    release(job);
    job.drop_tasks(1);
    job.drop_handle();
    Start::Gone
}

/// Returns true if a task of `job`, which already has its permits of `gate`, is allowed to begin.
fn may_begin(gate: JobPtr, job: JobPtr) -> bool {
    let word = gate.permits.load();
    // A task whose weight exceeds the limit is allowed to run alone.
    let runs_alone = !word.is_held() && word.running() == gate.permits_for(job);
    // The flag `HeldOff` is also set while a rate allows no start. A rate must not stop this task, because the pusher has
    // taken the task's tokens already. So this function checks the time of the hold-off instead of the flag.
    (word.is_settled() || runs_alone) && hold::held_until(gate).is_none()
}
