//! Three settings of a job: its share and its turn time, which bound a worker's turn with the job, and its class.

use crate::priority::Priority;
use std::time::Duration;

/// The greatest share that a job can have.
pub const MOST_SHARE: u32 = 64;

/// A job's share, turn time and class, which never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// The share: a turn with the job has this many times as many tasks as a usual turn.
    pub share: u32,
    /// The time after which a turn with the job ends, counted from the turn's start. `None` if only the number of tasks ends a
    /// turn.
    pub time: Option<Duration>,
    /// The class of the job.
    pub priority: Priority,
}

/// The share, turn time and class that the user has set in a job's builder. A field is `None` if the user has not set it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedTurns {
    /// The share that the user has set, or `None`.
    pub share: Option<u32>,
    /// The turn time that the user has set, or `None`.
    pub time: Option<Duration>,
    /// The class that the user has set, or `None`.
    pub priority: Option<Priority>,
}

impl Turns {
    /// The share, turn time and class of a job without a parent, for which the user has set none of them.
    pub const USUAL: Self = Self { share: 1, time: None, priority: Priority::Normal };
}

impl Default for Turns {
    fn default() -> Self {
        Self::USUAL
    }
}
