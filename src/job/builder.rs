//! `JobBuilder`: a job with more than a limit.

use crate::job::Job;
use crate::job::control;
use crate::job::record::JobPtr;
use crate::pool::shared::PoolPtr;

/// Makes a job step by step; from [`Pool::job_builder`](crate::Pool::job_builder).
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let search = pool.job_builder().limit(2).build();
/// assert_eq!(search.limit(), 2);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder makes nothing until `build`"]
pub struct JobBuilder {
    pool: PoolPtr,
    limit: usize,
}

impl JobBuilder {
    pub(crate) fn new(pool: PoolPtr) -> Self {
        Self { pool, limit: usize::MAX }
    }

    /// The most tasks that may run at once; no limit if not called. As with
    /// [`Job::set_limit`](crate::Job::set_limit), 0 holds the job.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Makes the job.
    ///
    /// # Panics
    ///
    /// If the limit is finite and greater than [`Job::MAX_LIMIT`].
    pub fn build(self) -> Job {
        let job = JobPtr::make(self.pool, None, control::limit_bits(self.limit));
        if self.limit == 0 {
            control::list_if_held(job);
        }
        Job::from_handle(job)
    }
}
