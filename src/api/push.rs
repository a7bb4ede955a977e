//! Pushes closures into a job: `spawn`, `execute`, `try_spawn`, `try_execute`.

use crate::api::job::Job;
use crate::api::ticket::{Offered, Ticket};
use crate::base::task::CellPtr;
use crate::error::Rejected;
use crate::job::events;
use crate::job::record::JobPtr;
use crate::job::{control, gate};
use crate::task::handle::{self, TaskHandle};
use crate::task::named::Named;
use crate::task::plain::{is_large, plain};
use crate::task::state::State;
use crate::worker::context::Context;

impl Job {
    /// Pushes a task and returns its handle.
    ///
    /// If the job's limit is 1 throughout, workers start the tasks of one pusher in the order of its pushes. Only a task that a
    /// task of the same job [joins](TaskHandle::join) may run earlier. With a higher limit no order is promised, because each
    /// worker takes up to 16 tasks out of the queue at once.
    ///
    /// If the job is closed or its pool has shut down, the closure is dropped, and the handle returns
    /// [`Cancelled`](crate::JoinError::Cancelled). A draining pool still accepts pushes from its own tasks.
    ///
    /// If the task panics, its permit is released, and the handle returns [`Panicked`](crate::JoinError::Panicked).
    ///
    /// # Blocking
    ///
    /// Blocks only if the job has a [`capacity`](crate::JobBuilder::capacity) and no slot is free, or a capacity of 0 and no
    /// permit is free. Inside a task of the same pool the push never blocks, and can exceed the capacity. A caller that is a
    /// task of another pool holds no permit while it is blocked.
    ///
    /// # Cancellation
    ///
    /// [`TaskHandle::cancel`] cancels the task, and [`Job::cancel`](Self::cancel) cancels all tasks of the job.
    /// Dropping the handle detaches the task: it still runs.
    ///
    /// # Panics
    ///
    /// Panics if the caller is a task of another pool, and the call would block the [last
    /// thread](crate::PoolBuilder::max_spare_workers) of that pool.
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
    #[track_caller]
    pub fn spawn<F, T>(&self, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.needs_ticket() {
            return self.spawn_with_ticket(task);
        }
        let (cell, handle) = joint(self.0, task);
        self.push_or_cancel(cell);
        handle
    }

    /// Does what [`spawn`](Self::spawn) does in a job whose tasks need tickets. Not inlined, so that the push to another job
    /// saves fewer registers.
    #[inline(never)]
    #[track_caller]
    fn spawn_with_ticket<F, T>(&self, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(self.take_ticket(), task)
    }

    /// Pushes a task and returns its handle. The task owns `ticket`, if there is one.
    #[inline]
    pub(crate) fn spawn_with<F, T>(&self, ticket: Option<Ticket>, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let Some(ticket) = ticket else {
            let (cell, handle) = joint(self.0, task);
            self.push_or_cancel(cell);
            return handle;
        };
        let (handed, ticket) = ticket.split();
        let (cell, handle) = joint(self.0, ticket.around(task));
        self.push_or_cancel_with(handed, cell);
        handle
    }

