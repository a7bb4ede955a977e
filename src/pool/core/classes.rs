//! The injectors of the classes `High` and `Low`. The pool's usual injector is that of the class `Normal`.
//!
//! The workers of a pool search the injectors of the classes `High` and `Low` only if the pool has had a job of one of these
//! classes.
//!
//! No worker misses a task of the class `High` or `Low`, because of these steps:
//! - `class-1`: The thread that makes a job of the class `High` or `Low` sets the pool's flag `has_classes`, before the job has
//!   a task.
//! - `class-2`: A thread that admits a task of the class `High` or `Low` pushes the task into the injector of this class
//!   (`wake-1` of `sleep`). Then the thread wakes a worker if none is searching (`wake-2` to `wake-4`).
//! - `class-3`: A worker that is about to park loads the flag `has_classes` in its final check (`sleep-3` of `sleep`). If the
//!   flag is set, the worker also checks the injectors of the classes `High` and `Low`.
//!
//! Claim: no worker stays parked while a task of the class `High` or `Low` lies in its injector and no worker is searching. The
//! pusher executes a fence after its push (`wake-2`), and the worker executes a fence before its final check (`sleep-2`). So
//! the final check sees the flag and the task, or the pusher sees the parked worker.

use super::Shared;
use crate::base::sleep::Notified;
use crate::base::task::CellPtr;
use crate::priority::Priority;
use crate::sync::atomic::Ordering;
use crate::sync::deque::{Injector, Steal};

impl Shared {
    /// Returns true if the pool has, or once had, a job of the class `High` or `Low`.
    #[inline]
    pub fn has_classes(&self) -> bool {
        // Ordering: Relaxed; the fences of `wake-2` and `sleep-2` order a final check (class-3), and a handle shows class-1.
        self.notice.has_classes.load(Ordering::Relaxed)
    }

    /// Makes the workers search the injectors of all three classes from now on (class-1).
    pub fn use_classes(&self) {
        if !self.has_classes() {
            // Ordering: Relaxed; the fence of `wake-2` orders it before a final check (class-1).
            self.notice.has_classes.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the injector of a class.
    pub fn injector_of(&self, class: Priority) -> &Injector<CellPtr> {
        match class {
            Priority::High => &self.high,
            Priority::Normal => &self.injector,
            Priority::Low => &self.low,
        }
    }

    /// Puts a task into the injector of the class `class`, and wakes a worker if none is searching. Returns `TooLate` if all
    /// workers have ended, as [`inject`](Self::inject) does.
    pub fn inject_into(&self, class: Priority, cell: CellPtr) -> Notified {
        self.injector_of(class).push(cell);
        self.sleep.notify() // class-2
    }

    /// Returns true if the injectors of all classes seem to be empty.
    #[inline]
    pub fn injector_is_empty(&self) -> bool {
        self.injector.is_empty() && (!self.has_classes() || self.classes_are_empty()) // class-3
    }

    #[cold]
    fn classes_are_empty(&self) -> bool {
        self.high.is_empty() && self.low.is_empty()
    }

    /// Steals a task from any of the injectors.
    pub fn steal_injected(&self) -> Steal<CellPtr> {
        let mut retry = false;
        for injector in [&self.high, &self.injector, &self.low] {
            match injector.steal() {
                Steal::Success(cell) => return Steal::Success(cell),
                Steal::Retry => retry = true,
                Steal::Empty => {}
            }
        }
        if retry { Steal::Retry } else { Steal::Empty }
    }
}
