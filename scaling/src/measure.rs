//! What the simulation's constants come from, on this machine: how long a cache line takes between two cores, and what
//! a task costs between one pusher and one worker. Each is the quietest of many short rounds, so that neighbours
//! hardly matter. Also measures what changes of one word cost if several threads make them, and prints the
//! simulated figures beside.

mod contention;

use crate::model::{self, Change};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{BuildError, Pool};

/// A line of its own, whatever the machine's lines are.
#[repr(align(128))]
struct Ball(AtomicU64);

/// Throws in one measurement, and measurements.
const THROWS: u64 = 400;
const ROUNDS: u64 = 1_000;
/// Threads that change one word, and spin-loop hints between the changes of each.
const THREADS: [usize; 3] = [2, 4, 8];
/// The transfer time at which two simulated cores change one word about as fast as two real ones did.
const TRIP: u64 = 16;
const HINTS: [u64; 5] = [0, 1, 2, 4, 8];

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
    println!("a throw from core to core: {:.0} ns (simulated: {:.0})", throw(), model::throw(TRIP));
    for (name, limit) in [("limit 1", 1), ("a limit that does not bind", 256)] {
        let (push, task) = task(limit)?;
        println!("{name}, 1 pusher, 1 worker: {push:.0} ns a push, {task:.0} ns a task");
    }
    print_contention();
    Ok(())
}

/// Prints what a change of one word costs, measured and simulated, and how many compare-exchanges fail for each change.
fn print_contention() {
    println!("changes of one word, ns a change (failures a change):");
    let columns = THREADS.map(|threads| format!("{:>14}", format!("{threads} threads")));
    println!("{:<12}{:>10}{}{:>16}", "", "hints", columns.concat(), "simulated");
    for change in [Change::Add, Change::Exchange] {
        for hints in HINTS {
            let measured = THREADS.map(|threads| {
                let cost = contention::cost(change, threads, hints);
                cost.map_or("too busy".into(), |cost| figure(cost.time, cost.failures))
            });
            let (time, failures) = model::change(change, 2, TRIP, hints);
            let measured = measured.map(|figure| format!("{figure:>14}")).concat();
            println!(
                "{:<12}{hints:>10}{measured}{:>16}",
                format!("{change:?}"),
                figure(time, failures)
            );
        }
    }
}

fn figure(time: f64, failures: f64) -> String {
    format!("{time:.0} ({failures:.2})")
}

/// Nanoseconds a push of one job's tasks, and a task of them from the first push until all are complete, in the quietest
/// of the rounds.
fn task(limit: usize) -> Result<(f64, f64), BuildError> {
    const TASKS: u32 = 20_000;
    const TASK_ROUNDS: u32 = 200;
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
    let (all, pushed) = (0..TASK_ROUNDS).map(round).min().unwrap_or_default();
    let nanoseconds = |time: Duration| time.as_nanos() as f64 / f64::from(TASKS);
    Ok((nanoseconds(pushed), nanoseconds(all)))
}

/// Nanoseconds a throw: two threads hand a line back and forth. A throw takes two trips: the waiter's load brings the line, and
/// its store must take the line from the core that threw it.
fn throw() -> f64 {
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
