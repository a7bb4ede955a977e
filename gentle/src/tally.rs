//! What came of one job's requests: counts, latencies, and why checks failed.

use std::collections::BTreeMap;
use std::time::Instant;

use http::StatusCode;

use crate::client::{Cause, Failure as NoAnswer};
use crate::list::BadLine;
use crate::plan::{JobPlan, Targets};
use crate::schedule::Slot;
use crate::stats::{Latencies, Stats};

/// How many different causes of failure are told apart for one job. All others are counted together.
const MOST_CAUSES: usize = 20;

/// How many stages or paths of a job have a row of their own.
const MOST_ROWS: usize = 1_000;

/// The counts of one job.
#[derive(Debug)]
pub(crate) struct Tally {
    /// All requests.
    pub(crate) all: Stats,
    /// The requests of each stage; none if there is only one.
    pub(crate) stages: Vec<Stats>,
    /// The requests for each of the plan's paths; none if there is only one.
    pub(crate) paths: Vec<Stats>,
    /// What the latencies of the requests that passed would have been if each had been sent when it was due.
    pub(crate) corrected: Option<Latencies>,
    /// Steps that were not sent, because a step before them failed.
    pub(crate) skipped: u64,
    /// Requests that were given up when their time was over.
    pub(crate) abandoned: u64,
    /// How many redirects were followed.
    pub(crate) redirects: u64,
    /// How often each status came back.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Why checks failed.
    pub(crate) failures: Causes,
}

/// Why checks failed, in the order first seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Causes(Vec<Failure>);

/// Checks of one job that failed for the same cause.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Failure {
    /// The kind of the cause.
    pub(crate) kind: Kind,
    /// What went wrong.
    pub(crate) cause: String,
    /// How often.
    pub(crate) count: u64,
    /// The URL, or the line of a list, that it happened to first.
    pub(crate) first: String,
}

/// The kinds of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The answer is not what the plan expects.
    Unexpected,
    /// No server listens there.
    Refused,
    /// The connection ended before the answer was whole.
    Closed,
    /// The answer took too long.
    Timeout,
    /// All else between this machine and the server.
    Other,
    /// A line of a list is no URL; nothing was sent.
    Line,
    /// This machine ran short of something; the server has no part in it.
    Own,
}

/// Why a check failed.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    pub(crate) kind: Kind,
    pub(crate) cause: String,
}

/// One request that is over.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    /// What the URL is called.
    pub(crate) shown: &'a str,
    /// The place of the URL among the plan's paths.
    pub(crate) path: Option<usize>,
    pub(crate) stage: usize,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// How long the server took, all redirects together.
    pub(crate) took: std::time::Duration,
    /// Its place in the job's schedule, if the job has a rate.
    pub(crate) slot: Option<Slot>,
    /// How many redirects were followed.
    pub(crate) redirects: usize,
    /// The status, if there was a whole answer.
    pub(crate) status: Option<StatusCode>,
    /// Why the check failed, if it did.
    pub(crate) mistake: Option<Mistake>,
}

impl Mistake {
    pub(crate) fn unexpected(cause: String) -> Self {
        Mistake { kind: Kind::Unexpected, cause }
    }

    pub(crate) fn line(bad_line: &BadLine) -> Self {
        Mistake { kind: Kind::Line, cause: bad_line.cause.clone() }
    }
}

impl From<NoAnswer> for Mistake {
    fn from(failure: NoAnswer) -> Self {
        let kind = match failure.cause {
            Cause::Refused => Kind::Refused,
            Cause::Closed => Kind::Closed,
            Cause::Timeout => Kind::Timeout,
            Cause::Own => Kind::Own,
            Cause::Other => Kind::Other,
        };
        Mistake { kind, cause: failure.text }
    }
}

