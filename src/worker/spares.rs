//! Spare workers: threads that replace workers blocked inside a task.
//!
//! A worker that is about to block lends its seat to an idle spare, or to a new one. After its wait it continues its
//! task without a seat. When that task ends, the thread becomes a spare itself. A spare that has been idle for
//! [`KEPT`] ends.

use crate::pool::core::{Hooks, PoolPtr, Shared};
use crate::sync::thread::Builder;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::unwind;
use crate::worker::context::Context;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a spare stays idle before it ends.
const KEPT: Duration = Duration::from_secs(5);

/// The size of the stacks of the pool's threads.
#[derive(Debug)]
pub struct Threads {
    /// The size of a stack in bytes, or `None` for the platform's default.
    pub stack_size: Option<usize>,
}

/// Returns a thread builder for the spare with this index.
///
/// If the user's code panics or returns an invalid name, the spare gets its usual name. The task that needs the spare
/// must not fail because of a name.
fn spare_builder(shared: &Shared, index: usize) -> Builder {
    let name = |hooks: &Hooks| {
        let name = unwind::halt(|| Context::outside_of_tasks(|| (hooks.name)(index)));
        name.map_err(unwind::drop_quietly).ok().filter(|name| may_be_a_name(name))
    };
    let name = shared.hooks().as_deref().and_then(name);
    shared.threads.builder_named(name.unwrap_or_else(|| usual_name(index)))
}

impl Threads {
    /// Returns a thread builder with this name.
    pub fn builder_named(&self, name: String) -> Builder {
        let builder = Builder::new().name(name);
        match self.stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        }
    }
}

/// Returns true if a thread can have this name.
pub fn may_be_a_name(name: &str) -> bool {
    !name.contains('\0')
}

/// Returns the default name of the thread with this index.
pub fn usual_name(index: usize) -> String {
    format!("tollgate-{index}")
}

/// The spare workers of a pool.
#[derive(Debug)]
pub struct Spares {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Debug)]
struct State {
    /// Indices of seats that are lent and that no spare has taken yet.
    offered: VecDeque<usize>,
    /// The number of spares that wait for a seat.
    idle: usize,
    /// The number of spares, idle or not.
    threads: usize,
    /// The number of spares made so far. Gives each spare its index.
    made: usize,
    /// Set when the pool has drained: an idle spare must end.
    closed: bool,
}

/// Why a seat could not be lent.
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

    /// Lends the seat with this index to a spare. On success the calling thread must not use the seat any more. A new spare is
    /// made if there are fewer than `most`, and fewer than the pool's own greatest number.
    ///
    /// # Errors
    /// If no spare is idle and no further one can be made. The caller keeps the seat.
    pub fn lend(&self, pool: PoolPtr, seat: usize, most: usize) -> Result<(), NoSpare> {
        let mut state = self.lock();
        if state.idle > state.offered.len() {
            state.offered.push_back(seat);
            self.changed.notify_one();
            return Ok(());
        }
        let most = most.min(self.most);
        if state.threads >= most {
            return Err(NoSpare::Most(most));
        }
        let shared = pool.shared();
        let index = shared.workers() + state.made;
        state.threads += 1;
        state.made += 1;
        // Unlocks first: the name comes from user code, which may ask the pool for its statistics.
        drop(state);
        let builder = spare_builder(shared, index);
        shared.worker_comes(pool);
        match builder.spawn(move || crate::worker::run::work(pool, index, seat)) {
            Ok(thread) => {
                // The pool counts its threads and waits for that count, so the handle is not needed.
                drop(thread);
                Ok(())
            }
            Err(error) => {
                self.lock().threads -= 1;
                shared.worker_left();
                pool.disown(1);
                Err(NoSpare::Refused(error))
            }
        }
    }

    /// Waits, as a spare, until a seat is lent. Returns its index, or `None` if the spare must end.
    pub fn wait_for_place(&self) -> Option<usize> {
        let mut state = self.lock();
        state.idle += 1;
        let seat = loop {
            if let Some(seat) = state.offered.pop_front() {
                break Some(seat);
            }
            if state.closed {
                break None;
            }
            let (next, timed_out) = wait(&self.changed, state);
            state = next;
            if timed_out && state.offered.is_empty() {
                break None;
            }
        };
        state.idle -= 1;
        if seat.is_none() {
            // Any thread without a seat may end here, a former worker as well as a spare. Only the number matters.
            state.threads -= 1;
        }
        seat
    }

    /// Ends all idle spares, now and later. Called when the pool has drained.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns true if no seat is lent, and no spare waits for one.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        state.offered.is_empty() && state.idle == 0
    }

    /// Returns the number of spares, idle or not.
    pub fn count(&self) -> usize {
        self.lock().threads
    }
}

/// Waits for a notification or for [`KEPT`]. The flag tells that the time has passed.
#[cfg(not(tollgate_loom))]
fn wait<'a>(changed: &Condvar, state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let (state, result) =
        changed.wait_timeout(state, KEPT).unwrap_or_else(std::sync::PoisonError::into_inner);
    (state, result.timed_out())
}

/// Waits for a notification: in a loom model no time passes.
#[cfg(tollgate_loom)]
fn wait<'a>(changed: &Condvar, state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let _ = KEPT;
    (changed.wait(state).unwrap(), false)
}
