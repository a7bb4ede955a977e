//! A door that blocks tasks until it is opened, and knows how many stand before it.

use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Default)]
pub(crate) struct Latch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    blocked: usize,
}

impl Latch {
    /// A latch that tasks can refer to.
    pub(crate) fn leak() -> &'static Latch {
        Box::leak(Box::default())
    }

    /// Blocks until the latch is open.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.blocked += 1;
        self.changed.notify_all();
        while !state.open {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until `blocked` threads stand before the latch.
    pub(crate) fn wait_for_blocked(&self, blocked: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.blocked < blocked {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        self.changed.notify_all();
    }
}
