//! Pushes into jobs with a capacity of 0. A task is pushed together with its permits. If no permit is free, the push fails or
//! the pusher waits.
//!
//! A pusher that waits for permits has a waiter in the job's queue, as a caller of `acquire` has. The pusher also adds the key
//! under which it parks to the pool's list of blocked pushers. A thread that closes the job or the pool wakes the pushers of
//! that list (`full-1` to `close-2` of module `capacity`).

use crate::api::acquire::Permit;
use crate::api::capacity::BlockedPusher;
use crate::api::job::Job;
use crate::api::ticket::{Offered, Ticket};
use crate::base::task::CellPtr;
use crate::error::TryAcquireError;
use crate::job::capacity::Capacity;
use crate::job::gate::handed::Handed;
use crate::unwind;
use crate::worker::blocking;
use crate::worker::context::Context;

impl Job {
    /// Returns true if the job has a capacity of 0. A push into such a job must acquire the task's permits first.
    pub(super) fn hands_over(&self) -> bool {
        let capacity = self.extra().and_then(|extra| extra.capacity.as_ref());
        capacity.is_some_and(|capacity| Capacity::is_none(capacity))
    }

    /// Acquires the permits of one task, and returns a ticket that owns these permits. Blocks until the permits are free.
    ///
    /// If the caller is a task of the same pool, neither blocks nor acquires permits: the pushed task must wait in the queue.
    /// In this case returns a ticket without permits if the job is timed or traced, and otherwise `None`.
    #[cold]
    #[track_caller]
    pub(super) fn take_handed_ticket(&self) -> Option<Ticket> {
        // This call is not inside a closure, because a panic inside a closure would not report the caller's line.
        let handed = self.wait_for_permits();
        Ticket::of(self.ptr(), None, handed)
    }

    /// Acquires the permits of one task if they are free, and returns a ticket that owns these permits. Returns `Full` if a
    /// permit is missing, and `Closed` if the job accepts no tasks. Never blocks.
    #[cold]
    pub(super) fn try_take_handed_ticket(&self) -> Offered {
        match self.try_acquire() {
            Ok(permit) => Ticket::of(self.ptr(), None, Some(permit.for_a_task()))
                .map_or(Offered::Free, Offered::Ticket),
            Err(TryAcquireError::Closed) => Offered::Closed,
            Err(_) => Offered::Full,
        }
    }

    /// Waits for the permits of one task, and returns them. Returns `None` if the job or the pool accepts no tasks any more.
    /// Also returns `None`, without a wait, if the caller is a task of the pool: such a task must not block its worker.
    #[track_caller]
    fn wait_for_permits(&self) -> Option<Handed> {
        if Context::of_pool(self.ptr().pool_ptr(), |_| ()) {
            return None;
        }
        let mut waiter = match self.acquire_or_queue(|| None, false) {
            Ok(waiter) => waiter,
            Err(outcome) => return outcome.ok().map(Permit::for_a_task),
        };
        let number = waiter.number();
        let _blocked = BlockedPusher::enter(self.ptr().pool_ptr(), waiter.key()); // full-1
        loop {
            let wait = || !waiter.is_decided() && self.accepts(); // full-2
            unwind::at_caller(|| blocking::wait(waiter.key(), None, wait));
            waiter = match waiter.take() {
                Ok(outcome) => return self.permit_of(outcome, number).ok().map(Permit::for_a_task),
                Err(waits) if self.accepts() => waits,
                // Dropping the waiter takes it out of the queue. If permits were granted to the waiter meanwhile, the drop
                // gives them back.
                Err(_) => return None,
            };
        }
    }

    /// Pushes a task, with the permits `handed` if there are any. Cancels the task if the job or the pool does not accept it.
    pub(super) fn push_or_cancel_with(&self, handed: Option<Handed>, cell: CellPtr) {
        if handed.is_none() || !self.accepts() {
            // If the job accepts tasks, this call pushes the task, which has no permits. Otherwise the call cancels the task,
            // and the drop of `handed` gives back the permits that the task may have.
            return self.push_or_cancel(cell);
        }
        self.push_with(handed, cell);
    }

    /// Pushes an accepted task, with the permits `handed` if there are any.
    pub(super) fn push_with(&self, handed: Option<Handed>, cell: CellPtr) {
        match handed {
            Some(handed) => handed.push(cell),
            None => self.push(cell),
        }
    }
}
