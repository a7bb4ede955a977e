//! What the models share: how one is checked, and instruments for the tasks in it.
//!
//! The models are in `tests/`, a file for each protocol. Without `--cfg tollgate_loom` all of this is empty.

#![cfg(tollgate_loom)]
#![allow(missing_docs, reason = "a crate of tests")]

pub mod check;
pub mod faults;
pub mod instruments;

pub use check::check;
