//! Notes what happens to a task, for the timeline. Without the feature `timeline` each function here is empty. While the
//! timeline is off, each function only tests a flag, which is in one cache line with the pool's epoch.

#![cfg_attr(
    not(feature = "timeline"),
    allow(
        unused_variables,
        reason = "a hook without the timeline does nothing with its arguments"
    )
)]

#[cfg(feature = "timeline")]
mod noted;

#[cfg(feature = "timeline")]
use crate::base::log::How;
use crate::base::task::{CellPtr, Ran};
use crate::job::record::JobPtr;
use crate::pool::core::Shared;

/// Calls the function `$note` of the module `noted` if the timeline of the pool `$pool` is on.
macro_rules! note {
    ($pool:expr, $note:ident($($arg:expr),*)) => {
        #[cfg(feature = "timeline")]
        if $pool.records() {
            noted::$note($($arg),*);
        }
    };
}

/// Notes in the timeline that a task was pushed into its job's queue or into a deque.
#[inline(always)]
pub fn pushed(job: JobPtr, cell: CellPtr) {
    note!(job.pool(), pushed(job, cell));
}

/// Notes in the timeline that the job `gate` has refused the task in `cell`.
#[inline(always)]
pub fn refused(gate: JobPtr, cell: CellPtr) {
    note!(gate.pool(), refused(gate, cell));
}

/// Notes in the timeline that the job `gate` has admitted the task in `cell` from the queue of `gate`.
#[inline(always)]
pub fn admitted(gate: JobPtr, cell: CellPtr) {
    note!(gate.pool(), admitted(gate, cell));
}

/// What this thread ran before it began a task: another task, or nothing.
#[must_use]
#[derive(Clone, Copy, Debug, Default)]
pub struct Outer(#[cfg(feature = "timeline")] Option<noted::Outer>);

/// Notes in the timeline that this worker begins or resumes a task. Returns what the worker ran before.
///
/// `pool` must be the pool of `job`. The caller passes the pool, because a load of the pool from the job's record would fetch a
/// cache line that pushers write.
#[inline(always)]
pub fn started(pool: &Shared, job: JobPtr, cell: CellPtr) -> Outer {
    #[cfg(feature = "timeline")]
    if pool.records() {
        return Outer(Some(noted::started(job, cell)));
    }
    Outer::default()
}

/// Notes in the timeline that this thread begins a task inline, inside a task that joins it. Returns the joining task.
#[inline(always)]
pub fn started_inside(job: JobPtr, cell: CellPtr) -> Outer {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Outer(Some(noted::started_inside(job, cell)));
    }
    Outer::default()
}

/// Notes in the timeline that a task has ended, or that this worker has polled a future that is pending now. `address` is the
/// address of the task's cell. The cell itself might have been freed. `outer` is what [`started`] has returned for the task.
/// The caller must keep the job alive.
#[inline(always)]
pub fn ended(pool: &Shared, job: JobPtr, address: usize, ran: &Ran, outer: Outer) {
    note!(pool, ended(job, address, ran, outer.0));
}

/// Notes for the timeline that this thread's task has panicked, and that the task's handle gets the payload of the panic. Call
/// it before [`ended`]. The caller must keep the job alive.
#[inline(always)]
pub fn panicked(job: JobPtr) {
    note!(job.pool(), ends_by(How::Panicked));
}

/// Notes for the timeline that the task that runs on this thread is dropped, because it was cancelled or its deadline has come.
/// Call it before [`ended`]. The caller must keep the job alive.
#[inline(always)]
pub fn cancelled(job: JobPtr) {
    note!(job.pool(), ends_by(How::Cancelled));
}

/// Notes in the timeline that an inline task has ended. `outer` is what [`started_inside`] has returned for the task.
#[inline(always)]
pub fn ended_inside(job: JobPtr, address: usize, outer: Outer) {
    note!(job.pool(), ended(job, address, &Ran::Counted, outer.0));
    // For the next events of this thread the timeline must name no cause. An inline task usually runs under the joining task's
    // permits, so the end of the inline task lets no other task start.
    note!(job.pool(), no_cause());
}

/// Notes in the timeline that a task is dropped without running. Call it before the drop.
#[inline(always)]
pub fn dropped(cell: CellPtr) {
    note!(cell.job().pool(), dropped(cell));
}

/// Notes in the timeline that this thread's task begins to wait for a task or a job. Call it before the task's permits are
/// released.
#[inline(always)]
pub fn waits(job: JobPtr) {
    note!(job.pool(), waits(job));
}

/// Notes in the timeline that this thread's task has waited, and has re-acquired its permits.
#[inline(always)]
pub fn resumed(job: JobPtr) {
    note!(job.pool(), resumed(job));
}

/// Notes in the timeline how many tasks of the job and of each ancestor run now, and how many wait. Call it after permits were
/// released.
#[inline(always)]
pub fn released(job: JobPtr) {
    note!(job.pool(), released(job));
}

/// Forgets this thread's last event, so that the timeline does not show it as the cause of a later event of this thread.
#[inline(always)]
pub fn no_cause(pool: &Shared) {
    note!(pool, no_cause());
}

/// Notes in the timeline that the limit of the job was changed, or that the job was paused or resumed.
#[inline(always)]
pub fn changed(job: JobPtr) {
    note!(job.pool(), changed(job));
}

/// Notes in the timeline that a hold-off of the job ended.
#[inline(always)]
pub fn opened(job: JobPtr) {
    note!(job.pool(), opened(job));
}

/// The number by which the timeline identifies a permit without a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(#[cfg(feature = "timeline")] pub(super) usize);

/// Notes in the timeline that a permit without a task was acquired at once, without a wait. Returns the permit's number.
#[inline(always)]
pub fn acquired(job: JobPtr) -> Number {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Number(noted::acquired(job));
    }
    Number::default()
}

/// Returns a new number, under which the timeline shows a permit without a task. Call it before a waiter begins to wait for this
/// permit, because the note of the grant needs the number.
#[inline(always)]
pub fn new_number(job: JobPtr) -> Number {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Number(job.pool().log.new_permit());
    }
    Number::default()
}

/// Notes in the timeline that the waiter in the cell is granted its permit. Returns the permit's number. Call it before the
/// grant, because the grant can free the cell. If the waiter does not wait any more, the grant fails. Then the caller must pass
/// the returned number to [`given_back`].
#[inline(always)]
pub fn granted(cell: CellPtr, number: Number) -> Number {
    #[cfg(feature = "timeline")]
    if cell.job().pool().records() {
        return Number(noted::granted(cell, number.0));
    }
    Number::default()
}

/// Notes in the timeline that a permit without a task is released. Call it before the release.
#[inline(always)]
pub fn given_back(job: JobPtr, number: Number) {
    note!(job.pool(), given_back(job, number.0));
}

/// Notes in the timeline that this worker parks.
#[inline(always)]
pub fn parked(pool: &Shared) {
    note!(pool, parked(pool));
}

/// Notes in the timeline that this worker was woken.
#[inline(always)]
pub fn woken(pool: &Shared) {
    note!(pool, woken(pool));
}

/// Notes the index of this thread's seat, or that the thread has none, for the thread's later events in the timeline.
#[inline(always)]
pub fn sits(seat: Option<usize>) {
    #[cfg(feature = "timeline")]
    crate::base::log::here(|here| here.seat.set(seat.map_or(u16::MAX, |seat| seat as u16)));
}
