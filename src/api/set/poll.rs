//! Polls a `TaskSet`: as a stream, or inside a future that the user writes.

use crate::api::set::{SetTaskId, TaskSet};
use crate::base::parking::{ONLY, parking_lot};
use crate::error::JoinError;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<T> TaskSet<T> {
    /// Polls for what [`join_next_with_id`](Self::join_next_with_id) returns: the number and the result of a task that has
    /// ended, or `None` if the set is empty. Call this method inside a future that you write.
    ///
    /// If no task has ended, the poll stores the waker of `cx` in place of the waker of the previous poll, and returns
    /// `Pending`. If the calling future runs in a pool, it then holds no permit until a later poll returns `Ready`.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::executor::block_on;
    /// use std::future::poll_fn;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(1).set();
    /// set.spawn(|| 5);
    /// let (_, five) = block_on(poll_fn(|cx| set.poll_join_next_with_id(cx))).unwrap();
    /// assert_eq!(five.unwrap(), 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(SetTaskId, Result<T, JoinError>)>> {
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        loop {
            if let Some(id) = self.next_ended() {
                self.wait.end();
                let handle = self.tasks.get_mut(&id).expect("each task ends once");
                let Poll::Ready(result) = Pin::new(handle).poll(cx) else {
                    self.last = Some(id);
                    return Poll::Pending;
                };
                self.tasks.remove(&id);
                return Poll::Ready(Some((id, result)));
            }
            let key = self.ended.key();
            let wait = || self.ended.set_waited();
            if parking_lot().enter(key, Some(ONLY), cx.waker(), wait).is_some() {
                self.wait.begin();
                return Poll::Pending;
            }
        }
    }
}

/// Yields the results of the set's tasks, in the order in which the tasks end.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let mut set = pool.job(2).set();
/// for i in 0..10 {
///     set.spawn(move || i);
/// }
/// let sum = futures::executor::block_on(async {
///     let mut sum = 0;
///     while let Some(value) = set.next().await {
///         sum += value.unwrap();
///     }
///     sum
/// });
/// assert_eq!(sum, 45);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[cfg(feature = "futures")]
impl<T> futures_core::Stream for TaskSet<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_join_next_with_id(cx).map(|next| Some(next?.1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}
