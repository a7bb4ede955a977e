//! The spare workers of a pool: how many there are, and the seats that are lent to them.
//!
//! A worker whose task is about to wait lends its seat to an idle spare worker, or to a new spare worker. After the wait the
//! worker's thread continues the task without a seat. When that task ends, the thread becomes a spare worker. A spare worker
//! that has been idle for the time [`KEPT`] ends.
//!
//! If no spare worker is idle and none can be made, a thread whose task waits *leaves* its seat:
//! - `seat-1`: If all other threads of the pool are blocked, the thread keeps its seat, and its wait panics. Otherwise the
//!   thread offers its seat, and wakes a spare worker if one has become idle meanwhile.
//! - `seat-2`: A thread without a seat whose task has ended takes an offered seat, if there is one. Otherwise the thread
//!   becomes an idle spare worker.
//!
//! Claim: a thread takes each offered seat in the end. A thread offers its seat only if another thread of the pool is not
//! blocked, and checks this under the lock of the pool's spare workers (`seat-1`). So at any time at least one thread of the
//! pool is not blocked. That thread uses a seat, or will take an offered seat when its task has ended (`seat-2`).

use crate::sync::{Condvar, Mutex, MutexGuard, wait_timeout};
use std::collections::VecDeque;
use std::time::Duration;

/// The time for which a spare worker stays idle before it ends.
const KEPT: Duration = Duration::from_secs(5);

/// The spare workers of a pool.
#[derive(Debug)]
pub struct Spares {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
    /// The number of the pool's threads that are not spare workers.
    workers: usize,
}

#[derive(Debug)]
struct State {
    /// The indices of the seats that are lent or left, and that no thread has taken yet.
    offered: VecDeque<usize>,
    /// The number of spare workers that wait for a seat.
    idle: usize,
    /// The number of spare workers, idle or not.
    threads: usize,
    /// The number of spare workers made so far. The index of a new spare worker is the value of this field before that spare
    /// worker is counted.
    made: usize,
    /// The number of threads whose task waits in `join`, `wait` or `scope`, or is inside `blocking`. A thread no longer counts
    /// when its task has re-acquired its permits, or is no longer inside `blocking`.
    blocked: usize,
    /// True when the pool has drained: each idle spare worker must end.
    closed: bool,
}

/// The reason why a seat could not be lent.
#[derive(Debug)]
pub enum NoSpare {
    /// No spare worker is idle, and no further spare worker is allowed. Holds the greatest number of spare workers. If `leave`
    /// returns this variant, all other threads of the pool are blocked.
    Most(usize),
    /// The platform could not start a thread.
    Refused(std::io::Error),
}

impl std::fmt::Display for NoSpare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Most(most) => write!(
                f,
                "all {most} spare workers and all other workers are waiting inside tasks: wait less deeply, or raise \
                 `max_spare_workers`"
            ),
            Self::Refused(error) => write!(f, "no thread for a spare worker: {error}"),
        }
    }
}

/// Which spare worker receives a lent seat.
#[must_use]
#[derive(Debug)]
pub enum Lent {
    /// An idle spare worker takes the seat.
    ToIdle,
    /// A new spare worker, which the caller must start, gets the seat. Holds the index of the new spare worker.
    Make(usize),
}

