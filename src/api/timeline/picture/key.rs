//! Identifies the task that an event belongs to.

use crate::base::log::{Event, Kind};

/// The key of a task that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The address of the cell of a task that is queued or pending. Or the number of a permit without a task; such a number is
    /// odd.
    Cell(usize),
    /// The id of the start of a task that a worker runs. A running task has no key by address, because another task may use its
    /// cell's memory by now.
    Start(u64),
}

impl Key {
    /// Returns the key of the task that the event belongs to. `None` if the task is not known.
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

    /// Returns the key that a task or permit has from its start on.
    pub fn started(id: u64, task: usize) -> Self {
        if task.is_multiple_of(2) { Self::Start(id) } else { Self::Cell(task) }
    }
}
