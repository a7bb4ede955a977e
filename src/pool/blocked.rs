//! The list of a pool's blocked pushers. Each of them waits for a slot, or for the permits of its task in a job with a capacity
//! of 0. Module `api::capacity` explains how they wait (`full-1`, `close-2`).

use crate::base::parking::parking_lot;
use crate::sync::{Mutex, MutexGuard};

/// The list of the blocked pushers of one pool. The list has the keys under which these pushers wait in the parking lot.
#[derive(Debug)]
pub struct BlockedPushers(Mutex<Vec<usize>>);

impl BlockedPushers {
    /// Makes an empty list of blocked pushers.
    pub fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns true if no pusher of the pool is blocked.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Adds a pusher that is about to wait in the parking lot under `key` (`full-1`).
    pub fn add(&self, key: usize) {
        self.lock().push(key);
    }

    /// Removes one pusher that has waited in the parking lot under `key` and waits no longer.
    pub fn remove(&self, key: usize) {
        let mut keys = self.lock();
        if let Some(entry) = keys.iter().position(|listed| *listed == key) {
            keys.swap_remove(entry);
        }
    }

    /// Wakes every blocked pusher, so that it checks whether its job still accepts tasks (`close-2`).
    pub fn wake(&self) {
        let keys = self.lock().clone();
        for key in keys {
            parking_lot().wake(key);
        }
    }
}
