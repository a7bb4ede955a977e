//! The results as one page of HTML, which needs no other file and no network, and which runs no script.

mod charts;

use std::fmt::Write;
use std::time::Instant;

use self::charts::{distribution, in_flight, latency, rate};
use crate::check::Check;
use crate::hosts::Results;
use crate::plan::Rate;
use crate::report::{HostReport, JobReport, Report, ThresholdReport};
use crate::run::Outcome;
use crate::tables::escaped;
use crate::tally::{Failure, Kind};
use crate::timeline::{History, Timeline};

/// Rows of a table, and hosts with charts; more are only counted.
const MOST_ROWS: usize = 100;

impl Report {
    /// The results as a page of HTML. It is XML, too.
    pub(crate) fn html(&self, outcome: &Outcome) -> String {
        let now = Instant::now();
        let plan = escaped(&self.plan);
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>gentle: {plan}</title>\n<style>\n{}</style></head>\n<body>\n",
            include_str!("page.css")
        );
        self.write_head(&mut page);
        let histories: Vec<_> =
            outcome.checks.iter().map(|check| history(check.limited.timeline(), now)).collect();
        if self.jobs.len() > 1 {
            self.write_jobs(&mut page, histories.iter().flatten());
        }
        let parts = self.jobs.iter().zip(&outcome.checks).zip(&histories);
        for (number, ((job, check), history)) in parts.enumerate() {
            job.write(&mut page, number, check, history.as_ref());
        }
        if !self.hosts.is_empty() {
            page += "<section><h2>Hosts</h2>\n<p class=\"soft\">Limits over all jobs together. In its hands: in flight, or timed out and \
                 within their grace. A server that works on after the grace may hold more.</p>\n";
            let columns = ["host", "limit", "most in flight", "most in its hands"];
            write_table(&mut page, &columns, self.hosts.iter().map(HostReport::cells));
            page += "</section>\n";
            for (host, limited) in self.hosts.iter().zip(outcome.hosts.all()).take(MOST_ROWS) {
                let history = history(limited.limited().timeline(), now);
                if let (Some(history), Some(results)) = (history, limited.results()) {
                    host.write(&mut page, limited.plan().rate, &history, &results);
                }
            }
        }
        _ = writeln!(page, "<section class=\"soft\"><p>{}</p></section>", escaped(self.tool));
        page + "</body></html>\n"
    }

    fn write_head(&self, page: &mut String) {
        let (class, verdict) = match (self.interrupted, self.as_expected) {
            (true, _) => ("bad", "interrupted"),
            (false, true) => ("good", "all as expected"),
            (false, false) => ("bad", "not as expected"),
        };
        let (plan, started) = (escaped(&self.plan), &self.started);
        let sum = |count: fn(&JobReport) -> u64| self.jobs.iter().map(count).sum::<u64>();
        let (requests, failed) = (sum(|job| job.requests), sum(|job| job.failed));
        _ = write!(
            page,
            "<h1>{plan}</h1>\n<p><span class=\"{class}\">{verdict}</span> \
             <span class=\"soft\">· started {started}, took {:.1} s</span></p>\n",
            self.elapsed_seconds
        );
        let mut facts = vec![
            (requests.to_string(), "requests"),
            (failed.to_string(), "failed"),
            (format!("{:.1}", self.requests_per_second), "requests a second"),
            (self.jobs.len().to_string(), "jobs"),
        ];
        let own = sum(|job| job.own_failures);
        if own > 0 {
            facts.push((own.to_string(), "not sent by this machine"));
        }
        write_facts(page, &facts);
        write_thresholds(page, &self.thresholds);
        for (server, times) in &self.held_off {
            let server = escaped(server);
            _ = writeln!(page, "<p>{server} refused, and was left alone {times} times.</p>");
        }
    }

    /// The table of all jobs, and their requests together.
    fn write_jobs<'a>(&self, page: &mut String, histories: impl Iterator<Item = &'a History>) {
        *page += "<section><h2>All jobs</h2>\n";
        let all = histories.cloned().reduce(|mut all, other| {
            all.add(&other);
            all
        });
        if let Some(all) = all {
            _ = write!(
                page,
                "<div class=\"charts\">\n{}{}</div>\n",
                rate(&all, None),
                latency(&all)
            );
        }
        let columns = [
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
            "most in flight",
        ];
        let rows = self.jobs.iter().enumerate().map(|(number, job)| {
            let mut cells = vec![
                format!("<a href=\"#job-{number}\">{}</a>", escaped(&job.name)),
                job.limits_spelled(),
            ];
            cells.extend(job.counts().cells());
            cells.push(job.most_in_flight.to_string());
            cells
        });
        write_table(page, &columns, rows);
        *page += "</section>\n";
    }
}

