//! The contract against a real server, over real processes.

#[path = "../common/server.rs"]
mod server;

mod bad_input;
mod faults;
mod holds;
mod partitions;
mod tasks;
mod worker;

use std::time::Duration;

use fleet_testing::within;
use tollgate_nats::{Explanation, Fleet, FleetJob};

/// A limit for what happens soon, however busy the machine is.
const SOON: Duration = Duration::from_secs(60);

/// Waits for a future on this thread. The fleet has its own thread, so any executor does.
fn block<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

/// Opens the job `fleet` through a port.
fn open(port: u16, limit: u32, lease: Duration) -> FleetJob {
    let fleet = block(Fleet::connect(server::address(port))).unwrap();
    block(fleet.job("fleet").limit(limit).lease(lease).open()).unwrap()
}

/// Waits until the job's state is as wanted. A server that is gone for the moment is asked again.
fn explained(job: &FleetJob, what: &str, mut holds: impl FnMut(&Explanation) -> bool) {
    within(SOON, what, || block(job.explain()).is_ok_and(|state| holds(&state)));
}
