//! Checks of the protocol. `table` is the store as plain code. `model` explores all interleavings, `simulation` runs random
//! faults, `scripts` compares the plain store with a real server, and `clocks` sets a client's clock.

mod clocks;
mod model;
mod scripts;
#[path = "../tests/common/server.rs"]
mod server;
mod simulation;
mod table;
