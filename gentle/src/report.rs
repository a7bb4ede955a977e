//! The results, as they are written for machines. How people see them is in `table`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::check::Check;
use crate::hosts::LimitedHost;
use crate::moment;
use crate::plan::{AutoLimit, Measure, StepPlan, Targets, Threshold};
use crate::run::Outcome;
use crate::server::Server;
use crate::stats::{Latencies, Stats, Summary};
use crate::tally::Failure;

/// The version of the JSON form.
const SCHEMA: u32 = 1;

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The version of this form. A reader must ignore keys that it does not know; the number changes if a key goes or
    /// changes its meaning.
    pub(crate) schema: u32,
    /// The command and its version.
    pub(crate) tool: &'static str,
    /// The plan's file, or "built-in".
    pub(crate) plan: String,
    /// Whether the whole plan was sent, each check passed or was allowed to fail, and thresholds and limits were held.
    pub(crate) as_expected: bool,
    /// Whether a signal cut the run short.
    pub(crate) interrupted: bool,
    /// When the run began and ended, in UTC.
    pub(crate) started: String,
    pub(crate) ended: String,
    pub(crate) elapsed_seconds: f64,
    /// Of all jobs together.
    pub(crate) requests_per_second: f64,
    /// The thresholds over all jobs together.
    pub(crate) thresholds: Vec<ThresholdReport>,
    pub(crate) jobs: Vec<JobReport>,
    pub(crate) hosts: Vec<HostReport>,
    /// How often requests to each server were held off, because it had refused.
    pub(crate) held_off: BTreeMap<String, u64>,
}

/// What came of one threshold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ThresholdReport {
    /// The measure and its bound.
    pub(crate) threshold: String,
    /// What was measured; `None` if there was nothing to measure.
    pub(crate) found: Option<String>,
    pub(crate) held: bool,
    #[serde(skip)]
    is_about_failures: bool,
}

impl ThresholdReport {
    fn all(thresholds: &[Threshold], stats: &Stats) -> Vec<Self> {
        let report = |threshold: &Threshold| {
            let found = stats.measure(threshold);
            ThresholdReport {
                threshold: threshold.to_string(),
                found: found.map(|found| threshold.measure.spelled(found)),
                held: found.is_some_and(|found| threshold.holds(found)),
                is_about_failures: matches!(
                    threshold.measure,
                    Measure::Failed | Measure::FailedShare
                ),
            }
        };
        thresholds.iter().map(report).collect()
    }
}

/// What came of one host's limit.
#[derive(Debug, Serialize)]
pub(crate) struct HostReport {
    pub(crate) host: String,
    /// `None` if the host has a rate only. The greatest, if the limit finds itself.
    pub(crate) limit: Option<usize>,
    /// The range of the limit and where it has settled, if it finds itself.
    pub(crate) auto: Option<AutoReport>,
    /// The most requests in flight at once, of all jobs together.
    pub(crate) most_in_flight: usize,
    /// The most requests at once that were in flight, or had timed out and were within their grace. The server may hold more: it may
    /// work on after the grace.
    pub(crate) most_in_hands: usize,
    /// The most that the built-in server saw at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_saw: Option<usize>,
}

/// What came of a limit that finds itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct AutoReport {
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// The limit at the end.
    pub(crate) settled: usize,
}

impl AutoReport {
    fn new(auto: Option<AutoLimit>, settled: Option<usize>) -> Option<Self> {
        let AutoLimit { min, max } = auto?;
        Some(AutoReport { min, max, settled: settled? })
    }
}

impl fmt::Display for AutoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auto:{}", self.settled)
    }
}

