//! The rule Vegas, which estimates how many tasks wait inside the server that the tasks call. The rule compares the
//! mean time of an interval's tasks with the least mean of all intervals without an overload. A task that does not wait in
//! the server is assumed to take this least mean.

use super::{Interval, LimitRule};

/// The limit rises if fewer tasks than this wait in the server's queue.
const FEW: f64 = 3.0;
/// The limit falls if more tasks than this wait in the server's queue.
const MANY: f64 = 6.0;
/// The number of intervals between two probes. A probe measures how long a task takes if the server's queue is empty.
const PROBE_EVERY: u32 = 32;

/// A rule that keeps about 3 to 6 tasks waiting in the server that the tasks call.
///
/// In each interval the rule receives the mean time of the interval's tasks. The rule remembers the least mean of the intervals
/// in which no task called [`overloaded`](crate::overloaded), and assumes that a task takes this time if the server's queue is
/// empty. So about `limit × (1 − least / mean)` tasks wait in the server's queue, where `mean` is the mean of the interval that
/// has just ended. If fewer than 3 tasks wait, and as many tasks ran at once as the limit allows, the limit rises by one. If
/// more than 6 tasks wait, the limit falls by one. If a task called `overloaded`, the limit falls to nine tenths.
///
/// The least mean so far is too short if the server has become slower for good. So every 32 intervals the rule measures the
/// least mean anew: it halves the limit for two intervals. In the first of the two, the server's queue becomes empty. The mean
/// of the second becomes the least mean. Then the rule sets the limit to its value before the halving.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Interval, LimitRule, Vegas};
///
/// let mut rule = Vegas::new();
/// let mut interval = Interval::new(10, 1..=64);
/// (interval.most_running, interval.mean) = (10, Duration::from_millis(50));
/// assert_eq!(rule.next_limit(&interval), 11);
/// interval.mean = Duration::from_millis(200); // 7.5 of 10 tasks wait
/// assert_eq!(rule.next_limit(&interval), 9);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Vegas {
    /// The time of a task that finds the server's queue empty, in seconds. `None` before the first measurement.
    least: Option<f64>,
    /// The number of intervals since the last probe. The two intervals of a probe do not count.
    intervals: u32,
    probe: Option<Probe>,
}

/// A probe: two intervals with half of the limit, so that the server's queue empties. In the second interval the rule measures
/// anew how long a task takes that finds the queue empty.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The limit that the rule returns for the two intervals of the probe.
    halved: usize,
    /// The job's limit when the probe began. The rule returns this limit when the probe is over.
    before: usize,
    /// True in the second interval of the probe. The mean time of that interval's tasks becomes the value of `least`.
    measures: bool,
}

impl Vegas {
    /// Makes the rule in its first state, for a new job.
    ///
    /// # Examples
    ///
    /// See the example of [`Vegas`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a [`Probe`] after `interval`. Returns the limit for the two intervals of the probe: half of the limit in
    /// `interval`, but at least the start of the range.
    fn probe(&mut self, interval: &Interval) -> usize {
        self.intervals = 0;
        let halved = (interval.limit / 2).max(*interval.range.start());
        self.probe = Some(Probe { halved, before: interval.limit, measures: false });
        halved
    }
}

impl LimitRule for Vegas {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        let mean = interval.mean.as_secs_f64();
        let probe = self.probe.take();
        if interval.overloads > 0 {
            return interval.lowered();
        }
        // If the interval's limit is not the limit that the probe has set, the program has changed the job's limit meanwhile.
        // In this case the probe ends, and the rule continues from the interval's limit.
        match probe.filter(|probe| probe.halved == interval.limit) {
            Some(probe) if probe.measures => {
                self.least = Some(mean);
                return probe.before;
            }
            Some(probe) => {
                self.probe = Some(Probe { measures: true, ..probe });
                return probe.halved;
            }
            None => {}
        }
        let least = self.least.map_or(mean, |least| least.min(mean));
        self.least = Some(least);
        self.intervals += 1;
        if self.intervals >= PROBE_EVERY {
            return self.probe(interval);
        }
        let waiting = if mean > 0.0 { interval.limit as f64 * (1.0 - least / mean) } else { 0.0 };
        if waiting > MANY {
            interval.limit - 1
        } else if waiting < FEW && interval.is_limit_reached() {
            interval.limit + 1
        } else {
            interval.limit
        }
    }
}
