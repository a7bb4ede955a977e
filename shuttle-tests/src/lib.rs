//! What the scenarios share: how one is run under many schedules, and instruments for the tasks in it.
//!
//! The scenarios are in `tests/`, a file a promise: whole pools of three or four workers with their
//! threads, driven by the library's public face only. They go where loom cannot for their size. loom
//! explores all interleavings of two or three threads within a bound; shuttle draws some thousands out of those of
//! eight, by chance, and so shows that there are bugs, and never that there are none.
//!
//! # What shuttle cannot see
//!
//! It takes every atomic access for a sequentially consistent one, and a fence for nothing. It finds wrong
//! interleavings, and no wrong ordering: a fence left out, a Relaxed where a Release must be. Those are
//! the models' to find, in `loom-tests`; `faults::UNSEEN` lists the seeded ones. Freed memory is overwritten and
//! goes to the next allocation of its size, so that a use after free is seen by what comes of it. Time passes
//! only as tasks advance it, and a wait with a timeout does not notice.
//!
//! Without `--cfg tollgate_shuttle` all of this is empty.

#![cfg(tollgate_shuttle)]
#![allow(missing_docs, reason = "a crate of tests")]

pub mod check;
pub mod faults;
pub mod instruments;
pub mod record;

pub use check::{check, in_a_pool};

/// A pool with so many workers.
pub fn pool(workers: usize) -> tollgate::Pool {
    tollgate::Pool::builder().workers(workers).build().expect("shuttle starts any thread")
}
