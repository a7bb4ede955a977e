//! Rules of other libraries, through the public trait: AIMD, Gradient2, and Vegas as it was first described.
//!
//! They are here to be compared. Each is written from its description, in the terms of an interval.

use tollgate::{Interval, LimitRule};

/// Adds one where the limit was reached, and takes a tenth off where a task met an overload. It does not look at the times.
#[derive(Debug, Default)]
pub struct Aimd;

impl LimitRule for Aimd {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        if interval.overloads > 0 {
            interval.limit * 9 / 10
        } else if interval.is_limit_reached() {
            interval.limit + 1
        } else {
            interval.limit
        }
    }
}

/// Compares the mean of an interval with a long average of the means, and adds a queue of four. It looks at the times only.
#[derive(Debug, Default)]
pub struct Gradient2 {
    /// The long average in seconds, and how many means are in it.
    long: Option<(f64, f64)>,
    /// The limit with its fraction.
    limit: Option<f64>,
}

impl LimitRule for Gradient2 {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        const WINDOW: f64 = 600.0;
        const WARM_UP: f64 = 10.0;
        const TOLERANCE: f64 = 1.5;
        const QUEUE: f64 = 4.0;
        const SMOOTHING: f64 = 0.2;
        let short = interval.mean.as_secs_f64().max(1e-9);
        let (mut long, means) = self.long.unwrap_or((short, 0.0));
        // At first a plain mean, then an exponential average.
        let weight = if means < WARM_UP { 1.0 / (means + 1.0) } else { 2.0 / (WINDOW + 1.0) };
        long += (short - long) * weight;
        if long > 2.0 * short {
            long *= 0.95;
        }
        self.long = Some((long, means + 1.0));
        let limit = self.limit.unwrap_or(interval.limit as f64);
        if interval.most_running < interval.limit / 2 {
            return interval.limit;
        }
        let gradient = (TOLERANCE * long / short).clamp(0.5, 1.0);
        let wanted = limit * gradient + QUEUE;
        let next = limit * (1.0 - SMOOTHING) + wanted * SMOOTHING;
        let next = next.clamp(*interval.range.start() as f64, *interval.range.end() as f64);
        self.limit = Some(next);
        next as usize
    }
}

/// Vegas with the least mean of all times: it never measures anew.
#[derive(Debug, Default)]
pub struct PlainVegas {
    least: Option<f64>,
}

impl LimitRule for PlainVegas {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        let mean = interval.mean.as_secs_f64().max(1e-9);
        let least = self.least.map_or(mean, |least| least.min(mean));
        self.least = Some(least);
        let waiting = interval.limit as f64 * (1.0 - least / mean);
        if interval.overloads > 0 {
            interval.limit * 9 / 10
        } else if waiting > 6.0 {
            interval.limit - 1
        } else if waiting < 3.0 && interval.is_limit_reached() {
            interval.limit + 1
        } else {
            interval.limit
        }
    }
}
