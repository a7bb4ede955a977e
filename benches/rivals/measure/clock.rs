//! Nanoseconds since the first call: one word that fits into a task's captures. Processor time. And a
//! busy wait.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call.
#[inline]
pub(crate) fn now() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Nanoseconds of processor time that all threads of this process have used.
fn processor() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of processor time that this thread has used.
pub(crate) fn thread_processor() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one `timespec`, to one that is ours.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A stretch of time, on the wall and on the processors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) elapsed: Duration,
    /// Nanoseconds of all threads together.
    pub(crate) processor: u64,
}

/// Where a [`Span`] begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    start: Instant,
    processor: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        let processor = processor();
        Stopwatch { start: Instant::now(), processor }
    }

    pub(crate) fn stop(self) -> Span {
        let elapsed = self.start.elapsed();
        Span { elapsed, processor: processor() - self.processor }
    }
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
