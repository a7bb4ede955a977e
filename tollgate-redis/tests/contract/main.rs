//! The gate's contract against a real server, over real processes.

#[path = "../common/server.rs"]
mod server;

mod bad_input;
mod clocks;
mod faults;
mod holds;
mod proxy;
mod resource;
mod worker;

use std::time::{Duration, Instant};

/// Waits for a condition. Fails after `most`. Returns the time that it took.
fn within(most: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < most, "not within {most:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}
