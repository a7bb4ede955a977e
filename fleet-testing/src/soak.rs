//! The length of a soak, and its random numbers, whose seed is printed.

use std::time::Duration;

/// Returns how long a soak lasts: `TOLLGATE_SOAK_SECS` seconds, or ten.
///
/// # Panics
///
/// Panics if the variable is not a number of seconds.
pub fn soak_time() -> Duration {
    let seconds = std::env::var("TOLLGATE_SOAK_SECS");
    Duration::from_secs(seconds.map_or(10, |seconds| seconds.parse().unwrap()))
}

/// Random numbers (xorshift), with the process's id as the seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence of numbers, and prints its seed.
    pub fn start() -> Self {
        let seed = u64::from(std::process::id()) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    /// Returns the next number, which is less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
