//! `JobBuilder`: a job with more than a limit.

use crate::job::capacity::Capacity;
use crate::job::extra::Extra;
use crate::job::{Job, family};
use crate::pool::shared::PoolPtr;
use crate::sync::Arc;

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
    name: Option<String>,
    capacity: Option<usize>,
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
        Self { pool: Owner(pool), limit: usize::MAX, parent: None, name: None, capacity: None }
    }

    /// The most tasks that may run at once; no limit if not called. As with
    /// [`Job::set_limit`](crate::Job::set_limit), 0 holds the job. Out of range, [`build`](Self::build) panics.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.job_builder().limit(2).build().limit(), 2);
    /// assert_eq!(pool.job_builder().build().limit(), usize::MAX);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
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

    /// Names the job: for [`Job::name`], for its `Debug`, and for the messages of panics that say what the job was
    /// wrongly asked for. Inside a task, also in a panic hook, [`current_job`](crate::current_job) has it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let search = pool.job_builder().name("search").limit(2).build();
    /// assert_eq!(search.name(), Some("search"));
    /// assert!(format!("{search:?}").contains("search"));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bounds the tasks that have not started, in the backlog or ready; no bound if not called.
    ///
    /// When so many wait, [`try_spawn`](Job::try_spawn) and [`try_execute`](Job::try_execute) give the closure back
    /// as [`Full`](crate::Rejected::Full). [`spawn`](Job::spawn) and [`execute`](Job::execute) wait for room,
    /// unless they are called inside the pool: its own tasks never wait for room, which might need their
    /// worker, but go over the bound. The same holds for tasks of a [`scope`](Job::scope). Futures
    /// (`spawn_future`), and what [`map`](Job::map) and [`for_each`](Job::for_each) pull, never wait, and are not counted.
    ///
    /// The wait ends, with the task cancelled, when the job is closed or cancelled, or its pool shut down.
    /// With a capacity of 0, [`build`](Self::build) panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Rejected;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().limit(0).capacity(2).build(); // held
    /// job.execute(|| ());
    /// job.execute(|| ());
    /// assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
    /// job.set_limit(1);
    /// job.execute(|| ()); // waits until one of the others has started
    /// job.wait();
    /// assert_eq!(job.stats().completed, 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn capacity(mut self, tasks: usize) -> Self {
        self.capacity = Some(tasks);
        self
    }

    /// Makes the job.
    ///
    /// # Panics
    ///
    /// If the limit is finite and greater than [`Job::MAX_LIMIT`], the capacity 0, or 67,108,864 handles and children of the
    /// parent are there already.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(6);
    /// let search = pool.job_builder().name("search").parent(&host).limit(2).capacity(100).build();
    /// assert_eq!(search.spawn(|| "found").join().unwrap(), "found");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn build(self) -> Job {
        let capacity = self.capacity.map(|most| Arc::new(Capacity::new(most)));
        let extra = Extra { name: self.name, capacity };
        family::make(self.pool.0, self.parent.as_ref().map(Job::ptr), self.limit, extra)
    }
}
