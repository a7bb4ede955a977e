//! How long does a lone task of a small job wait behind large jobs? Without settings, with a turn time, and with a class.
//!
//! `cargo run --release --example shares`

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{Job, JobBuilder, Pool, Priority};

/// What each task of the large jobs takes, how many of them wait, and how often a lone task comes.
const TASK: Duration = Duration::from_millis(20);
const TASKS: usize = 400;
const TRIALS: usize = 15;

/// Returns the time from the push of a lone task to its start.
fn wait_of_one(small: &Job) -> Result<Duration, mpsc::RecvError> {
    let (tell, told) = mpsc::channel();
    let pushed = Instant::now();
    small.execute(move || _ = tell.send(pushed.elapsed()));
    told.recv()
}

fn trial(
    name: &str,
    jobs: usize,
    large: fn(JobBuilder) -> JobBuilder,
    small: fn(JobBuilder) -> JobBuilder,
) -> Result<Duration, Box<dyn Error>> {
    let pool = Pool::builder().workers(2).build()?;
    let small = small(pool.job_builder()).build();
    for _ in 0..jobs {
        let large = large(pool.job_builder()).build();
        (0..TASKS / jobs).for_each(|_| large.execute(|| thread::sleep(TASK)));
    }
    let mut waits = Vec::new();
    for number in 0..TRIALS {
        // Not in step with the tasks.
        thread::sleep(Duration::from_millis(7 + number as u64 * 3));
        waits.push(wait_of_one(&small)?);
    }
    pool.shutdown_now();
    waits.sort_unstable();
    let (median, longest) = (waits[TRIALS / 2], waits[TRIALS - 1]);
    println!("{name:<50} median {median:>7.1?}, longest {longest:>7.1?}");
    Ok(median)
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("A lone task, behind {TASKS} tasks of {TASK:?} on two workers, waits:");
    let usual = |job: JobBuilder| job;
    let high = |job: JobBuilder| job.priority(Priority::High);
    let short = |job: JobBuilder| job.turn_time(Duration::ZERO);
    trial("one job, turns of 16 tasks", 1, usual, usual)?;
    trial("the same, but the lone task is of class High", 1, usual, high)?;
    trial("one job, turns of 16 tasks or 40 ms", 1, |job| job.turn_time(2 * TASK), usual)?;
    trial("one job, each task a turn", 1, short, usual)?;
    trial("ten jobs, each task a turn", 10, short, usual)?;
    trial("the same, but the lone task is of class High", 10, short, high)?;
    Ok(())
}
