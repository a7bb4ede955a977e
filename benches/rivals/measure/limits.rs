//! The unmeasured run that checks limits: tasks that count how many of their job run at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::clock;
use super::count::{self, Tally};
use crate::contender::Contender;

const JOBS: u64 = 12;
const TASKS: u64 = 150;

#[derive(Default)]
struct Gauge {
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn task(&self) {
        // Ordering: AcqRel orders the tasks of a job among themselves; `Tally` orders them before the check.
        let running = self.running.fetch_add(1, Ordering::AcqRel) + 1;
        self.most.fetch_max(running, Ordering::AcqRel);
        clock::spin(Duration::from_micros(1));
        thread::yield_now();
        self.running.fetch_sub(1, Ordering::AcqRel);
        count::done(1);
    }
}

/// Checks that all tasks run and that no job has more of them running than its limit.
pub(crate) fn check<C: Contender>(workers: usize, limit: fn(u64) -> usize) {
    let pool = C::start(workers);
    let before = Tally::now();
    let gauges: Vec<&'static Gauge> = (0..JOBS).map(|_| &*Box::leak(Box::default())).collect();
    let jobs: Vec<C::Job> = (0..JOBS).map(|job| pool.job(limit(job))).collect();
    for _ in 0..TASKS {
        for (job, gauge) in jobs.iter().zip(&gauges) {
            let gauge = *gauge;
            C::push(job, move || gauge.task());
        }
    }
    drop(jobs);
    before.wait_for(JOBS * TASKS);
    before.check(JOBS * TASKS, JOBS * TASKS);
    for (job, gauge) in gauges.iter().enumerate() {
        let (most, limit) = (gauge.most.load(Ordering::Acquire), limit(job as u64));
        assert!(
            !C::KEEPS_LIMITS || most <= limit,
            "{most} tasks of a job with limit {limit} ran at once"
        );
    }
}
