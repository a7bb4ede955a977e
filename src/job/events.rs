//! Notes what happens to a task, for the timeline. Without the feature `timeline` each function here is empty. While the
//! timeline is off, each function tests one flag, which lies beside the pool's epoch.

#![cfg_attr(
    not(feature = "timeline"),
    allow(
        unused_variables,
        reason = "a hook without the timeline does nothing with its arguments"
    )
)]

#[cfg(feature = "timeline")]
mod noted;

use crate::base::task::{CellPtr, Ran};
use crate::job::record::JobPtr;
use crate::pool::core::Shared;

/// Calls a function of `noted` if the pool records its events.
macro_rules! note {
    ($pool:expr, $note:ident($($arg:expr),*)) => {
        #[cfg(feature = "timeline")]
        if $pool.records() {
            noted::$note($($arg),*);
        }
    };
}

/// Notes that a task was pushed, into its job's queue or into a deque.
#[inline(always)]
pub fn pushed(job: JobPtr, cell: CellPtr) {
    note!(job.pool(), pushed(job, cell));
}

/// Notes that a gate refused a task.
#[inline(always)]
pub fn refused(gate: JobPtr, cell: CellPtr) {
    note!(gate.pool(), refused(gate, cell));
}

/// Notes that a gate admitted a task from its queue.
#[inline(always)]
pub fn admitted(gate: JobPtr, cell: CellPtr) {
    note!(gate.pool(), admitted(gate, cell));
}

/// What this thread ran before it began a task: another task, or nothing.
#[must_use]
#[derive(Clone, Copy, Debug, Default)]
pub struct Outer(#[cfg(feature = "timeline")] Option<noted::Outer>);

/// Notes that this worker of the pool begins or resumes a task. Returns what the worker ran before.
///
/// The worker passes its pool: a load of the pool from the job would fetch a cache line that pushers write.
#[inline(always)]
pub fn started(pool: &Shared, job: JobPtr, cell: CellPtr) -> Outer {
    #[cfg(feature = "timeline")]
    if pool.records() {
        return Outer(Some(noted::started(job, cell)));
    }
    Outer::default()
}

/// Notes that this thread begins a task inline. Returns the outer task, which joins the inline task.
#[inline(always)]
pub fn started_inside(job: JobPtr, cell: CellPtr) -> Outer {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Outer(Some(noted::started_inside(job, cell)));
    }
    Outer::default()
}

/// Notes that a task has ended, or that a future is pending and leaves this worker of the pool. `address` is the address of the
/// task's cell, which may be freed. `outer` is what [`started`] has returned. The caller must keep the job alive.
#[inline(always)]
pub fn ended(pool: &Shared, job: JobPtr, address: usize, ran: &Ran, outer: Outer) {
    note!(pool, ended(job, address, ran, outer.0));
}

/// Notes that an inline task has ended. `outer` is what [`started_inside`] has returned.
#[inline(always)]
pub fn ended_inside(job: JobPtr, address: usize, outer: Outer) {
    note!(job.pool(), ended(job, address, &Ran::Counted, outer.0));
    // An inline task of the same job runs under the outer task's permit, so its end releases none. The end of an inline task of
    // another job releases a permit, but the timeline names it as the cause of no start.
    note!(job.pool(), no_cause());
}

/// Notes that a task will be dropped without running. Call it before the drop.
#[inline(always)]
pub fn dropped(cell: CellPtr) {
    note!(cell.job().pool(), dropped(cell));
}

/// Notes that the running task begins to wait inside. Call it before the task's permits are released.
#[inline(always)]
pub fn waits(job: JobPtr) {
    note!(job.pool(), waits(job));
}

/// Notes that the running task has re-acquired its permits.
#[inline(always)]
pub fn resumed(job: JobPtr) {
    note!(job.pool(), resumed(job));
}

/// Notes the figures of the job and of each ancestor, after permits were released.
#[inline(always)]
pub fn released(job: JobPtr) {
    note!(job.pool(), released(job));
}

/// Forgets this thread's last event, so that its later events do not count as caused by that event.
#[inline(always)]
pub fn no_cause(pool: &Shared) {
    note!(pool, no_cause());
}

/// Notes that the limit of the job was changed, or that the job was paused or resumed.
#[inline(always)]
pub fn changed(job: JobPtr) {
    note!(job.pool(), changed(job));
}

/// Notes that a hold-off of the job ended.
#[inline(always)]
pub fn opened(job: JobPtr) {
    note!(job.pool(), opened(job));
}

/// The number of a permit without a task, by which the timeline identifies the permit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(#[cfg(feature = "timeline")] pub(super) usize);

/// Notes that a permit without a task was acquired without a wait. Returns its number.
#[inline(always)]
pub fn acquired(job: JobPtr) -> Number {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Number(noted::acquired(job));
    }
    Number::default()
}

/// Returns the number of the permit for which a waiter is about to wait.
#[inline(always)]
pub fn new_number(job: JobPtr) -> Number {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Number(job.pool().log.new_permit());
    }
    Number::default()
}

/// Notes that a waiter gets its permit. Call it before the grant, which may free the waiter's cell. If the grant then fails
/// because the waiter does not wait any more, the caller must pass the returned number to [`given_back`].
#[inline(always)]
pub fn granted(cell: CellPtr, number: Number) -> Number {
    #[cfg(feature = "timeline")]
    if cell.job().pool().records() {
        return Number(noted::granted(cell, number.0));
    }
    Number::default()
}

/// Notes that a permit without a task is released. Call it before the release.
#[inline(always)]
pub fn given_back(job: JobPtr, number: Number) {
    note!(job.pool(), given_back(job, number.0));
}

/// Notes that this worker parks.
#[inline(always)]
pub fn parked(pool: &Shared) {
    note!(pool, parked(pool));
}

/// Notes that this worker was woken.
#[inline(always)]
pub fn woken(pool: &Shared) {
    note!(pool, woken(pool));
}

/// Notes the index of this thread's seat, or that the thread has none.
#[inline(always)]
pub fn sits(seat: Option<usize>) {
    #[cfg(feature = "timeline")]
    crate::base::log::here(|here| here.seat.set(seat.map_or(u16::MAX, |seat| seat as u16)));
}
