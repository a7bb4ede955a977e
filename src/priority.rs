//! `Priority`: the class of a job.

/// The class of a job, which decides the ready tasks that a worker takes first. Set by
/// [`JobBuilder::priority`](crate::JobBuilder::priority).
///
/// # Examples
///
/// ```
/// use tollgate::Priority;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let reindex = pool.job_builder().priority(Priority::Low).build();
/// let search = pool.job_builder().priority(Priority::High).build();
/// assert_eq!((reindex.priority(), search.priority()), (Priority::Low, Priority::High));
/// assert_eq!(pool.job(1).priority(), Priority::Normal);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Tasks of the job go before tasks of all other classes.
    High,
    /// The class of a job for which no class was set.
    #[default]
    Normal,
    /// Tasks of the job go after tasks of all other classes.
    Low,
}
