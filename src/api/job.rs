//! `Job`: the handle of a group of tasks with a limit.
//!
//! Other modules add the ways in (`push`), lazy input (`stream`, `futures`), scopes (`scope`), and waits (`wait`, `settle`).
//! The state of a job is in `record`, with its parts `permits` and `queue`. `gate` acts on both, `control` has what the owner
//! changes, and `family` and `builder` make jobs.

use crate::job::gate::adapt;
use crate::job::permits::{Flag, MOST};
use crate::job::record::JobPtr;
use crate::job::{control, extra, lifetime};
use crate::stats::DebugLimit;
use std::fmt;

/// A group of tasks with a limit: at most that many of them run at once.
///
/// A job is a few words of memory. Making one, cloning its handle and dropping it costs no thread, no channel and no queue.
/// The drop of the last handle does not cancel the job's tasks. [`Pool::job`](crate::Pool::job) makes a job.
/// [`Pool::job_builder`](crate::Pool::job_builder) makes one with a name, a parent or a capacity.
///
/// A `Job` is a handle, which is cheap to clone. A handle may outlive its pool: the job then refuses each task that is pushed.
/// A job may have at most 67,108,864 handles and children. A call that would make more panics.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let pool = tollgate::Pool::builder().workers(4).build()?;
/// let job = pool.job(2); // at most 2 at once
/// let done = Arc::new(AtomicUsize::new(0));
/// for _ in 0..100 {
///     let done = done.clone();
///     job.execute(move || {
///         done.fetch_add(1, Ordering::Relaxed);
///     });
/// }
/// job.wait();
/// assert_eq!(done.load(Ordering::Relaxed), 100);
/// assert!(job.stats().most_running <= 2);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub struct Job(pub(super) JobPtr);

impl Job {
    /// The greatest limit: 2,097,150. Any greater number means no limit.
    ///
    /// A job without a limit still counts its running tasks: at most 2,097,151 tasks, futures and permits at once. Further
    /// tasks wait in the job's queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Job;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let asked = 1_000_000_000; // from a file, say
    /// assert_eq!(pool.job(asked).limit(), usize::MAX);
    /// assert_eq!(pool.job(Job::MAX_LIMIT).limit(), 2_097_150);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub const MAX_LIMIT: usize = MOST as usize - 1;

    /// Makes a further handle of a job. The caller must keep the job alive during the call.
    ///
    /// # Panics
    /// Panics if there are 67,108,864 handles and children already.
    #[track_caller]
    pub(crate) fn of(job: JobPtr) -> Self {
        job.busy.add_handle();
        Self(job)
    }

    /// Makes a `Job` of a handle that is counted already. Dropping the `Job` subtracts that handle.
    pub(crate) fn from_handle(job: JobPtr) -> Self {
        Self(job)
    }

    pub(crate) fn ptr(&self) -> JobPtr {
        self.0
    }

