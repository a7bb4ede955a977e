//! `JobMetrics`: publishes the figures of a job by the facade `metrics`.

use crate::api::job::Job;
use crate::histogram::Histogram;
use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use ::metrics::{gauge, histogram};

const RUNNING: &str = "tollgate.job.running";
const LIMIT: &str = "tollgate.job.limit";
const QUEUE: &str = "tollgate.job.queue.size";
const COMPLETED: &str = "tollgate.job.task.completed";
const WAIT: &str = "tollgate.job.task.wait";

/// Publishes the figures of one job to the program's recorder, by the facade [`metrics`](https://docs.rs/metrics).
///
/// | name | kind | what |
/// |---|---|---|
/// | `tollgate.job.running` | gauge | tasks that hold a permit |
/// | `tollgate.job.limit` | gauge | how many tasks may run at once; infinite if the job has no limit |
/// | `tollgate.job.queue.size` | gauge | tasks that are queued or ready |
/// | `tollgate.job.task.completed` | counter | tasks that returned |
/// | `tollgate.job.task.wait` | histogram | seconds from the push to the start, of a [timed](crate::JobBuilder::timed) job |
///
/// Each figure has the label `job`, whose value is the job's name, or an empty text if the job has no name. Jobs with the same
/// name overwrite each other's figures, so give jobs different names. The wait of a task is rounded up: the library keeps only
/// the [bucket](crate::Histogram::buckets) of the wait, and publishes the greatest time of that bucket.
///
/// Metrics cost the tasks nothing, because only [`publish`](Self::publish) reads the figures. Call `publish` before each
/// scrape, or at intervals. [`Pool::jobs`](crate::Pool::jobs) returns the jobs with a name. Needs the feature `metrics`.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let search = pool.job_builder().name("search").limit(2).timed().build();
/// let mut metrics = tollgate::JobMetrics::new(&search);
/// search.spawn(|| ()).join().unwrap();
/// metrics.publish(); // to the recorder of the program
/// assert_eq!(metrics.job(), &search);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Debug)]
pub struct JobMetrics {
    job: Job,
    /// The histogram of the job's waits that the last call of `publish` has published. `None` before the first call, or if the
    /// job is not timed.
    wait: Option<Histogram>,
}

impl JobMetrics {
    /// Makes the metrics of `job`, and keeps a handle of it. Describes the figures to the program's recorder, but publishes no
    /// figure yet.
    ///
    /// # Panics
    ///
    /// Panics if the job already has 67,108,864 handles and children.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let metrics = tollgate::JobMetrics::new(&pool.job(2));
    /// assert_eq!(metrics.job().limit(), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn new(job: &Job) -> Self {
        describe_gauge!(RUNNING, Unit::Count, "tasks that hold a permit");
        describe_gauge!(LIMIT, Unit::Count, "how many tasks may run at once");
        describe_gauge!(QUEUE, Unit::Count, "tasks that are queued or ready");
        describe_counter!(COMPLETED, Unit::Count, "tasks that returned");
        describe_histogram!(WAIT, Unit::Seconds, "from the push of a task to its start");
        Self { job: job.clone(), wait: None }
    }

    /// Returns the job whose figures are published.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// assert_eq!(tollgate::JobMetrics::new(&job).job(), &job);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Reads the job's figures, and publishes them to the program's recorder. The wait of each task is published once, even if
    /// this method is called several times.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut metrics = tollgate::JobMetrics::new(&pool.job(2));
    /// metrics.publish();
    /// assert_eq!(metrics.job().stats().completed, 0);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn publish(&mut self) {
        let stats = self.job.stats();
        let name = self.job.name().unwrap_or_default().to_owned();
        let limit = if stats.limit == usize::MAX { f64::INFINITY } else { stats.limit as f64 };
        gauge!(RUNNING, "job" => name.clone()).set(stats.running as f64);
        gauge!(LIMIT, "job" => name.clone()).set(limit);
        gauge!(QUEUE, "job" => name.clone()).set((stats.backlog + stats.ready) as f64);
        counter!(COMPLETED, "job" => name.clone()).absolute(stats.completed);
        let Some(timings) = self.job.timings() else { return };
        let waits = histogram!(WAIT, "job" => name);
        for (most, count) in timings.wait.since(self.wait.as_ref()) {
            waits.record_many(most.as_secs_f64(), count);
        }
        self.wait = Some(timings.wait);
    }
}
