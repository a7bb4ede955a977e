//! Lets one thread of a process at a time ask the store for a lease. All other threads of the process wait here, not at the
//! store.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::book::Micros;
use crate::store::Store;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Free,
    /// A thread talks to the store.
    Asking,
    /// A thread waits for the store to wake it: the gate was full a moment ago.
    Waiting,
}

struct State {
    at: At,
    /// The connection to the store, while no thread has the turn.
    store: Option<Box<dyn Store>>,
    silent_since: Option<Micros>,
}

/// Lends the one connection on which a process asks for leases.
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

/// The turn of one thread. The next thread gets the turn when this value is dropped.
#[must_use]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    pub(crate) store: Option<Box<dyn Store>>,
    /// The time since which the store has answered no request. `None` if it has answered the last request.
    pub(crate) silent_since: Option<Micros>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { at: At::Free, store: None, silent_since: None }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn, until `deadline` if there is one. Returns `None` after the deadline. If `impatient` is true, also
    /// returns `None` if another thread waits for the store.
    pub(crate) fn take(&self, deadline: Option<Instant>, impatient: bool) -> Option<Turn<'_>> {
        let mut state = self.lock();
        while state.at != At::Free {
            if impatient && state.at == At::Waiting {
                return None;
            }
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return None;
            }
            let pause = left.min(Duration::from_secs(3600));
            state =
                self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.at = At::Asking;
        Some(Turn { turns: self, store: state.store.take(), silent_since: state.silent_since })
    }
}

impl Turn<'_> {
    /// Tells impatient threads whether this thread waits for the store.
    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.turns.lock().at = if waiting { At::Waiting } else { At::Asking };
        if waiting {
            self.turns.changed.notify_all();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.at = At::Free;
        state.store = self.store.take();
        state.silent_since = self.silent_since;
        drop(state);
        self.turns.changed.notify_one();
    }
}
