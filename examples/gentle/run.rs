//! Runs a plan: one pool, a job for each job of the plan, until all is sent or Ctrl-C stops it.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tollgate::{BuildError, Job, Pool};

use crate::check::Check;
use crate::plan::Plan;
use crate::progress::{Progress, say};

/// The exit status after Ctrl-C: what shells report for a program that it ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// The most threads beyond the workers.
pub(crate) const MOST_SPARES: usize = 1_024;

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// What a run did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The jobs in the plan's order, all of them idle.
    pub(crate) checks: Vec<Arc<Check>>,
    /// From the first task to the end of the last.
    pub(crate) elapsed: Duration,
    /// Whether Ctrl-C cut it short.
    pub(crate) interrupted: bool,
}

/// Sends what the plan says and waits for the answers.
pub(crate) fn run(plan: Plan, quiet: bool) -> Result<Outcome, BuildError> {
    let pool = pool(&plan)?;
    let checks: Vec<_> = plan.jobs.into_iter().map(|job| Check::new(&pool, job)).collect();
    let interrupted = stop_on_ctrl_c(checks.iter().map(|check| check.job().clone()).collect());
    let mut progress = Progress::new(quiet, &checks);
    let start = Instant::now();
    for check in &checks {
        check.start();
    }
    let mut told = false;
    for check in &checks {
        while !check.job().wait_timeout(TICK) {
            progress.update(&checks);
            if interrupted.load(Ordering::SeqCst) && !told {
                told = true;
                progress.say(
                    "interrupted: waiting for the requests in flight, Ctrl-C again ends at once",
                );
            }
        }
    }
    let elapsed = start.elapsed();
    progress.finish(&checks);
    Ok(Outcome { checks, elapsed, interrupted: interrupted.load(Ordering::SeqCst) })
}

/// A pool in which every request that the limits allow has a thread, so that no stalled server holds up another.
fn pool(plan: &Plan) -> Result<Pool, BuildError> {
    let builder = Pool::builder().max_spare_workers(plan.most_at_once().min(MOST_SPARES));
    match plan.workers {
        Some(workers) => builder.workers(workers).build(),
        None => builder.build(),
    }
}

/// From now on Ctrl-C cancels the jobs and sets the flag; once more, and it ends the process.
fn stop_on_ctrl_c(jobs: Vec<Job>) -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            process::exit(INTERRUPTED.into());
        }
        for job in &jobs {
            job.cancel();
        }
    });
    if let Err(error) = handler {
        say(&format!("Ctrl-C will end this at once, without results: {error}"));
    }
    interrupted
}