impl Spares {
    /// Makes the state of a pool with `workers` workers and no spare worker. `most` is the greatest number of spare workers
    /// that the pool can have.
    pub fn new(workers: usize, most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                offered: VecDeque::new(),
                idle: 0,
                threads: 0,
                made: 0,
                blocked: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            most,
            workers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lends the caller's seat, which has the index `seat`, to an idle spare worker. If none is idle, counts a new spare
    /// worker, which the caller must start. Counts no new spare worker beyond `most`, or beyond the pool's greatest number. On
    /// success the caller counts as blocked.
    ///
    /// # Errors
    /// Returns an error if no spare worker is idle, and a new one would exceed `most` or the pool's greatest number of spare
    /// workers. The caller then keeps the seat.
    pub fn lend(&self, seat: usize, most: usize) -> Result<Lent, NoSpare> {
        let mut state = self.lock();
        if state.idle > state.offered.len() {
            state.blocked += 1;
            state.offered.push_back(seat);
            self.changed.notify_one();
            return Ok(Lent::ToIdle);
        }
        let most = most.min(self.most);
        if state.threads >= most {
            return Err(NoSpare::Most(most));
        }
        let made = state.made;
        state.threads += 1;
        state.made += 1;
        state.blocked += 1;
        Ok(Lent::Make(made))
    }

    /// Counts the caller as blocked. Also counts a new spare worker, which the caller must start, even if the pool then has
    /// more spare workers than its greatest number. The new spare worker gets the caller's seat `seat`, or an offered seat if
    /// `seat` is `None`. Returns the index of the new spare worker and the index of its seat. If `seat` is `None` and no seat
    /// is offered, counts no new spare worker and returns `None`.
    pub fn lend_beyond(&self, seat: Option<usize>) -> Option<(usize, usize)> {
        let mut state = self.lock();
        state.blocked += 1;
        let seat = seat.or_else(|| state.offered.pop_front())?;
        let made = state.made;
        state.threads += 1;
        state.made += 1;
        Some((made, seat))
    }

    /// Subtracts a spare worker whose thread could not be started, and no longer counts the caller as blocked. Call it after
    /// `lend` or `lend_beyond`. If the spare worker was to get an offered seat, `left` must be that seat, and the seat is
    /// offered again. If the spare worker was to get the caller's own seat, `left` must be `None`.
    pub fn give_up(&self, left: Option<usize>) {
        let mut state = self.lock();
        state.threads -= 1;
        state.blocked -= 1;
        if let Some(seat) = left {
            state.offered.push_back(seat);
            // A thread might have become an idle spare worker while the seat was not offered. This call wakes that spare
            // worker.
            self.changed.notify_one();
        }
    }

    /// Counts the caller as blocked, and offers the caller's seat, if it has one, to the next thread that needs a seat
    /// (seat-1).
    ///
    /// # Errors
    /// Returns an error if all other threads of the pool are blocked. The caller then keeps its seat.
    pub fn leave(&self, seat: Option<usize>) -> Result<(), NoSpare> {
        let mut state = self.lock();
        if state.blocked + 1 >= self.workers + state.threads {
            return Err(NoSpare::Most(self.most));
        }
        state.blocked += 1;
        if let Some(seat) = seat {
            state.offered.push_back(seat);
            // A spare worker might have become idle since the caller tried to lend its seat. This call wakes that spare worker.
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Subtracts the caller from the number of blocked threads. Call it when the caller's wait has ended.
    pub fn unblock(&self) {
        self.lock().blocked -= 1;
    }

    /// Makes the caller an idle spare worker, and waits until the caller gets a seat. Returns the index of the seat, or `None`
    /// if the caller's thread must end.
    pub fn wait_for_seat(&self) -> Option<usize> {
        let mut state = self.lock();
        state.idle += 1;
        let seat = loop {
            if let Some(seat) = state.offered.pop_front() {
                break Some(seat); // seat-2
            }
            if state.closed {
                break None;
            }
            let (next, timed_out) = wait_timeout(&self.changed, &self.state, state, KEPT);
            state = next;
            if timed_out && state.offered.is_empty() {
                break None;
            }
        };
        state.idle -= 1;
        if seat.is_none() {
            // This thread might have begun as a worker and not as a spare worker. In both cases the pool has one thread fewer,
            // and so one spare worker fewer.
            state.threads -= 1;
        }
        seat
    }

    /// Makes each spare worker end that is idle now or becomes idle later. Call it when the pool has drained.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns true if no seat is offered, no spare worker is idle, and no thread is blocked.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        state.offered.is_empty() && state.idle == 0 && state.blocked == 0
    }

    /// Returns the number of spare workers, idle or not.
    pub fn count(&self) -> usize {
        self.lock().threads
    }
}
