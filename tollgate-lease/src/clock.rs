//! The client's own monotonic clock.

use crate::book::Micros;

/// A clock that never steps back.
pub trait Clock: Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Micros;
}

/// A clock that counts the time since the machine started, including the time in which the machine was suspended.
///
/// The clock of [`std::time::Instant`] stands still on Linux while a machine is suspended. The store's clock goes on, so a
/// client that counted by `Instant` would believe in leases that ended long ago.
#[derive(Debug)]
pub struct BootClock;

impl Clock for BootClock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn now(&self) -> Micros {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a live timespec, which the call fills.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
        assert_eq!(failed, 0, "Linux has had CLOCK_BOOTTIME since 2.6.39");
        time.tv_sec as Micros * 1_000_000 + time.tv_nsec as Micros / 1_000
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn now(&self) -> Micros {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed().as_micros() as Micros
    }
}