impl JobReport {
    fn limits_spelled(&self) -> String {
        match &self.auto {
            Some(auto) => format!("auto, {} of {} to {}", auto.settled, auto.min, auto.max),
            None => self.limits_shown(", "),
        }
    }

    fn write(&self, page: &mut String, number: usize, check: &Check, history: Option<&History>) {
        let (class, verdict) = if self.is_as_expected() {
            ("good", "as expected")
        } else {
            ("bad", "not as expected")
        };
        let name = escaped(&self.name);
        _ = write!(
            page,
            "<section class=\"job\" id=\"job-{number}\"><h2>{name}</h2>\n<p class=\"{class}\">{verdict}</p>\n"
        );
        write_facts(page, &self.facts());
        *page += "<div class=\"charts\">\n";
        if let Some(history) = history {
            *page += &in_flight("In flight", history);
            *page += &rate(history, check.plan().rate);
            *page += &latency(history);
        }
        *page += &distribution(check.tally().all.passed());
        *page += "</div>\n";
        write_failures(page, &self.failures);
        write_thresholds(page, &self.thresholds);
        let rows =
            self.statuses.iter().map(|(status, count)| vec![status.to_string(), count.to_string()]);
        write_part(page, "Statuses", &["status", "count"], rows);
        const COUNTS: [&str; 9] = [
            "requests", "ok", "failed", "req/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "mean ms",
        ];
        let stage = |stage: &crate::report::StageReport| {
            let rate = stage.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate}/s"));
            [vec![stage.limit.to_string(), rate], stage.counts.cells()].concat()
        };
        let columns: Vec<_> = ["limit", "rate"].into_iter().chain(COUNTS).collect();
        write_part(page, "Stages", &columns, self.stages.iter().map(stage));
        let path = |path: &crate::report::PathReport| {
            [vec![escaped(&path.path)], path.counts.cells()].concat()
        };
        let columns: Vec<_> = ["path"].into_iter().chain(COUNTS).collect();
        write_part(page, "Paths", &columns, self.paths.iter().map(path));
        *page += "</section>\n";
    }

    fn facts(&self) -> Vec<(String, &'static str)> {
        let ms = |value: f64| format!("{value:.1} ms");
        let limit = self.limits.iter().copied().max().unwrap_or(0);
        let mut facts = vec![
            (self.requests.to_string(), "requests"),
            (self.failed.to_string(), "failed"),
            (format!("{:.1}", self.requests_per_second), "requests a second"),
            (ms(self.latency.p50_ms), "p50"),
            (ms(self.latency.p95_ms), "p95"),
            (ms(self.latency.p99_ms), "p99"),
            (ms(self.latency.max_ms), "longest"),
            (ms(self.latency.mean_ms), "mean"),
            (format!("{} of {limit}", self.most_in_flight), "most in flight"),
        ];
        let unsent = self.planned.map_or(0, |planned| planned.saturating_sub(self.done()));
        for (count, what) in [
            (unsent, "not sent"),
            (self.skipped, "steps not sent"),
            (self.own_failures, "not sent by this machine"),
            (self.redirects, "redirects followed"),
            (self.repeated, "sent again"),
            (self.abandoned, "abandoned"),
        ] {
            if count > 0 {
                facts.push((count.to_string(), what));
            }
        }
        if let Some(auto) = &self.auto {
            facts.push((auto.settled.to_string(), "limit at the end"));
        }
        if self.abandoned > 0 {
            facts.push((self.most_in_hands.to_string(), "most in the server's hands"));
        }
        if let Some(corrected) = &self.corrected_latency {
            facts.push((ms(corrected.p50_ms), "p50, corrected"));
            facts.push((ms(corrected.p99_ms), "p99, corrected"));
        }
        if let Some(failed) = &self.failed_latency {
            facts.push((ms(failed.p50_ms), "p50 of failures"));
        }
        facts
    }
}

