//! The results, as people see them: a row a job, a row a limited host, and a line for all else.

use std::fmt;

use crate::columns::{self, to_the_left, to_the_right};
use crate::report::{
    Counts, HostReport, JobReport, PathReport, Report, StageReport, ThresholdReport,
};
use crate::tally::{Failure, Kind};

/// The columns of the jobs.
const JOB_COLUMNS: [&str; 12] = [
    "job",
    "limit",
    "requests",
    "ok",
    "failed",
    "req/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "max ms",
    "mean ms",
    "in flight",
];

/// The columns of the hosts.
const HOST_COLUMNS: [&str; 3] = ["host", "limit", "in flight"];

/// The columns that are shown if a request timed out. One that timed out is in the server's hands until its grace is over.
const ABANDONED_COLUMNS: [&str; 2] = ["abandoned", "in hands"];

/// The last column of both, where the built-in server ran.
const SERVER_COLUMN: &str = "server saw";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let abandoned = self.jobs.iter().any(|job| job.abandoned > 0);
        let server = self.jobs.iter().any(|job| job.server_saw.is_some());
        let titles = |columns: &[&str], abandoned: &[&str]| {
            let server = server.then_some(SERVER_COLUMN);
            columns.iter().chain(abandoned).copied().chain(server).map(str::to_owned).collect()
        };
        let shown = if abandoned { &ABANDONED_COLUMNS[..] } else { &[] };
        let rows = self.jobs.iter().flat_map(|job| {
            let stage = |stage: &StageReport| {
                let name = stage.rate.map_or("  stage".into(), |rate| format!("  stage {rate}/s"));
                stage.counts.row(name, stage.limit.to_string())
            };
            let path =
                |path: &PathReport| path.counts.row(format!("  {}", path.path), String::new());
            let parts = job.stages.iter().map(stage).chain(job.paths.iter().map(path));
            [job.row(abandoned)].into_iter().chain(parts)
        });
        write_aligned(f, titles(&JOB_COLUMNS, shown), rows)?;
        if !self.hosts.is_empty() {
            writeln!(f)?;
            let rows = self.hosts.iter().map(|host| host.row(abandoned));
            write_aligned(f, titles(&HOST_COLUMNS, shown.get(1..).unwrap_or_default()), rows)?;
        }
        writeln!(f)?;
        for job in &self.jobs {
            job.write_remarks(f)?;
        }
        for threshold in &self.thresholds {
            writeln!(f, "all jobs: {}", threshold.line())?;
        }
        for (server, times) in &self.held_off {
            writeln!(f, "{server}: refused, and was left alone {times} times")?;
        }
        for host in self.hosts.iter().filter(|host| !host.limit_held()) {
            writeln!(f, "{}: more requests at once than the limit", host.host)?;
        }
        let verdict = match (self.interrupted, self.as_expected) {
            (true, _) => "interrupted",
            (false, true) => "all as expected",
            (false, false) => "not as expected",
        };
        let requests: u64 = self.jobs.iter().map(|job| job.requests).sum();
        let failed: u64 = self.jobs.iter().map(|job| job.failed).sum();
        let seconds = self.elapsed_seconds;
        writeln!(f, "{verdict}: {requests} requests, {failed} failed, {seconds:.1} s")
    }
}

impl ThresholdReport {
    /// The threshold and what was measured.
    pub(crate) fn line(&self) -> String {
        let verdict = if self.held { "held" } else { "not held" };
        let found = self.found.as_deref().unwrap_or("nothing to measure");
        format!("threshold {}: {verdict}, {found}", self.threshold)
    }
}

impl Counts {
    /// The cells that each table has: requests, ok, failed, a second, p50, p95, p99, the most and the mean in milliseconds.
    pub(crate) fn cells(&self) -> Vec<String> {
        vec![
            self.requests.to_string(),
            self.ok.to_string(),
            self.failed.to_string(),
            format!("{:.1}", self.requests_per_second),
            format!("{:.1}", self.latency.p50_ms),
            format!("{:.1}", self.latency.p95_ms),
            format!("{:.1}", self.latency.p99_ms),
            format!("{:.1}", self.latency.max_ms),
            format!("{:.1}", self.latency.mean_ms),
        ]
    }

    /// A row of the table of jobs, up to the mean.
    fn row(&self, name: String, limit: String) -> Vec<String> {
        let mut row = vec![name, limit];
        row.append(&mut self.cells());
        row
    }
}

