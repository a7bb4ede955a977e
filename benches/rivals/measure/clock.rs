//! Nanoseconds since the first call: one word that fits into a task's captures. And a busy wait.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call.
#[inline]
pub(crate) fn now() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Keeps the core busy for as long.
#[inline]
pub(crate) fn spin(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Lets sleeps of this thread, and of the threads that it starts, end on time rather than up to 50 µs late.
pub(crate) fn sleep_exactly() {
    #[cfg(target_os = "linux")]
    // SAFETY: this option takes one number and touches no memory of ours.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64);
    }
}
