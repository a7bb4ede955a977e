//! `JobBuilder`: a job with more than a limit.

use crate::job::{Job, family};
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
    pool: Owner,
    limit: usize,
    parent: Option<Job>,
}

/// A share of the pool, so that a builder may outlive the handle.
#[derive(Debug)]
struct Owner(PoolPtr);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.disown(1);
    }
}

impl JobBuilder {
    pub(crate) fn new(pool: PoolPtr) -> Self {
        pool.own();
        Self { pool: Owner(pool), limit: usize::MAX, parent: None }
    }

    /// The most tasks that may run at once; no limit if not called. As with
    /// [`Job::set_limit`](crate::Job::set_limit), 0 holds the job.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Makes it a child of `parent`; see [`Job::job`](crate::Job::job).
    ///
    /// # Panics
    ///
    /// If `parent` is a job of another pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(1);
    /// let page = pool.job_builder().parent(&host).limit(5).build();
    /// page.spawn(|| ()).join().unwrap();
    /// assert_eq!(host.stats().most_running, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn parent(mut self, parent: &Job) -> Self {
        assert!(
            parent.ptr().pool_ptr() == self.pool.0,
            "a job's parent is of another pool: make the job by that pool"
        );
        self.parent = Some(parent.clone());
        self
    }

    /// Makes the job.
    ///
    /// # Panics
    ///
    /// If the limit is finite and greater than [`Job::MAX_LIMIT`].
    pub fn build(self) -> Job {
        family::make(self.pool.0, self.parent.as_ref().map(Job::ptr), self.limit)
    }
}
