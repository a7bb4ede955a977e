//! `CancelOnDrop`: a handle that cancels its task instead of detaching it.

use crate::error::JoinError;
use crate::task::handle::TaskHandle;
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<T> TaskHandle<T> {
    /// Turns the handle into a [`CancelOnDrop`], a guard. When the guard is dropped, the task is cancelled, as by
    /// [`cancel`](Self::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(0); // held
    /// let task = job.spawn(|| unreachable!()).cancel_on_drop();
    /// drop(task);
    /// job.set_limit(1);
    /// job.wait();
    /// assert_eq!(job.stats().cancelled, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop(Some(self))
    }
}

/// A [`TaskHandle`] that cancels its task when it is dropped, made by [`TaskHandle::cancel_on_drop`].
///
/// A `CancelOnDrop` has the methods of the handle, and is a future like the handle. Dropping a `CancelOnDrop` does not affect a
/// task that has ended.
///
/// # Examples
///
/// An async request that cancels its task if the request is dropped:
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(2);
/// let sum = futures::executor::block_on(job.spawn(|| 1 + 1).cancel_on_drop());
/// assert_eq!(sum.unwrap(), 2);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a guard that is dropped cancels its task"]
pub struct CancelOnDrop<T>(Option<TaskHandle<T>>);

/// The message of a panic that cannot happen: only a call that consumes the guard takes the handle out.
const KEPT: &str = "the handle is there until the guard is dropped";

impl<T> CancelOnDrop<T> {
    /// Waits for the guard's task and returns the task's result, as [`TaskHandle::join`] does.
    ///
    /// # Panics
    ///
    /// As [`TaskHandle::join`].
    ///
    /// # Errors
    ///
    /// As [`TaskHandle::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// assert_eq!(pool.job(1).spawn(|| 5).cancel_on_drop().join().unwrap(), 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        self.keep().join()
    }

    /// Returns the handle of the guard's task. A later drop of the handle does not cancel the task.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// drop(job.spawn(|| ()).cancel_on_drop().keep());
    /// job.wait();
    /// assert_eq!(job.stats().completed, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn keep(mut self) -> TaskHandle<T> {
        self.0.take().expect(KEPT)
    }
}

impl<T> Deref for CancelOnDrop<T> {
    type Target = TaskHandle<T>;

    fn deref(&self) -> &TaskHandle<T> {
        self.0.as_ref().expect(KEPT)
    }
}

impl<T> Future for CancelOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(self.0.as_mut().expect(KEPT)).poll(cx)
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.cancel();
        }
    }
}

impl<T> fmt::Debug for CancelOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelOnDrop").field(&self.0).finish()
    }
}
