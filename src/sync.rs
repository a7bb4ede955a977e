//! The one switch between `std` and loom: atomics, cells, threads, deques, statics.
//!
//! Both arms give the same names and hold no logic of ours. Everything else in the crate takes its
//! concurrency from here, so that the code that models check is the code that runs.

#[cfg(tollgate_loom)]
#[path = "sync/loom.rs"]
mod arm;
#[cfg(not(tollgate_loom))]
#[path = "sync/std.rs"]
mod arm;

#[cfg(tollgate_count)]
pub mod count;

pub use arm::*;

/// Picks the production constant or the one that keeps a model small.
pub const fn shrunk(production: usize, model: usize) -> usize {
    if cfg!(tollgate_loom) { model } else { production }
}
