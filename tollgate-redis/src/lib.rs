#![doc = include_str!("../README.md")]

mod acquire;
mod book;
mod builder;
#[cfg(test)]
#[path = "../checking/mod.rs"]
mod checking;
mod error;
mod explain;
mod gate;
mod lease;
mod redis_store;
mod shared;
mod store;
mod turn;

pub use builder::GateBuilder;
pub use error::{GateError, OpenError};
pub use explain::{Explanation, Held};
pub use gate::Gate;
pub use lease::Lease;
/// The client library, whose [`Client`](redis::Client) [`Gate::open`] takes.
pub use redis;
