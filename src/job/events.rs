//! The hooks of the timeline on a task's way. Without the feature `timeline` each is empty. With it each is one branch on a flag
//! that lies beside the pool's epoch, until the timeline is started.

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

/// A task takes its place in the queue, or goes to a deque at once.
#[inline(always)]
pub fn pushed(job: JobPtr, cell: CellPtr) {
    note!(job.pool(), pushed(job, cell));
}

/// A gate has no room for a task.
#[inline(always)]
pub fn refused(gate: JobPtr, cell: CellPtr) {
    note!(gate.pool(), refused(gate, cell));
}

/// A gate admits a task from its queue.
#[inline(always)]
pub fn admitted(gate: JobPtr, cell: CellPtr) {
    note!(gate.pool(), admitted(gate, cell));
}

/// The task that a thread ran before it began another one inline.
#[must_use]
#[derive(Clone, Copy, Debug, Default)]
pub struct Outer(#[cfg(feature = "timeline")] usize);

/// This thread begins or resumes a task.
#[inline(always)]
pub fn started(job: JobPtr, cell: CellPtr) -> Outer {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Outer(noted::started(job, cell));
    }
    Outer::default()
}

/// Notes that this thread begins a task inline, inside another task.
#[inline(always)]
pub fn started_inside(job: JobPtr, cell: CellPtr) -> Outer {
    #[cfg(feature = "timeline")]
    if job.pool().records() {
        return Outer(noted::started_inside(job, cell));
    }
    Outer::default()
}

/// A task has ended, or has left the thread. `address` is that of its cell, which may be gone. The caller keeps the job.
#[inline(always)]
pub fn ended(job: JobPtr, address: usize, ran: &Ran, outer: Outer) {
    note!(job.pool(), ended(job, address, ran, outer.0));
}

/// A task has ended that ran inside another one.
#[inline(always)]
pub fn ended_inside(job: JobPtr, address: usize, outer: Outer) {
    note!(job.pool(), ended(job, address, &Ran::Counted, outer.0));
}

/// A task is about to be dropped unrun.
#[inline(always)]
pub fn dropped(cell: CellPtr) {
    note!(cell.job().pool(), dropped(cell));
}

/// The running task waits inside, and is about to release its permits.
#[inline(always)]
pub fn waits(job: JobPtr) {
    note!(job.pool(), waits(job));
}

/// The running task has its permits again.
#[inline(always)]
pub fn resumed(job: JobPtr) {
    note!(job.pool(), resumed(job));
}

/// A permit of each gate of the job was released, and passed on.
#[inline(always)]
pub fn released(job: JobPtr) {
    note!(job.pool(), released(job));
}

/// The thread has drawn the consequences of the last event, and what it does next has another cause.
#[inline(always)]
pub fn no_cause(pool: &Shared) {
    note!(pool, no_cause());
}

/// The owner has changed the job's limit, or has paused or resumed it.
#[inline(always)]
pub fn changed(job: JobPtr) {
    note!(job.pool(), changed(job));
}

/// The time came until which the job was held off.
#[inline(always)]
pub fn opened(job: JobPtr) {
    note!(job.pool(), opened(job));
}

/// The number of a permit without a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(#[cfg(feature = "timeline")] pub(super) usize);

/// A permit was acquired at once.
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

/// A waiter is about to get its permit.
#[inline(always)]
pub fn granted(cell: CellPtr, number: Number) {
    note!(cell.job().pool(), granted(cell, number.0));
}

/// A permit is about to be given back.
#[inline(always)]
pub fn given_back(job: JobPtr, number: Number) {
    note!(job.pool(), given_back(job, number.0));
}

/// A worker has found nothing to do.
#[inline(always)]
pub fn parked(pool: &Shared) {
    note!(pool, parked(pool));
}

/// A worker was woken.
#[inline(always)]
pub fn woken(pool: &Shared) {
    note!(pool, woken(pool));
}

/// This thread is a worker in this seat from now on, or has no seat.
#[inline(always)]
pub fn sits(seat: Option<usize>) {
    #[cfg(feature = "timeline")]
    crate::base::log::here(|here| here.seat.set(seat.map_or(u16::MAX, |seat| seat as u16)));
}
