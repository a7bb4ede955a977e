//! The times of a timed job's tasks: how long they wait, and how long they run.
//!
//! A task of such a job has a stopwatch in its ticket: see module `ticket`. So a job that is not timed pays nothing, not even
//! in its record.

use crate::histogram::{Buckets, Histogram};
use crate::pool::core::Shared;
use crate::sync::time::Instant;

/// How long the tasks of a job wait and run: returned by [`Job::timings`](crate::Job::timings).
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job_builder().limit(1).timed().build();
/// for _ in 0..10 {
///     job.execute(|| ());
/// }
/// job.wait();
/// let timings = job.timings().unwrap();
/// assert_eq!((timings.wait.count(), timings.run.count()), (10, 10));
/// println!("waits: {}", timings.wait);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// From the push of a task to its start. It has a time for each task that has started.
    pub wait: Histogram,
    /// From the start of a task to its end. It has a time for each closure or future that has returned. A retried task has one for
    /// each attempt.
    pub run: Histogram,
}

/// The histograms of one job.
#[derive(Debug)]
pub struct Timed {
    wait: Buckets,
    run: Buckets,
    /// The time from which the stopwatches count.
    base: Instant,
}

impl Timed {
    /// Makes the histograms of a job of this pool.
    pub fn new(pool: &Shared) -> Self {
        Self { wait: Buckets::new(), run: Buckets::new(), base: pool.now() }
    }

    /// Reads both histograms.
    pub fn read(&self) -> Timings {
        // In this order, a task that ends meanwhile is missing in `run`, and not in `wait`.
        let run = self.run.read();
        Timings { wait: self.wait.read(), run }
    }

    /// Notes how long a task has waited.
    pub fn add_wait(&self, nanos: u64) {
        self.wait.add(nanos);
    }

    /// Notes how long a task has run.
    pub fn add_run(&self, nanos: u64) {
        self.run.add(nanos);
    }

    /// Returns the nanoseconds from the base to this time.
    pub fn nanos(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }
}
