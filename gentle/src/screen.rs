//! The screen that shows how far the jobs are, as lines of text that fit a terminal.

use std::time::Duration;

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
    pub(crate) planned: Option<u64>,
    pub(crate) running: usize,
    pub(crate) limit: usize,
    pub(crate) failed: u64,
    pub(crate) p95_ms: f64,
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
    let longest = order[..shown].iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    let name_width = longest.min(size.columns / 3);
    let mut lines: Vec<_> = order[..shown].iter().map(|job| line(job, name_width)).collect();
    if shown < jobs.len() {
        lines.push(format!("... and {} more jobs", jobs.len() - shown));
    }
    lines.push(total(elapsed, jobs));
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

fn line(job: &JobLine, name_width: usize) -> String {
    let name = cut(&job.name, name_width);
    let done = match job.planned {
        Some(planned) if planned > 0 => {
            let filled = (job.done * 10 / planned).min(10) as usize;
            format!("{}{} {}/{planned}", "#".repeat(filled), "-".repeat(10 - filled), job.done)
        }
        _ => format!("{} done", job.done),
    };
    let JobLine { running, limit, failed, .. } = job;
    let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{name:<name_width$} {done} {running}/{limit}{failed}")
}

fn total(elapsed: Duration, jobs: &[JobLine]) -> String {
    let done: u64 = jobs.iter().map(|job| job.done).sum();
    let failed: u64 = jobs.iter().map(|job| job.failed).sum();
    let planned = jobs.iter().map(|job| job.planned).sum::<Option<u64>>();
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    let p95 = jobs.iter().map(|job| job.p95_ms).fold(0.0, f64::max);
    let left = match planned {
        Some(planned) if done > 0 && planned > done => {
            format!(", {:.0} s left", (planned - done) as f64 / rate)
        }
        _ => String::new(),
    };
    format!("{seconds:.0} s{left}, {rate:.0} req/s, p95 {p95:.0} ms, {failed} failed")
}

/// The text, or as much of it as fits.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{start}~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_sixty_columns_and_twenty_four_rows_with_sixty_jobs() {
        let job = |number: usize| JobLine {
            name: format!("a job with a long name, number {number}"),
            done: 1_000_000,
            planned: Some(9_999_999),
            running: number,
            limit: 100,
            failed: 12_345,
            p95_ms: 120.0,
        };
        let jobs: Vec<_> = (0..60).map(job).collect();
        let size = Size { columns: 60, rows: 24 };
        let lines = screen(size, Duration::from_secs(90), &jobs);
        assert!(lines.len() < 24, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{lines:#?}");
        let name = "a job with a long n";
        assert!(lines[0].starts_with(name) && lines[0].contains("59/100"), "{lines:#?}");
        assert_eq!(lines[21], "... and 39 more jobs");
        assert!(lines[22].starts_with("90 s, 893 s left") || lines[22].contains("s left"));
    }
}
