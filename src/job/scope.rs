//! `Job::scope`: tasks that borrow from the stack.

pub mod handle;
pub mod tasks;

use crate::job::Job;
use crate::job::scope::handle::ScopedHandle;
use crate::job::scope::tasks::Tasks;
use crate::task::handle::TaskHandle;
use crate::task::is_large;
use crate::unwind;
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;

impl Job {
    /// Runs `f`, which may push tasks that borrow from the stack, and waits for all of them.
    ///
    /// The tasks are tasks of this job, under its limit. They may push further ones into the scope.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until all tasks of the scope have ended. Inside a task of a pool it never
    /// deadlocks: tasks of the same job that have not started are run here, in order, in the stead of the one
    /// that waits; then that one holds no permit while it waits, a spare worker takes its place, and it
    /// takes its permit back ahead of the backlog before it goes on.
    ///
    /// # Cancellation
    ///
    /// Tasks pushed after the job was closed, or not started when it is [cancelled](Self::cancel), are
    /// dropped, and counted as cancelled; their handles say so.
    ///
    /// # Panics
    ///
    /// Passes on the first panic, of `f` or of a task, once all tasks have ended; a panic that
    /// [`ScopedHandle::join`] has given to somebody is not passed on again. Panics inside a task if
    /// all [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use; what has not started
    /// is dropped then.
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
    /// What does not outlive the scope cannot be borrowed by its tasks:
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
    /// Nor can the scope or a handle leave it:
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
    /// Nor may two tasks change the same value:
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
        unwind::at_caller(|| {
            let (job, tasks) = (self.clone(), Tasks::new());
            let scope = Scope { job, tasks, scope: PhantomData, env: PhantomData };
            scope.tasks.enter(|| f(&scope)).unwrap_or_else(|payload| resume_unwind(payload))
        })
    }
}

/// Where tasks that borrow are pushed; from [`Job::scope`].
///
/// `'scope` is how long the tasks may run, `'env` what they may borrow from, as with
/// [`std::thread::scope`].
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
    // As in std: both invariant, so that neither can be made to seem shorter or longer.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Pushes a task that may borrow from outside the scope, and returns its handle.
    ///
    /// Dropping the handle detaches the task: the scope waits for it all the same.
    ///
    /// # Blocking
    ///
    /// As [`Job::spawn`]: only if the job has a capacity, and outside of its pool.
    ///
    /// # Cancellation
    ///
    /// If the job is closed or its pool shut down, the closure is dropped and the handle says
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

    /// Pushes a task that may borrow from outside the scope, and has no handle. If it panics, the scope passes that on at
    /// its end.
    ///
    /// # Blocking
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Cancellation
    ///
    /// If the job is closed or its pool shut down, the closure is dropped and counted as cancelled.
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

    /// Pushes a task, with a handle if `HANDLE`.
    #[track_caller]
    fn push<const HANDLE: bool, T: Send + 'scope>(
        &'scope self,
        task: impl FnOnce() -> T + Send + 'scope,
    ) -> Option<TaskHandle<T>> {
        match self.job.take_slot() {
            None => self.push_cell::<HANDLE, T>(task),
            Some(slot) => self.push_cell::<HANDLE, T>(slot.around(task)),
        }
    }

    fn push_cell<const HANDLE: bool, T: Send + 'scope>(
        &'scope self,
        task: impl FnOnce() -> T + Send + 'scope,
    ) -> Option<TaskHandle<T>> {
        // SAFETY: what the task and its result borrow lives for all of 'scope, and its handle borrows the scope. `Job::scope`
        // keeps the scope where it is and calls `Tasks::enter`, at whose end 'scope may end.
        let task = unsafe { self.tasks.make::<true, _, T>(self.job.ptr(), HANDLE, task) };
        // SAFETY: the task was made with a handle, just now.
        let handle = HANDLE.then(|| unsafe { task.handle::<T>() });
        let cell = task.cell();
        self.tasks.list(task);
        self.job.push_or_cancel(cell);
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
