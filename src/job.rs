//! `Job`: the handle of a group of tasks with a limit.

pub mod admission;
pub mod backlog;
pub mod builder;
pub mod capacity;
pub mod control;
pub mod extra;
pub mod family;
#[cfg(feature = "futures")]
pub mod futures;
pub mod permits;
pub mod record;
pub mod scope;
pub mod settle;
pub mod stream;

use crate::error::Rejected;
use crate::job::capacity::Asked;
use crate::job::permits::MOST;
use crate::job::record::JobPtr;
use crate::stats::JobStats;
use crate::sync::atomic::Ordering;
use crate::sync::time::Instant;
use crate::task::handle::{TaskHandle, joint};
use crate::task::{CellPtr, plain};
use crate::worker::context::Context;
use std::fmt;
use std::time::Duration;

/// A group of tasks with a limit: at most that many of them run at once.
///
/// A job is a few words of memory. Making one, cloning its handle and dropping it costs no thread, no
/// channel and no queue; dropping the last handle does not cancel the job's tasks.
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
pub struct Job(JobPtr);

impl Job {
    /// The greatest limit that is one. `usize::MAX` stands for no limit; values between the two panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Job;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let asked = 1_000_000_000; // from a file, say
    /// let job = pool.job(if asked > Job::MAX_LIMIT { usize::MAX } else { asked });
    /// assert_eq!(job.limit(), usize::MAX);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub const MAX_LIMIT: usize = MOST as usize - 1;

    /// Takes over a handle.
    pub(crate) fn from_handle(job: JobPtr) -> Self {
        Self(job)
    }

    pub(crate) fn ptr(&self) -> JobPtr {
        self.0
    }

    /// Pushes a task and returns its handle.
    ///
    /// With a limit of 1 throughout, tasks that one thread pushes start in the order pushed. If the job
    /// is closed or its pool shut down, the closure is dropped and the handle says
    /// [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Blocking
    ///
    /// Only if the job has a [`capacity`](crate::JobBuilder::capacity): then, outside of the pool, it parks the
    /// calling thread until there is room. Inside a task of another pool, that task holds no permit meanwhile.
    ///
    /// # Panics
    ///
    /// If it has to wait for room inside a task of another pool, and all that one's
    /// [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let sum = pool.job(1).spawn(|| (1..=10).sum::<u32>());
    /// assert_eq!(sum.join().unwrap(), 55);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[inline]
    pub fn spawn<F, T>(&self, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (cell, handle) = match self.take_room() {
            None => joint(self.0, task),
            Some(room) => joint(self.0, room.around(task)),
        };
        self.push_or_cancel(cell);
        handle
    }

