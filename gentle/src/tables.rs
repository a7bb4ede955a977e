//! The results for other programs: comma-separated values, and JUnit's XML.

use std::fmt::Write;

use crate::report::{JobReport, Report, ThresholdReport};

/// The columns of the comma-separated values.
const COLUMNS: [&str; 17] = [
    "plan",
    "started",
    "job",
    "limit",
    "planned",
    "requests",
    "ok",
    "failed",
    "own_failures",
    "requests_per_second",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "max_ms",
    "mean_ms",
    "most_in_flight",
    "limit_held",
];

impl Report {
    /// The results as comma-separated values: a row of titles, and a row for each job.
    pub(crate) fn csv(&self) -> String {
        let mut text = COLUMNS.join(",") + "\r\n";
        for job in &self.jobs {
            let cells = [
                csv_cell(&self.plan),
                self.started.clone(),
                csv_cell(&job.name),
                job.limits_shown(" "),
                job.planned.map_or_else(String::new, |planned| planned.to_string()),
                job.requests.to_string(),
                job.ok.to_string(),
                job.failed.to_string(),
                job.own_failures.to_string(),
                format!("{:.3}", job.requests_per_second),
                format!("{:.3}", job.latency.p50_ms),
                format!("{:.3}", job.latency.p95_ms),
                format!("{:.3}", job.latency.p99_ms),
                format!("{:.3}", job.latency.max_ms),
                format!("{:.3}", job.latency.mean_ms),
                job.most_in_flight.to_string(),
                job.limit_held().to_string(),
            ];
            text += &(cells.join(",") + "\r\n");
        }
        text
    }

    /// The results as JUnit's XML: a test case for each job and for each limited host. The plan has one if it has thresholds, or if a
    /// signal cut the run short. A case fails exactly if what it stands for is not as expected.
    pub(crate) fn junit(&self) -> String {
        let (mut cases, mut tests, mut failures) = (String::new(), 0, 0);
        let mut case = |class: &str, name: &str, seconds: f64, mistakes: &[String]| {
            tests += 1;
            failures += usize::from(!mistakes.is_empty());
            test_case(&mut cases, class, name, seconds, mistakes);
        };
        for job in &self.jobs {
            case("job", &job.name, job.elapsed_seconds, &job.mistakes());
        }
        for host in &self.hosts {
            let broken =
                (!host.limit_held()).then(|| "more requests at once than the limit".into());
            case("host", &host.host, 0.0, broken.as_slice());
        }
        if !self.thresholds.is_empty() || self.interrupted {
            let missed = self.thresholds.iter().filter(|threshold| !threshold.held);
            let interrupted = self.interrupted.then(|| "interrupted by a signal".to_owned());
            let mistakes: Vec<_> = missed.map(ThresholdReport::line).chain(interrupted).collect();
            case("plan", &self.plan, self.elapsed_seconds, &mistakes);
        }
        let head = format!(
            "name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{:.3}\"",
            escaped(&self.plan),
            self.elapsed_seconds
        );
        let started = self.started.trim_end_matches('Z');
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {head}>\n\
             <testsuite {head} skipped=\"0\" timestamp=\"{started}\">\n{cases}</testsuite>\n</testsuites>\n"
        )
    }
}

impl JobReport {
    /// Why the job is not as expected, a line each; none if it is.
    fn mistakes(&self) -> Vec<String> {
        if self.is_as_expected() {
            // Failures may be allowed by a threshold.
            return Vec::new();
        }
        let unsent = self.remark_on_unsent();
        self.remarks_on_failures().into_iter().chain(unsent).collect()
    }
}

fn test_case(text: &mut String, class: &str, name: &str, seconds: f64, mistakes: &[String]) {
    let name = escaped(name);
    let head = format!("<testcase classname=\"{class}\" name=\"{name}\" time=\"{seconds:.3}\"");
    // Writing to a string does not fail.
    _ = match mistakes {
        [] => writeln!(text, "{head}/>"),
        [first, ..] => {
            let (first, all) = (escaped(first), escaped(&mistakes.join("\n")));
            writeln!(text, "{head}><failure message=\"{first}\">{all}</failure></testcase>")
        }
    };
}

/// The text for an attribute or the inside of an element of XML.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(letter),
            // XML has no spelling for most control characters.
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// The text as one cell of comma-separated values.
fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
