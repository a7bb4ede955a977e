//! `Job`: the handle of a group of tasks with a limit.
//!
//! Other modules of this folder have the methods of `Job`: pushes (`push`), lazy input (`stream`, `futures`), scopes (`scope`),
//! and waits (`wait`, `settle`). Modules `builder` and `children` make jobs. The state of a job is in module `record`, with its
//! parts `permits` and `queue`. Module `gate` changes this state when tasks are pushed, start and end. Module `control` changes
//! it when users ask, for example for a new limit.

use crate::job::gate::adapt;
use crate::job::permits::{Flag, MOST};
use crate::job::record::JobPtr;
use crate::job::{control, extra, lifetime};
use crate::stats::DebugLimit;
use std::fmt;

/// A group of tasks with a limit: at most that many of its tasks run at once.
///
/// A job needs no thread and no channel of its own, only a few words of memory. Dropping the last handle of a job does not
/// cancel the job's tasks. [`Pool::job`](crate::Pool::job) makes a job. [`Pool::job_builder`](crate::Pool::job_builder) makes a
/// job with a name, a parent or a capacity.
///
/// A `Job` is a handle of the job, and is cheap to clone. A handle can outlive its pool: the job then refuses each push. A job
/// can have at most 67,108,864 handles and children. A call that would exceed this number panics.
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
    /// A job without a limit still runs at most 2,097,151 tasks, futures and permits at once. Further tasks wait in the job's
    /// queue.
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
    /// Panics if the job already has 67,108,864 handles and children.
    #[track_caller]
    pub(crate) fn of(job: JobPtr) -> Self {
        job.add_handle();
        Self(job)
    }

    /// Makes a `Job` of a handle that the job's record already counts. Dropping the returned `Job` subtracts that handle.
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
    /// After `set_limit` has returned, no task of the job starts while `limit` or more of its tasks run, not even a task that
    /// was ready before the call. Running tasks are not stopped: they continue until they end, even if more tasks run than the
    /// new limit allows. [`settled`](Self::settled) tells when at most `limit` tasks run. A limit of 0 holds the job. A limit
    /// above [`MAX_LIMIT`](Self::MAX_LIMIT) means no limit.
    ///
    /// A lower limit does not stop pending futures, which count as running. A task that has waited inside, in a join for
    /// example, needs a permit before it continues. While the limit is 0, such a task waits for its permit. A
    /// [drain](crate::Pool::shutdown) of the pool cancels a job whose limit is 0.
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

    /// Pauses the job. After `pause` has returned, no task of the job, or of a job below it, starts.
    ///
    /// A pause leaves the limit as it is, and running tasks continue. [`settled`](Self::settled) tells when the last running
    /// task has ended. One call of [`resume`](Self::resume) ends the pause, however often `pause` was called. A
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

    /// Ends the pause of the job. Does nothing if the job is not paused.
    ///
    /// If the pool begins to drain before `resume` has returned, the drain can still find the job paused, and cancel it.
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
    /// `is_paused` reports this job alone: if only an ancestor is paused, it returns false. The answer is a snapshot.
    /// [`explain`](Self::explain) names each job that keeps tasks from starting.
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

    /// Closes the job and all jobs below it, and drops all their tasks that have not started. A cancelled job never opens
    /// again.
    ///
    /// The workers drop the tasks of a cancelled job, so `cancel` takes the same time for one task as for a million. The handle
    /// of a dropped task returns [`Cancelled`](crate::JoinError::Cancelled). After [`wait`](Self::wait),
    /// [`JobStats::cancelled`](crate::JobStats::cancelled) is exactly the number of dropped tasks.
    ///
    /// After `cancel`, running closures continue, and can ask [`is_cancelled`](crate::is_cancelled). Pending futures are
    /// dropped. If a future is in its second or a later poll during the call, it is dropped after that poll, and its handle
    /// returns `Cancelled`, even if that poll makes the future ready. A worker that is between two tasks can still start one
    /// task of the job. A task that joins another task of the same job can still run that task inline.
    ///
    /// The destructors of a dropped task's captures are allowed to wait, as a task is: a spare worker replaces the worker
    /// during the wait. If destructors wait for each other in a chain, each of them needs a thread. A wait panics if it would
    /// block the pool's [last thread](crate::PoolBuilder::max_spare_workers).
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
    /// `clear` takes the waiting tasks out of their queues. The workers then drop these tasks, as after a
    /// [`cancel`](Self::cancel). The handle of a dropped task returns [`Cancelled`](crate::JoinError::Cancelled). After
    /// [`wait`](Self::wait), [`JobStats::cancelled`](crate::JobStats::cancelled) is exactly the number of dropped tasks. If the
    /// job has a [`capacity`](crate::JobBuilder::capacity), a slot is free again when a worker has dropped the slot's task.
    ///
    /// | what waits or runs | what the call does to it |
    /// |---|---|
    /// | a task or future in a queue: [`JobStats::backlog`](crate::JobStats::backlog) | drops it |
    /// | a [delayed](Self::spawn_after) task, or a [retried](Self::spawn_retry) task between two attempts | drops it |
    /// | a task with a [deadline](Self::spawn_within) that has not started | drops it; its handle returns `Cancelled` |
    /// | a task that has left its queue for a worker: [`JobStats::ready`](crate::JobStats::ready) | nothing: the task runs |
    /// | a task that runs, a pending future, or a retried task in an attempt | nothing |
    /// | a thread or future in [`acquire`](Self::acquire) or [`reserve`](Self::reserve), or a blocked pusher | nothing: it keeps waiting |
    /// | lazy input of [`map`](Self::map) and [`for_each`](Self::for_each) | nothing: an item becomes a task only when it is pulled |
    ///
    /// `clear` does not drop ready tasks. Usually a job has at most as many ready tasks as the pool has workers, or 2 in a pool
    /// of one worker. If the limit leaves a permit for every worker, the job can have more ready tasks. Each worker then takes
    /// up to 16 tasks out of the queue at once, and a task that is pushed inside a task of the same job never enters the queue.
    ///
    /// A task that another thread pushes or moves to another queue during `clear` is either dropped or runs.
    ///
    /// The time that `clear` takes grows with the number of dropped tasks. If another thread has an unfinished push, `clear`
    /// waits until that push has ended.
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

    /// Closes the job and all jobs below it: these jobs refuse new tasks, and run the accepted tasks. A closed job never opens
    /// again.
    ///
    /// After `close`, [`spawn`](Self::spawn) returns handles that report [`Cancelled`](crate::JoinError::Cancelled).
    /// [`execute`](Self::execute) drops each closure and counts it as cancelled. [`try_spawn`](Self::try_spawn) and
    /// [`try_execute`](Self::try_execute) give the closure back. If a thread waits for a slot in one of these calls, the wait
    /// ends, and the task is refused in the same way.
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
    /// `is_closed` does not tell whether the pool has shut down, although the jobs of a pool that has shut down also refuse
    /// tasks.
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

    /// Returns the state of features that most jobs do not use, or `None` if this job uses none of them.
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
    /// Panics if the job already has 67,108,864 handles and children.
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
