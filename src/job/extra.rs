//! What few jobs have: a name, a bounded backlog, times that hold them.

use crate::job::capacity::Capacity;
use crate::job::times::Times;
use crate::sync::{Arc, Mutex, MutexGuard};

/// Made by the builder, or when the job is first held off. Freed with the record.
#[derive(Debug, Default)]
pub struct Extra {
    /// The job's name.
    pub name: Option<String>,
    /// The bound of tasks that wait or are ready.
    pub capacity: Option<Arc<Capacity>>,
    /// The times that hold the job.
    times: Mutex<Times>,
}

impl Extra {
    /// Makes the fields of a job with this name and this capacity.
    pub fn new(name: Option<String>, capacity: Option<Arc<Capacity>>) -> Self {
        Self { name, capacity, times: Mutex::default() }
    }

    /// Locks the times that hold the job.
    pub fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether there is nothing extra.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.capacity.is_none()
    }
}
