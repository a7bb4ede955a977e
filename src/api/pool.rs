//! `Pool`: the handle of a pool, with the calls that shut it down.

use crate::api::builder::JobBuilder;
use crate::api::children;
use crate::api::clock::ManualClock;
use crate::api::job::Job;
use crate::error::Unfinished;
use crate::job::control;
use crate::pool::core::PoolPtr;
use crate::process;
use crate::stats::{PoolStats, WorkerStats};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::JoinHandle;
use crate::worker::context::Context;
use std::fmt;
use std::time::Duration;

/// A pool of worker threads that runs the tasks of any number of jobs.
///
/// Tasks are pushed into the jobs of the pool. A handle of a job is cheap to clone and to pass around. The `Pool` itself cannot
/// be cloned: one owner shuts it down or drops it.
///
/// A child process of `fork` has none of the pool's workers. In the child process, a task that is pushed into this pool never
/// runs, and dropping the pool does nothing. A call that would wait for this pool panics, or waits forever if the child process
/// has made a pool of its own. So the child process must not wait for tasks of its parent process's pools.
///
/// Dropping the pool [drains](Self::shutdown) it: the drop returns when all tasks that can run have ended. If one of the pool's
/// own tasks drops the pool, the drop starts the drain and returns at once. The workers then end by themselves.
///
/// The drop of a pool blocks its thread. If a task of the pool needs that thread, the drop never returns: the drop waits for
/// the task, and the task waits for the thread. For example, the task is a future that waits for a timer of a runtime, and the
/// blocked thread is the only thread of that runtime. In async code await [`shutdown_async`](Self::shutdown_async) before the
/// drop, or call [`shutdown_background`](Self::shutdown_background), which never blocks.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::new()?;
/// let gentle = pool.job(2);
/// let brisk = pool.job(20);
/// let one = gentle.spawn(|| 1);
/// let two = brisk.spawn(|| 2);
/// assert_eq!(one.join().unwrap() + two.join().unwrap(), 3);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub struct Pool {
    pub(super) shared: PoolPtr,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    /// True after a shutdown that does not wait for the remaining tasks. The drop of the pool then does not wait for them.
    pub(super) abandoned: AtomicBool,
    /// The manual clock of the pool, if the pool was built with one.
    pub(super) clock: Option<ManualClock>,
}

