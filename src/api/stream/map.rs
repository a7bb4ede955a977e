//! `Job::map`: calls a closure with each item of an input, and returns an iterator over the results.

use crate::api::job::Job;
use crate::api::stream::pump;
use crate::api::stream::taker::Taker;
use crate::error::JoinError;
use std::fmt;
use std::iter::FusedIterator;

impl Job {
    /// Calls `f` with each item of `input`. As many items run at once as the limit allows. Returns an iterator over the
    /// results, in the order of the input.
    ///
    /// No item is pulled before the first [`next`](Iterator::next). From then on tasks of the job pull the input lazily. A task
    /// pulls an item only when it has a permit to run `f`, so only items that run are in memory. If 64 results for each worker
    /// are ready, no further item is pulled until the caller takes results. Each call of `f` counts as a task in
    /// [`stats`](Self::stats).
    ///
    /// Each item of the iterator is a `Result`, as for a task that was joined. If a call of `f` panics, the item for this call is
    /// an error, and the other calls continue. With [`as_completed`](Map::as_completed), the iterator yields results in the order
    /// in which the calls end.
    ///
    /// # Blocking
    ///
    /// `next` parks the calling thread until a result is ready, and never deadlocks inside a task. If the caller is a task of
    /// the same job, and the item of the next result was not pulled yet, `next` pulls this item and runs `f` inline. Otherwise
    /// `next` waits as [`TaskHandle::join`](crate::TaskHandle::join) does.
    ///
    /// If the [`size_hint`](Iterator::size_hint) of the input says that the input is empty, `next` returns `None` at once. Any
    /// other input is pulled by tasks of the job, so `next` blocks while the job is paused or has a limit of 0.
    ///
    /// # Cancellation
    ///
    /// Dropping the iterator cancels the rest: no further item is pulled. The drop does not wait for calls of `f` that have
    /// begun.
    ///
    /// After [`cancel`](Self::cancel) of the job the iterator still yields the results of all calls of `f` that have begun. If
    /// the input was not at its end, the iterator then yields [`JoinError::Cancelled`] once. [`close`](Self::close) does not
    /// stop the iterator, because the input was accepted before.
    ///
    /// # Errors
    ///
    /// An item is [`JoinError::Panicked`] if its call of `f` panicked. The last item is `Panicked` if the input or its drop
    /// panicked. The last item is [`JoinError::Cancelled`] if the job was closed before the call of `map`, or if the job was
    /// cancelled or its pool shut down before the end of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(4).build()?;
    /// let job = pool.job(2); // at most 2 at once
    /// let urls = (0..1_000).map(|i| format!("/page/{i}")); // made one by one, when there is a permit
    /// let lengths = job.map(urls, |url| url.len());
    /// let total: usize = lengths.map(|length| length.unwrap()).sum();
    /// assert_eq!(total, 10 * 7 + 90 * 8 + 900 * 9);
    /// assert!(job.stats().most_running <= 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn map<I, F, R>(&self, input: I, f: F) -> Map<R>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        // SAFETY: by the bounds, input, closure and results borrow nothing.
        Map(unsafe { Taker::new(self, input.into_iter(), f, pump::Nothing) })
    }
}

/// An iterator over results, in the order of the input. Made by [`Job::map`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let mut squares = pool.job(2).map(1.., |i: u64| i * i); // without an end
/// assert_eq!(squares.next().unwrap().unwrap(), 1);
/// assert_eq!(squares.next().unwrap().unwrap(), 4);
/// drop(squares); // cancels the rest
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "nothing happens before the first `next`, and dropping it cancels the rest"]
pub struct Map<R>(Taker<'static, R>);

impl<R> Map<R> {
    /// Changes the iterator to yield results in the order in which the calls end, not in the order of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::sync::Mutex;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let (go, wait_for_go) = mpsc::channel::<()>();
    /// let wait_for_go = Mutex::new(wait_for_go);
    /// let mut results = pool
    ///     .job(2)
    ///     .map(["slow", "quick"], move |name| {
    ///         if name == "slow" {
    ///             wait_for_go.lock().unwrap().recv().unwrap();
    ///         }
    ///         name
    ///     })
    ///     .as_completed();
    /// assert_eq!(results.next().unwrap().unwrap(), "quick");
    /// go.send(()).unwrap();
    /// assert_eq!(results.next().unwrap().unwrap(), "slow");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn as_completed(self) -> AsCompleted<R> {
        self.order_by_completion();
        AsCompleted(self)
    }

    /// Makes the iterator yield results in the order in which the calls end, from now on.
    pub(super) fn order_by_completion(&self) {
        self.0.pump.order_by_completion();
    }
}

impl<R> Iterator for Map<R> {
    type Item = Result<R, JoinError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<R> FusedIterator for Map<R> {}

impl<R> fmt::Debug for Map<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(&mut f.debug_struct("Map"))
    }
}

/// An iterator over results, in the order of their completion. Made by [`Map::as_completed`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let results = pool.job(2).map(0..10, |i| i * i).as_completed();
/// assert_eq!(results.map(|square| square.unwrap()).sum::<i32>(), 285);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "nothing happens before the first `next`, and dropping it cancels the rest"]
pub struct AsCompleted<R>(Map<R>);

impl<R> Iterator for AsCompleted<R> {
    type Item = Result<R, JoinError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<R> FusedIterator for AsCompleted<R> {}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.describe(&mut f.debug_struct("AsCompleted"))
    }
}
