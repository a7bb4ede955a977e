//! What the loom arm and the shuttle arm have in common: seeded faults, full fences, statics, and an empty prefetch.

use super::atomic::{Ordering, fence};
use super::{Condvar, Mutex, MutexGuard};
use std::cell::Cell;
use std::time::Duration;

/// Returns true if the environment variable `TOLLGATE_FAULT` names this fault.
pub fn fault(name: &str) -> bool {
    static SEEDED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOLLGATE_FAULT").ok());
    SEEDED.as_deref() == Some(name)
}

std::thread_local! {
    /// True if waits with a time-out time out. A thread-local suffices, because one thread of the system runs all threads of a
    /// model.
    static TIME_PASSES: Cell<bool> = const { Cell::new(false) };
}

/// Sets whether all waits with a time-out of this model time out from now on. Without a call no wait times out.
pub fn let_time_pass(passes: bool) {
    TIME_PASSES.set(passes);
}

/// Waits for a notification. If time passes, the wait times out at once instead, and the returned flag is true. Other threads
/// may run before this one has the lock again. `guard` must belong to `mutex`.
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

/// Executes a full fence.
pub fn full_fence() {
    fence(Ordering::SeqCst);
}

/// Executes a full fence in a thread whose last atomic access was a read-modify-write.
pub fn fence_after_rmw() {
    full_fence();
}

/// A hasher that gives the same hashes in each run, so that a schedule can be replayed.
pub type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Does nothing, because models have no caches.
pub fn prefetch_write(_: *const u8) {}

/// Declares a static that is made at its first use, anew in each iteration of a model and each schedule of a scenario.
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
