//! The handle of a task in a scope.

use crate::api::scope::tasks::Tasks;
use crate::error::JoinError;
use crate::task::handle::TaskHandle;
use crate::unwind;
use std::fmt;

/// The handle of a task in a scope. Made by [`Scope::spawn`](crate::Scope::spawn).
///
/// Dropping the handle detaches the task. The scope still waits for the task, and passes on a panic of the task.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let page = String::from("<html>");
/// let is_html = pool.job(1).scope(|s| {
///     let check = s.spawn(|| page.starts_with("<html"));
///     check.join().unwrap()
/// });
/// assert!(is_html);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a dropped handle detaches its task: say so by `drop`, or use `execute`, which makes no handle"]
pub struct ScopedHandle<'scope, T> {
    /// The handle of the task. `None` after a join.
    pub(super) task: Option<TaskHandle<T>>,
    pub(super) tasks: &'scope Tasks,
}

impl<T> ScopedHandle<'_, T> {
    /// Waits for the task and returns its result.
    ///
    /// # Blocking
    ///
    /// Blocks as [`TaskHandle::join`](crate::TaskHandle::join) does.
    ///
    /// # Panics
    ///
    /// Panics if a task joins itself. Panics if the caller is a task whose wait would block its pool's [last
    /// thread](crate::PoolBuilder::max_spare_workers).
    ///
    /// # Errors
    ///
    /// Returns [`JoinError::Panicked`] with the payload if the task panicked. The scope does not pass on that panic. Returns
    /// [`JoinError::Cancelled`] if the task was dropped before it started.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let failed = pool.job(1).scope(|s| s.spawn(|| panic!("seen here")).join().is_err());
    /// assert!(failed);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join(mut self) -> Result<T, JoinError> {
        let joined = "a handle is joined once";
        // `wait_or_run` can panic, for example on the last thread of the pool. `self` still owns the task's handle then. So if
        // the task has panicked, the drop of `self` passes the task's panic on to the scope.
        self.task.as_ref().expect(joined).wait_or_run();
        self.task.take().expect(joined).join()
    }

    /// Returns true if the task has ended: it returned, panicked or was cancelled. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// job.scope(|s| {
    ///     let task = s.spawn(|| 1);
    ///     assert!(!task.is_finished());
    ///     job.set_limit(1);
    ///     assert_eq!(task.join().unwrap(), 1);
    /// });
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_some_and(TaskHandle::is_finished)
    }
}

impl<T> Drop for ScopedHandle<'_, T> {
    fn drop(&mut self) {
        match self.task.take().and_then(TaskHandle::detach) {
            Some(Err(JoinError::Panicked(payload))) => self.tasks.note_panic(payload.into_inner()),
            outcome => unwind::drop_quietly(outcome),
        }
    }
}

impl<T> fmt::Debug for ScopedHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedHandle").field("finished", &self.is_finished()).finish()
    }
}
