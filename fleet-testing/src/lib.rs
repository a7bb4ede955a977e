//! What the tests of limits over many machines have in common: servers and workers in processes of their own, networks of
//! machines, a proxy between client and server, and the resource that counts its visits.

mod network;
mod process;
mod proxy;
mod resource;
mod server;
mod soak;
mod usage;

use std::time::{Duration, Instant};

pub use network::Network;
pub use process::Process;
pub use proxy::{Mode, Proxy};
pub use resource::{Resource, Visit};
pub use server::{Launch, Server};
pub use soak::{Random, soak_time};
pub use usage::Usage;

/// Waits for a condition. Returns the time that it took.
///
/// # Panics
///
/// Panics if the condition does not hold within `most`.
pub fn within(most: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < most, "not within {most:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}
