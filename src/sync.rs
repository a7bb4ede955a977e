//! Selects `std`, loom or shuttle as the source of atomics, cells, threads, deques, statics and time. Each source is one *arm*.
//!
//! The three arms (`std`, loom and shuttle) export the same names, and have no logic of their own. All other code of the crate
//! takes atomics, threads and time from this module. So loom's models and shuttle's scenarios check the same code that runs in
//! production.

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

/// True in a build for loom or for shuttle. Loom runs models, and shuttle runs scenarios.
pub const CHECKED: bool = cfg!(any(tollgate_loom, tollgate_shuttle));

/// True in a build with assertions that each job and each pool is at rest when it is freed. *At rest* means that no task of it is
/// queued or running, and that no thread waits for it.
pub const RESTS: bool = CHECKED || cfg!(debug_assertions);

/// Returns `model` in a build for loom or shuttle, and `production` in any other build. With smaller constants a model has
/// fewer interleavings.
pub const fn shrunk(production: usize, model: usize) -> usize {
    if CHECKED { model } else { production }
}

/// Returns `production`, or `scenario` under shuttle, or `model` under loom. A scenario can run with a larger constant than a
/// model.
pub const fn scaled(production: usize, scenario: usize, model: usize) -> usize {
    if cfg!(tollgate_shuttle) { scenario } else { shrunk(production, model) }
}
