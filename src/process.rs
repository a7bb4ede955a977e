//! Detects a forked child: a process with the memory of a pool and none of its threads.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{CHECKED, global};

/// What a call says that would wait for workers that the process does not have.
pub const NO_WORKERS: &str = "a forked child has none of its parent's workers, so this call could never end: make a pool in the child";

global! {
    /// Returns the id of the process that made the last pool.
    fn last_maker() -> AtomicU32 { AtomicU32::new(0) }
}

/// Returns the id of this process, which is about to make a pool.
pub fn note_maker() -> u32 {
    let id = std::process::id();
    if !CHECKED {
        // Ordering: Relaxed; what carries the pool to another thread publishes it.
        last_maker().store(id, Ordering::Relaxed);
    }
    id
}

/// Returns true if a process before a fork made the last pool.
pub fn is_child() -> bool {
    // Ordering: Relaxed; what carries the pool to this thread publishes it.
    !CHECKED && last_maker().load(Ordering::Relaxed) != std::process::id()
}
