//! Random ids.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;

/// Returns 128 random bits, from the keys that the standard library draws for its hash maps.
pub fn random() -> u128 {
    let draw = || u128::from(RandomState::new().build_hasher().finish());
    // Two keys of one thread differ by a counter, so a second thread draws the second half.
    let other = thread::spawn(draw).join().unwrap_or_else(|_| draw());
    draw() << 64 | other
}
