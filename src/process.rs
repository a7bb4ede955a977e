//! Detects a forked child: a process made by `fork` that has the memory of a pool but not the pool's threads.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{CHECKED, global};

/// The panic message of a call that would wait for workers in a forked child.
pub const NO_WORKERS: &str = "a forked child has none of its parent's workers, so this call could never end: make a pool in the child";

global! {
    /// Returns the id of the process that made the last pool.
    fn last_maker() -> AtomicU32 { AtomicU32::new(0) }
}

/// Stores the id of this process as the id of the process that made the last pool. Returns the id.
pub fn note_maker() -> u32 {
    let id = std::process::id();
    if !CHECKED {
        // Ordering: Relaxed; the synchronization that carries the pool to another thread publishes the id.
        last_maker().store(id, Ordering::Relaxed);
    }
    id
}

/// Returns true if another process made the last pool. This process is then a forked child that has made no pool of its own.
/// Call this only after a pool was made.
pub fn is_child() -> bool {
    // Ordering: Relaxed; the synchronization that carries the pool to this thread publishes the id.
    !CHECKED && last_maker().load(Ordering::Relaxed) != std::process::id()
}
