#![doc = include_str!("../README.md")]

mod builder;
#[cfg(test)]
#[path = "../checking/mod.rs"]
mod checking;
mod engine;
mod error;
mod explain;
mod fleet;
mod job;
mod lease;
mod leases;
mod outcome;
mod serve;
mod store;

/// The client library, whose [`ConnectOptions`](async_nats::ConnectOptions) [`Fleet::connect_with`] takes.
pub use async_nats;
pub use builder::FleetJobBuilder;
pub use error::{FleetError, OpenError};
pub use explain::{Explanation, Held};
pub use fleet::Fleet;
pub use job::{FleetJob, SetAside};
pub use lease::Lease;
pub use outcome::Outcome;