impl Pool {
    /// Makes a job of which at most `limit` tasks run at once. A limit of 0 holds the job, and `usize::MAX` is no limit. A job
    /// takes no thread and no channel, so make a job for each thing that needs a limit of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.job(2).spawn(|| "ran").join().unwrap(), "ran");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn job(&self, limit: usize) -> Job {
        children::make(self.shared, None, limit, None, false)
    }

    /// Returns a builder for a job. The builder can set, for example, a name, a parent, a rate or a capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.job_builder().build().limit(), usize::MAX);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn job_builder(&self) -> JobBuilder {
        JobBuilder::new(self.shared)
    }

    /// Returns the number of workers, without the [spare workers](crate::PoolBuilder::max_spare_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.workers(), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn workers(&self) -> usize {
        self.shared.shared().workers()
    }

    /// Returns the state that all threads of the pool share.
    #[cfg(feature = "timeline")]
    pub(crate) fn shared(&self) -> &crate::pool::core::Shared {
        self.shared.shared()
    }

    /// Returns the statistics of the pool: how many workers are parked, and how many tasks each worker has run, for example.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.stats().workers.len(), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn stats(&self) -> PoolStats {
        let shared = self.shared.shared();
        let workers = shared
            .seats
            .iter()
            .map(|seat| {
                let (run, stolen, parked) = seat.figures.read();
                WorkerStats { run, stolen, parked }
            })
            .collect();
        PoolStats {
            workers,
            parked: shared.sleep.parked(),
            spare_workers: shared.spares.count(),
            refused: shared.refused(),
        }
    }

    /// Drains the pool: waits until all tasks that can run have ended, and then ends the workers.
    ///
    /// A draining pool refuses pushes, except those from its own tasks. If a job is paused or has a limit of 0, the job and all
    /// jobs below it are [cancelled](Job::cancel) at once, even if the pause or the limit is set during the drain. The drain
    /// waits for delayed tasks. A second call of `shutdown` does nothing.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the last worker has ended. A caller that is a task of another pool keeps its permit and
    /// its worker during the call. Such a task should make the call inside [`blocking`](crate::blocking).
    ///
    /// # Panics
    ///
    /// Panics inside a task of this pool, because the task would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// let task = job.spawn(|| 1);
    /// pool.shutdown();
    /// assert_eq!(task.join().unwrap(), 1);
    /// assert!(job.try_spawn(|| 2).is_err());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn shutdown(&self) {
        self.refuse_to_wait_inside();
        control::drain(self.shared.shared());
        self.join_workers();
    }

    /// Drops all tasks that have not started, waits for the running tasks, and then ends the workers. Returns the number of
    /// dropped tasks.
    ///
    /// The returned number includes tasks that an earlier shutdown has dropped, and tasks that the pool has refused since that
    /// shutdown. A task that a thread outside the pool pushes during this call might not be included.
    ///
    /// Pending futures are dropped, and count in the returned number. A running closure can ask
    /// [`is_cancelled`](crate::is_cancelled) whether it should end early.
    ///
    /// # Blocking
    ///
    /// As [`shutdown`](Self::shutdown).
    ///
    /// # Panics
    ///
    /// Panics inside a task of this pool, because the task would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// job.execute(|| unreachable!());
    /// assert_eq!(pool.shutdown_now(), 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn shutdown_now(&self) -> usize {
        self.refuse_to_wait_inside();
        let shared = self.shared.shared();
        self.drop_all();
        control::drain(shared);
        self.join_workers();
        // Ordering: Relaxed; the workers have been joined.
        shared.dropped.load(Ordering::Relaxed)
    }

    /// Drains the pool for at most `timeout`. If the drain takes longer, drops all tasks that have not started and all pending
    /// futures, and returns an error with the numbers of tasks and futures that had not ended.
    ///
    /// After the time-out, tasks that still run end by themselves. Neither this call nor the drop of the pool waits for them.
    /// So this call returns even if a task never ends or a future is never woken.
    ///
    /// At the time-out a queued task might wait for the permit of a running task. Such a queued task is dropped when the
    /// running task ends. The handle of the dropped task then returns [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Errors
    ///
    /// Returns [`Unfinished`] if tasks or futures have not ended after `timeout`.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the pool is drained, or until `timeout` is over. A caller that is a task of another pool
    /// keeps its permit and its worker during the call, as with [`shutdown`](Self::shutdown).
    ///
    /// # Panics
    ///
    /// Panics inside a task of this pool, because the task would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.job(1).execute(|| ());
    /// assert!(pool.shutdown_timeout(Duration::from_secs(60)).is_ok());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    ///
    /// A shutdown with a future that is never woken:
    ///
    /// ```
    /// # #[cfg(feature = "futures")] {
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// let task = job.spawn_future(std::future::pending::<()>());
    /// # while job.stats().running == 0 || pool.stats().parked < 2 {
    /// #     std::thread::yield_now();
    /// # }
    /// let left = pool.shutdown_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert_eq!((left.running, left.pending), (0, 1));
    /// assert!(task.join().unwrap_err().is_cancelled());
    /// # }
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn shutdown_timeout(&self, timeout: Duration) -> Result<(), Unfinished> {
        self.refuse_to_wait_inside();
        let shared = self.shared.shared();
        control::drain(shared);
        if shared.wait_ended(Some(timeout)) {
            self.join_workers();
            return Ok(());
        }
        let left = shared.unfinished();
        self.drop_all();
        // Ordering: Relaxed; the pool's drop reads the flag, and comes after all calls.
        self.abandoned.store(true, Ordering::Relaxed);
        Err(left)
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn drop_all(&self) {
        self.shared.shared().drop_all();
        #[cfg(feature = "futures")]
        crate::job::pending::cancel_all(self.shared);
    }

    fn join_workers(&self) {
        self.shared.shared().wait_ended(None);
        for thread in self.take_threads() {
            // The result of `join` is ignored: the thread of a worker does not panic, because it catches each panic of user
            // code.
            let _ = thread.join();
        }
        self.shared.shared().timer.join();
    }

    fn is_inside(&self) -> bool {
        Context::of_pool(self.shared, |_| ())
    }

    #[track_caller]
    pub(super) fn refuse_to_wait_inside(&self) {
        assert!(!self.shared.shared().is_in_child(), "{}", process::NO_WORKERS);
        assert!(
            !self.is_inside(),
            "a task shuts down its own pool, which would wait for that task: drop the pool instead"
        );
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.shared.shared().is_in_child() {
            // This process is the child process of a `fork`. A thread of the parent process may have held a lock at the fork,
            // and no thread of this process releases that lock. So this process does not touch the pool's memory.
            return;
        }
        control::drain(self.shared.shared());
        // Ordering: Relaxed; the drop comes after all calls on the pool.
        if !self.is_inside() && !self.abandoned.load(Ordering::Relaxed) {
            self.join_workers();
        }
        if let Some(clock) = &self.clock {
            // The drain can wait until a test moves the clock, for example for a delayed task. So the clock keeps the pool in its
            // list of pools until the drain has ended.
            clock.leave_if_ended(self.shared);
        }
        self.shared.disown(1);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers())
            .field("parked", &self.shared.shared().sleep.parked())
            .field("draining", &self.shared.shared().draining())
            .finish()
    }
}