    /// Returns the name that was given to the job's [builder](crate::JobBuilder::name), or `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// assert_eq!(pool.job_builder().name("search").build().name(), Some("search"));
    /// assert_eq!(pool.job(2).name(), None);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.extra()?.name.as_deref()
    }

    /// Returns how many tasks of the job may run at once. `usize::MAX` means no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// assert_eq!(pool.job(2).limit(), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn limit(&self) -> usize {
        control::limit_of(self.0.permits.load())
    }

    /// Sets the limit, up or down, while tasks run.
    ///
    /// After this call has returned, no task of the job starts while `limit` or more of its tasks run, even if the task was
    /// ready before. Running tasks are not stopped: after a lower limit the excess drains, and [`settled`](Self::settled) tells
    /// when it has. A limit of 0 holds the job. A limit above [`MAX_LIMIT`](Self::MAX_LIMIT) means no limit.
    ///
    /// Futures in flight count as running, and go on. A task that waits, in a join for example, needs a permit to go on
    /// afterwards. While the limit is 0, such a task waits for its permit. A [drain](crate::Pool::shutdown) of the pool cancels
    /// a job whose limit is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// let task = job.spawn(|| "gone");
    /// assert_eq!(job.stats().backlog, 1);
    /// job.set_limit(1);
    /// assert_eq!(task.join().unwrap(), "gone");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn set_limit(&self, limit: usize) {
        let limit = adapt::clamped(self.0, limit);
        control::set_limit(self.0, control::limit_bits(limit));
    }

    /// Pauses the job. After this call has returned, no task of the job, or of a job below it, starts.
    ///
    /// The limit stays as it is. Running tasks go on, as under a [limit](Self::set_limit) of 0; [`settled`](Self::settled)
    /// tells when the last running task has ended. Calls do not nest: one [`resume`](Self::resume) ends any number of pauses. A
    /// [drain](crate::Pool::shutdown) of the pool cancels a paused job.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// job.pause();
    /// let task = job.spawn(|| ());
    /// assert!(!task.is_finished());
    /// assert_eq!(job.limit(), 2);
    /// job.resume();
    /// task.join().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn pause(&self) {
        control::pause(self.0);
    }

    /// Lets a paused job go on. Does nothing if the job is not paused.
    ///
    /// If the pool begins to drain before this call has returned, the drain may still cancel the job because it was paused.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// job.pause();
    /// let task = job.spawn(|| "went on");
    /// job.resume();
    /// assert_eq!(task.join().unwrap(), "went on");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn resume(&self) {
        control::resume(self.0);
    }

    /// Returns true if the job is paused: [`pause`](Self::pause) was called, and [`resume`](Self::resume) was not called since.
    ///
    /// The answer is a snapshot, and concerns this job alone, as [`limit`](Self::limit) does: a job below a paused one is not
    /// paused itself. [`explain`](Self::explain) names each job that keeps tasks from starting.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(2);
    /// let page = host.job(1);
    /// host.pause();
    /// assert!(host.is_paused() && !page.is_paused());
    /// host.resume();
    /// assert!(!host.is_paused());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_paused(&self) -> bool {
        self.0.permits.load().has(Flag::Paused)
    }

    /// Closes the job and all jobs below it, and drops every task that has not started. A cancelled job never opens again.
    ///
    /// The workers drop the tasks: this call takes the same time for one task as for a million. The handle of a dropped task
    /// says [`Cancelled`](crate::JoinError::Cancelled). After [`wait`](Self::wait),
    /// [`JobStats::cancelled`](crate::JobStats::cancelled) says exactly how many tasks were dropped.
    ///
    /// Running closures go on, and can ask [`is_cancelled`](crate::is_cancelled). Futures in flight are dropped. If a future is
    /// in its second or a later poll at that moment, the poll ends first. Its handle then returns `Cancelled` even if the
    /// future is ready. A worker that is between two tasks may still start one task of the job. A task that joins another task
    /// of the same job may still run that task inline.
    ///
    /// A destructor of a dropped task's capture may wait, as a task may: a spare worker replaces the worker meanwhile.
    /// Destructors that wait for each other in a chain need a thread each. A wait panics if it would block the pool's
    /// [last thread](crate::PoolBuilder::max_spare_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// for _ in 0..3 {
    ///     job.execute(|| unreachable!());
    /// }
    /// job.cancel();
    /// job.wait();
    /// assert_eq!(job.stats().cancelled, 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel(&self) {
        control::cancel(self.0);
    }

    /// Drops every waiting task of the job and of all jobs below it. The jobs stay open: tasks that are pushed after the call
    /// run.
    ///
    /// The call takes the tasks out of their queues. The workers then drop them, as after a [`cancel`](Self::cancel). The
    /// handle of a dropped task returns [`Cancelled`](crate::JoinError::Cancelled). After [`wait`](Self::wait),
    /// [`JobStats::cancelled`](crate::JobStats::cancelled) says exactly how many tasks were dropped. A slot of a
    /// [`capacity`](crate::JobBuilder::capacity) is free again when a worker has dropped its task.
    ///
    /// | what waits or runs | what happens to it |
    /// |---|---|
    /// | a task or future in a queue: [`JobStats::backlog`](crate::JobStats::backlog) | dropped |
    /// | a [delayed](Self::spawn_after) task, and a [retried](Self::spawn_retry) one between two attempts | dropped |
    /// | a task with a [deadline](Self::spawn_within) that has not started | dropped, and says `Cancelled` |
    /// | a task that has left its queue for a worker: [`JobStats::ready`](crate::JobStats::ready) | runs |
    /// | a task that runs, a pending future, a retried task in an attempt | is not affected |
    /// | a thread or future in [`acquire`](Self::acquire) or [`reserve`](Self::reserve), and a blocked pusher | waits on |
    /// | lazy input of [`map`](Self::map) and [`for_each`](Self::for_each) | is not affected: an item is a task once it is pulled |
    ///
    /// Ready tasks are not dropped. At most as many tasks of a job are ready as the pool has workers, or 2 in a pool of one
    /// worker. If the limit binds no worker, each worker may take 16 tasks, and tasks that a task pushes into its own job do
    /// not stand in the queue. A task that another thread moves or pushes during the call may be dropped or run. So may the one
    /// task of a job below that moves from queue to queue.
    ///
    /// The call takes time for each dropped task. The call waits for a moment if the push of another thread is unfinished.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// job.pause();
    /// let stale = job.spawn(|| "stale");
    /// job.clear();
    /// let fresh = job.spawn(|| "fresh");
    /// job.resume();
    /// assert_eq!(fresh.join().unwrap(), "fresh");
    /// assert!(stale.join().unwrap_err().is_cancelled());
    /// job.wait();
    /// assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn clear(&self) {
        control::clear(self.0);
    }

    /// Closes the job and all jobs below it: they refuse new tasks, and run the accepted tasks. A closed job never opens again.
    ///
    /// From now on [`spawn`](Self::spawn) returns handles that report [`Cancelled`](crate::JoinError::Cancelled).
    /// [`execute`](Self::execute) drops each closure and counts it as cancelled. [`try_spawn`](Self::try_spawn) and
    /// [`try_execute`](Self::try_execute) give the closure back. A thread that waits for a slot of the job stops waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// let accepted = job.spawn(|| 1);
    /// job.close();
    /// assert_eq!(accepted.join().unwrap(), 1);
    /// assert!(job.spawn(|| 2).join().is_err());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn close(&self) {
        control::close(self.0);
    }

    /// Returns true if the job or one of its ancestors was closed or cancelled.
    ///
    /// A shutdown of the pool refuses tasks of all its jobs, but does not by itself make this method return true.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// assert!(!job.is_closed());
    /// job.cancel();
    /// assert!(job.is_closed());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        control::is_closed(self.0)
    }

    /// Returns the fields that few jobs have, if this job has them.
    #[inline]
    pub(super) fn extra(&self) -> Option<&extra::Extra> {
        self.0.extra()
    }
}

