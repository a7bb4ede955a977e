//! Ends a pool: drains the pool, drops all its tasks if a shutdown asks for that, and notes when the last worker has ended.

use super::{End, Shared};
use crate::base::parking::parking_lot;
use crate::base::task::OpaqueJob;
use crate::error::Unfinished;
use crate::pool::core::PoolPtr;
use crate::sync::atomic::Ordering;
use crate::sync::{Condvar, MutexGuard, full_fence};
use std::collections::BTreeSet;

impl Shared {
    /// Returns true if the pool is draining: it refuses pushes from threads outside the pool.
    #[inline]
    pub fn draining(&self) -> bool {
        // Ordering: Relaxed; a push that comes too late is caught by the word of `Sleep`.
        self.notice.draining.load(Ordering::Relaxed)
    }

    /// Returns true if the workers drop tasks instead of starting them.
    #[inline]
    pub fn drops(&self) -> bool {
        // Ordering: Relaxed; the epoch publishes the flag.
        self.notice.drops.load(Ordering::Relaxed)
    }

    /// Makes the pool refuse pushes from threads outside the pool, from now on.
    pub fn refuse_outsiders(&self) {
        // Ordering: Release; the word that ends the drain and the lock of the list of held jobs come later (`drain-1` of `control`).
        self.notice.draining.store(true, Ordering::Release);
        full_fence();
        self.blocked_pushers.wake();
    }

    /// Runs `f`, for instance a function that pauses or cancels a job. While `f` runs, a drain does not end. So a worker is
    /// left for each sweep that `f` requests.
    ///
    /// If the drain has already ended, no worker is left to take a sweep. That is no loss: the only tasks that `f` can find
    /// then were pushed after the end, and their pushers drop them.
    pub fn defer_end(&self, f: impl FnOnce()) {
        self.sleep.depart_in_time();
        f();
        self.sleep.arrive(|| self.is_busy());
    }

    /// Makes the workers drop tasks instead of starting them, from now on. Also closes the timer.
    pub fn drop_all(&self) {
        // Ordering: Release; the flag is set before the epoch is advanced.
        self.notice.drops.store(true, Ordering::Release);
        self.advance_epoch();
        self.close_timer();
    }

    /// Locks the pool's list of held jobs.
    pub fn held(&self) -> MutexGuard<'_, BTreeSet<OpaqueJob>> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns true if a drain must not end even if all workers are parked: there is a flight, a ready task, or a timer entry
    /// for which a drain waits.
    pub fn is_busy(&self) -> bool {
        self.flights() != 0 || self.has_ready() || self.waits_for_the_clock()
    }

    fn flights(&self) -> u64 {
        // Ordering: Acquire; pairs with the change in `add_flights`.
        let elsewhere = self.flights.load(Ordering::Acquire);
        self.seats.iter().map(|seat| seat.flights()).fold(elsewhere, u64::wrapping_add)
    }

    /// Returns how many started tasks a drain waits for, and how many flights: pending futures and permits without a task. The
    /// two numbers are exact while no task starts, ends or begins to wait.
    pub fn unfinished(&self) -> Unfinished {
        let on_seats = self.seats.iter().filter(|seat| seat.running_job() != 0).count();
        // A thread that has lent its seat has a task that waits inside. Such a task has not ended, so it is included in
        // `running`.
        let running = on_seats + self.sleep.away();
        Unfinished { running, pending: self.flights() as usize }
    }

    /// Subtracts `missing` workers from the pool's counts of workers, because their threads could not be started.
    pub fn give_up_workers(&self, missing: usize) {
        self.sleep.give_up_workers(missing);
        // Ordering: AcqRel; the last worker sees what the other workers did.
        if self.working.fetch_sub(missing, Ordering::AcqRel) == missing {
            self.end();
        }
    }

    /// Counts a spare worker that is about to start, as a worker and as an owner of the pool.
    pub fn worker_comes(&self, pool: PoolPtr) {
        // Ordering: Relaxed both; the caller is a worker, and counted.
        self.working.fetch_add(1, Ordering::Relaxed);
        pool.shared().owners.fetch_add(1, Ordering::Relaxed);
    }

    /// Subtracts a worker, or spare worker, that has run its last task. If no other worker is left, ends the pool.
    pub fn worker_left(&self) {
        // Ordering: AcqRel; the last worker sees what the other workers did.
        if self.working.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        self.end();
    }

    fn end(&self) {
        self.close_timer();
        self.drop_hooks();
        let mut end = self.end_state();
        end.has_come = true;
        let is_awaited = end.is_awaited;
        drop(end);
        self.ended_changed.notify_all();
        if is_awaited {
            parking_lot().wake(self.end_key());
        }
    }

    fn end_state(&self) -> MutexGuard<'_, End> {
        self.end_state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes that a future waits in the parking lot for the end of the pool, and returns true. Returns false if the pool has
    /// ended already.
    pub fn await_end(&self) -> bool {
        let mut end = self.end_state();
        end.is_awaited = true;
        !end.has_come
    }

    /// Returns the key in the parking lot for futures that wait until the last worker has ended.
    pub fn end_key(&self) -> usize {
        (&raw const self.end_state).addr()
    }

    /// Returns true if the pool has ended: its last worker has ended.
    pub fn has_ended(&self) -> bool {
        self.end_state().has_come
    }

    /// Waits until the pool's last worker has ended, for at most `timeout`. Returns true if that worker has ended.
    pub fn wait_ended(&self, timeout: Option<std::time::Duration>) -> bool {
        wait_until(self.end_state(), &self.ended_changed, timeout)
    }
}

#[cfg(not(tollgate_loom))]
fn wait_until(
    end: MutexGuard<'_, End>,
    changed: &Condvar,
    timeout: Option<std::time::Duration>,
) -> bool {
    let going = |end: &mut End| !end.has_come;
    let end = match timeout {
        None => changed.wait_while(end, going).unwrap_or_else(|poison| poison.into_inner()),
        Some(timeout) => {
            changed
                .wait_timeout_while(end, timeout, going)
                .unwrap_or_else(|poison| poison.into_inner())
                .0
        }
    };
    end.has_come
}

#[cfg(tollgate_loom)]
fn wait_until(
    mut end: MutexGuard<'_, End>,
    changed: &Condvar,
    _: Option<std::time::Duration>,
) -> bool {
    while !end.has_come {
        end = changed.wait(end).unwrap();
    }
    true
}
