//! Runs a plan: one pool, a job for each job of the plan, until all is sent or Ctrl-C stops it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{mem, process};

use tokio::runtime::Runtime;
use tollgate::{BuildError, Pool};

use crate::check::Check;
use crate::futures;
use crate::hosts::Hosts;
use crate::options::Options;
use crate::plan::Plan;
use crate::progress::{Progress, say};

/// The exit status after Ctrl-C: what shells report for a program that it ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// What is said after Ctrl-C.
const WAITING: &str = "interrupted: waiting for the requests in flight, Ctrl-C again ends at once";

/// Workers that poll futures, where the plan does not say.
const WORKERS_OF_FUTURES: usize = 2;

/// The most spare workers that a pool counts.
const MOST_THREADS: usize = 16_383;

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// What a run did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The jobs in the plan's order, with no request in flight.
    pub(crate) checks: Vec<Arc<Check>>,
    /// The hosts that have a limit.
    pub(crate) hosts: Hosts,
    /// From the first task to the end of the last.
    pub(crate) elapsed: Duration,
    /// Whether Ctrl-C cut it short.
    pub(crate) interrupted: bool,
}

/// Sends what the plan says and waits for the answers. `name` is the plan's in errors, `directory` is
/// where its lists are, `options` say how.
pub(crate) fn run(
    plan: Plan,
    name: &str,
    directory: &Path,
    options: &Options,
) -> Result<Outcome, String> {
    let runtime = options.by_futures.then(futures::runtime).transpose();
    let runtime = runtime.map_err(|error| format!("tokio's runtime does not start: {error}"))?;
    let pool = pool(&plan, runtime.as_ref()).map_err(|error| format!("{name}: {error}"))?;
    let hosts = Hosts::new(&pool, plan.hosts);
    let checks = plan.jobs.into_iter().map(|job| {
        let check = Check::new(&pool, &hosts, job, directory, options.by_futures);
        check.map_err(|error| format!("{name}:{error}: name a list that can be read"))
    });
    let checks = checks.collect::<Result<Vec<_>, _>>()?;
    let interrupted = stop_on_ctrl_c(checks.clone());
    let start = Instant::now();
    for check in &checks {
        check.start();
    }
    wait(&checks, &interrupted, Progress::new(options.quiet, &checks));
    let elapsed = start.elapsed();
    let interrupted = interrupted.load(Ordering::SeqCst);
    if interrupted {
        // A task may still wait for a line of standard input, and dropping the pool would wait for the task.
        mem::forget(pool);
    }
    if let Some(runtime) = runtime {
        // A look-up of a name may not be over, and would be waited for.
        runtime.shutdown_background();
    }
    Ok(Outcome { checks, hosts, elapsed, interrupted })
}

/// A pool in which every request that the limits allow has a thread, so that no stalled server holds
/// up another. Behind a host of its own, the request of a list takes a second one. Futures need none: their
/// workers only find the runtime's sockets and timers.
fn pool(plan: &Plan, runtime: Option<&Runtime>) -> Result<Pool, BuildError> {
    let mut builder = Pool::builder();
    if let Some(runtime) = runtime {
        let handle = runtime.handle().clone();
        builder = builder.workers(WORKERS_OF_FUTURES);
        builder = builder.on_worker_start(move |_| mem::forget(handle.enter()));
    } else {
        builder = builder.max_spare_workers(MOST_THREADS.min(2 * plan.most_at_once()));
    }
    match plan.workers {
        Some(workers) => builder.workers(workers).build(),
        None => builder.build(),
    }
}

/// Shows progress until all is sent, or until nothing is in flight after Ctrl-C.
fn wait(checks: &[Arc<Check>], interrupted: &AtomicBool, mut progress: Progress) {
    let mut told = false;
    for check in checks {
        while !check.job().wait_timeout(TICK) {
            progress.update(checks);
            if interrupted.load(Ordering::SeqCst) {
                if !told {
                    progress.say(WAITING);
                    told = true;
                }
                if checks.iter().all(|check| check.in_flight().inside() == 0) {
                    return progress.finish(checks);
                }
            }
        }
    }
    progress.finish(checks);
}

/// From now on Ctrl-C stops the checks and sets the flag; once more, and it ends the process.
fn stop_on_ctrl_c(checks: Vec<Arc<Check>>) -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            process::exit(INTERRUPTED.into());
        }
        for check in &checks {
            check.stop();
        }
    });
    if let Err(error) = handler {
        say(&format!("Ctrl-C will end this at once, without results: {error}"));
    }
    interrupted
}
