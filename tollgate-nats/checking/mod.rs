//! Checks of the protocol. `consumer` is the server's consumer as plain code, `model` explores all interleavings, and `clocks` sets
//! a client's clock.

mod clocks;
mod consumer;
mod model;
#[path = "../tests/common/server.rs"]
mod server;
