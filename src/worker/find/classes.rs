//! The search for a task in a pool whose jobs have classes. A worker takes the next turn of the highest class that has a ready
//! task. After some turns a ready task of a lower class goes first (`due-1` and `due-2` of the module `base::classes`).
//!
//! Tasks of the class `Normal` lie in deques or in the usual injector, and a search for `Normal` looks in both. Tasks of the
//! other classes lie only in the injector of their class. So a task never waits in a deque behind a task of a lower class.
//!
//! A worker takes one task at a time out of the injector of a class. If the task belongs to the job that had the class's last
//! turn, the worker puts the task back and takes the next one. While the worker has the task, the task is in no queue. Another
//! worker that makes its final check before it parks (`sleep-3`) then misses the task. So the worker that has put the task back
//! notifies afterwards.

use super::{OWN_PASSED, steal_one};
use crate::base::task::CellPtr;
use crate::job::record::JobPtr;
use crate::priority::Priority;
use crate::sync::deque::Injector;
use crate::worker::core::Worker;

impl Worker<'_> {
    /// Returns the next task from this worker's own deques or from an injector, by class.
    #[inline]
    pub fn find_near(&self) -> Option<CellPtr> {
        if self.pool().has_classes() {
            return self.find_by_class(Self::find_near_of_normal);
        }
        self.find_near_of_normal()
    }

    /// Searches the injectors of all classes and all deques.
    #[inline]
    pub fn search(&self) -> Option<CellPtr> {
        if self.pool().has_classes() {
            return self.find_by_class(Self::search_normal);
        }
        self.search_normal()
    }

    /// Searches the classes for the next task, and stops at the first class with a ready task. The seat's counts of turns decide
    /// the order of the classes. The function `normal` looks for a task of the class `Normal`.
    #[cold]
    fn find_by_class(&self, normal: fn(&Self) -> Option<CellPtr>) -> Option<CellPtr> {
        let (seat, pool) = (self.seat(), self.pool());
        for class in seat.classes.order() {
            // The search in a class passes over tasks of the job that had the last turn of this class.
            self.last.set(seat.classes.last(class).map(JobPtr::of));
            let found = match class {
                Priority::Normal => normal(self),
                class => self.take_of(pool.injector_of(class)),
            };
            if let Some(cell) = found {
                let here = !seat.deque.is_empty() || !seat.batch.is_empty();
                let normal_waits = here || !pool.injector().is_empty();
                let low_waits = !pool.injector_of(Priority::Low).is_empty();
                seat.classes.note(class, normal_waits, low_waits);
                seat.classes.set_last(class, cell.job().opaque());
                return Some(cell);
            }
        }
        None
    }

    /// Takes the oldest task out of the injector of a class. Passes over a few tasks of the job that had the class's last turn.
    fn take_of(&self, injector: &Injector<CellPtr>) -> Option<CellPtr> {
        let mut passed = 0;
        let found = loop {
            let Some(cell) = steal_one(injector) else { break None };
            if passed == OWN_PASSED || Some(cell.job()) != self.last.get() || injector.is_empty() {
                break Some(cell);
            }
            injector.push(cell);
            passed += 1;
        };
        if passed > 0 {
            self.pool().notify();
        }
        found
    }
}
