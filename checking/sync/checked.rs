//! What the arms that check have in common: seeded faults, full fences, statics, and nothing where there are no caches.

use super::atomic::{Ordering, fence};
use super::{Condvar, Mutex, MutexGuard};
use std::cell::Cell;
use std::time::Duration;

/// Whether the named fault is seeded in this process, by `TOLLGATE_FAULT`.
pub fn fault(name: &str) -> bool {
    static SEEDED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOLLGATE_FAULT").ok());
    SEEDED.as_deref() == Some(name)
}

std::thread_local! {
    /// One thread of the system runs all of a model's threads.
    static TIME_PASSES: Cell<bool> = const { Cell::new(false) };
}

/// Lets all waits with a time-out of this model time out from now on, or none. None does before the first call.
pub fn let_time_pass(passes: bool) {
    TIME_PASSES.set(passes);
}

/// Waits for a notification. If time passes, the wait times out at once instead, and other threads may come before this one has
/// the lock again: the flag is true then. The guard must be of `mutex`.
pub fn wait_timeout<'a, T>(
    changed: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    _: Duration,
) -> (MutexGuard<'a, T>, bool) {
    use std::sync::PoisonError;
    if !TIME_PASSES.get() {
        return (changed.wait(guard).unwrap_or_else(PoisonError::into_inner), false);
    }
    drop(guard);
    (mutex.lock().unwrap_or_else(PoisonError::into_inner), true)
}

/// A full fence.
pub fn full_fence() {
    fence(Ordering::SeqCst);
}

/// A full fence for a thread whose last atomic access was a read-modify-write.
pub fn fence_after_rmw() {
    full_fence();
}

/// Hashes alike in each run, so that a schedule can be replayed.
pub type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// There are no caches.
pub fn prefetch_write(_: *const u8) {}

/// A static that is made at its first use, anew in each iteration of a model and each schedule of a scenario.
macro_rules! global {
    ($(#[$doc:meta])* $vis:vis fn $name:ident() -> $ty:ty { $init:expr }) => {
        $(#[$doc])*
        $vis fn $name() -> &'static $ty {
            crate::sync::lazy_static! { static ref CELL: $ty = $init; }
            &CELL
        }
    };
}
pub(crate) use global;
