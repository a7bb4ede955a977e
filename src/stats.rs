//! Statistics of a job and of a pool.

use std::fmt;

/// Statistics of a job, from [`Job::stats`](crate::Job::stats).
///
/// The statistics of a job are exact after [`wait`](crate::Job::wait) has returned, until the next push. While tasks run, the
/// library reads the counts one after the other. So a task whose state changes meanwhile can be counted twice: as `backlog` and
/// `ready`, or as `ready` and `running`. But a job with a queued or running task never shows 0 in all three. `completed` can be
/// too small by up to 16 tasks for each worker. `running` can include a task whose handle already has the outcome, until the
/// task's permit is released.
///
/// A task counts as completed, panicked or cancelled before a join of its handle returns. The exception is a task that its handle
/// has cancelled in the queue. Such a task counts only when a worker takes the task out of the queue, or when a thread waits for
/// the job.
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
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStats {
    /// The limit: how many tasks may run at once. `usize::MAX` means no limit.
    pub limit: usize,
    /// The number of tasks that hold a permit now. If the job [counts weights](crate::JobBuilder::weighted), the number
    /// of permits that these tasks hold.
    pub running: usize,
    /// The number of tasks that were admitted to a worker's deque or to the injector, and have not started. The number can be too
    /// small while a task of a job below or a task with a weight above 1 runs. It can also be too small while a task waits inside
    /// and keeps a permit of an ancestor of the job.
    pub ready: usize,
    /// The number of tasks in the job's queue that wait for a permit.
    ///
    /// `backlog` includes some tasks that do not wait any more: tasks that were cancelled by their handles, and tasks that a
    /// join has run inline. A worker takes their cells out of the queue later. The number is wrong if more than 2,147,483,647
    /// tasks are queued, which need some 120 GB. Even then each task runs or is reported cancelled.
    pub backlog: usize,
    /// The number of tasks that wait in the pool's timer, after [`Job::spawn_after`](crate::Job::spawn_after) or between
    /// two attempts.
    pub delayed: usize,
    /// The number of tasks that returned.
    pub completed: u64,
    /// The number of tasks that panicked.
    pub panicked: u64,
    /// The number of closures that were dropped without running, and of futures that were dropped before they were ready.
    /// Closures that expired are included.
    pub cancelled: u64,
    /// The greatest number of tasks that ran at once. If the job counts weights, the greatest number of permits that
    /// were held at once.
    pub most_running: usize,
}

/// Statistics of a pool, from [`Pool::stats`](crate::Pool::stats).
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
    /// The statistics of each worker.
    pub workers: Vec<WorkerStats>,
    /// The number of workers that are parked now.
    pub parked: usize,
    /// The number of spare workers, busy or idle: threads that replace workers whose tasks wait.
    pub spare_workers: usize,
    /// How often a ready task went back to its queue, because a limit was lowered meanwhile or the task's weight did not fit.
    pub refused: u64,
}

/// Statistics of one worker. A spare worker adds to the statistics of the worker that it replaces.
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
    /// The number of tasks that the worker has run.
    pub run: u64,
    /// How often the worker has stolen tasks from another worker.
    pub stolen: u64,
    /// How often the worker has parked.
    pub parked: u64,
}

impl fmt::Debug for JobStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobStats")
            .field("limit", &DebugLimit(self.limit))
            .field("running", &self.running)
            .field("ready", &self.ready)
            .field("backlog", &self.backlog)
            .field("delayed", &self.delayed)
            .field("completed", &self.completed)
            .field("panicked", &self.panicked)
            .field("cancelled", &self.cancelled)
            .field("most_running", &self.most_running)
            .finish()
    }
}

/// Prints a limit: `unlimited` for `usize::MAX`, otherwise the number.
pub(crate) struct DebugLimit(pub(crate) usize);

impl fmt::Debug for DebugLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == usize::MAX { f.write_str("unlimited") } else { write!(f, "{}", self.0) }
    }
}
