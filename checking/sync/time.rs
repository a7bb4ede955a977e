//! Time for models and scenarios. Time passes only when a task calls `advance`.

use super::atomic::{AtomicU64, Ordering};
use super::global;
use std::time::Duration;

global! {
    /// Returns the number of nanoseconds that have passed since the first moment.
    fn clock() -> AtomicU64 { AtomicU64::new(0) }
}

/// Lets the time `by` pass. The calling thread sees the change at once.
pub fn advance(by: Duration) {
    // Ordering: Relaxed; a clock orders nothing.
    clock().fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
}

/// A moment, as the time since the first moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// Returns the present moment.
    pub fn now() -> Self {
        // Ordering: Relaxed; as in `advance`.
        Self(Duration::from_nanos(clock().load(Ordering::Relaxed)))
    }

    /// Returns the moment that is `duration` later.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }

    /// Returns the time from `earlier` to this moment, or zero.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time that has passed since this moment.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}
