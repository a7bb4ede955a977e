//! Starts tasks of jobs with rates, and takes a token of each rate.
//!
//! A task needs a token of each rate of its job and of each ancestor. The worker takes all these tokens together, after it has
//! acquired all permits of the task. So a task that a gate refuses has used up no token.
//!
//! A worker that starts a task of a job with a rate:
//! - `rate-1`: The worker exchanges the task's reservations for permits, first at the task's job, then at each ancestor. A gate
//!   with the flag `HeldOff` refuses the task, as at any start.
//! - `rate-2`: The worker locks the `Times` of each gate with a rate, in the same order. These say before which moment no task
//!   may start. If the `Times` of a gate allow no start now, the gate refuses. The worker then gives all permits of the task
//!   back, and puts the task at the front of that gate's queue.
//! - `rate-3`: If no gate refuses, the worker counts the start at each rate. If a rate then allows no further start, the worker
//!   holds the rate's job off until the rate allows one (`off-1`, `off-2` of `hold`). The thread that later ends the hold-off
//!   admits the next task.
//!
//! While a rate of a job has no token, the job's tasks wait in a queue, without a permit and without a worker.
//!
//! Claim: no more tasks start than the rates allow. A worker checks and takes the tokens of a gate under one lock, that of the
//! gate's `Times` (`rate-2`, `rate-3`). No task starts in another way:
//! - `Permits::start` and `Permits::acquire` refuse each task at a gate with the flag `Rated`. No task with such a gate runs
//!   inline in another task.
//! - A thread that sets the flag `Rated` ends each lease that began before. A worker that has started a task at a rate also
//!   takes the tokens of each further task of its turn (module `worker::turn::paced`).
//! - A thread that acquires permits without a task takes the tokens after the permits, as a worker does (module `acquire`).
//!
//! A task that has begun, such as a woken future, needs no further token. A task whose handle cancels it before the worker
//! checks for tokens (`rate-2`) needs none, either. If the handle cancels the task after this check and before the task's first
//! instruction, the tokens stay used up.
//!
//! A job with a rate has at most one ready task. So when a worker starts this task, a gate refuses it for lack of a token
//! (`rate-2`) only in one case: the time of the gate's next allowed start has changed since the gate admitted the task.
//!
//! If the timer's thread cannot be started, no thread would clear the flag `HeldOff`. In this case the worker does not set the
//! flag (`rate-3`). So gates admit the next task although no token is free. Its start is refused (`rate-2`), and the task is
//! admitted again, until the rate allows its start.

use super::hold::close_until;
use super::{adapt, drop_late, look, weigh};
use crate::base::task::CellPtr;
use crate::job::extra::Extra;
use crate::job::permits::{Asked, Flag};
use crate::job::record::JobPtr;
use crate::rate::Rate;
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;

/// Acquires the permits of the task in `cell` at `gate`, which has the flag `Rated`, and at each ancestor of `gate`. Then takes
/// a token of each rate of the task's gates. Returns the gate that refuses, or `None` if the worker can run the task.
#[cold]
pub(super) fn start(cell: CellPtr, gate: JobPtr) -> Option<JobPtr> {
    let mut next = Some(gate);
    while let Some(outer) = next {
        let weight = outer.permits_for(cell.job());
        let Asked::Granted(_) = outer.permits.start_at_a_rate(weight) else {
            return Some(outer); // weigh-2
        };
        next = outer.parent(); // rate-1
    }
    if let Err(refused) = take_tokens_or_not(cell) {
        let mut next = Some(refused);
        while let Some(outer) = next {
            weigh::unstart(outer, cell.job());
            next = outer.parent();
        }
        return Some(refused);
    }
    let mut next = Some(gate);
    while let Some(outer) = next {
        outer.tally.note_running(outer.permits.load());
        next = outer.parent();
    }
    None
}

/// Returns the first job with the flag `Rated`, in the order `gate`, its parent, the parent's parent, and so on.
fn first_with_rate(mut gate: Option<JobPtr>) -> Option<JobPtr> {
    while let Some(outer) = gate
        && !outer.permits.load().has(Flag::Rated)
    {
        gate = outer.parent();
    }
    gate
}

/// Returns true if the job or one of its ancestors has the flag `Rated`.
pub fn is_at_a_rate(job: JobPtr) -> bool {
    first_with_rate(Some(job)).is_some()
}

