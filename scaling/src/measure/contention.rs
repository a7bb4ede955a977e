//! Threads that change one word: how long a change takes, and how often a compare-exchange fails.
//!
//! A thread makes a burst of changes, and reads off the word how many changes the other threads made meanwhile. A burst counts as
//! *contended* if the other threads made about as many. So the figures do not depend on how often the machine's scheduler runs
//! the threads at the same time.

use crate::model::Change;
use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The changes of a burst.
const BURST: u64 = 64;
/// In a contended burst the other threads make at least a third of a burst, and at most three bursts.
const LEAST: u64 = BURST / 3;
const MOST: u64 = BURST * 3;
/// How long each thread changes the word, and how many contended bursts make a figure.
const TIME: Duration = Duration::from_millis(400);
const ENOUGH: usize = 40;

/// A word on a line of its own.
#[repr(align(128))]
struct Word(AtomicU64);

/// The cost of a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Nanoseconds from one change to the next, of all threads together.
    pub(crate) time: f64,
    /// Compare-exchanges that fail, for each change.
    pub(crate) failures: f64,
}

/// A contended burst.
struct Burst {
    time: f64,
    failures: u64,
}

/// Changes the word once. Returns the word before the change, and how many compare-exchanges failed.
fn apply(change: Change, word: &AtomicU64) -> (u64, u64) {
    // Ordering: Relaxed all; the word publishes nothing.
    if change == Change::Add {
        return (word.fetch_add(1, Ordering::Relaxed), 0);
    }
    let mut failures = 0;
    let mut seen = word.load(Ordering::Relaxed);
    while let Err(now) = word.compare_exchange(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed)
    {
        seen = now;
        failures += 1;
    }
    (seen, failures)
}

/// Measures what a change of one word costs while `threads` threads change it. Each thread executes `hints` spin-loop hints after
/// each change. Returns the median time and the mean number of failures of the contended bursts, or `None` if there are few.
pub(crate) fn cost(change: Change, threads: usize, hints: u64) -> Option<Cost> {
    let (word, barrier) = (Word(AtomicU64::new(0)), Barrier::new(threads));
    let mut bursts: Vec<Burst> = thread::scope(|scope| {
        let run = || {
            barrier.wait();
            contended(change, &word.0, hints)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    if bursts.len() < ENOUGH {
        return None;
    }
    let failures = bursts.iter().map(|burst| burst.failures).sum::<u64>() as f64;
    let changes = bursts.len() as u64 * BURST;
    let middle = bursts.len() / 2;
    let (_, median, _) = bursts.select_nth_unstable_by(middle, |a, b| a.time.total_cmp(&b.time));
    Some(Cost { time: median.time, failures: failures / changes as f64 })
}

/// Changes the word for some time. Returns the contended bursts.
fn contended(change: Change, word: &AtomicU64, hints: u64) -> Vec<Burst> {
    let mut bursts = Vec::new();
    let start = Instant::now();
    let mut from = start;
    while from - start < TIME {
        let (first, mut failures) = apply(change, word);
        let mut last = first;
        for _ in 1..BURST {
            (0..hints).for_each(|_| spin_loop());
            let (seen, failed) = apply(change, word);
            last = seen;
            failures += failed;
        }
        (0..hints).for_each(|_| spin_loop());
        let to = Instant::now();
        let all = last + 1 - first;
        if (LEAST..=MOST).contains(&(all - BURST)) {
            bursts.push(Burst { time: (to - from).as_nanos() as f64 / all as f64, failures });
        }
        from = to;
    }
    bursts
}
