//! The screen that shows how far the jobs are, as lines of text that fit a terminal.

use std::time::Duration;

use crate::columns::{cut, to_the_left, width};

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// Where a job is.
#[derive(Clone, Debug)]
pub(crate) struct JobLine {
    pub(crate) name: String,
    pub(crate) done: u64,
    /// How many of those that are done were sent.
    pub(crate) sent: u64,
    pub(crate) planned: Option<u64>,
    pub(crate) running: usize,
    pub(crate) limit: usize,
    pub(crate) failed: u64,
    pub(crate) p95_ms: f64,
    /// How long the job lasts, if the plan says so.
    pub(crate) lasts: Option<Duration>,
}

impl Size {
    /// The size of the terminal that standard error is; 80 by 24 where it does not tell.
    pub(crate) fn of_terminal() -> Self {
        // SAFETY: `winsize` is four integers, for which zero is a value.
        let mut size: libc::winsize = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor may be any; the pointer is to a `winsize` that outlives the call.
        let told = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
        if told == 0 && size.ws_col > 0 && size.ws_row > 0 {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        } else {
            Size { columns: 80, rows: 24 }
        }
    }
}

/// The lines of a screen: the busiest jobs, as many as fit, and a total. No line is wider than the terminal, and one row
/// stays free for the cursor.
pub(crate) fn screen(size: Size, elapsed: Duration, jobs: &[JobLine]) -> Vec<String> {
    let room = size.rows.saturating_sub(2).max(1);
    let mut order: Vec<&JobLine> = jobs.iter().collect();
    let shown = if jobs.len() > room {
        order.sort_by_key(|job| std::cmp::Reverse((job.running, job.failed)));
        room.saturating_sub(1)
    } else {
        jobs.len()
    };
    let longest = order[..shown].iter().map(|job| width(&job.name)).max().unwrap_or(0);
    let name_width = longest.min(size.columns / 3);
    let mut lines: Vec<_> = order[..shown].iter().map(|job| line(job, name_width)).collect();
    if shown < jobs.len() {
        lines.push(format!("... and {} more jobs", jobs.len() - shown));
    }
    lines.push(total(elapsed, jobs));
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

fn line(job: &JobLine, name_width: usize) -> String {
    let name = to_the_left(&cut(&job.name, name_width), name_width);
    let done = match job.planned {
        Some(planned) if planned > 0 => {
            let filled = (job.done * 10 / planned).min(10) as usize;
            format!("{}{} {}/{planned}", "#".repeat(filled), "-".repeat(10 - filled), job.done)
        }
        _ => format!("{} done", job.done),
    };
    let JobLine { running, limit, failed, .. } = job;
    let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{name} {done} {running}/{limit}{failed}")
}

fn total(elapsed: Duration, jobs: &[JobLine]) -> String {
    let sent: u64 = jobs.iter().map(|job| job.sent).sum();
    let failed: u64 = jobs.iter().map(|job| job.failed).sum();
    let rate = sent as f64 / elapsed.as_secs_f64().max(1e-3);
    let p95 = jobs.iter().map(|job| job.p95_ms).fold(0.0, f64::max);
    let left = jobs
        .iter()
        .map(|job| job.left(elapsed))
        .try_fold(Duration::ZERO, |most, left| left.map(|left| most.max(left)));
    let left = match left {
        Some(left) if left > Duration::ZERO => format!(", {} left", spelled(left)),
        _ => String::new(),
    };
    let elapsed = spelled(elapsed);
    format!("{elapsed}{left}, {rate:.0} req/s, p95 {p95:.0} ms, {failed} failed")
}

impl JobLine {
    /// How long the job will take from now on; `None` if that cannot be told.
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        match (self.lasts, self.planned) {
            (Some(lasts), _) => Some(lasts.saturating_sub(elapsed)),
            (None, Some(planned)) if planned <= self.done => Some(Duration::ZERO),
            (None, Some(planned)) if self.done > 0 => {
                let left = (planned - self.done) as f64 / self.done as f64;
                Duration::try_from_secs_f64(elapsed.as_secs_f64() * left).ok()
            }
            _ => None,
        }
    }
}

