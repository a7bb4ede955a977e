//! Shows how far the jobs are, on standard error: a bar a job on a terminal, plain lines elsewhere.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::check::Check;

/// The longest time between two rounds of plain lines.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where progress goes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A bar a job.
    Bars { screen: MultiProgress, bars: Vec<ProgressBar> },
    /// A line a job, now and then until the job is over.
    Lines { pause: Duration, next: Instant, over: Vec<bool> },
    /// Nowhere.
    Quiet,
}

impl Progress {
    pub(crate) fn new(quiet: bool, checks: &[Arc<Check>]) -> Self {
        let screen = MultiProgress::new();
        if quiet {
            Progress::Quiet
        } else if screen.is_hidden() {
            let pause = Duration::from_secs(1);
            Progress::Lines { pause, next: Instant::now() + pause, over: vec![false; checks.len()] }
        } else {
            let bars = bars(&screen, checks);
            Progress::Bars { screen, bars }
        }
    }

    /// Shows where the jobs are now.
    pub(crate) fn update(&mut self, checks: &[Arc<Check>]) {
        match self {
            Progress::Bars { bars, .. } => {
                for (bar, check) in bars.iter().zip(checks) {
                    let (done, status) = standing(check);
                    bar.set_position(done);
                    bar.set_message(status);
                }
            }
            Progress::Lines { pause, next, over } if Instant::now() >= *next => {
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                *next = Instant::now() + *pause;
                for (over, check) in over.iter_mut().zip(checks).filter(|(over, _)| !**over) {
                    *over = print_line(check);
                }
            }
            Progress::Lines { .. } | Progress::Quiet => {}
        }
    }

    /// Says something without tearing the bars.
    pub(crate) fn say(&self, line: &str) {
        match self {
            Progress::Bars { screen, .. } => screen.suspend(|| say(line)),
            Progress::Lines { .. } | Progress::Quiet => say(line),
        }
    }

    /// Shows where the jobs ended.
    pub(crate) fn finish(mut self, checks: &[Arc<Check>]) {
        if let Progress::Lines { next, .. } = &mut self {
            *next = Instant::now();
        }
        self.update(checks);
        if let Progress::Bars { bars, .. } = self {
            for bar in bars {
                bar.abandon();
            }
        }
    }
}

/// Writes a line to standard error, if it still takes any.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn bars(screen: &MultiProgress, checks: &[Arc<Check>]) -> Vec<ProgressBar> {
    let width = checks.iter().map(|check| check.plan().name.chars().count()).max().unwrap_or(0);
    let style = |rest: &str| {
        let style = ProgressStyle::with_template(&format!("{{prefix:{width}}} {rest} {{msg}}"));
        style.expect("the template is well formed").progress_chars("=> ")
    };
    let (of_paths, of_list) = (style("[{bar:24}] {pos}/{len}"), style("{pos} done,"));
    let bar = |check: &Arc<Check>| {
        let (bar, style) = match check.plan().requests() {
            Some(requests) => (ProgressBar::new(requests), &of_paths),
            None => (ProgressBar::no_length(), &of_list),
        };
        let bar = screen.add(bar);
        bar.set_style(style.clone());
        bar.set_prefix(check.plan().name.clone());
        bar
    };
    checks.iter().map(bar).collect()
}

/// Says where a job is, and tells whether that was its last word.
fn print_line(check: &Check) -> bool {
    let (done, status) = standing(check);
    let name = &check.plan().name;
    let requests = check.plan().requests();
    let of_all = requests.map_or_else(String::new, |requests| format!(" of {requests}"));
    say(&format!("{name}: {done}{of_all} done, {status}"));
    requests == Some(done)
}

/// How many requests of a job are done, and the rest in words.
fn standing(check: &Check) -> (u64, String) {
    let (running, limit) = (check.in_flight().inside(), check.job().limit());
    let tally = check.tally();
    (tally.requests(), format!("{running}/{limit} running, {} failed", tally.failed))
}
