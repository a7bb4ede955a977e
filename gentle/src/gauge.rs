//! Counts how many are inside something at once, and the most that ever were.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of those inside now and the most at once.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    /// Counts one more inside until the guard drops.
    pub(crate) fn enter(&self) -> Inside<'_> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        // The most seldom rises, and is only read until it does.
        if inside > self.most() {
            self.most.fetch_max(inside, Ordering::SeqCst);
        }
        Inside { gauge: self, with_this: inside }
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// The most that were ever inside at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// One that is inside a gauge that it keeps.
#[must_use]
#[derive(Debug)]
pub(crate) struct Held(Arc<Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One that is inside.
#[must_use]
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    gauge: &'a Gauge,
    with_this: usize,
}

impl Inside<'_> {
    /// How many were inside when this one entered, itself included.
    pub(crate) fn with_this(&self) -> usize {
        self.with_this
    }

    /// Turns this guard into one that owns its gauge, and may outlive the caller. `gauge` must be the gauge of this guard.
    pub(crate) fn keep(self, gauge: &Arc<Gauge>) -> Held {
        debug_assert!(std::ptr::eq(self.gauge, Arc::as_ptr(gauge)), "a gauge has its own guards");
        std::mem::forget(self);
        Held(Arc::clone(gauge))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.gauge.inside.fetch_sub(1, Ordering::SeqCst);
    }
}
