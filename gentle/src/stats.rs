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

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests that passed, of which each took so many microseconds.
    fn passed(microseconds: impl IntoIterator<Item = u64>) -> Stats {
        let (mut stats, start) = (Stats::new(3), Instant::now());
        for took in microseconds.into_iter().map(Duration::from_micros) {
            stats.record(None, start, start + took, took);
        }
        stats
    }

    /// Returns p50, p90, p95, p99, p999, the longest and the mean.
    fn numbers(summary: Summary) -> [f64; 7] {
        let Summary { p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms, mean_ms } = summary;
        [p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms, mean_ms]
    }

    /// Asserts that each number is the due one up to this part of it.
    fn are(found: &[f64], due: &[f64], part: f64) {
        let is_near = |(found, due): (&f64, &f64)| (found - due).abs() <= due * part;
        assert_eq!(found.len(), due.len());
        assert!(found.iter().zip(due).all(is_near), "{found:?} instead of {due:?}");
    }

    #[test]
    fn the_summary_has_the_known_numbers_of_a_distribution() {
        let due = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0, 0.5005];
        let exact = passed((1..=1_000).rev());
        are(&numbers(exact.passed().summary()), &due, 1e-9);
        // Above two milliseconds the histogram has three digits. The longest and the mean are exact.
        let long = passed((1..=1_000).map(|ms| ms * 1_000));
        let long = numbers(long.passed().summary());
        are(&long, &due.map(|ms| ms * 1e3), 1e-3);
        are(&long[5..], &[1_000.0, 500.5], 1e-9);
        // Two of a thousand are slow.
        let skewed = passed([1_000; 998].into_iter().chain([100_000; 2]));
        let due = [1.0, 1.0, 1.0, 1.0, 100.0, 100.0, 1.198];
        are(&numbers(skewed.passed().summary()), &due, 1e-9);
    }

    #[test]
    fn the_requests_of_several_jobs_have_the_summary_of_all() {
        let mut all = passed((1..=1_000).step_by(2));
        all.add(&passed((2..=1_000).step_by(2)));
        let due = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0, 0.5005];
        are(&numbers(all.passed().summary()), &due, 1e-9);
        assert_eq!((all.ok, all.requests(), all.elapsed().as_secs() < 1), (1_000, 1_000, true));
    }

    #[test]
    fn failures_are_in_no_latency_and_nothing_has_no_summary() {
        let mut stats = passed([1_000; 3]);
        assert!(stats.missed().summary_if_any().is_none());
        let (start, took) = (Instant::now(), Duration::from_secs(9));
        stats.record(Some(Kind::Timeout), start, start + took, took);
        are(&numbers(stats.passed().summary()), &[1.0; 7], 1e-9);
        are(&numbers(stats.missed().summary()), &[9_000.0; 7], 1e-3);
        let none = Stats::new(3);
        assert_eq!((none.rate(), numbers(none.passed().summary())), (0.0, [0.0; 7]));
    }

    #[test]
    fn what_was_not_sent_is_in_no_rate() {
        let (mut stats, start) = (Stats::new(3), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for (failure, from, to) in [
            (None, 0, 1),
            (None, 1, 2),
            (Some(Kind::Unexpected), 1, 2),
            (Some(Kind::Refused), 0, 1),
            // This machine could not send them.
            (Some(Kind::Own), 0, 3),
            (Some(Kind::Own), 5, 9),
        ] {
            stats.record(failure, at(from), at(to), at(to) - at(from));
        }
        // Their servers get no more.
        (0..5).for_each(|_| stats.record_unsent());
        assert_eq!((stats.requests(), stats.sent(), stats.own), (11, 4, 2));
        assert_eq!((stats.elapsed(), stats.rate()), (Duration::from_secs(2), 2.0));
        assert_eq!(stats.missed().histogram().len(), 2);
    }

    #[test]
    fn each_threshold_measures_what_it_names() {
        let mut stats = passed(1..=1_000);
        (0..1_000).for_each(|_| stats.record_unsent());
        let found = |key: &str, bound: &str| {
            let job = "[[job]]\nname = \"a\"\nlimit = 1\nbase = \"http://a\"\npaths = [\"/\"]\n";
            let plan = format!("[thresholds]\n{key} = \"< {bound}\"\n{job}");
            let plan = crate::plan::parse("plan", &plan).unwrap();
            stats.measure(&plan.thresholds[0]).unwrap()
        };
        let latencies = ["p50", "p90", "p95", "p99", "p999", "max", "mean"];
        let due = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0, 0.5005];
        are(&latencies.map(|key| found(key, "1s")), &due, 1e-9);
        assert_eq!((found("failed", "1"), found("failed", "1%")), (1_000.0, 0.5));
        // A thousand requests that began at once and ended within a millisecond.
        are(&[found("rate", "1/s")], &[1_000_000.0], 1e-9);
    }
}