impl JobReport {
    fn row(&self, abandoned: bool) -> Vec<String> {
        let mut row = self.counts().row(self.name.clone(), self.limits_shown(","));
        row.push(self.most_in_flight.to_string());
        if abandoned {
            row.extend([self.abandoned.to_string(), self.most_in_hands.to_string()]);
        }
        row.extend(self.server_saw.map(|most| most.to_string()));
        row
    }

    /// What failed, a line each.
    pub(crate) fn remarks_on_failures(&self) -> Vec<String> {
        let line = |Failure { kind, cause, count, first }: &Failure| match kind {
            Kind::Own => format!("{count} not sent by this machine: {cause}; first {first}"),
            _ => format!("{count} failed: {cause}; first {first}"),
        };
        let missed = self.thresholds.iter().filter(|threshold| !threshold.held);
        let missed = missed.map(ThresholdReport::line);
        let broken =
            (!self.limit_held()).then(|| "more requests at once than the limit".to_owned());
        self.failures.iter().map(line).chain(missed).chain(broken).collect()
    }

    /// What the table has no room for, a line each.
    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        if self.statuses.len() > 1 {
            let each =
                self.statuses.iter().map(|(status, count)| format!("{count} with status {status}"));
            writeln!(f, "{name}: {}", each.collect::<Vec<_>>().join(", "))?;
        }
        if let Some(corrected) = &self.corrected_latency {
            let (p50, p99) = (corrected.p50_ms, corrected.p99_ms);
            writeln!(f, "{name}: corrected for the rate: p50 {p50:.1} ms, p99 {p99:.1} ms")?;
        }
        if self.skipped > 0 {
            writeln!(f, "{name}: {} steps not sent behind one that failed", self.skipped)?;
        }
        if self.redirects > 0 {
            writeln!(f, "{name}: {} redirects followed", self.redirects)?;
        }
        if self.repeated > 0 {
            let why = "as a kept connection had died or the server had not processed them";
            writeln!(f, "{name}: {} requests sent again, {why}", self.repeated)?;
        }
        if let Some(missed) = &self.failed_latency {
            let (p50, max) = (missed.p50_ms, missed.max_ms);
            writeln!(f, "{name}: failed requests took p50 {p50:.1} ms, max {max:.1} ms")?;
        }
        for threshold in self.thresholds.iter().filter(|threshold| threshold.held) {
            writeln!(f, "{name}: {}", threshold.line())?;
        }
        for line in self.remarks_on_failures() {
            writeln!(f, "{name}: {line}")?;
        }
        self.remark_on_unsent().map_or(Ok(()), |line| writeln!(f, "{name}: {line}"))
    }

    /// What was not sent of the plan, if something was not.
    pub(crate) fn remark_on_unsent(&self) -> Option<String> {
        match self.planned {
            Some(planned) if self.done() < planned => {
                Some(format!("{} of {planned} requests not sent", planned - self.done()))
            }
            None if self.requests > 0 => None,
            None if self.has_list => Some("no URL came from the list".to_owned()),
            None => Some("no request was sent in the time of the job".to_owned()),
            _ => None,
        }
    }
}

impl HostReport {
    fn row(&self, abandoned: bool) -> Vec<String> {
        let mut row = vec![self.host.clone(), self.limit_shown(), self.most_in_flight.to_string()];
        row.extend(abandoned.then(|| self.most_in_hands.to_string()));
        row.extend(self.server_saw.map(|most| most.to_string()));
        row
    }
}

/// Writes rows under their titles: names to the left, numbers to the right.
fn write_aligned(
    f: &mut fmt::Formatter<'_>,
    titles: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
) -> fmt::Result {
    let lines: Vec<_> = std::iter::once(titles).chain(rows).collect();
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width =
        |line: &Vec<String>, column: usize| line.get(column).map_or(0, |cell| columns::width(cell));
    let width = |column| lines.iter().map(|line| cell_width(line, column)).max().unwrap_or(0);
    let widths: Vec<_> = (0..count).map(width).collect();
    for line in &lines {
        write!(f, "{}", to_the_left(&line[0], widths[0]))?;
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            write!(f, "  {}", to_the_right(cell, *width))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<Vec<String>>);

    impl fmt::Display for Table {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_aligned(f, self.0[0].clone(), self.0[1..].iter().cloned())
        }
    }

    #[test]
    fn columns_stand_below_each_other_where_names_have_wide_characters() {
        let row = |name: &str, count: &str| vec![name.to_owned(), count.to_owned()];
        let table = Table(vec![row("job", "ok"), row("検索", "7"), row("soups", "123")]);
        assert_eq!(table.to_string(), "job     ok\n検索     7\nsoups  123\n");
    }
}
