//! The one switch between `std`, loom and shuttle: atomics, cells, threads, deques, statics, time.
//!
//! All arms give the same names and hold no logic of ours. Everything else in the crate takes its
//! concurrency from here, so that the code that models and scenarios check is the code that runs.

#[cfg(tollgate_loom)]
#[path = "../checking/sync/loom.rs"]
mod arm;
#[cfg(tollgate_shuttle)]
#[path = "../checking/sync/shuttle.rs"]
mod arm;
#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
#[path = "sync/std.rs"]
mod arm;

#[cfg(tollgate_count)]
#[path = "../checking/sync/count.rs"]
pub mod count;

pub use arm::*;

/// Whether this build is to be checked: by models under loom, or scenarios under shuttle.
pub const CHECKED: bool = cfg!(any(tollgate_loom, tollgate_shuttle));

/// Whether a job or a pool that is freed must be at rest, or the build fails its check.
pub const RESTS: bool = CHECKED || cfg!(debug_assertions);

/// Picks the production constant or the one that keeps a model small.
pub const fn shrunk(production: usize, model: usize) -> usize {
    if CHECKED { model } else { production }
}

/// As `shrunk`, where scenarios under shuttle bear more than models under loom do.
pub const fn scaled(production: usize, scenario: usize, model: usize) -> usize {
    if cfg!(tollgate_shuttle) { scenario } else { shrunk(production, model) }
}
