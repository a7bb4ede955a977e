//! What few jobs have: a name, a bounded backlog.

use crate::job::capacity::Capacity;
use crate::sync::Arc;

/// Made by the builder, never changed, freed with the record.
#[derive(Debug, Default)]
pub struct Extra {
    /// The job's name.
    pub name: Option<String>,
    /// The bound of tasks that wait or are ready.
    pub capacity: Option<Arc<Capacity>>,
}

impl Extra {
    /// Whether there is nothing extra.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.capacity.is_none()
    }
}
