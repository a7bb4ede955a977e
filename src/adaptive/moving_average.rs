//! The default rule of adaptive limits: it compares the mean time of an interval's tasks with the moving average of such means.

use super::{Interval, LimitRule};

/// The weight of the newest interval in the moving average.
const WEIGHT: f64 = 0.4;
/// If a mean is this many standard deviations above the average, the limit falls.
const DEVIATIONS: f64 = 2.5;
/// If a mean differs from the average by less than this share, the difference counts as a rounding error.
const ROUNDING: f64 = 1e-6;

/// The default rule: it compares the mean time of an interval's tasks with the moving average of such means.
///
/// - If a task called [`overloaded`](crate::overloaded), or if the interval's mean is more than 2.5 standard deviations above
///   the average, the rule lowers the limit to nine tenths.
/// - Otherwise the rule raises the limit by one, if as many tasks ran at once as the limit allows and the mean is not above the
///   average.
///
/// The average and the deviation are those of the means of all intervals so far. The newest mean has a weight of 0.4. Vector's
/// adaptive request concurrency uses the same rule.
///
/// The average follows a server that slowly becomes slower or faster. So the rule does not notice an overload that lasts: tasks
/// that time out should call [`overloaded`](crate::overloaded).
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
    /// The average and the variance of the intervals' means, in seconds. `None` before the first interval.
    past: Option<(f64, f64)>,
}

impl MovingAverage {
    /// Makes the rule for a job that has run no task yet.
    ///
    /// # Examples
    ///
    /// See the example of [`MovingAverage`].
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
