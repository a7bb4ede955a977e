//! Identifies the task that an event belongs to.

use crate::base::log::{Event, Kind};

/// Identifies a task that has not ended, or a permit without a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// For a task that is queued or pending: the address of the task's cell. For a permit without a task: the permit's
    /// number, which is odd.
    Cell(usize),
    /// For a task that a worker runs: the id of the event of the task's start. The address of the task's cell cannot
    /// identify the task, because another task might use the cell's memory by now.
    Start(u64),
}

impl Key {
    /// Returns the key of the task that the event belongs to. `None` if the events do not tell which task this is.
    pub fn of(event: &Event) -> Option<Self> {
        let has_address = event.task > 0;
        match event.kind {
            Kind::Waits | Kind::Resumed | Kind::Ended(_) if event.cause > 0 => {
                Some(Self::Start(event.cause))
            }
            Kind::Waits | Kind::Resumed => None,
            _ => has_address.then_some(Self::Cell(event.task)),
        }
    }

    /// Returns the key that a task has after its start, or the key of a permit without a task. `id` is the id of the event of
    /// the task's start. `task` is the address of the task's cell, which is even, or the permit's number, which is odd.
    pub fn started(id: u64, task: usize) -> Self {
        if task.is_multiple_of(2) { Self::Start(id) } else { Self::Cell(task) }
    }
}
