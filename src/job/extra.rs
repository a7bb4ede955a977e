//! What few jobs have: a name, a bounded backlog, children.

/// Made at need, freed with the record.
#[derive(Debug, Default)]
pub struct Extra {
    /// The job's name.
    pub name: Option<String>,
    /// The most tasks that may wait or be ready; 0 is no bound.
    pub capacity: usize,
}
