//! The results: a table for people, JSON for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::check::Check;
use crate::run::Outcome;
use crate::server::Server;
use crate::tally::Failure;

/// The table's columns. The last one is there only when the built-in server ran.
const HEADER: [&str; 11] = [
    "job",
    "limit",
    "requests",
    "ok",
    "failed",
    "req/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "in flight",
    "server saw",
];

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The plan's file, or "built-in".
    plan: String,
    /// Whether every request was sent and every check passed.
    as_expected: bool,
    /// Whether Ctrl-C cut the run short.
    interrupted: bool,
    elapsed_seconds: f64,
    jobs: Vec<JobReport>,
}

/// What came of one job.
#[derive(Debug, Serialize)]
struct JobReport {
    name: String,
    /// The limits stepped through; a single one where there is no ramp.
    limits: Vec<usize>,
    /// How many requests the plan has.
    planned: u64,
    /// How many were sent.
    requests: u64,
    ok: u64,
    failed: u64,
    requests_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    /// The most requests in flight at once.
    most_in_flight: usize,
    /// The most that the built-in server saw at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_saw: Option<usize>,
    /// How often each status came back.
    statuses: BTreeMap<u16, u64>,
    /// Why checks failed.
    failures: Vec<Failure>,
}

impl Report {
    pub(crate) fn new(plan: String, outcome: &Outcome, server: Option<&Server>) -> Self {
        let jobs: Vec<_> =
            outcome.checks.iter().map(|check| JobReport::new(check, server)).collect();
        Report {
            plan,
            as_expected: jobs.iter().all(JobReport::is_as_expected),
            interrupted: outcome.interrupted,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            jobs,
        }
    }

    pub(crate) fn write_json(&self, mut file: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut file, self)?;
        writeln!(file)?;
        file.flush()
    }

    pub(crate) fn is_as_expected(&self) -> bool {
        self.as_expected
    }

    fn total(&self, count: impl Fn(&JobReport) -> u64) -> u64 {
        self.jobs.iter().map(count).sum()
    }
}

impl JobReport {
    fn new(check: &Check, server: Option<&Server>) -> Self {
        let plan = check.plan();
        let tally = check.tally();
        let seconds = tally.elapsed().as_secs_f64();
        JobReport {
            name: plan.name.clone(),
            limits: plan.limits.clone(),
            planned: plan.requests(),
            requests: tally.requests(),
            ok: tally.ok,
            failed: tally.failed,
            requests_per_second: if seconds > 0.0 {
                tally.requests() as f64 / seconds
            } else {
                0.0
            },
            p50_ms: tally.latency_ms(0.50),
            p95_ms: tally.latency_ms(0.95),
            p99_ms: tally.latency_ms(0.99),
            most_in_flight: check.in_flight().most(),
            server_saw: server.and_then(|server| server.most_at_once(&plan.name)),
            statuses: tally.statuses.clone(),
            failures: tally.failures.clone(),
        }
    }

    fn is_as_expected(&self) -> bool {
        self.failed == 0 && self.requests == self.planned && self.limit_held()
    }

    /// Whether neither the tasks nor the server saw more requests at once than the limit.
    fn limit_held(&self) -> bool {
        let greatest = self.limits.iter().copied().max().unwrap_or(0);
        self.most_in_flight.max(self.server_saw.unwrap_or(0)) <= greatest
    }

    fn cells(&self, with_server: bool) -> Vec<String> {
        let limits: Vec<_> = self.limits.iter().map(usize::to_string).collect();
        let mut cells = vec![
            self.name.clone(),
            limits.join(","),
            self.requests.to_string(),
            self.ok.to_string(),
            self.failed.to_string(),
            format!("{:.1}", self.requests_per_second),
            format!("{:.1}", self.p50_ms),
            format!("{:.1}", self.p95_ms),
            format!("{:.1}", self.p99_ms),
            self.most_in_flight.to_string(),
        ];
        if with_server {
            cells.push(self.server_saw.map_or_else(String::new, |most| most.to_string()));
        }
        cells
    }

    /// What the table has no room for, a line each.
    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        if self.statuses.len() > 1 {
            let each =
                self.statuses.iter().map(|(status, count)| format!("{count} with status {status}"));
            writeln!(f, "{name}: {}", each.collect::<Vec<_>>().join(", "))?;
        }
        for Failure { cause, count, first_url } in &self.failures {
            writeln!(f, "{name}: {count} failed: {cause}; first {first_url}")?;
        }
        if !self.limit_held() {
            writeln!(f, "{name}: more requests at once than the limit")?;
        }
        if self.requests < self.planned {
            let left = self.planned - self.requests;
            writeln!(f, "{name}: {left} of {} requests not sent", self.planned)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_server = self.jobs.iter().any(|job| job.server_saw.is_some());
        let header = HEADER.iter().take(HEADER.len() - usize::from(!with_server));
        let mut rows = vec![header.map(|&title| title.to_owned()).collect()];
        rows.extend(self.jobs.iter().map(|job| job.cells(with_server)));
        write_aligned(f, &rows)?;
        writeln!(f)?;
        for job in &self.jobs {
            job.write_remarks(f)?;
        }
        let verdict = match (self.interrupted, self.as_expected) {
            (true, _) => "interrupted",
            (false, true) => "all as expected",
            (false, false) => "not as expected",
        };
        let requests = self.total(|job| job.requests);
        let failed = self.total(|job| job.failed);
        let seconds = self.elapsed_seconds;
        writeln!(f, "{verdict}: {requests} requests, {failed} failed, {seconds:.1} s")
    }
}

/// Writes the rows with their columns aligned: names to the left, numbers to the right.
fn write_aligned(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        write!(f, "{:<width$}", row[0], width = widths[0])?;
        for (cell, &width) in row.iter().zip(&widths).skip(1) {
            write!(f, "  {cell:>width$}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}
