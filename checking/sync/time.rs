//! Time for models and scenarios: a moment passes only when a task calls `advance`.

use super::atomic::{AtomicU64, Ordering};
use super::global;
use std::time::Duration;

global! {
    /// Nanoseconds since the first moment.
    fn clock() -> AtomicU64 { AtomicU64::new(0) }
}

/// Lets time pass, for the calling thread at least.
pub fn advance(by: Duration) {
    // Ordering: Relaxed; a clock orders nothing.
    clock().fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
}

/// A moment, as far from the first as was advanced, or added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// The moment up to which time has passed.
    pub fn now() -> Self {
        // Ordering: Relaxed; as in `advance`.
        Self(Duration::from_nanos(clock().load(Ordering::Relaxed)))
    }

    /// The moment so much later.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }

    /// How long it is from `earlier` to here.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How much time has passed since then.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}