    /// Pushes a task that has no handle and no result: the cheapest way in.
    ///
    /// A panic in it is told to [`on_panic`](crate::PoolBuilder::on_panic) and counted. If the job is
    /// closed or its pool shut down, the closure is dropped and counted as cancelled.
    ///
    /// # Blocking
    ///
    /// As with [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// As with [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// job.execute(|| println!("hello"));
    /// job.wait();
    /// assert_eq!(job.stats().completed, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[inline]
    pub fn execute<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let cell = match self.take_room() {
            None => plain(self.0, task),
            Some(room) => plain(self.0, room.around(task)),
        };
        self.push_or_cancel(cell);
    }

    /// Pushes a task as [`spawn`](Self::spawn) does, or gives the closure back.
    ///
    /// # Errors
    ///
    /// [`Rejected::Closed`] if the job is closed or its pool shut down, [`Rejected::Full`] if as many tasks
    /// wait as its [`capacity`](crate::JobBuilder::capacity) allows.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// assert_eq!(job.try_spawn(|| 1).unwrap().join().unwrap(), 1);
    /// job.close();
    /// assert!(job.try_spawn(|| 2).is_err());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn try_spawn<F, T>(&self, task: F) -> Result<TaskHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.accepts() {
            return Err(Rejected::Closed(task));
        }
        let (cell, handle) = match self.try_take_room() {
            Asked::Unbounded => joint(self.0, task),
            Asked::Taken(room) => joint(self.0, room.around(task)),
            Asked::Full => return Err(Rejected::Full(task)),
        };
        self.push(cell);
        Ok(handle)
    }

    /// Pushes a task as [`execute`](Self::execute) does, or gives the closure back.
    ///
    /// # Errors
    ///
    /// [`Rejected::Closed`] if the job is closed or its pool shut down, [`Rejected::Full`] if as many tasks
    /// wait as its [`capacity`](crate::JobBuilder::capacity) allows.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// job.close();
    /// let task = job.try_execute(|| ()).unwrap_err().into_inner();
    /// task();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn try_execute<F>(&self, task: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if !self.accepts() {
            return Err(Rejected::Closed(task));
        }
        let cell = match self.try_take_room() {
            Asked::Unbounded => plain(self.0, task),
            Asked::Taken(room) => plain(self.0, room.around(task)),
            Asked::Full => return Err(Rejected::Full(task)),
        };
        self.push(cell);
        Ok(())
    }

    /// The name it was [built](crate::JobBuilder::name) with.
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

    /// The most tasks that may run at once; `usize::MAX` is no limit.
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
    /// Once it has returned, no task of the job starts while `limit` or more of its tasks run, not even
    /// one that was ready before. Tasks that run are not stopped: after a lower limit the excess
    /// drains. A limit of 0 holds the job; `usize::MAX` is no limit.
    ///
    /// # Panics
    ///
    /// If the limit is finite and greater than [`MAX_LIMIT`](Self::MAX_LIMIT).
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
        control::set_limit(self.0, control::limit_bits(limit));
    }

    /// Holds the job: once it has returned, no task of it starts. The limit stays as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// job.pause();
    /// let task = job.spawn(|| ());
    /// assert!(!task.is_finished());
    /// job.resume();
    /// task.join().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn pause(&self) {
        control::pause(self.0);
    }

    /// Lets a paused job go on. Does nothing if it is not paused.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// job.pause();
    /// job.resume();
    /// job.spawn(|| ()).join().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn resume(&self) {
        control::resume(self.0);
    }

    /// Waits until the job has nothing queued or running.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread. A job that is paused with tasks in its backlog is waited for until
    /// somebody resumes or cancels it. Inside a task of another job, that task holds no permit while it waits, and
    /// a spare worker takes its place, as in [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Panics
    ///
    /// Inside a task of the same job, or of one below it: it would wait for itself. Inside another task, if all
    /// [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// for _ in 0..5 {
    ///     job.execute(|| ());
    /// }
    /// job.wait();
    /// assert_eq!(job.stats().completed, 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn wait(&self) {
        self.refuse_to_wait_inside();
        family::wait(self.0, None);
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`; true if the job is idle.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// job.execute(|| ());
    /// assert!(!job.wait_timeout(Duration::from_millis(1)));
    /// job.set_limit(1);
    /// assert!(job.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.refuse_to_wait_inside();
        family::wait(self.0, Instant::now().checked_add(timeout))
    }

    /// Closes the job and drops all that has not started; says how many tasks that were. Running tasks
    /// go on. Final.
    ///
    /// The workers do the dropping: this call takes the same time for one task as for a million. The number is of
    /// those that had not started when it looked. It is exact when nothing moves. When something does it may leave some out,
    /// and counts none twice and none that runs or has ended; but a worker that is just then between two tasks may
    /// start one that was counted, and a task that joins another of the same job may run that one.
    /// [`JobStats::cancelled`] is exact once the job is idle.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// for _ in 0..3 {
    ///     job.execute(|| unreachable!());
    /// }
    /// assert_eq!(job.cancel(), 3);
    /// job.wait();
    /// assert_eq!(job.stats().cancelled, 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel(&self) -> usize {
        family::cancel(self.0)
    }

    /// Closes the job: no new tasks, the accepted ones run. Final.
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

    /// Whether the job was closed or cancelled.
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

    /// What the job is doing and has done.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(3);
    /// assert_eq!(job.stats().limit, 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn stats(&self) -> JobStats {
        let word = self.0.permits.load();
        let tally = &self.0.tally;
        let running = word.running() as usize;
        // The one that stands in the parent's line is not ready.
        let delegate = usize::from(word.has(permits::Flag::Blocked));
        // Ordering: Relaxed all; figures.
        JobStats {
            limit: control::limit_of(word),
            running,
            ready: control::ready(self.0, word).saturating_sub(delegate),
            backlog: self.0.backlog().len() + delegate,
            completed: tally.completed.load(Ordering::Relaxed),
            panicked: u64::from(tally.panicked.load(Ordering::Relaxed)),
            cancelled: tally.cancelled.load(Ordering::Relaxed),
            most_running: tally.most_running(),
        }
    }

    /// What few jobs have.
    #[inline]
    fn extra(&self) -> Option<&extra::Extra> {
        self.0.extra()
    }

    /// Whether a push is taken now. A drain takes those of the pool's own tasks.
    #[inline]
    fn accepts(&self) -> bool {
        if control::is_closed(self.0) {
            return false;
        }
        self.pool_takes()
    }

    /// Whether the pool takes what this thread pushes.
    #[inline]
    fn pool_takes(&self) -> bool {
        let pool = self.0.pool();
        !pool.draining() || (!pool.drops() && Context::of_pool(self.0.pool_ptr(), |_| ()))
    }

    #[inline]
    fn push_or_cancel(&self, cell: CellPtr) {
        if self.accepts() {
            self.push(cell);
        } else {
            self.0.count_cancelled();
            cell.cancel();
        }
    }

    #[inline]
    fn push(&self, cell: CellPtr) {
        let job = self.0;
        let inside = Context::with(|context| match context {
            Some(context) => context.push_inside(job, cell).is_ok(),
            None => false,
        });
        if !inside {
            admission::push(job, cell);
        }
    }

    fn refuse_to_wait_inside(&self) {
        let inside = Context::with(|context| {
            let mut job = context.and_then(|context| context.hold().job.get());
            while let Some(inner) = job {
                if inner == self.0 {
                    return true;
                }
                job = inner.parent();
            }
            false
        });
        assert!(
            !inside,
            "a task waits for its own job{}, which could never end: wait from outside, or join the tasks",
            self.name().map(|name| format!(" `{name}`")).unwrap_or_default()
        );
    }
}

impl Clone for Job {
    /// Another handle of the same job.
    ///
    /// # Panics
    /// If there are 2²⁶ handles already.
    fn clone(&self) -> Self {
        self.0.tokens.add_handle();
        Self(self.0)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        control::drop_handle(self.0);
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
        job.field("limit", &stats.limit)
            .field("running", &stats.running)
            .field("ready", &stats.ready)
            .field("backlog", &stats.backlog)
            .field("paused", &word.has(permits::Flag::Paused))
            .field("returning", &word.has(permits::Flag::Returning))
            .field("closed", &self.is_closed())
            .field("cancelled", &word.has(permits::Flag::Cancelled))
            .finish()
    }
}
