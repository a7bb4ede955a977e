//! Counts the turns of a worker by class. From these counts the worker chooses the class in which it looks for a task first.
//!
//! A worker takes a ready task of the highest class that has one, with two exceptions. These exceptions make tasks of each class
//! start, however many tasks of a higher class are ready:
//! - `due-1`: After [`NORMAL_AFTER`] turns of `High` in which a task of `Normal` was ready, the worker looks for tasks of
//!   `Normal` before it looks for those of `High`.
//! - `due-2`: After [`LOW_AFTER`] turns of `High` and `Normal` in which a task of `Low` was ready, the worker looks for tasks
//!   of `Low` first.
//!
//! Each worker's seat has its own counts of turns, which no turn of another worker changes.

use crate::base::task::OpaqueJob;
use crate::priority::Priority;
use crate::sync::scaled;
use std::cell::Cell;

/// The greatest number of a worker's turns of `High` between two of its turns of `Normal`, while a task of `Normal` is ready.
pub const NORMAL_AFTER: u32 = scaled(8, 2, 2) as u32;
/// The greatest number of a worker's turns of `High` and `Normal` between two of its turns of `Low`, while a task of `Low` is
/// ready.
pub const LOW_AFTER: u32 = scaled(32, 4, 4) as u32;

/// The counts of turns of one seat, by class.
#[derive(Debug, Default)]
pub struct ClassTurns {
    over_normal: Cell<u32>,
    over_low: Cell<u32>,
    /// For each class, the job that had the worker's last turn of that class. The job might have been freed, so the code only
    /// compares its address.
    last: [Cell<Option<OpaqueJob>>; 3],
}

impl ClassTurns {
    /// Returns the classes in the order in which the worker must now look for a task.
    pub fn order(&self) -> [Priority; 3] {
        use Priority::{High, Low, Normal};
        let normal_is_due = self.over_normal.get() >= NORMAL_AFTER; // due-1
        let low_is_due = self.over_low.get() >= LOW_AFTER; // due-2
        match (normal_is_due, low_is_due) {
            (false, false) => [High, Normal, Low],
            (true, false) => [Normal, High, Low],
            (false, true) => [Low, High, Normal],
            (true, true) => [Low, Normal, High],
        }
    }

    /// Counts a turn of `class`. `normal_waits` must be true if a task of `Normal` is still ready, and `low_waits` if a task of
    /// `Low` is still ready.
    pub fn note(&self, class: Priority, normal_waits: bool, low_waits: bool) {
        match class {
            Priority::High => {
                self.over_normal.set(if normal_waits { self.over_normal.get() + 1 } else { 0 });
            }
            Priority::Normal => self.over_normal.set(0),
            Priority::Low => {}
        }
        let passed = class != Priority::Low && low_waits;
        self.over_low.set(if passed { self.over_low.get() + 1 } else { 0 });
    }

    /// Returns the job that had the worker's last turn of `class`.
    pub fn last(&self, class: Priority) -> Option<OpaqueJob> {
        self.last[class as usize].get()
    }

    /// Notes that `job` has the worker's last turn of `class`.
    pub fn set_last(&self, class: Priority, job: OpaqueJob) {
        self.last[class as usize].set(Some(job));
    }
}
