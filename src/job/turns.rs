//! How long a worker's turn with a job is, and the job's class: the settings alone.

use crate::priority::Priority;
use std::time::Duration;

/// The greatest share of a job.
pub const MOST_SHARE: u32 = 64;

/// The turns of a job. They never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// By how many times a turn is longer than a usual one.
    pub share: u32,
    /// The time at which a turn ends, counted from its begin. `None`: a turn ends by its number of tasks alone.
    pub time: Option<Duration>,
    /// The class of the job.
    pub priority: Priority,
}

/// The turns that a builder asks for. `None` stands for what was not set.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedTurns {
    /// The share of the job among its siblings.
    pub share: Option<u32>,
    /// The time of a turn.
    pub time: Option<Duration>,
    /// The class.
    pub priority: Option<Priority>,
}

impl Turns {
    /// The turns of a job for which nothing was set.
    pub const USUAL: Self = Self { share: 1, time: None, priority: Priority::Normal };
}

impl Default for Turns {
    fn default() -> Self {
        Self::USUAL
    }
}