/// Takes a token of each rate of the gates of the task in `cell`. If the task has begun or was cancelled, takes no token and
/// returns `Ok`. If a gate allows no start now, takes no token and returns that gate as an error.
fn take_tokens_or_not(cell: CellPtr) -> Result<(), JobPtr> {
    if cell.is_claimed() {
        return Ok(());
    }
    take_tokens(Some(cell.job()), cell.job().pool().now())
}

/// Takes a token of each rate for the task in `cell`, which will run under permits that the worker has already. Returns true if
/// each rate has a token. Otherwise takes none and returns false.
pub fn take_tokens_for(cell: CellPtr) -> bool {
    take_tokens_or_not(cell).is_ok()
}

/// Returns true if a further task of `job` is allowed to start under the permits of a task of `job` that has ended. The further
/// task also needs a token of each rate, which this function does not check. At a limit of 1, returns false while a task of the
/// job is ready, because that task must start first (`order-2` of `turn`).
pub fn may_go_on(job: JobPtr) -> bool {
    job.gates().all(|gate| gate.permits.load().may_go_on_at_a_rate())
        && job.permits.load().keeps_order()
        && !job.pool().drops()
}

/// Takes a token of each rate of the job and of its ancestors, for permits without a task. If a rate has no token, takes none
/// and returns false. The caller must hold the permits.
#[cold]
pub(super) fn take_tokens_of(job: JobPtr) -> bool {
    take_tokens(Some(job), job.pool().now()).is_ok()
}

/// Takes a token of each rate of `gate` and of its ancestors. If the rates or a hold-off of one of these jobs allow no start at
/// the time `now`, takes no token, and returns that job as an error.
fn take_tokens(gate: Option<JobPtr>, now: Instant) -> Result<(), JobPtr> {
    let Some(gate) = first_with_rate(gate) else { return Ok(()) };
    let mut times = gate.extra_or_make().times();
    if let Some(until) = times.until(now) {
        let _ = close_until(gate, &mut times, until);
        return Err(gate);
    }
    // This thread keeps the lock of `times` during the recursive call. Each thread locks the times of a job before those of
    // the job's ancestors, so there is no deadlock (rate-2).
    take_tokens(gate.parent(), now)?; // rate-2
    times.start(now);
    if let Some(until) = times.until(now) {
        // An error means that the timer cannot be armed, so the job is not held off. This thread ignores the error: the next
        // task is admitted and refused in turn, until the rate allows its start.
        let _ = close_until(gate, &mut times, until); // rate-3
    }
    Ok(())
}

/// Counts the end of a task at each rate of the job and of its ancestors. The task must still have its permits.
pub fn note_end(job: JobPtr) {
    let mut gate = first_with_rate(Some(job));
    while let Some(outer) = gate {
        if outer.extra().is_some_and(Extra::has_gap) {
            note_end_at(outer);
        }
        gate = first_with_rate(outer.parent());
    }
}

/// Counts the end of a task at the rates of one job.
#[cold]
fn note_end_at(gate: JobPtr) {
    let now = gate.pool().now();
    let mut times = gate.extra_or_make().times();
    times.end(now);
    if let Some(until) = times.until(now) {
        let _ = close_until(gate, &mut times, until);
    }
}

/// Sets the job's rates. After the return each start needs a token of each of these rates.
pub fn set_rates(job: JobPtr, rates: &[Rate]) {
    let pool = job.pool();
    let handle = {
        let now = pool.now();
        let extra = job.extra_or_make();
        let mut times = extra.times();
        times.set_rates(rates, now);
        extra.set_gap(times.has_gap());
        if rates.is_empty() && !adapt::is_adaptive_itself(job) && !job.counts_weights() {
            job.permits.clear(Flag::Rated);
            // While the job had a rate, no worker had a batch of its tasks, but the flag `BatchOut` might be set. From now on
            // the flag would tell pushers that a worker has a batch, so this thread clears the flag.
            job.permits.clear(Flag::BatchOut);
        } else {
            job.permits.set(Flag::Rated);
        }
        pool.advance_epoch();
        // The time of the armed timer entry was computed from the old rates, so this thread cancels the entry.
        let handle = times.armed.take().is_some_and(|key| pool.timer.cancel(key).is_some());
        let until = times.until(now);
        if until.is_none_or(|until| close_until(job, &mut times, until).is_err()) {
            job.permits.clear(Flag::HeldOff);
        }
        handle
    };
    fence_after_rmw();
    look(job);
    drop_late(pool);
    if handle {
        job.drop_handle();
    }
}
