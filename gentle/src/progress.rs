//! Shows how far the jobs are, on standard error: a screen on a terminal, plain lines elsewhere.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::check::Check;
use crate::screen::{JobLine, Size, painted, screen};

/// The longest time between two rounds of plain lines.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where progress goes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A screen that is drawn over the one before.
    Screen { start: Instant, drawn: usize, has_colours: bool },
    /// A line a job, now and then until the job is over.
    Lines { pause: Duration, next: Instant, over: Vec<bool> },
    /// Nowhere.
    Quiet,
}

impl Progress {
    pub(crate) fn new(quiet: bool, checks: &[Arc<Check>]) -> Self {
        if quiet {
            Progress::Quiet
        } else if io::stderr().is_terminal()
            && env::var_os("TERM").is_none_or(|term| term != "dumb")
        {
            let no_colours = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            Progress::Screen { start: Instant::now(), drawn: 0, has_colours: !no_colours }
        } else {
            let pause = Duration::from_secs(1);
            Progress::Lines { pause, next: Instant::now() + pause, over: vec![false; checks.len()] }
        }
    }

    /// Shows where the jobs are now.
    pub(crate) fn update(&mut self, checks: &[Arc<Check>]) {
        match self {
            Progress::Screen { start, drawn, has_colours } => {
                let lines: Vec<_> = checks.iter().map(|check| standing(check)).collect();
                let mut lines = screen(Size::of_terminal(), start.elapsed(), &lines);
                if *has_colours {
                    lines.iter_mut().for_each(|line| *line = painted(line));
                }
                draw(drawn, &lines);
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

    /// Says something without tearing the screen.
    pub(crate) fn say(&mut self, line: &str) {
        if let Progress::Screen { drawn, .. } = self {
            draw(drawn, &[]);
        }
        say(line);
    }

    /// Shows where the jobs ended.
    pub(crate) fn finish(mut self, checks: &[Arc<Check>]) {
        if let Progress::Lines { next, .. } = &mut self {
            *next = Instant::now();
        }
        self.update(checks);
    }
}

/// Writes a line to standard error, if it still takes any.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes lines over the `drawn` ones before.
fn draw(drawn: &mut usize, lines: &[String]) {
    let mut text = String::new();
    if *drawn > 0 {
        text += &format!("\x1b[{drawn}A");
    }
    text += "\r\x1b[J";
    for line in lines {
        text += line;
        text += "\n";
    }
    *drawn = lines.len();
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Says where a job is, and tells whether that was its last word.
fn print_line(check: &Check) -> bool {
    let JobLine { name, done, planned, running, limit, failed, .. } = standing(check);
    let of_all = planned.map_or_else(String::new, |planned| format!(" of {planned}"));
    say(&format!("{name}: {done}{of_all} done, {running}/{limit} running, {failed} failed"));
    planned == Some(done)
}

/// Where a job is.
fn standing(check: &Check) -> JobLine {
    let (running, limit) = (check.limited.in_flight().inside(), check.limited.job().limit());
    let tally = check.tally();
    JobLine {
        name: check.plan().name.clone(),
        done: tally.all.requests() + tally.skipped,
        sent: tally.all.sent(),
        planned: check.plan().requests(),
        running,
        limit,
        failed: tally.all.failed,
        p95_ms: tally.all.passed().quantile_ms(0.95),
        lasts: check.plan().lasts(),
    }
}
