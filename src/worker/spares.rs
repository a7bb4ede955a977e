//! Spare workers: threads that take the place of one that has to wait inside a task.
//!
//! A thread that is about to wait lends its place: to a spare that is idle, or to a new one. The thread
//! goes on without a place when its wait is over, and becomes a spare itself when its task ends. A spare
//! that nobody needs for a while retires.

use crate::pool::shared::PoolPtr;
use crate::sync::thread::Builder;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::unwind;
use std::collections::VecDeque;
use std::time::Duration;

/// How long an idle spare is kept.
const KEPT: Duration = Duration::from_secs(5);

/// How a thread of the pool is made.
pub struct Threads {
    /// Names a thread by its index; may panic. Spares have indices from the number of workers on.
    pub name: Box<dyn Fn(usize) -> String + Send + Sync>,
    /// The stack's size in bytes.
    pub stack_size: Option<usize>,
}

impl Threads {
    /// A builder for the spare with this index. It is needed by a task that waits, which is not to fail over
    /// a name: where the owner's panics, or cannot be one, it has the usual name.
    fn spare_builder(&self, index: usize) -> Builder {
        let name = unwind::halt(|| (self.name)(index));
        let name = name.map_err(unwind::drop_quietly).ok().filter(|name| may_be_a_name(name));
        self.builder_named(name.unwrap_or_else(|| usual_name(index)))
    }

    /// A builder for a thread of that name.
    pub fn builder_named(&self, name: String) -> Builder {
        let builder = Builder::new().name(name);
        match self.stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        }
    }
}

/// Whether a thread can have this name.
pub fn may_be_a_name(name: &str) -> bool {
    !name.contains('\0')
}

/// The name of a thread whose owner has given it none.
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
    /// Places that wait for a spare to sit down.
    offered: VecDeque<usize>,
    /// Threads that wait for a place.
    idle: usize,
    /// Threads beyond the workers, idle or not.
    threads: usize,
    /// Spares ever made, for their names.
    made: usize,
    closed: bool,
}

/// Why a place could not be lent.
#[derive(Debug)]
pub enum NoSpare {
    /// As many spares as there may be are there, and none is idle.
    Most(usize),
    /// The platform refused a thread.
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
    /// None yet, and never more than `most`, which the sleepers' word can count.
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

    /// Finds somebody for the place with this index. On success the caller's thread sits there no more.
    ///
    /// # Errors
    /// If there is no spare to be had; the place is still the caller's.
    pub fn lend(&self, pool: PoolPtr, place: usize) -> Result<(), NoSpare> {
        let mut state = self.lock();
        if state.idle > state.offered.len() {
            state.offered.push_back(place);
            self.changed.notify_one();
            return Ok(());
        }
        if state.threads >= self.most {
            return Err(NoSpare::Most(self.most));
        }
        let shared = pool.shared();
        let index = shared.workers() + state.made;
        state.threads += 1;
        state.made += 1;
        // The name comes from the pool's owner, who may ask the pool for its figures.
        drop(state);
        let builder = shared.threads.spare_builder(index);
        shared.worker_comes(pool);
        match builder.spawn(move || crate::worker::work(pool, index, place)) {
            Ok(thread) => {
                // It is waited for by count, not by handle.
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

    /// Waits, as a spare, for a place to sit in. `None`: the thread is not needed any more.
    pub fn wait_for_place(&self) -> Option<usize> {
        let mut state = self.lock();
        state.idle += 1;
        let place = loop {
            if let Some(place) = state.offered.pop_front() {
                break Some(place);
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
        if place.is_none() {
            // Of the threads there are, as many as there are workers are not spares; it does not
            // matter which.
            state.threads -= 1;
        }
        place
    }

    /// The pool is drained: idle spares leave.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many threads there are beyond the workers.
    pub fn count(&self) -> usize {
        self.lock().threads
    }
}

#[cfg(not(tollgate_loom))]
fn wait<'a>(changed: &Condvar, state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let (state, result) =
        changed.wait_timeout(state, KEPT).unwrap_or_else(std::sync::PoisonError::into_inner);
    (state, result.timed_out())
}

#[cfg(tollgate_loom)]
fn wait<'a>(changed: &Condvar, state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let _ = KEPT;
    (changed.wait(state).unwrap(), false)
}