/// A time in two units at most, such as "14m53s".
fn spelled(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// The line with its count of failures in red, if there are some.
pub(crate) fn painted(line: &str) -> String {
    let Some(count) = line.strip_suffix(" failed") else { return line.to_owned() };
    let digits = count.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    match &line[digits..] {
        "0 failed" => line.to_owned(),
        failed => format!("{}\x1b[31m{failed}\x1b[0m", &line[..digits]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_sixty_columns_and_twenty_four_rows_with_sixty_jobs() {
        let job = |number: usize| JobLine {
            name: format!("a job with a long name, number {number}"),
            done: 1_000_000,
            sent: 900_000,
            planned: Some(9_999_999),
            running: number,
            limit: 100,
            failed: 12_345,
            p95_ms: 120.0,
            lasts: None,
        };
        let jobs: Vec<_> = (0..60).map(job).collect();
        let size = Size { columns: 60, rows: 24 };
        let lines = screen(size, Duration::from_secs(90), &jobs);
        assert!(lines.len() < 24, "{lines:#?}");
        assert!(lines.iter().all(|line| width(line) <= 60), "{lines:#?}");
        let name = "a job with a long n";
        assert!(lines[0].starts_with(name) && lines[0].contains("59/100"), "{lines:#?}");
        assert_eq!(lines[21], "... and 39 more jobs");
        assert_eq!(lines[22], "1m30s, 13m30s left, 600000 req/s, p95 120 ms, 740700 failed");
        // Even on a terminal of one row there is a total.
        let lines = screen(Size { columns: 20, rows: 1 }, Duration::ZERO, &jobs);
        assert!(lines.last().unwrap().starts_with("0s, "), "{lines:#?}");
        // A wide character takes two columns. The counts of all jobs begin at the same column.
        let mut jobs = [job(1), job(2)];
        jobs[0].name = "検索の要求".repeat(9);
        let lines = screen(size, Duration::from_secs(90), &jobs);
        assert!(lines.iter().all(|line| width(line) <= 60), "{lines:#?}");
        let name = |line: &str| width(line.split_once(" #").unwrap().0);
        assert_eq!(name(&lines[0]), name(&lines[1]), "{lines:#?}");
    }

    #[test]
    fn the_time_that_is_left_is_the_longest_of_any_job() {
        let job = |done, planned, lasts: Option<u64>| JobLine {
            name: "a".to_owned(),
            done,
            sent: 0,
            planned,
            running: 1,
            limit: 1,
            failed: 0,
            p95_ms: 1.0,
            lasts: lasts.map(Duration::from_secs),
        };
        let left = |jobs: &[JobLine]| {
            let total = total(Duration::from_secs(60), jobs);
            total.split(", ").nth(1).unwrap().to_owned()
        };
        assert_eq!(left(&[job(1, Some(3), None), job(10, Some(11), None)]), "2m00s left");
        assert_eq!(left(&[job(1, Some(3), None), job(1, None, Some(7_320))]), "2h01m left");
        assert_eq!(left(&[job(3, Some(3), None), job(1, None, Some(65))]), "5s left");
        // A list, and a job without an answer, may take any time.
        for other in [job(5, None, None), job(0, Some(3), None)] {
            assert_eq!(left(&[job(1, Some(3), None), other]), "0 req/s");
        }
        assert_eq!(left(&[job(3, Some(3), None)]), "0 req/s");
    }

    #[test]
    fn failures_are_red() {
        assert_eq!(painted("a 3 done 1/1, 12 failed"), "a 3 done 1/1, \x1b[31m12 failed\x1b[0m");
        for line in ["1s, 0 req/s, 0 failed", "a 3 done 1/1", "cut off, 12 fai~", "failed"] {
            assert_eq!(painted(line), line);
        }
    }
}
