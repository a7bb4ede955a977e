//! The list of a pool's jobs that have a name and no parent.
//!
//! `Pool::jobs` finds these jobs by this list. The other jobs that it finds are in the table of children or in the list of held
//! jobs.

use crate::base::task::OpaqueJob;
use crate::sync::{Mutex, MutexGuard};
use std::collections::BTreeSet;

/// The jobs of a pool that have a name and no parent. The list has no handles of these jobs: a job is removed before its record
/// is freed.
#[derive(Debug)]
pub struct NamedRoots(Mutex<BTreeSet<OpaqueJob>>);

impl NamedRoots {
    /// Makes an empty list of jobs.
    pub fn new() -> Self {
        Self(Mutex::new(BTreeSet::new()))
    }

    /// Locks the list.
    pub fn lock(&self) -> MutexGuard<'_, BTreeSet<OpaqueJob>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
