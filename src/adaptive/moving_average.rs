//! The default rule of adaptive limits: it compares the mean time of an interval's tasks with the moving average of such means.

use super::{Interval, LimitRule};

/// The weight of the newest interval's mean in the moving average.
const WEIGHT: f64 = 0.4;
/// The limit falls if an interval's mean is more than this many standard deviations above the moving average.
const DEVIATIONS: f64 = 2.5;
/// An interval's mean counts as equal to the moving average if it exceeds the average by at most this fraction of the average.
/// So small a difference can be a rounding error.
const ROUNDING: f64 = 1e-6;

/// The default rule of adaptive limits: it compares the mean time of an interval's tasks with the moving average of such
/// means.
///
/// - The rule lowers the limit to nine tenths in two cases: a task of the interval called
///   [`overloaded`](crate::overloaded), or the interval's mean is more than 2.5 standard deviations above the moving
///   average.
/// - The rule raises the limit by one if three conditions hold: no task called `overloaded`, as many tasks ran at once
///   as the limit allows, and the interval's mean is not above the moving average.
///
/// The moving average and the standard deviation are taken over the means of all intervals so far. The newest mean has a
/// weight of 0.4. Vector's adaptive request concurrency uses the same rule.
///
/// If a server slowly becomes slower, the moving average rises with the mean time. So the rule does not notice a slow rise.
/// Tasks that time out should call [`overloaded`](crate::overloaded).
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
    /// The moving average of the intervals' means, in seconds, and their variance, in seconds squared. `None` before the
    /// first interval.
    past: Option<(f64, f64)>,
}

impl MovingAverage {
    /// Makes the rule in its first state, for a new job.
    ///
    /// # Examples
    ///
    /// The documentation of [`MovingAverage`] has an example with this call.
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
