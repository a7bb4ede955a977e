//! `Pool`: the workers' start, the three shutdowns, and the drop that drains.

pub mod builder;
pub mod clock;
pub mod due;
pub mod shared;
pub mod waits;

use crate::error::{BuildError, Unfinished};
use crate::job::Job;
use crate::job::builder::JobBuilder;
use crate::job::extra::Extra;
use crate::job::family;
use crate::pool::builder::PoolBuilder;
use crate::pool::clock::ManualClock;
use crate::pool::shared::PoolPtr;
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
/// Tasks go in by its jobs, which are cheap to clone and to hand around; the pool stays with whoever ends it.
///
/// A child of `fork` has none of the workers. There a call that would wait panics, a push is never run, and dropping the
/// pool does nothing. The child may make pools of its own; it then must not wait for a task of its parent's.
///
/// Dropping the pool [drains](Self::shutdown) it: it waits until all that can run has run. Dropped from inside one of its own
/// tasks, it starts the drain and returns; the workers end by themselves.
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
    shared: PoolPtr,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Whether a shutdown has left what runs to end by itself.
    abandoned: AtomicBool,
    /// The clock that the pool has entered.
    clock: Option<ManualClock>,
}

impl Pool {
    /// A pool with a worker for each core that is available to the process.
    ///
    /// # Errors
    ///
    /// [`BuildError::Spawn`] if a thread could not be started.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::new()?;
    /// assert!(pool.workers() >= 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Makes a pool step by step.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// A new job: at most `limit` of its tasks run at once. 0 holds the job, `usize::MAX` is no limit. It takes no thread,
    /// channel or queue: make one for whatever wants a limit of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.job(2).spawn(|| "ran").join().unwrap(), "ran");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn job(&self, limit: usize) -> Job {
        family::make(self.shared, None, limit, Extra::default())
    }

    /// Makes a job step by step: with a name, a parent, a bounded backlog.
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

    /// How many workers the pool has. [Spare workers](PoolBuilder::max_spare_workers) are not among them.
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

    /// What the pool is doing and has done.
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

    /// Drains the pool: waits until all that can run has run, then ends the workers.
    ///
    /// From now on pushes from outside are refused; tasks of the pool may push on while it drains. A job that is paused
    /// or has a limit of 0 is [cancelled](Job::cancel) at once, with all jobs below it. So is a job that becomes so while
    /// the drain lasts. Calling it again does nothing.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the last worker has left. Inside a task of another pool it keeps that task's
    /// permit and worker: wrap it in [`blocking`](crate::blocking) there.
    ///
    /// # Panics
    ///
    /// Inside a task of this pool: it would wait for itself.
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
        self.shared.shared().drain();
        self.join_workers();
    }

    /// Drops all that has not started, waits for what runs, then ends the workers; returns how many tasks
    /// were dropped, those that an earlier call dropped included, and pushes that were refused since.
    ///
    /// Futures in flight are dropped, too, and counted. Closures that run can ask [`is_cancelled`](crate::is_cancelled).
    ///
    /// # Blocking
    ///
    /// As [`shutdown`](Self::shutdown).
    ///
    /// # Panics
    ///
    /// Inside a task of this pool: it would wait for itself.
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
        shared.drain();
        self.join_workers();
        // Ordering: Relaxed; the workers have been joined.
        shared.dropped.load(Ordering::Relaxed)
    }

    /// Drains the pool for at most `timeout`. If that is too short, drops all tasks that have not started and all pending
    /// futures, and returns what is left.
    ///
    /// The tasks that run are left to end by themselves. Neither this call nor the pool's drop waits for them, so the call
    /// returns beside a task that never ends, and beside a future that is never woken.
    ///
    /// A task that waits for the permit of one that still runs is dropped, and its handle says
    /// [`Cancelled`](crate::JoinError::Cancelled), when that one ends.
    ///
    /// # Errors
    ///
    /// [`Unfinished`] if the time is over.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the pool is drained, or the time is over. Inside a task of another pool it keeps that
    /// task's permit and worker, as [`shutdown`](Self::shutdown) does.
    ///
    /// # Panics
    ///
    /// Inside a task of this pool: it would wait for itself.
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
    /// A future that nothing wakes:
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
        shared.drain();
        if shared.wait_ended(Some(timeout)) {
            self.join_workers();
            return Ok(());
        }
        let left = shared.unfinished();
        self.drop_all();
        // Ordering: Relaxed; read by the pool's drop, which comes after all calls.
        self.abandoned.store(true, Ordering::Relaxed);
        Err(left)
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn drop_all(&self) {
        self.shared.shared().drop_all();
        #[cfg(feature = "futures")]
        crate::task::future::pending::cancel_all(self.shared);
    }

    fn join_workers(&self) {
        self.shared.shared().wait_ended(None);
        for thread in self.take_threads() {
            // A worker's thread does not panic: foreign code on it is stopped where it is called.
            let _ = thread.join();
        }
        self.shared.shared().timer.join();
    }

    fn is_inside(&self) -> bool {
        Context::of_pool(self.shared, |_| ())
    }

    #[track_caller]
    fn refuse_to_wait_inside(&self) {
        assert!(!self.shared.shared().is_in_child(), "{}", process::NO_WORKERS);
        assert!(
            !self.is_inside(),
            "a task shuts down its own pool, which would wait for that task: drop the pool instead"
        );
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(clock) = &self.clock {
            clock.leave(self.shared);
        }
        if self.shared.shared().is_in_child() {
            // Another thread may have held a lock when the process was forked. The memory stays.
            return;
        }
        self.shared.shared().drain();
        // Ordering: Relaxed; the owner of the pool drops it after all calls.
        if !self.is_inside() && !self.abandoned.load(Ordering::Relaxed) {
            self.join_workers();
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
