//! Settings of a job: how long a worker's turn with the job is, and the job's class.

use crate::priority::Priority;
use std::time::Duration;

/// The greatest share that a job may have.
pub const MOST_SHARE: u32 = 64;

/// A job's share, turn time and class, which never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// The share: a turn with the job has this many times as many tasks as a usual turn.
    pub share: u32,
    /// The time after which a turn with the job ends, counted from the turn's start. `None`: a turn ends by its number of tasks
    /// alone.
    pub time: Option<Duration>,
    /// The class of the job.
    pub priority: Priority,
}

/// The share, turn time and class that a builder asks for. `None` means that the caller did not set the value.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedTurns {
    /// The share that the builder sets for the job.
    pub share: Option<u32>,
    /// The turn time that the builder sets for the job.
    pub time: Option<Duration>,
    /// The class that the builder sets for the job, or `None` if it sets none.
    pub priority: Option<Priority>,
}

impl Turns {
    /// The settings of a job for which the caller has set none.
    pub const USUAL: Self = Self { share: 1, time: None, priority: Priority::Normal };
}

impl Default for Turns {
    fn default() -> Self {
        Self::USUAL
    }
}
