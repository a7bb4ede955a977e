//! Collects the samples of an adaptive job in the present interval, and asks the rule for the next limit.

use crate::adaptive::{Adaptive, Interval, LimitRule};
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard};
use crate::unwind;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The measurement of one task of an adaptive job, from the task's start on.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The time at which the task started, plus the time for which the task has had no permit since then.
    pub began: Instant,
    /// True if the task has reported an overload.
    pub overloaded: bool,
    /// True if the task is a future that has kept its permits since its last poll.
    #[cfg_attr(not(feature = "futures"), allow(dead_code, reason = "only futures are resumed"))]
    pub resumed: bool,
}

impl Sample {
    /// Returns this sample with a later `began`, so that the time from `left` to `now` does not count. The task must have had
    /// no permit during that time.
    #[must_use]
    pub fn without(self, left: Instant, now: Instant) -> Self {
        let later = self.began.checked_add(now.saturating_duration_since(left));
        Self { began: later.unwrap_or(self.began), ..self }
    }
}

/// The sample of a task that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How long the task had its permits.
    pub took: Duration,
    /// True if the task has reported an overload.
    pub overloaded: bool,
    /// The number of the job's permits that were held when the task ended. The task's own permits are counted.
    pub running: u64,
}

/// What an adaptive job needs to set its limit: the range, the rule, and the present interval.
pub struct Samples {
    range: RangeInclusive<usize>,
    /// The shortest time for which an interval lasts.
    shortest: Duration,
    open: Mutex<Open>,
    /// The rule, which decides the next limit. Only a thread that updates the limit locks this field. The field `updates` of
    /// the present interval ensures that only one thread updates the limit at a time.
    rule: Mutex<Option<Box<dyn LimitRule>>>,
}

/// The present interval, which has not ended. Each task that ends adds its sample to this interval.
#[derive(Debug)]
struct Open {
    began: Instant,
    /// The shortest time for which this interval stays open.
    lasts: Duration,
    tasks: u64,
    /// The mean of how long the ended tasks had their permits, in seconds. `squares` is the sum of the squared distances from
    /// this mean.
    mean: f64,
    squares: f64,
    overloads: u64,
    most_running: u64,
    /// True while a thread updates the limit. While this field is true, the interval cannot end.
    updates: bool,
}

impl Samples {
    /// Makes the samples of a job that is made at the time `now`.
    pub fn new(adaptive: Adaptive, now: Instant) -> Self {
        let Adaptive { range, shortest, rule } = adaptive;
        let open = Mutex::new(Open::new(now, shortest));
        Self { range, shortest, open, rule: Mutex::new(Some(rule)) }
    }

    /// Returns the limit within the range that is nearest to `limit`.
    pub fn clamped(&self, limit: usize) -> usize {
        limit.clamp(*self.range.start(), *self.range.end())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds the sample of a task that has ended at the time `now`. If this end is also the end of the present interval, returns
    /// that interval. The caller must then update the limit, and call [`updated`](Self::updated) after that. `limit` must
    /// return the job's present limit.
    #[must_use]
    pub fn add(
        &self,
        now: Instant,
        ended: Ended,
        limit: impl FnOnce() -> usize,
    ) -> Option<Interval> {
        let mut open = self.open();
        open.add(ended);
        if open.updates || now.saturating_duration_since(open.began) < open.lasts {
            return None;
        }
        // The conversion fails only if the mean is longer than a `Duration` can hold.
        let mean = Duration::try_from_secs_f64(open.mean).unwrap_or(Duration::MAX);
        let deviation = (open.squares / open.tasks as f64).sqrt();
        let next = Open { updates: true, ..Open::new(now, mean.max(self.shortest)) };
        let over = std::mem::replace(&mut *open, next);
        Some(Interval {
            tasks: over.tasks,
            mean,
            deviation: Duration::try_from_secs_f64(deviation).unwrap_or(Duration::MAX),
            overloads: over.overloads,
            most_running: over.most_running as usize,
            ..Interval::new(limit(), self.range.clone())
        })
    }

    /// Asks the rule for the next limit, and returns that limit, clamped to the range. If the rule panics, returns the limit of
    /// `interval`.
    pub fn ask(&self, interval: &Interval) -> usize {
        let mut rule = self.rule.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(rule) = rule.as_mut() else { return interval.limit };
        match unwind::halt(|| rule.next_limit(interval)) {
            Ok(limit) => self.clamped(limit),
            Err(payload) => {
                unwind::drop_quietly(payload);
                interval.limit
            }
        }
    }

    /// Notes that the limit was updated, so that the present interval can end.
    pub fn updated(&self) {
        self.open().updates = false;
    }
}

impl Open {
    fn new(began: Instant, lasts: Duration) -> Self {
        Self {
            began,
            lasts,
            tasks: 0,
            mean: 0.0,
            squares: 0.0,
            overloads: 0,
            most_running: 0,
            updates: false,
        }
    }

    fn add(&mut self, ended: Ended) {
        let took = ended.took.as_secs_f64();
        self.tasks += 1;
        let off = took - self.mean;
        self.mean += off / self.tasks as f64;
        self.squares += off * (took - self.mean);
        self.overloads += u64::from(ended.overloaded);
        self.most_running = self.most_running.max(ended.running);
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        let rule = self.rule.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The rule's destructor is user code, so it can panic.
        unwind::drop_quietly(rule.take());
    }
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples")
            .field("range", &self.range)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
