//! Counts and latencies of requests.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::plan::{Measure, Threshold};
use crate::tally::Kind;

/// Counts and latencies of some requests.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    /// Requests that passed the check.
    pub(crate) ok: u64,
    /// Requests that failed it.
    pub(crate) failed: u64,
    /// Requests that this machine could not send, for want of something.
    pub(crate) own: u64,
    /// How many of the failed ones were never sent: lines of a list that are no URL, and requests to a server that gets no more.
    unsent: u64,
    passed: Latencies,
    missed: Latencies,
    /// When the first request began and the last one ended.
    span: Option<(Instant, Instant)>,
}

/// A distribution of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    /// Microseconds.
    histogram: Histogram<u64>,
    sum: Duration,
    most: Duration,
}

/// A distribution in some numbers, all in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) mean_ms: f64,
}

impl Stats {
    /// No requests yet. Latencies will have `digits` significant digits.
    pub(crate) fn new(digits: u8) -> Self {
        Stats {
            ok: 0,
            failed: 0,
            own: 0,
            unsent: 0,
            passed: Latencies::new(digits),
            missed: Latencies::new(digits),
            span: None,
        }
    }

    /// Counts a request. `failure` is the kind of its failure, if it failed.
    pub(crate) fn record(
        &mut self,
        failure: Option<Kind>,
        start: Instant,
        end: Instant,
        took: Duration,
    ) {
        match failure {
            // A request that was not sent is in no rate.
            Some(Kind::Own) => return self.own += 1,
            Some(_) => {
                self.failed += 1;
                self.missed.record(took);
            }
            None => {
                self.ok += 1;
                self.passed.record(took);
            }
        }
        let (first, last) = self.span.unwrap_or((start, end));
        self.span = Some((first.min(start), last.max(end)));
    }

    /// Counts a failure for which no request was sent.
    pub(crate) fn record_unsent(&mut self) {
        self.failed += 1;
        self.unsent += 1;
    }

    /// Adds the requests of another job.
    pub(crate) fn add(&mut self, other: &Stats) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.own += other.own;
        self.unsent += other.unsent;
        self.passed.add(&other.passed);
        self.missed.add(&other.missed);
        self.span = match (self.span, other.span) {
            (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
            (own, other) => own.or(other),
        };
    }

    /// How many requests are over, sent or not.
    pub(crate) fn requests(&self) -> u64 {
        self.ok + self.failed + self.own
    }

    /// From the start of the first request to the end of the last.
    pub(crate) fn elapsed(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// How many requests were sent, and are over.
    pub(crate) fn sent(&self) -> u64 {
        self.ok + self.failed - self.unsent
    }

    /// Requests that were sent, a second.
    pub(crate) fn rate(&self) -> f64 {
        let seconds = self.elapsed().as_secs_f64();
        if seconds > 0.0 { self.sent() as f64 / seconds } else { 0.0 }
    }

    /// The latencies of the requests that passed.
    pub(crate) fn passed(&self) -> &Latencies {
        &self.passed
    }

    /// How long the requests took that failed.
    pub(crate) fn missed(&self) -> &Latencies {
        &self.missed
    }

    /// The value that a threshold is about; `None` if there is none, such as a latency without answers.
    pub(crate) fn measure(&self, threshold: &Threshold) -> Option<f64> {
        let milliseconds = |value: f64| (self.ok > 0).then_some(value);
        let done = (self.ok + self.failed) as f64;
        match threshold.measure {
            Measure::Quantile(quantile) => milliseconds(self.passed.quantile_ms(quantile)),
            Measure::Max => milliseconds(self.passed.summary().max_ms),
            Measure::Mean => milliseconds(self.passed.summary().mean_ms),
            Measure::FailedShare => (done > 0.0).then(|| self.failed as f64 / done),
            Measure::Failed => Some(self.failed as f64),
            Measure::Rate => Some(self.rate()),
        }
    }
}

impl Latencies {
    pub(crate) fn new(digits: u8) -> Self {
        let histogram = Histogram::new(digits).expect("a histogram has 0 to 5 digits");
        Latencies { histogram, sum: Duration::ZERO, most: Duration::ZERO }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let microseconds = took.as_micros() as u64;
        self.histogram.record(microseconds).expect("the histogram grows with what it is given");
        self.sum += took;
        self.most = self.most.max(took);
    }

    fn add(&mut self, other: &Latencies) {
        self.histogram.add(&other.histogram).expect("the histogram grows with what it is given");
        self.sum += other.sum;
        self.most = self.most.max(other.most);
    }

    /// The distribution, in microseconds.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The latency, in milliseconds, that `quantile` of the requests stayed within.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        // A histogram's value may be above the longest time by its precision.
        let most = milliseconds(self.most);
        (self.histogram.value_at_quantile(quantile) as f64 / 1_000.0).min(most)
    }

    /// `None` if there are no latencies.
    pub(crate) fn summary_if_any(&self) -> Option<Summary> {
        (!self.histogram.is_empty()).then(|| self.summary())
    }

    pub(crate) fn summary(&self) -> Summary {
        let count = self.histogram.len().max(1) as f64;
        Summary {
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p95_ms: self.quantile_ms(0.95),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: milliseconds(self.most),
            mean_ms: milliseconds(self.sum) / count,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