/// What came of one job.
#[derive(Debug, Serialize)]
pub(crate) struct JobReport {
    pub(crate) name: String,
    /// The limits stepped through; a single one where there is no ramp.
    pub(crate) limits: Vec<usize>,
    /// The range of the limit and where it has settled, if it finds itself.
    pub(crate) auto: Option<AutoReport>,
    /// How many requests the plan has; not known of a list.
    pub(crate) planned: Option<u64>,
    #[serde(skip)]
    pub(crate) has_list: bool,
    /// How many were sent. A line of a list that is no URL counts, and fails.
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// How many this machine could not send, for want of open files or the like.
    pub(crate) own_failures: u64,
    /// How many steps were not sent, because a step before them failed.
    pub(crate) skipped: u64,
    /// How many redirects were followed.
    pub(crate) redirects: u64,
    /// How many were given up when their time was over.
    pub(crate) abandoned: u64,
    /// How often a request was sent again, because its kept connection had died.
    pub(crate) repeated: u64,
    /// From the start of the first request to the end of the last.
    pub(crate) elapsed_seconds: f64,
    pub(crate) requests_per_second: f64,
    /// Of the requests that passed.
    pub(crate) latency: Summary,
    /// What the latencies would have been if each request had been sent when it was due; only with a rate.
    pub(crate) corrected_latency: Option<Summary>,
    /// Of the requests that failed, if some did.
    pub(crate) failed_latency: Option<Summary>,
    pub(crate) thresholds: Vec<ThresholdReport>,
    /// Whether a threshold, of the job or of the plan, says how many may fail.
    #[serde(skip)]
    may_fail: bool,
    /// The most requests in flight at once.
    pub(crate) most_in_flight: usize,
    /// The most requests at once that were in flight, or had timed out and were within their grace. The server may hold more: it may
    /// work on after the grace.
    pub(crate) most_in_hands: usize,
    /// The most that the built-in server saw at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_saw: Option<usize>,
    /// The requests of each stage, if there is more than one.
    pub(crate) stages: Vec<StageReport>,
    /// The requests for each path, if there is more than one.
    pub(crate) paths: Vec<PathReport>,
    /// How often each status came back.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Why checks failed.
    pub(crate) failures: Vec<Failure>,
}

