//! Vegas: how many tasks wait in the server's queue, from the time of a task without a queue.

use super::{Interval, LimitRule};

/// If fewer tasks wait in the server's queue, the limit rises.
const FEW: f64 = 3.0;
/// If more tasks wait in the server's queue, the limit falls.
const MANY: f64 = 6.0;
/// The number of intervals after which the rule measures the time without a queue anew.
const PROBE_EVERY: u32 = 32;

/// A rule that keeps about 3 to 6 tasks waiting in the server that the tasks call.
///
/// The rule takes the least mean that it has seen for the time of a task without a queue. The longer the tasks take now, the
/// more of them wait in the server: `limit × (1 − least / mean)`. With fewer than 3 the limit rises by one, if the tasks have
/// reached it. With more than 6 it falls by one. If a task was [`overloaded`](crate::overloaded), the limit falls to nine
/// tenths.
///
/// The least time may be out of date, because the server has become slower for good. A newer one that is measured beside a queue
/// would be too long, and so would the next, without an end. So every 32 intervals the rule halves the limit for two intervals: in
/// the first the queue empties, in the second the rule measures the least time anew. Then the limit returns.
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
    /// The time of a task without a queue, in seconds.
    least: Option<f64>,
    /// The number of intervals since the last probe began, without those of the probe.
    intervals: u32,
    probe: Option<Probe>,
}

/// Two intervals with half of the limit.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The limit meanwhile.
    halved: usize,
    /// The limit afterwards.
    before: usize,
    /// True in the second interval.
    measures: bool,
}

impl Vegas {
    /// Makes the rule of a job that has run no task.
    ///
    /// # Examples
    ///
    /// As for [`Vegas`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a probe. Returns half of the limit.
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
        // If another call has set the limit, the probe ends, and the rule starts from that limit.
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
