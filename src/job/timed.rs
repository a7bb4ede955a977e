//! The times of a timed job's tasks: how long they wait, and how long they run.
//!
//! A task of a timed job has a stopwatch in its ticket (module `ticket`). A job that is not timed pays nothing for this, not
//! even space in its record.

use crate::histogram::{Buckets, Histogram};
use crate::pool::core::Shared;
use crate::sync::time::Instant;

/// How long the tasks of a job wait and run. [`Job::timings`](crate::Job::timings) returns this value.
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
    /// The time from a task's push to its start, for each task that has started.
    pub wait: Histogram,
    /// The time from a task's start to its end, for each closure or future that has returned. A task that is tried again has
    /// one time for each attempt.
    pub run: Histogram,
}

/// The two histograms of a timed job.
#[derive(Debug)]
pub struct Timed {
    wait: Buckets,
    run: Buckets,
    /// The time zero of this job's stopwatches: a stopwatch stores the number of nanoseconds since this time.
    base: Instant,
}

impl Timed {
    /// Makes the empty histograms of a new job of `pool`.
    pub fn new(pool: &Shared) -> Self {
        Self { wait: Buckets::new(), run: Buckets::new(), base: pool.now() }
    }

    /// Returns a copy of both histograms.
    pub fn read(&self) -> Timings {
        // `run` is read first. So each task that the copy of `run` counts is also counted in the copy of `wait`.
        let run = self.run.read();
        Timings { wait: self.wait.read(), run }
    }

    /// Notes that a task has waited for `nanos` nanoseconds.
    pub fn add_wait(&self, nanos: u64) {
        self.wait.add(nanos);
    }

    /// Notes that a task has run for `nanos` nanoseconds.
    pub fn add_run(&self, nanos: u64) {
        self.run.add(nanos);
    }

    /// Returns the number of nanoseconds from the field `base` to `time`.
    pub fn nanos(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }
}
