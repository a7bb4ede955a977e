//! What the models share: how one is checked, and instruments for the tasks in it.
//!
//! The models are in `tests/`, a file for each protocol. Without `--cfg tollgate_loom` there is but the
//! list of faults, which the scenarios under shuttle use, too.

#![allow(missing_docs, reason = "a crate of tests")]

#[cfg(tollgate_loom)]
pub mod check;
pub mod faults;
#[cfg(tollgate_loom)]
pub mod instruments;
pub mod seeding;

#[cfg(tollgate_loom)]
pub use check::check;
