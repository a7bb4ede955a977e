//! The entries of a pool's timer, and the time of a clock that a test moves.

use crate::base::task::{CellPtr, OpaqueJob};
use crate::base::timer::Key;
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// An entry of a pool's timer: the job or task that waits, and what happens when its time has come.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The job or task that waits.
    pub waits: Timed,
    /// What happens when the time has come.
    pub act: &'static Act,
}

/// A job or task that waits for a time.
#[derive(Clone, Copy, Debug)]
pub enum Timed {
    /// A job. The thread that arms the entry gives the entry a handle of the job.
    Job(OpaqueJob),
    /// A task. The thread that arms the entry gives the entry a reference to the cell.
    Task(CellPtr),
}

impl Due {
    /// Returns the job that waits.
    ///
    /// # Panics
    /// If a task waits.
    pub fn job(&self) -> OpaqueJob {
        let Timed::Job(job) = self.waits else { unreachable!("the entry is a task's") };
        job
    }

    /// Returns the cell of the task that waits.
    ///
    /// # Panics
    /// If a job waits.
    pub fn cell(&self) -> CellPtr {
        let Timed::Task(cell) = self.waits else { unreachable!("the entry is a job's") };
        cell
    }
}

/// The functions of an entry.
#[derive(Debug)]
pub struct Act {
    /// Called when the time of the entry with this key has come, or when the timer is closed before. The function takes over
    /// the entry's handle or reference. It may run destructors and wakers, but no task.
    pub fire: fn(Due, Key),
    /// Returns true if a drain must wait for the entry.
    pub is_waited_for: fn(&Due) -> bool,
}

/// The time that a `ManualClock` shows. The clock and its pools share it.
#[derive(Debug)]
pub struct Hands(Mutex<Instant>);

impl Hands {
    /// Makes hands that show the present moment.
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

    /// Moves the clock forward.
    ///
    /// # Panics
    /// If the platform's clock has no time so late.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now.checked_add(by).expect("a clock cannot be moved so far");
    }
}
