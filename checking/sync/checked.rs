//! What the arms that check have in common: seeded faults, full fences, statics, and nothing where there are no caches.

use super::atomic::{Ordering, fence};

/// Whether the named fault is seeded in this process, by `TOLLGATE_FAULT`.
pub fn fault(name: &str) -> bool {
    static SEEDED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOLLGATE_FAULT").ok());
    SEEDED.as_deref() == Some(name)
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
