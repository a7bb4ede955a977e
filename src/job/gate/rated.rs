//! Starts tasks of jobs with rates, and takes a token of each rate.
//!
//! A task needs a token of each rate of its job and of each ancestor. The worker takes the tokens of all jobs at once, and
//! last, when the task has all its permits. So a refused task has used up no token.
//!
//! A worker that starts a task of a job with a rate:
//! - `rate-1`: It exchanges the reservations for permits, from the inside out. The flag `HeldOff` refuses, as at any start.
//! - `rate-2`: It takes the locks of the times of all jobs with rates, from the inside out. If one job's times allow no start,
//!   that job refuses. The worker gives back the permits of that job and of its ancestors. The task goes back to the front of
//!   that job's queue.
//! - `rate-3`: Otherwise it counts the start at each rate. If a rate allows no further start now, the worker holds the job off
//!   until the rate allows one (`off-1`, `off-2` of `hold`). The opening admits the next task.
//!
//! So while a rate is used up, the job's tasks wait in a queue. They have no permit, no reservation and no worker.
//!
//! The starts keep to the rate, because each start passes `rate-2`, and the times change only under their lock:
//! - The flag `Rated` makes the usual start fail. No task of a job with this flag runs inline in another task.
//! - The flag ends each lease that was opened before it was set. A worker that starts a task at a rate takes the tokens for each
//!   further task of its turn (module `worker::turn::paced`).
//! - A thread that acquires a permit without a task takes the tokens last, as a worker does (module `acquire`).
//!
//! A task that has begun needs no token. A task needs no token, either, if its handle has cancelled it before the worker takes
//! the tokens (`rate-2`). If the handle cancels the task later, but before the task's first instruction, the start stays
//! counted.
//!
//! The ready cap of these jobs is 1, so at most one task is admitted before its start. So a task is refused for lack of a token
//! (`rate-2`) only if the times have changed since its admission.
//!
//! If the timer's thread cannot be started, no entry fires, so no opening comes. In that case the flag `HeldOff` stays clear:
//! the task is refused and admitted again until its time has come.

use super::hold::close_until;
use super::{adapt, drop_late, look, weigh};
use crate::base::task::CellPtr;
use crate::job::extra::Extra;
use crate::job::permits::{Asked, Flag};
use crate::job::record::JobPtr;
use crate::rate::Rate;
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;

/// Acquires the permits of a task at `gate`, which has a rate, and at its ancestors. Then takes a token of each rate.
/// Returns the job that refuses, or `None` if the task may run.
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

/// Returns the first job with a rate, from `gate` outwards.
fn first_with_rate(mut gate: Option<JobPtr>) -> Option<JobPtr> {
    while let Some(outer) = gate
        && !outer.permits.load().has(Flag::Rated)
    {
        gate = outer.parent();
    }
    gate
}

/// Returns true if the job or a job above has a rate or an adaptive limit.
pub fn is_at_a_rate(job: JobPtr) -> bool {
    first_with_rate(Some(job)).is_some()
}

/// Takes a token of each rate for the task in `cell`. Takes none if the task has begun or was cancelled. Returns the job that
/// refuses as an error.
fn take_tokens_or_not(cell: CellPtr) -> Result<(), JobPtr> {
    if cell.is_claimed() {
        return Ok(());
    }
    take_tokens(Some(cell.job()), cell.job().pool().now())
}

/// Takes a token of each rate for a task that runs under permits already held. Returns false if a rate has no token.
pub fn take_tokens_for(cell: CellPtr) -> bool {
    take_tokens_or_not(cell).is_ok()
}

/// Returns true if a further task may start under the permits of a task that has ended. The further task must still get a token
/// of each rate.
pub fn may_go_on(job: JobPtr) -> bool {
    job.gates().all(|gate| gate.permits.load().may_go_on_at_a_rate()) && !job.pool().drops()
}

/// Takes a token of each rate of the job and of its ancestors, for a permit without a task. Returns false if a rate has no
/// token. The caller must hold the permits.
#[cold]
pub(super) fn take_tokens_of(job: JobPtr) -> bool {
    take_tokens(Some(job), job.pool().now()).is_ok()
}

/// Takes a token of each rate, from `gate` outwards. If a job refuses, takes no token at all, and returns that job as an error.
fn take_tokens(gate: Option<JobPtr>, now: Instant) -> Result<(), JobPtr> {
    let Some(gate) = first_with_rate(gate) else { return Ok(()) };
    let mut times = gate.extra_or_make().times();
    if let Some(until) = times.until(now) {
        let _ = close_until(gate, &mut times, until);
        return Err(gate);
    }
    // The lock of these times stays held. Each thread takes the locks from the inside out, so two threads never wait for each
    // other (rate-2).
    take_tokens(gate.parent(), now)?; // rate-2
    times.start(now);
    if let Some(until) = times.until(now) {
        // A failure to arm the timer needs no action: the next task is refused and admitted again until its time has come.
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
            // No worker keeps a batch of a job with a rate, so a pusher must check the queue itself.
            job.permits.clear(Flag::BatchOut);
        } else {
            job.permits.set(Flag::Rated);
        }
        pool.advance_epoch();
        // The armed entry of the timer was for the old rates, so it is cancelled.
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