/// Two handles are equal if they belong to the same job.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let (search, pages) = (pool.job(2), pool.job(2));
/// assert_eq!(search, search.clone());
/// assert_ne!(search, pages);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Job {}

impl std::hash::Hash for Job {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Clone for Job {
    /// Makes another handle of the same job.
    ///
    /// # Panics
    ///
    /// Panics if there are 67,108,864 handles and children already.
    #[track_caller]
    fn clone(&self) -> Self {
        Self::of(self.0)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        lifetime::drop_handle(self.0);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stats, word) = (self.stats(), self.0.permits.load());
        let mut job = f.debug_struct("Job");
        if let Some(name) = self.name() {
            job.field("name", &name);
        }
        if let Some(capacity) = self.extra().and_then(|extra| extra.capacity.as_ref()) {
            job.field("capacity", &capacity.most());
        }
        job.field("limit", &DebugLimit(stats.limit))
            .field("running", &stats.running)
            .field("ready", &stats.ready)
            .field("backlog", &stats.backlog)
            .field("paused", &word.has(Flag::Paused))
            .field("held_off", &word.has(Flag::HeldOff))
            .field("returning", &word.has(Flag::Reclaiming))
            .field("closed", &self.is_closed())
            .field("cancelled", &word.has(Flag::Cancelled))
            .field("keep_permits", &self.0.keeps_permits())
            .finish()
    }
}
