//! The spare workers of a pool: how many there are, and the seats that are lent to them.
//!
//! A worker that is about to block lends its seat to an idle spare, or to a new one. After its wait it continues its
//! task without a seat. When that task ends, the thread becomes a spare itself. A spare that has been idle for
//! [`KEPT`] ends.

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
    /// Set when the pool has drained: an idle spare must end.
    closed: bool,
}

/// The reason why a seat could not be lent.
#[derive(Debug)]
pub enum NoSpare {
    /// The greatest number of spares exists, and none is idle. Holds that number.
    Most(usize),
    /// The platform could not start a thread.
    Refused(std::io::Error),
}

impl std::fmt::Display for NoSpare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Most(most) => write!(
                f,
                "all {most} spare workers are waiting inside tasks: wait less deeply, or raise \
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
    /// Makes the state of a pool without spares, which may get up to `most`.
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                offered: VecDeque::new(),
                idle: 0,
                threads: 0,
                made: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Offers the seat with this index to an idle spare. If none is idle, counts a new spare, which the caller must make. There
    /// may be as many spares as `most`, and as the pool's own greatest number.
    ///
    /// # Errors
    /// If no spare is idle and no further one may be made. The caller keeps the seat.
    pub fn lend(&self, seat: usize, most: usize) -> Result<Lent, NoSpare> {
        let mut state = self.lock();
        if state.idle > state.offered.len() {
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
        Ok(Lent::Make(made))
    }

    /// Counts a spare off whose thread could not be started.
    pub fn give_up(&self) {
        self.lock().threads -= 1;
    }

    /// Waits, as a spare worker, until a seat is lent. Returns the index of the seat, or `None` if the spare worker must end.
    pub fn wait_for_seat(&self) -> Option<usize> {
        let mut state = self.lock();
        state.idle += 1;
        let seat = loop {
            if let Some(seat) = state.offered.pop_front() {
                break Some(seat);
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

    /// Returns true if no seat is lent, and no spare waits for one.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        state.offered.is_empty() && state.idle == 0
    }

    /// Returns the number of spare workers, idle or not.
    pub fn count(&self) -> usize {
        self.lock().threads
    }
}