/// What came of one stage of a job.
#[derive(Debug, Serialize)]
pub(crate) struct StageReport {
    pub(crate) limit: usize,
    /// Requests a second that the plan allows.
    pub(crate) rate: Option<f64>,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// What came of one path of a job.
#[derive(Debug, Serialize)]
pub(crate) struct PathReport {
    pub(crate) path: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// The counts of a part of a job's requests.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) latency: Summary,
}

impl Counts {
    fn of(stats: &Stats) -> Self {
        Counts {
            requests: stats.requests(),
            ok: stats.ok,
            failed: stats.failed,
            requests_per_second: stats.rate(),
            latency: stats.passed().summary(),
        }
    }
}

impl PathReport {
    fn new((path, stats): (String, &Stats)) -> Self {
        PathReport { path, counts: Counts::of(stats) }
    }
}

impl Report {
    pub(crate) fn new(
        plan: String,
        thresholds: &[Threshold],
        outcome: &Outcome,
        server: Option<&Server>,
    ) -> Self {
        let mut all = Stats::new(3);
        outcome.checks.iter().for_each(|check| all.add(&check.tally().all));
        let thresholds = ThresholdReport::all(thresholds, &all);
        let may_fail = thresholds.iter().any(|threshold| threshold.is_about_failures);
        let job = |check: &Arc<Check>| JobReport::new(check, may_fail, server);
        let host = |host: &Arc<LimitedHost>| HostReport::new(host, server);
        let jobs: Vec<_> = outcome.checks.iter().map(job).collect();
        let hosts: Vec<_> = outcome.hosts.all().iter().map(host).collect();
        Report {
            schema: SCHEMA,
            tool: concat!("gentle ", env!("CARGO_PKG_VERSION")),
            plan,
            as_expected: outcome.interrupted.is_none()
                && thresholds.iter().all(|threshold| threshold.held)
                && jobs.iter().all(JobReport::is_as_expected)
                && hosts.iter().all(HostReport::limit_held),
            interrupted: outcome.interrupted.is_some(),
            started: moment::spelled(outcome.started),
            ended: moment::spelled(outcome.started + outcome.elapsed),
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            requests_per_second: all.rate(),
            thresholds,
            jobs,
            hosts,
            held_off: outcome.hosts.holds().into_iter().collect(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl HostReport {
    fn new(host: &LimitedHost, server: Option<&Server>) -> Self {
        let limited = host.limited();
        HostReport {
            host: host.plan().host.to_string(),
            limit: host.plan().limit,
            auto: AutoReport::new(host.plan().auto, limited.settled()),
            most_in_flight: limited.in_flight().most(),
            most_in_hands: limited.in_hands().most(),
            server_saw: server.map(Server::most_at_once),
        }
    }

    /// The limit as it is shown.
    pub(crate) fn limit_shown(&self) -> String {
        match (&self.auto, self.limit) {
            (Some(auto), _) => auto.to_string(),
            (None, Some(limit)) => limit.to_string(),
            (None, None) => "-".to_owned(),
        }
    }

    /// Whether neither the tasks nor the server saw more requests at once than the limit.
    pub(crate) fn limit_held(&self) -> bool {
        let most = self.most_in_flight.max(self.server_saw.unwrap_or(0));
        self.limit.is_none_or(|limit| most <= limit)
    }
}

impl JobReport {
    /// The counts of all requests of the job.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            requests: self.requests,
            ok: self.ok,
            failed: self.failed,
            requests_per_second: self.requests_per_second,
            latency: self.latency,
        }
    }

    fn new(check: &Check, may_fail: bool, server: Option<&Server>) -> Self {
        let plan = check.plan();
        let tally = check.tally();
        let all = &tally.all;
        let thresholds = ThresholdReport::all(&plan.thresholds, all);
        JobReport {
            name: plan.name.clone(),
            limits: plan.limits.clone(),
            auto: AutoReport::new(plan.auto, check.limited.settled()),
            planned: plan.requests(),
            has_list: matches!(plan.targets, Targets::List(_)),
            requests: all.requests(),
            ok: all.ok,
            failed: all.failed,
            own_failures: all.own,
            skipped: tally.skipped,
            redirects: tally.redirects,
            abandoned: tally.abandoned,
            repeated: check.repeated(),
            elapsed_seconds: all.elapsed().as_secs_f64(),
            requests_per_second: all.rate(),
            latency: all.passed().summary(),
            corrected_latency: tally.corrected.as_ref().map(Latencies::summary),
            failed_latency: all.missed().summary_if_any(),
            may_fail: may_fail || thresholds.iter().any(|threshold| threshold.is_about_failures),
            thresholds,
            most_in_flight: check.limited.in_flight().most(),
            most_in_hands: check.limited.in_hands().most(),
            server_saw: server.and_then(|server| server.most_at_once_in(&plan.name)),
            stages: plan
                .limits
                .iter()
                .zip(&tally.stages)
                .enumerate()
                .map(|(stage, (limit, stats))| StageReport {
                    limit: *limit,
                    rate: plan.rate_of(stage).map(|rate| rate.per_second),
                    counts: Counts::of(stats),
                })
                .collect(),
            paths: match &plan.targets {
                Targets::Paths { shown, .. } => {
                    let paths = shown.iter().map(|shown| path_of(shown).to_owned());
                    paths.zip(&tally.paths).map(PathReport::new).collect()
                }
                Targets::Session { steps, .. } => {
                    let steps = steps.iter().map(StepPlan::label);
                    steps.zip(&tally.paths).map(PathReport::new).collect()
                }
                Targets::List(_) => Vec::new(),
            },
            statuses: tally.statuses.clone(),
            failures: tally.failures.all().to_vec(),
        }
    }

    /// The limits as they are shown.
    pub(crate) fn limits_shown(&self, between: &str) -> String {
        match &self.auto {
            Some(auto) => auto.to_string(),
            None => self.limits.iter().map(usize::to_string).collect::<Vec<_>>().join(between),
        }
    }

    /// How many requests of the plan are over, or will never be sent.
    pub(crate) fn done(&self) -> u64 {
        self.requests + self.skipped
    }

    pub(crate) fn is_as_expected(&self) -> bool {
        (self.failed == 0 || self.may_fail)
            && self.own_failures == 0
            && self.thresholds.iter().all(|threshold| threshold.held)
            && self.done() == self.planned.unwrap_or(self.done().max(1))
            && self.limit_held()
    }

    /// Whether neither the tasks nor the server saw more requests at once than the limit.
    pub(crate) fn limit_held(&self) -> bool {
        let greatest = self.limits.iter().copied().max().unwrap_or(0);
        self.most_in_flight.max(self.server_saw.unwrap_or(0)) <= greatest
    }
}

/// The path of a URL as it is shown.
fn path_of(shown: &str) -> &str {
    let behind_scheme = shown.find("://").map_or(0, |at| at + 3);
    shown[behind_scheme..].find('/').map_or(shown, |at| &shown[behind_scheme + at..])
}