impl Tally {
    pub(crate) fn new(plan: &JobPlan) -> Self {
        let paths = match &plan.targets {
            Targets::Paths { urls, .. } => urls.len(),
            Targets::Session { steps, .. } => steps.len(),
            Targets::List(_) => 0,
        };
        let each = |count: usize| match count {
            0 | 1 => Vec::new(),
            count => vec![Stats::new(2); count.min(MOST_ROWS)],
        };
        Tally {
            stages: each(plan.limits.len()),
            paths: each(paths),
            all: Stats::new(3),
            corrected: None,
            skipped: 0,
            abandoned: 0,
            redirects: 0,
            statuses: BTreeMap::new(),
            failures: Causes::default(),
        }
    }

    /// Counts a request that is over.
    pub(crate) fn record(&mut self, sent: &Sent<'_>) {
        let kind = sent.mistake.as_ref().map(|mistake| mistake.kind);
        let stage = self.stages.get_mut(sent.stage);
        let path = sent.path.and_then(|path| self.paths.get_mut(path));
        for stats in [&mut self.all].into_iter().chain(stage).chain(path) {
            stats.record(kind, sent.start, sent.end, sent.took);
        }
        if let (None, Some(slot)) = (kind, sent.slot) {
            let corrected = self.corrected.get_or_insert_with(|| Latencies::new(3));
            slot.corrected(sent.end).for_each(|took| corrected.record(took));
        }
        self.redirects += sent.redirects as u64;
        self.abandoned += u64::from(kind == Some(Kind::Timeout));
        if let Some(status) = sent.status {
            *self.statuses.entry(status.as_u16()).or_default() += 1;
        }
        if let Some(mistake) = &sent.mistake {
            self.failures.count(mistake, sent.shown);
        }
    }

    /// Counts a line of a list for which no request can be sent as a check that failed.
    pub(crate) fn record_unsent(&mut self, bad_line: &BadLine) {
        self.all.record_unsent();
        self.failures.count(&Mistake::line(bad_line), &bad_line.place);
    }

    /// Counts a request that was not sent as a check that failed.
    pub(crate) fn record_not_sent(&mut self, mistake: &Mistake, shown: &str) {
        self.all.record_unsent();
        self.failures.count(mistake, shown);
    }
}

impl Causes {
    /// Counts a failure. `first` is what it happened to.
    pub(crate) fn count(&mut self, mistake: &Mistake, first: &str) {
        let is_same =
            |failure: &Failure| failure.kind == mistake.kind && failure.cause == mistake.cause;
        // The failures that are not told apart are behind all others.
        let rest = (self.0.len() > MOST_CAUSES).then_some(MOST_CAUSES);
        match self.0.iter().position(is_same).or(rest) {
            Some(at) => self.0[at].count += 1,
            None => {
                let is_full = self.0.len() == MOST_CAUSES;
                let cause = if is_full { "other causes" } else { mistake.cause.as_str() };
                self.0.push(Failure {
                    kind: mistake.kind,
                    cause: cause.to_owned(),
                    count: 1,
                    first: first.to_owned(),
                });
            }
        }
    }

    pub(crate) fn all(&self) -> &[Failure] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_for_which_there_is_no_room_are_counted_as_one() {
        let mut causes = Causes::default();
        let mut count = |number: usize| {
            let cause = format!("cause {number}");
            causes.count(&Mistake { kind: Kind::Unexpected, cause }, &format!("url {number}"));
        };
        (0..MOST_CAUSES + 3).for_each(&mut count);
        // The last cause that is told apart, and one that is not.
        [MOST_CAUSES - 1, MOST_CAUSES + 1].into_iter().for_each(&mut count);
        let all = causes.all();
        let counts: Vec<_> = all.iter().map(|failure| failure.count).collect();
        let mut due = vec![1; MOST_CAUSES - 1];
        due.extend([2, 4]);
        assert_eq!(counts, due);
        let [.., last, rest] = all else { panic!("{all:?}") };
        assert_eq!((last.cause.as_str(), last.first.as_str()), ("cause 19", "url 19"));
        assert_eq!((rest.cause.as_str(), rest.first.as_str()), ("other causes", "url 20"));
    }
}
