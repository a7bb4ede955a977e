//! `Job::scope`: tasks that borrow from the stack.

pub mod handle;
pub mod map;
pub mod tasks;

use crate::api::job::Job;
use crate::api::scope::handle::ScopedHandle;
use crate::api::scope::tasks::Tasks;
use crate::job::gate::handed::Handed;
use crate::task::handle::TaskHandle;
use crate::task::plain::is_large;
use crate::unwind;
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;

impl Job {
    /// Runs `f`, which can push tasks that borrow from the stack, and waits for all of these tasks.
    ///
    /// The tasks of a scope belong to this job, and its limit applies to them. A task can push further tasks into the scope.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until all tasks of the scope have ended. Inside a task of a pool the call never deadlocks.
    ///
    /// A caller that is a task of the same job first runs tasks of the scope inline, in the order pushed. It runs all tasks that
    /// have not started, or at most 16 if other tasks wait for the caller's worker. Then the caller waits for the remaining tasks
    /// of the scope without a permit, and a spare worker takes its place. After the wait the caller re-acquires its permit ahead
    /// of the queue.
    ///
    /// # Cancellation
    ///
    /// If the job was closed, a task that is pushed is dropped and counted as cancelled. If the job is
    /// [cancelled](Self::cancel), tasks that have not started are dropped and counted as cancelled. The handle of a dropped
    /// task returns [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Panics
    ///
    /// Panics with the first panic of `f` or of a task of the scope, when all tasks of the scope have ended. A panic that
    /// [`ScopedHandle::join`] has returned as an error is not passed on.
    ///
    /// Panics if the caller is a task whose wait would block the pool's [last thread](crate::PoolBuilder::max_spare_workers).
    /// Panics if a task of the scope needs the one permit that the caller [keeps](crate::JobBuilder::keep_permits). Before such
    /// a panic, the call drops the tasks of the scope that have not started, and waits for the others.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// let words = ["gate", "toll", "keeper"];
    /// let mut lengths = [0; 3];
    /// job.scope(|s| {
    ///     for (word, length) in words.iter().zip(&mut lengths) {
    ///         s.execute(move || *length = word.len());
    ///     }
    /// });
    /// assert_eq!(lengths, [4, 4, 6]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    ///
    /// A task cannot borrow a value that ends before the scope:
    ///
    /// ```compile_fail,E0597
    /// let pool = tollgate::Pool::new().unwrap();
    /// let job = pool.job(2);
    /// job.scope(|s| {
    ///     let local = 5;
    ///     s.execute(|| println!("{local}")); // `local` ends with the closure, the task later
    /// });
    /// ```
    ///
    /// The scope and its handles cannot leave the closure:
    ///
    /// ```compile_fail
    /// let pool = tollgate::Pool::new().unwrap();
    /// let job = pool.job(2);
    /// let mut escaped = None;
    /// job.scope(|s| {
    ///     escaped = Some(s.spawn(|| 1));
    /// });
    /// ```
    ///
    /// Two tasks cannot change the same value:
    ///
    /// ```compile_fail,E0499
    /// let pool = tollgate::Pool::new().unwrap();
    /// let job = pool.job(2);
    /// let mut count = 0;
    /// job.scope(|s| {
    ///     s.execute(|| count += 1);
    ///     s.execute(|| count += 1);
    /// });
    /// ```
    #[track_caller]
    pub fn scope<'env, F, T>(&self, f: F) -> T
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
    {
        let job = self.clone();
        unwind::at_caller(|| {
            let tasks = Tasks::new();
            let scope = Scope { job, tasks, scope: PhantomData, env: PhantomData };
            scope.tasks.enter(|| f(&scope)).unwrap_or_else(|payload| resume_unwind(payload))
        })
    }
}

/// Accepts tasks that may borrow from the stack. Made by [`Job::scope`].
///
/// The lifetimes of a scope are those of [`std::thread::scope`]: tasks run during `'scope`, and can borrow values that live for
/// `'env`.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let numbers = [1, 2, 3, 4];
/// let (left, right) = numbers.split_at(2);
/// let sum = pool.job(2).scope(|s| {
///     let left = s.spawn(|| left.iter().sum::<i32>());
///     let right = s.spawn(|| right.iter().sum::<i32>());
///     left.join().unwrap() + right.join().unwrap()
/// });
/// assert_eq!(sum, 10);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    job: Job,
    tasks: Tasks,
    // Both lifetimes are invariant, as in std: the compiler must not shorten or extend them.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Pushes a task and returns its handle. The task may borrow values that outlive the scope.
    ///
    /// Dropping the handle detaches the task. The scope still waits for the task.
    ///
    /// # Blocking
    ///
    /// Blocks as [`Job::spawn`] does.
    ///
    /// # Cancellation
    ///
    /// If the job is closed or its pool has shut down, the closure is dropped, and the handle returns
    /// [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let name = String::from("tollgate");
    /// let length = pool.job(1).scope(|s| s.spawn(|| name.len()).join().unwrap());
    /// assert_eq!(length, 8);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, task: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        if const { is_large::<F>() } {
            let task = Box::new(task);
            return self.spawn_small(task);
        }
        self.spawn_small(task)
    }

    #[track_caller]
    fn spawn_small<F, T>(&'scope self, task: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        ScopedHandle { task: self.push::<true, _>(task), tasks: &self.tasks }
    }

    /// Pushes a task without a handle. The task may borrow values that outlive the scope. If the task panics, the scope
    /// passes the panic on at its end.
    ///
    /// # Blocking
    ///
    /// Blocks as [`Job::spawn`] does.
    ///
    /// # Cancellation
    ///
    /// If the job is closed or its pool has shut down, the closure is dropped and counted as cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let count = AtomicU32::new(0);
    /// pool.job(2).scope(|s| {
    ///     for _ in 0..10 {
    ///         s.execute(|| {
    ///             count.fetch_add(1, Ordering::Relaxed);
    ///         });
    ///     }
    /// });
    /// assert_eq!(count.into_inner(), 10);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn execute<F>(&'scope self, task: F)
    where
        F: FnOnce() + Send + 'scope,
    {
        if const { is_large::<F>() } {
            let task = Box::new(task);
            self.push::<false, _>(task);
        } else {
            self.push::<false, _>(task);
        }
    }

    /// Pushes a task. Returns the task's handle if `HANDLE` is true.
    #[track_caller]
    fn push<const HANDLE: bool, T: Send + 'scope>(
        &'scope self,
        task: impl FnOnce() -> T + Send + 'scope,
    ) -> Option<TaskHandle<T>> {
        match self.job.take_ticket() {
            None => self.push_cell::<HANDLE, T>(None, task),
            Some(ticket) => {
                let (handed, ticket) = ticket.split();
                self.push_cell::<HANDLE, T>(handed, ticket.around(task))
            }
        }
    }

    fn push_cell<const HANDLE: bool, T: Send + 'scope>(
        &'scope self,
        handed: Option<Handed>,
        task: impl FnOnce() -> T + Send + 'scope,
    ) -> Option<TaskHandle<T>> {
        // SAFETY: values that the task, its result and its handle borrow live for 'scope, which lasts until `Tasks::enter`
        // returns.
        let task = unsafe { self.tasks.make::<true, _, T>(self.job.ptr(), HANDLE, task) };
        // SAFETY: `make` has made the task with a handle just now.
        let handle = HANDLE.then(|| unsafe { task.handle::<T>() });
        let cell = task.cell();
        self.tasks.list(task);
        self.job.push_or_cancel_with(handed, cell);
        handle
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("job", &self.job)
            .field("pending", &self.tasks.pending())
            .finish()
    }
}
