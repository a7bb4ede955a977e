//! What came of one job's requests: counts, latencies, and why checks failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::{StatusCode, Uri};

use crate::list::BadLine;

/// How many different causes of failure are told apart for one job.
const MOST_CAUSES: usize = 20;

/// The counts of one job.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Requests that passed the check.
    pub(crate) ok: u64,
    /// Requests that failed it.
    pub(crate) failed: u64,
    /// Requests that were given up when their time was over.
    pub(crate) abandoned: u64,
    /// How many redirects were followed.
    pub(crate) redirects: u64,
    /// How often each status came back.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Why checks failed, in the order first seen.
    pub(crate) failures: Vec<Failure>,
    /// Microseconds from sending to the last byte of the answer, or to the failure.
    latency: Histogram<u64>,
    /// When the first request began and the last one ended.
    span: Option<(Instant, Instant)>,
}

/// Checks of one job that failed for the same cause.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Failure {
    /// What went wrong.
    pub(crate) cause: String,
    /// How often.
    pub(crate) count: u64,
    /// The URL, or the line of a list, that it happened to first.
    pub(crate) first: String,
}

/// One request that is over.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) url: &'a Uri,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// How long the server took, all redirects together.
    pub(crate) took: Duration,
    /// How many redirects were followed.
    pub(crate) redirects: usize,
    /// The status, if there was a whole answer.
    pub(crate) status: Option<StatusCode>,
    /// Why the check failed, if it did.
    pub(crate) failure: Option<String>,
    /// Whether the request was given up when its time was over.
    pub(crate) abandoned: bool,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Tally {
            ok: 0,
            failed: 0,
            abandoned: 0,
            redirects: 0,
            statuses: BTreeMap::new(),
            failures: Vec::new(),
            latency: Histogram::new(3).expect("3 is a precision that histograms have"),
            span: None,
        }
    }

    /// Counts a request that is over.
    pub(crate) fn record(&mut self, sent: Sent<'_>) {
        let micros = sent.took.as_micros() as u64;
        self.latency.record(micros).expect("the histogram grows with what it is given");
        let (first, last) = self.span.unwrap_or((sent.start, sent.end));
        self.span = Some((first.min(sent.start), last.max(sent.end)));
        self.redirects += sent.redirects as u64;
        self.abandoned += u64::from(sent.abandoned);
        if let Some(status) = sent.status {
            *self.statuses.entry(status.as_u16()).or_default() += 1;
        }
        match sent.failure {
            None => self.ok += 1,
            Some(cause) => {
                self.failed += 1;
                self.count_failure(cause, sent.url.to_string());
            }
        }
    }

    /// Counts a line of a list for which no request can be sent as a check that failed.
    pub(crate) fn record_unsent(&mut self, bad_line: BadLine) {
        self.failed += 1;
        self.count_failure(bad_line.cause, bad_line.place);
    }

    fn count_failure(&mut self, cause: String, first: String) {
        let full = self.failures.len() >= MOST_CAUSES;
        let known = self.failures.iter_mut().find(|failure| failure.cause == cause);
        match known {
            Some(failure) => failure.count += 1,
            None if full => self.failures[MOST_CAUSES - 1].count_another(),
            None => self.failures.push(Failure { cause, count: 1, first }),
        }
    }

    /// How many requests are over.
    pub(crate) fn requests(&self) -> u64 {
        self.ok + self.failed
    }

    /// From the start of the first request to the end of the last.
    pub(crate) fn elapsed(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// The latency, in milliseconds, that `quantile` of the requests stayed within.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

impl Failure {
    /// Counts a failure of a cause for which there is no room.
    fn count_another(&mut self) {
        self.count += 1;
        "this and other causes".clone_into(&mut self.cause);
    }
}
