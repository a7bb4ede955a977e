//! Figures: what a job and a pool are doing and have done.

/// What a job is doing and has done; from [`Job::stats`](crate::Job::stats).
///
/// All counts are of tasks. They are exact while the job is at rest, and after
/// [`wait`](crate::Job::wait) has returned. A task whose handle was joined is counted, but for one that its handle has
/// cancelled: that is counted when its turn comes, or somebody waits for its job. While tasks
/// run, `ready`, `backlog` and `completed` may lag behind by what workers have in hand.
///
/// A job is small, and two of its counters are so, too: see [`backlog`](Self::backlog) and
/// [`panicked`](Self::panicked). Beyond them a figure is wrong, and nothing else: each task is still run or reported
/// cancelled, and waited for.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(2);
/// for _ in 0..10 {
///     job.execute(|| ());
/// }
/// job.wait();
/// let stats = job.stats();
/// assert_eq!((stats.completed, stats.running, stats.backlog), (10, 0, 0));
/// assert!(stats.most_running <= 2);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStats {
    /// The most that may run at once; `usize::MAX` is no limit.
    pub limit: usize,
    /// Running now.
    pub running: usize,
    /// In a deque, from which some worker will pop them.
    pub ready: usize,
    /// Waiting for a permit; also counts, until their turn comes, those that a join has run out of turn or a handle
    /// has cancelled.
    ///
    /// Right for up to 2,147,483,647 tasks, which take some 120 GB. Of more than those it tells nothing: it is 0 for as many
    /// again, and then counts anew. So does `Debug`.
    pub backlog: usize,
    /// Ran to their end.
    pub completed: u64,
    /// Panicked.
    pub panicked: u64,
    /// Dropped without running; futures, before they ended.
    pub cancelled: u64,
    /// The most that ever ran at once.
    pub most_running: usize,
}

/// What a pool is doing and has done; from [`Pool::stats`](crate::Pool::stats).
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// pool.job(1).spawn(|| ()).join().unwrap();
/// assert_eq!(pool.stats().workers.len(), 2);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Each worker.
    pub workers: Vec<WorkerStats>,
    /// Workers that are parked now.
    pub parked: usize,
    /// Threads beyond the workers, made for tasks that wait, idle or not.
    pub spare_workers: usize,
    /// Ready tasks that a gate refused when they were to start, for its limit had been lowered.
    pub refused: u64,
}

/// What one worker has done. A spare that sits in for it counts here, too.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(2);
/// (0..100).for_each(|_| job.execute(|| ()));
/// pool.shutdown();
/// assert_eq!(pool.stats().workers.iter().map(|worker| worker.run).sum::<u64>(), 100);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Tasks it ran.
    pub run: u64,
    /// Times it stole from another worker.
    pub stolen: u64,
    /// Times it parked.
    pub parked: u64,
}
