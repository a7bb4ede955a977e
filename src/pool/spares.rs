//! The spare workers of a pool: how many there are, and the seats that are lent to them.
//!
//! A worker that is about to block lends its seat to an idle spare, or to a new one. After its wait it continues its
//! task without a seat. When that task ends, the thread becomes a spare itself. A spare that has been idle for
//! [`KEPT`] ends.
//!
//! If no spare is idle and none can be made, a thread that waits *leaves* its seat:
//! - `seat-1`: it offers the seat, and wakes a spare that has come idle meanwhile. If all other threads of the pool are
//!   blocked, it keeps the seat, and its wait panics.
//! - `seat-2`: a thread whose task has ended, and that has no seat, takes one that is offered before it becomes an idle spare.
//!
//! All happens under one lock, so one thread of the pool is not blocked. That thread uses a seat, or comes to `seat-2`.

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
    /// The number of the pool's threads that are no spares.
    workers: usize,
}

#[derive(Debug)]
struct State {
    /// The indices of the seats that are lent and that no spare worker has taken yet.
    offered: VecDeque<usize>,
    /// The number of spare workers that wait for a seat.
    idle: usize,
    /// The number of spare workers, idle or not.
    threads: usize,
    /// The number of spare workers started so far, from which each gets its index.
    made: usize,
    /// The number of threads that wait inside a task, or run it inside `blocking`. A thread that has its permits back is no
    /// longer blocked.
    blocked: usize,
    /// Set when the pool has drained: an idle spare must end.
    closed: bool,
}

/// The reason why a seat could not be lent.
#[derive(Debug)]
pub enum NoSpare {
    /// The greatest number of spares exists, and none is idle. All other threads of the pool are blocked. Holds the number of
    /// spares.
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

/// What has become of a lent seat.
#[must_use]
#[derive(Debug)]
pub enum Lent {
    /// An idle spare worker takes the seat.
    ToIdle,
    /// The caller must start a new spare worker for the seat. Holds the index of that spare worker.
    Make(usize),
}

impl Spares {
    /// Makes the state of a pool with so many workers and without spares, which may get up to `most`.
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

    /// Offers the seat with this index to an idle spare. If none is idle, counts a new spare, which the caller must make. There
    /// may be as many spares as `most`, and as the pool's own greatest number. On success the caller counts as blocked.
    ///
    /// # Errors
    /// If no spare is idle and no further one may be made. The caller keeps the seat.
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

    /// Counts the caller as blocked, and a new spare beyond the greatest number, which the caller must make. The spare gets the
    /// seat of the caller, or else one that was left. Returns the index of the spare and its seat, or `None` if there is no seat.
    pub fn lend_beyond(&self, seat: Option<usize>) -> Option<(usize, usize)> {
        let mut state = self.lock();
        state.blocked += 1;
        let seat = seat.or_else(|| state.offered.pop_front())?;
        let made = state.made;
        state.threads += 1;
        state.made += 1;
        Some((made, seat))
    }

    /// Subtracts a spare whose thread could not be started. The caller of `lend` or `lend_beyond` no longer counts as blocked.
    /// Offers the seat of that spare again if the caller had none.
    pub fn give_up(&self, left: Option<usize>) {
        let mut state = self.lock();
        state.threads -= 1;
        state.blocked -= 1;
        state.offered.extend(left);
    }

    /// Counts the caller as blocked, and offers its seat, if it has one, to the next thread that needs a seat (seat-1).
    ///
    /// # Errors
    /// If all other threads of the pool are blocked. The caller keeps its seat.
    pub fn leave(&self, seat: Option<usize>) -> Result<(), NoSpare> {
        let mut state = self.lock();
        if state.blocked + 1 >= self.workers + state.threads {
            return Err(NoSpare::Most(self.most));
        }
        state.blocked += 1;
        if let Some(seat) = seat {
            state.offered.push_back(seat);
            // A spare may have come idle since the caller has tried to lend the seat.
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Counts the caller as blocked no longer.
    pub fn unblock(&self) {
        self.lock().blocked -= 1;
    }

    /// Waits, as a spare worker, until a seat is lent. Returns the index of the seat, or `None` if the spare worker must end.
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
            // Any thread without a seat may end here, be it a former worker or a spare. Only the number of spares matters.
            state.threads -= 1;
        }
        seat
    }

    /// Ends all idle spare workers, now and later. Call it when the pool has drained.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns true if no seat is lent, no spare waits for one, and no thread is blocked.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        state.offered.is_empty() && state.idle == 0 && state.blocked == 0
    }

    /// Returns the number of spare workers, idle or not.
    pub fn count(&self) -> usize {
        self.lock().threads
    }
}
