//! The list of the pushers that wait for a slot of a bounded job (`full-1`, `close-2` of `capacity`).

use crate::base::parking::parking_lot;
use crate::sync::{Mutex, MutexGuard};

/// The blocked pushers of one pool: their keys in the parking lot.
#[derive(Debug)]
pub struct BlockedPushers(Mutex<Vec<usize>>);

impl BlockedPushers {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns true if no pusher is blocked.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Wakes every blocked pusher, so that it checks whether its job still accepts tasks (`close-2`).
    pub fn wake(&self) {
        let keys = self.lock().clone();
        for key in keys {
            parking_lot().wake(key);
        }
    }
}

/// One entry in the list of blocked pushers. Dropping it removes the entry.
pub struct Crowd<'a> {
    blocked_pushers: &'a BlockedPushers,
    key: usize,
}

impl<'a> Crowd<'a> {
    /// Adds an entry to the list (`full-1`).
    pub fn enter(blocked_pushers: &'a BlockedPushers, key: usize) -> Self {
        blocked_pushers.lock().push(key);
        Self { blocked_pushers, key }
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        let mut keys = self.blocked_pushers.lock();
        if let Some(entry) = keys.iter().position(|key| *key == self.key) {
            keys.swap_remove(entry);
        }
    }
}