impl HostReport {
    fn write(&self, page: &mut String, limit: Option<Rate>, history: &History, results: &Results) {
        let name = escaped(&self.host);
        _ = write!(page, "<section class=\"host\"><h2>{name}</h2>\n<div class=\"charts\">\n");
        *page += &in_flight("In flight", history);
        *page += &rate(history, limit);
        *page += &latency(history);
        *page += &distribution(&results.passed);
        *page += "</div>\n";
        write_failures(page, results.failures.all());
        *page += "</section>\n";
    }

    fn cells(&self) -> Vec<String> {
        let limit = self.limit_shown();
        let (in_flight, in_hands) =
            (self.most_in_flight.to_string(), self.most_in_hands.to_string());
        vec![escaped(&self.host), limit, in_flight, in_hands]
    }
}

fn history(timeline: Option<&Timeline>, now: Instant) -> Option<History> {
    timeline.map(|timeline| timeline.until(now))
}

fn write_facts(page: &mut String, facts: &[(String, &str)]) {
    *page += "<ul class=\"facts\">";
    for (value, what) in facts {
        _ = write!(page, "<li><b>{value}</b><span>{what}</span></li>");
    }
    *page += "</ul>\n";
}

fn write_thresholds(page: &mut String, thresholds: &[ThresholdReport]) {
    let row = |threshold: &ThresholdReport| {
        let (class, verdict) = if threshold.held { ("good", "held") } else { ("bad", "not held") };
        let found = threshold.found.as_deref().unwrap_or("nothing to measure");
        vec![
            escaped(&threshold.threshold),
            escaped(found),
            format!("<span class=\"{class}\">{verdict}</span>"),
        ]
    };
    write_part(page, "Thresholds", &["threshold", "found", ""], thresholds.iter().map(row));
}

fn write_failures(page: &mut String, failures: &[Failure]) {
    if failures.is_empty() {
        return;
    }
    *page += "<h3>Failures by cause</h3>\n<div class=\"scroll\"><table>\n<tr><th class=\"text\">cause</th>\
              <th>count</th><th></th><th class=\"text\">kind</th><th class=\"text\">first</th></tr>\n";
    let most = failures.iter().map(|failure| failure.count).max().unwrap_or(1).max(1);
    for Failure { kind, cause, count, first } in failures {
        let (cause, first) = (escaped(cause), escaped(first));
        let width = (110.0 * *count as f64 / most as f64).round();
        let kind = match kind {
            Kind::Unexpected => "unexpected answer",
            Kind::Refused => "refused",
            Kind::Closed => "closed",
            Kind::Timeout => "time-out",
            Kind::Other => "other",
            Kind::Line => "line of a list",
            Kind::Own => "this machine",
        };
        _ = writeln!(
            page,
            "<tr><td class=\"text\">{cause}</td><td>{count}</td><td class=\"share-cell\">\
             <span class=\"share\" style=\"width: {width}px\"></span></td>\
             <td class=\"text\">{kind}</td><td class=\"text\">{first}</td></tr>"
        );
    }
    *page += "</table></div>\n";
}

/// Writes a table under a title, if it has rows.
fn write_part(
    page: &mut String,
    title: &str,
    columns: &[&str],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
) {
    if rows.len() > 0 {
        _ = writeln!(page, "<h3>{title}</h3>");
        write_table(page, columns, rows);
    }
}

fn write_table(
    page: &mut String,
    columns: &[&str],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
) {
    let more = rows.len().saturating_sub(MOST_ROWS);
    *page += "<div class=\"scroll\"><table>\n<tr>";
    columns.iter().for_each(|column| _ = write!(page, "<th>{column}</th>"));
    *page += "</tr>\n";
    for row in rows.take(MOST_ROWS) {
        *page += "<tr>";
        row.iter().for_each(|cell| _ = write!(page, "<td>{cell}</td>"));
        *page += "</tr>\n";
    }
    *page += "</table></div>\n";
    if more > 0 {
        _ = writeln!(page, "<p class=\"soft\">and {more} more; --json has them all</p>");
    }
}
