//! The default rule: the mean time of the tasks, against its moving average.

use super::{Interval, LimitRule};

/// The weight of the newest interval in the average.
const WEIGHT: f64 = 0.4;
/// How many deviations above the average a mean must be, to lower the limit.
const DEVIATIONS: f64 = 2.5;
/// The share of a mean below which a difference counts as a rounding error.
const ROUNDING: f64 = 1e-6;

/// A rule that compares the mean time of the tasks with its moving average. The default.
///
/// - If a task was [`overloaded`](crate::overloaded), or if the mean is more than 2.5 standard deviations above the average, the
///   limit falls to nine tenths.
/// - Otherwise it rises by one, if the tasks have reached it and the mean is not above the average.
///
/// Average and deviation are those of the intervals' means, in which the newest interval has a weight of 0.4. It is the rule of
/// Vector's adaptive request concurrency.
///
/// The average follows a server that slowly becomes slower or faster. A server that is slow for good is not taken for one that
/// is overloaded. So tasks that time out should call [`overloaded`](crate::overloaded).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Interval, LimitRule, MovingAverage};
///
/// let mut rule = MovingAverage::new();
/// let mut interval = Interval::new(10, 1..=64);
/// (interval.most_running, interval.mean) = (10, Duration::from_millis(50));
/// assert_eq!(rule.next_limit(&interval), 11);
/// interval.mean = Duration::from_millis(80);
/// assert_eq!(rule.next_limit(&interval), 9);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MovingAverage {
    /// Average and variance of the means, in seconds.
    past: Option<(f64, f64)>,
}

impl MovingAverage {
    /// Makes the rule of a job that has run no task.
    ///
    /// # Examples
    ///
    /// As for [`MovingAverage`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl LimitRule for MovingAverage {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        let mean = interval.mean.as_secs_f64();
        let (average, variance) = self.past.unwrap_or((mean, 0.0));
        let off = mean - average;
        self.past =
            Some((average + WEIGHT * off, (1.0 - WEIGHT) * (variance + WEIGHT * off * off)));
        let rounding = average * ROUNDING;
        if interval.overloads > 0 || off > DEVIATIONS * variance.sqrt() + rounding {
            interval.lowered()
        } else if interval.is_limit_reached() && off <= rounding {
            interval.limit + 1
        } else {
            interval.limit
        }
    }
}
