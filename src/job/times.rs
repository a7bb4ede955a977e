//! The times that hold a job: until when it is held off.

use crate::sync::time::Instant;
use crate::timer::Key;

/// The times of one job, under one lock. At most one entry of the pool's timer is armed for them.
///
/// Whenever the lock is free, the flag `HeldOff` of the job is set exactly if an entry is armed.
#[derive(Debug, Default)]
pub struct Times {
    /// The time until which the job is held off. It may have come.
    pub held_until: Option<Instant>,
    /// The key of the entry that is armed. Its time may be earlier than `held_until`.
    pub armed: Option<Key>,
}

impl Times {
    /// Returns the time until which no task may start, or `None` if tasks may start at the time `now`.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }
}
