//! The ways into a job: `spawn`, `execute`, and those that give the closure back.

use crate::error::Rejected;
use crate::job::capacity::Asked;
use crate::job::{Job, admission, control};
use crate::task::handle::{TaskHandle, joint};
use crate::task::{CellPtr, plain};
use crate::worker::context::Context;

impl Job {
    /// Pushes a task and returns its handle.
    ///
    /// With a limit of 1 throughout, tasks that one thread pushes start in the order pushed. If the job
    /// is closed or its pool shut down, the closure is dropped and the handle says
    /// [`Cancelled`](crate::JoinError::Cancelled). While the pool drains, its own tasks may push on.
    ///
    /// A panic of the task stays in it: its permit goes on to the next one, and the handle says
    /// [`Panicked`](crate::JoinError::Panicked).
    ///
    /// # Blocking
    ///
    /// Only if the job has a [`capacity`](crate::JobBuilder::capacity): then, outside of the pool, it parks the
    /// calling thread until there is room. Inside a task of another pool, that task holds no permit meanwhile.
    ///
    /// # Cancellation
    ///
    /// By [`TaskHandle::cancel`], alone; with the whole job, by [`cancel`](Self::cancel). Dropping the handle cancels
    /// nothing.
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
    /// It starts in the same order as those of [`spawn`](Self::spawn). A panic in it is told to
    /// [`on_panic`](crate::PoolBuilder::on_panic) and counted. If the job is
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

    /// Pushes a task as [`spawn`](Self::spawn) does, or gives the closure back. Never blocks; what is given back is not
    /// counted in [`stats`](Self::stats).
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

    /// Pushes a task as [`execute`](Self::execute) does, or gives the closure back. Never blocks, as
    /// [`try_spawn`](Self::try_spawn).
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
    /// let task = job.try_execute(|| println!("run here, then")).unwrap_err().into_inner();
    /// task();
    /// assert_eq!(job.stats().cancelled, 0);
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

    /// Whether a push is taken now. A drain takes those of the pool's own tasks.
    #[inline]
    pub(crate) fn accepts(&self) -> bool {
        if control::is_closed(self.0) {
            return false;
        }
        self.pool_takes()
    }

    /// Whether the pool takes what this thread pushes.
    #[inline]
    pub(crate) fn pool_takes(&self) -> bool {
        let pool = self.0.pool();
        !pool.draining() || (!pool.drops() && Context::of_pool(self.0.pool_ptr(), |_| ()))
    }

    #[inline]
    pub(crate) fn push_or_cancel(&self, cell: CellPtr) {
        if self.accepts() {
            self.push(cell);
        } else {
            cell.cancel();
        }
    }

    #[inline]
    pub(crate) fn push(&self, cell: CellPtr) {
        let job = self.0;
        let inside = Context::with(|context| match context {
            Some(context) => context.push_inside(job, cell).is_ok(),
            None => false,
        });
        if !inside {
            admission::push(job, cell);
        }
    }
}
