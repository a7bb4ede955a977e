//! The entries of a pool's timer, and the time that a `ManualClock` shows.

use crate::base::task::{CellPtr, OpaqueJob};
use crate::base::timer::Key;
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// An entry of a pool's timer: a job or a task that waits for a time, and the functions that the timer calls for the entry.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The job or task that waits for a time.
    pub waits: Timed,
    /// The functions that the timer calls for this entry.
    pub act: &'static Act,
}

/// A job or task that waits for a time.
#[derive(Clone, Copy, Debug)]
pub enum Timed {
    /// A job that waits for the end of a hold-off or for another time of its own. The thread that arms the entry adds a handle of
    /// the job, which the entry owns.
    Job(OpaqueJob),
    /// A delayed task that waits for its time, or a task whose deadline is armed. The thread that arms the entry adds a reference
    /// to the task's cell, which the entry owns.
    Task(CellPtr),
}

impl Due {
    /// Returns the job that is the subject of this entry, such as a job that is held off.
    ///
    /// # Panics
    /// Panics if the entry is about a task.
    pub fn job(&self) -> OpaqueJob {
        let Timed::Job(job) = self.waits else { unreachable!("the entry is a task's") };
        job
    }

    /// Returns the cell of the task that is the subject of this entry, such as a delayed task.
    ///
    /// # Panics
    /// Panics if the entry is about a job.
    pub fn cell(&self) -> CellPtr {
        let Timed::Task(cell) = self.waits else { unreachable!("the entry is a job's") };
        cell
    }
}

/// The functions that the timer calls for entries of one kind, such as hold-offs or deadlines.
#[derive(Debug)]
pub struct Act {
    /// The timer calls this function with the entry and the entry's key when the entry's time has come, or when the timer is
    /// closed before that time. The function then owns the entry's handle or reference. The function is allowed to run
    /// destructors and wakers, but no task.
    pub fire: fn(Due, Key),
    /// Returns true if a drain of the pool must wait for the entry.
    pub is_waited_for: fn(&Due) -> bool,
}

/// The time that a `ManualClock` shows. The clock and all pools with this clock share this value.
#[derive(Debug)]
pub struct Hands(Mutex<Instant>);

impl Hands {
    /// Makes the time of a new `ManualClock`. The new clock shows the real time of this call.
    pub fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the time that the clock shows.
    pub fn now(&self) -> Instant {
        *self.lock()
    }

    /// Moves the time forward by `by`.
    ///
    /// # Panics
    /// Panics if the platform's clock has no time so late.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now.checked_add(by).expect("a clock cannot be moved so far");
    }
}
