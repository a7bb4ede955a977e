//! The times of a job: until when it is held off, when its rates allow the next start, and when its delayed tasks enter the
//! queue.

use crate::base::timer::Key;
use crate::rate::{Pace, Rate};
use crate::sync::time::Instant;
use std::collections::BTreeSet;

/// The times of one job, under one lock. The pool's timer has at most one entry for the job's hold-off, and one entry for each
/// delayed task of the job.
///
/// Whenever no thread holds the lock of a job's times, the flag `HeldOff` of the job is set if and only if an entry for the
/// job's hold-off is armed.
#[derive(Debug, Default)]
pub struct Times {
    /// The time until which a call of `hold_off` holds the job off. This time might have passed.
    pub held_until: Option<Instant>,
    /// The timer's key of the armed entry for the hold-off. The time of the entry might be earlier than `held_until`.
    pub armed: Option<Key>,
    /// The timer's keys of the entries of the job's delayed tasks.
    pub delayed: BTreeSet<Key>,
    /// The job's rates, each with what is used up of it. Each start needs a token of each rate.
    paces: Vec<Pace>,
    /// The rates with which the job was made, if the job belongs to a key.
    as_made: Box<[Rate]>,
}

impl Times {
    /// Returns the time before which no task of the job is allowed to start. Returns `None` if a task is allowed to start at
    /// the time `now`.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now).max(self.paced_until(now))
    }

    /// Counts the start of a task at each of the job's rates. The task starts at the time `now`.
    pub fn start(&mut self, now: Instant) {
        self.paces.iter_mut().for_each(|pace| pace.start(now));
    }

    /// Returns true if one of the job's rates counts the ends of tasks.
    pub fn has_gap(&self) -> bool {
        self.paces.iter().any(Pace::is_gap)
    }

    /// Returns the earliest time at which all rates allow a start. Returns `None` if all of them allow a start at the time
    /// `now`.
    pub fn paced_until(&self, now: Instant) -> Option<Instant> {
        self.paces.iter().filter_map(|pace| pace.until(now)).max()
    }

    /// Counts the end of a task at each of the job's rates. The task ends at the time `now`.
    pub fn end(&mut self, now: Instant) {
        self.paces.iter_mut().for_each(|pace| pace.end(now));
    }

    /// Replaces the job's rates by `rates`. Each new rate inherits the starts that the old rate at the same index has counted.
    pub fn set_rates(&mut self, rates: &[Rate], now: Instant) {
        let old =
            std::mem::take(&mut self.paces).into_iter().map(Some).chain(std::iter::repeat(None));
        let paces = rates.iter().zip(old).map(|(rate, old)| match old {
            Some(old) => old.with_rate(*rate, now),
            None => Pace::new(*rate),
        });
        self.paces = paces.collect();
    }

    /// Notes the rates with which the job of a key is made. [`is_as_made`](Self::is_as_made) compares the job's rates with them
    /// later.
    pub fn note_as_made(&mut self) {
        self.as_made = self.paces.iter().map(Pace::rate).collect();
    }

    /// Returns true if the job has the rates with which it was made, and nothing of them is used up at the time `now`.
    pub fn is_as_made(&self, now: Instant) -> bool {
        self.paces.iter().map(Pace::rate).eq(self.as_made.iter().copied())
            && self.paces.iter().all(|pace| pace.is_unused(now))
    }
}
