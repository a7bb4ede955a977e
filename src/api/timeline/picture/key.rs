//! Which task an event is of.

use crate::base::log::{Event, Kind};

/// Identifies a task that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A task that is queued or pending, by the address of its cell. Also a permit without a task, by its number, which is odd.
    Cell(usize),
    /// A task that a worker runs, by the id of its start. Its address may be another task's by now.
    Start(u64),
}

impl Key {
    /// Returns the key of the task that an event is of. `None` if the task is not known.
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
