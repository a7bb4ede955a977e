//! The list of the named roots of a pool: the jobs with a name and without a parent.
//!
//! `Pool::jobs` finds the named roots in this list. `Pool::jobs` finds other jobs in the table of children and in the list of
//! held jobs.

use crate::base::task::OpaqueJob;
use crate::sync::{Mutex, MutexGuard};
use std::collections::BTreeSet;

/// The list of the named roots of a pool: the jobs with a name and without a parent. The list has no handles of these jobs. A
/// job is removed from the list before its record is freed.
#[derive(Debug)]
pub struct NamedRoots(Mutex<BTreeSet<OpaqueJob>>);

impl NamedRoots {
    /// Makes an empty list of named roots.
    pub fn new() -> Self {
        Self(Mutex::new(BTreeSet::new()))
    }

    /// Locks the list of named roots, and returns it.
    pub fn lock(&self) -> MutexGuard<'_, BTreeSet<OpaqueJob>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
