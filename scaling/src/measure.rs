//! What the simulation's constants come from, on this machine: how long a cache line takes between two cores, and what
//! a task costs between one pusher and one worker. Each is the quietest of many short rounds, so that neighbours
//! hardly matter.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{BuildError, Pool};

/// A line of its own, whatever the machine's lines are.
#[repr(align(128))]
struct Ball(AtomicU64);

/// Throws in one measurement, and measurements.
const THROWS: u64 = 2_000;
const ROUNDS: u64 = 200;

impl Ball {
    /// Waits for the throw before this one, and throws.
    fn throw(&self, number: u64) {
        // Ordering: Acquire and Release; one line's own order is all that is asked for.
        while self.0.load(Ordering::Acquire) != number {
            spin_loop();
        }
        self.0.store(number + 1, Ordering::Release);
    }
}

/// Measures and prints.
pub(crate) fn print() -> Result<(), BuildError> {
    println!("a line from core to core: {:.0} ns", transfer());
    for (name, limit) in [("limit 1", 1), ("a limit that does not bind", 256)] {
        let (push, task) = task(limit)?;
        println!("{name}, 1 pusher, 1 worker: {push:.0} ns a push, {task:.0} ns a task");
    }
    Ok(())
}

/// Nanoseconds a push of one job's tasks, and a task of them from the first push until all are complete, in the quietest
/// of the rounds.
fn task(limit: usize) -> Result<(f64, f64), BuildError> {
    const TASKS: u32 = 20_000;
    let pool = Pool::builder().workers(1).build()?;
    let round = |_| {
        let job = pool.job(limit);
        let start = Instant::now();
        for number in 0..u64::from(TASKS) {
            let captures = [number; 3];
            job.execute(move || {
                black_box(captures);
            });
        }
        let pushed = start.elapsed();
        job.wait();
        (start.elapsed(), pushed)
    };
    let (all, pushed) = (0..ROUNDS).map(round).min().unwrap_or_default();
    let nanoseconds = |time: Duration| time.as_nanos() as f64 / f64::from(TASKS);
    Ok((nanoseconds(pushed), nanoseconds(all)))
}

/// Nanoseconds a transfer: two threads hand a line back and forth.
fn transfer() -> f64 {
    let ball = Ball(AtomicU64::new(0));
    let all = THROWS * ROUNDS;
    thread::scope(|scope| {
        scope.spawn(|| (1..all).step_by(2).for_each(|number| ball.throw(number)));
        let round = |round| {
            let start = Instant::now();
            (round * THROWS..(round + 1) * THROWS).step_by(2).for_each(|number| ball.throw(number));
            start.elapsed()
        };
        let quietest = (0..ROUNDS).map(round).min().unwrap_or(Duration::MAX);
        quietest.as_nanos() as f64 / THROWS as f64
    })
}
