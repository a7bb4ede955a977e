//! Lists the jobs of a pool, and the children of a job.

use crate::api::job::Job;
use crate::api::pool::Pool;
use crate::job::family;
use crate::job::lifetime::Kept;
use crate::pool::core::PoolPtr;

impl Job {
    /// Returns the children of this job that are alive, in no particular order. The jobs of keys are not included:
    /// [`Keyed::for_each`](crate::Keyed::for_each) lists these.
    ///
    /// A child is alive while it has a handle or a task. Other threads can make and drop children during the call, so the
    /// returned list can be out of date. Each returned handle keeps its job alive.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(6);
    /// let search = host.job_builder().name("search").build();
    /// assert_eq!(host.children(), [search.clone()]);
    /// assert!(search.children().is_empty());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn children(&self) -> Vec<Self> {
        handles(family::children_without_keys(self.ptr()))
    }
}

impl Pool {
    /// Returns the jobs of this pool that have a name, or that have waiting tasks, in no particular order. The jobs of keys are
    /// not included: [`Keyed::for_each`](crate::Keyed::for_each) lists these.
    ///
    /// A job is returned only while it has a handle or a task. Other threads can make and drop jobs during the call, so the
    /// returned list can be out of date. Each returned handle keeps its job alive.
    ///
    /// A job without a name is returned only if it has waiting tasks, and one of these is true: the job has a parent or a
    /// child, is paused, or has a limit of 0. The pool keeps no list of all other jobs without a name, because such a list
    /// would slow down each of these jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let search = pool.job_builder().name("search").limit(2).build();
    /// let held = pool.job(0);
    /// assert_eq!(pool.jobs(), [search.clone()]);
    /// held.execute(|| ());
    /// for job in pool.jobs() {
    ///     println!("{}: {}", job.name().unwrap_or("no name"), job.explain());
    /// }
    /// assert!(pool.jobs().contains(&held));
    /// # held.set_limit(1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn jobs(&self) -> Vec<Job> {
        jobs(self.shared)
    }
}

/// Returns the jobs of `pool` that [`Pool::jobs`] lists.
pub fn jobs(pool: PoolPtr) -> Vec<Job> {
    let mut jobs = family::known_jobs(pool.shared());
    jobs.retain(|job| {
        job.ptr().extra().is_some_and(|extra| extra.name.is_some()) || job.ptr().has_waiting()
    });
    handles(jobs)
}

fn handles(jobs: Vec<Kept>) -> Vec<Job> {
    jobs.into_iter().map(|job| Job::from_handle(job.into_handle())).collect()
}