    /// Pushes a task with a name and returns its handle, as [`spawn`](Self::spawn) does.
    ///
    /// The name helps a person to find the task. [`TaskHandle::name`], the `Debug` of the handle,
    /// [`explain_task`](Self::explain_task) and a timeline show the name. Several tasks can have the same name.
    ///
    /// # Blocking
    ///
    /// Blocks as [`spawn`](Self::spawn) does.
    ///
    /// # Panics
    ///
    /// Panics where [`spawn`](Self::spawn) does.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().name("search").limit(2).build();
    /// job.pause();
    /// let task = job.spawn_named("index a.html", || 15);
    /// assert_eq!(task.name(), Some("index a.html"));
    /// assert_eq!(job.explain_task(&task).to_string(), "task \"index a.html\": job \"search\" is paused");
    /// job.resume();
    /// assert_eq!(task.join().unwrap(), 15);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_named<F, T>(&self, name: impl Into<String>, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let name = name.into();
        let (handed, (cell, handle)) = match self.take_ticket() {
            None => (None, named(self.0, name, task)),
            Some(ticket) => {
                let (handed, ticket) = ticket.split();
                ticket.note_name(&name);
                (handed, named(self.0, name, ticket.around(task)))
            }
        };
        self.push_or_cancel_with(handed, cell);
        handle
    }

    /// Pushes a task without a handle and without a result. This is the cheapest way to push.
    ///
    /// Tasks of `execute` start in the same order as with [`spawn`](Self::spawn). If the task panics, the pool counts the
    /// panic, and calls [`on_panic`](crate::PoolBuilder::on_panic) with the payload of the panic. If the job is closed or its
    /// pool has shut down, the closure is dropped and counted as cancelled.
    ///
    /// # Blocking
    ///
    /// Blocks as [`spawn`](Self::spawn) does.
    ///
    /// # Panics
    ///
    /// Panics where [`spawn`](Self::spawn) does.
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
    #[track_caller]
    pub fn execute<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        if self.needs_ticket() {
            return self.execute_with_ticket(task);
        }
        self.push_or_cancel(plain(self.0, task));
    }

    /// Does what [`execute`](Self::execute) does in a job whose tasks need tickets. Not inlined, so that the push to another job
    /// saves fewer registers.
    #[inline(never)]
    #[track_caller]
    fn execute_with_ticket<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.execute_with(self.take_ticket(), task);
    }

    /// Pushes a task without a handle. The task owns `ticket`, if there is one.
    #[inline]
    pub(crate) fn execute_with<F>(&self, ticket: Option<Ticket>, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let Some(ticket) = ticket else {
            return self.push_or_cancel(plain(self.0, task));
        };
        let (handed, ticket) = ticket.split();
        self.push_or_cancel_with(handed, plain(self.0, ticket.around(task)));
    }

    /// Pushes a task as [`spawn`](Self::spawn) does. If the job refuses the task, returns the closure as an error. Never
    /// blocks.
    ///
    /// A refused task is not counted in [`stats`](Self::stats).
    ///
    /// # Errors
    ///
    /// Returns [`Rejected::Closed`] if the job is closed or its pool has shut down. Returns [`Rejected::Full`] if the job
    /// has a [`capacity`](crate::JobBuilder::capacity) and no slot is free, or a capacity of 0 and no permit is free.
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
        let (cell, handle) = match self.try_take_ticket() {
            Offered::Free => joint(self.0, task),
            Offered::Ticket(ticket) => {
                let (handed, ticket) = ticket.split();
                let (cell, handle) = joint(self.0, ticket.around(task));
                self.push_with(handed, cell);
                return Ok(handle);
            }
            Offered::Full => return Err(Rejected::Full(task)),
            Offered::Closed => return Err(Rejected::Closed(task)),
        };
        self.push(cell);
        Ok(handle)
    }

    /// Pushes a task as [`execute`](Self::execute) does. If the job refuses the task, returns the closure as an error.
    /// Never blocks.
    ///
    /// A refused task is not counted in [`stats`](Self::stats).
    ///
    /// # Errors
    ///
    /// Returns [`Rejected::Closed`] if the job is closed or its pool has shut down. Returns [`Rejected::Full`] if the job
    /// has a [`capacity`](crate::JobBuilder::capacity) and no slot is free, or a capacity of 0 and no permit is free.
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
        let cell = match self.try_take_ticket() {
            Offered::Free => plain(self.0, task),
            Offered::Ticket(ticket) => {
                let (handed, ticket) = ticket.split();
                self.push_with(handed, plain(self.0, ticket.around(task)));
                return Ok(());
            }
            Offered::Full => return Err(Rejected::Full(task)),
            Offered::Closed => return Err(Rejected::Closed(task)),
        };
        self.push(cell);
        Ok(())
    }

    /// Returns true if the job and its pool accept a push by this thread now.
    #[inline]
    pub(crate) fn accepts(&self) -> bool {
        if control::is_closed(self.0) {
            return false;
        }
        self.pool_takes()
    }

    /// Returns true if the pool accepts a push by this thread. A draining pool accepts pushes only from its own tasks.
    #[inline]
    pub(crate) fn pool_takes(&self) -> bool {
        let pool = self.0.pool();
        !pool.draining() || (!pool.drops() && Context::of_pool(self.0.pool_ptr(), |_| ()))
    }

    /// Pushes a task. If the job or the pool does not accept the task, cancels it instead.
    #[inline]
    pub(crate) fn push_or_cancel(&self, cell: CellPtr) {
        if self.accepts() {
            self.push(cell);
        } else {
            cell.cancel();
        }
    }

    /// Pushes an accepted task. If this thread runs a task of the same job and the job is unlimited, the new task
    /// enters the thread's deque. Otherwise the new task enters the injector if the job has room, or else the job's
    /// queue.
    #[inline]
    pub(crate) fn push(&self, cell: CellPtr) {
        let job = self.0;
        events::pushed(job, cell);
        let inside = Context::with(|context| match context {
            Some(context) => context.push_inside(job, cell).is_ok(),
            None => false,
        });
        if !inside {
            gate::push(job, cell);
        }
    }
}

/// Makes the cell and the handle of a task without a name.
#[inline]
fn joint<F, T>(job: JobPtr, task: F) -> (CellPtr, TaskHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if const { is_large::<F>() } {
        let task = Box::new(task);
        return handle::joint(job, task);
    }
    handle::joint(job, task)
}

/// Makes the cell and the handle of a task with a name.
fn named<F, T>(job: JobPtr, name: String, task: F) -> (CellPtr, TaskHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (state, name) = (State::of_closure(), Named::new(name));
    if const { is_large::<F>() } {
        let task = Box::new(task);
        return handle::owned(job, state, name, task);
    }
    handle::owned(job, state, name, task)
}
