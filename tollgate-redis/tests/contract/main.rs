//! The gate's contract against a real server, over real processes.

#[path = "../common/server.rs"]
mod server;

mod bad_input;
mod clocks;
mod faults;
mod holds;
mod worker;
