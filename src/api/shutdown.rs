//! `Pool::shutdown_async`: a drain that a future waits for. `Pool::shutdown_background`: a drain for which the caller does not
//! wait.
//!
//! Two steps make sure that a pool's last worker wakes each future that waits for the end of the pool:
//!
//! - `over-1`: a future that waits for the end of a pool locks its bucket of the parking lot, and then the state of the pool's
//!   end. Under both locks the future checks that the pool has not ended, and notes that a future waits.
//! - `over-2`: the pool's last worker locks the state of the pool's end, notes that the pool has ended, and reads whether a
//!   future waits. If so, the worker wakes all waiting futures.

use crate::api::pool::Pool;
use crate::base::parking::parking_lot;
use crate::job::control;
use crate::sync::atomic::Ordering;
use crate::task::awaiting::Wait;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

impl Pool {
    /// Drains the pool as [`shutdown`](Self::shutdown) does, and waits without blocking the thread. The returned future needs
    /// no runtime.
    ///
    /// The drain begins at the first poll of the returned future. When this future is ready, all tasks that can run have ended,
    /// so the drop of the pool does not wait for a task. On a runtime with one thread, await the future before you drop the
    /// pool. Otherwise the drop blocks the runtime's thread, which a task of the pool might need for a timer or a socket.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the wait, but not the drain.
    ///
    /// # Panics
    ///
    /// Panics if the future is polled inside a task of this pool, because that task would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// let sum = runtime.block_on(async {
    ///     let pool = tollgate::Pool::builder().workers(2).build().unwrap();
    ///     let task = pool.job(1).spawn(|| (1..=10).sum::<i32>());
    ///     pool.shutdown_async().await;
    ///     task.await.unwrap()
    /// });
    /// assert_eq!(sum, 55);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn shutdown_async(&self) -> Shutdown<'_> {
        Shutdown { pool: self, entry: None, wait: Wait::default() }
    }

    /// Begins to drain the pool as [`shutdown`](Self::shutdown) does, drops the pool, and returns at once. The workers end
    /// by themselves when all tasks that can run have ended.
    ///
    /// `shutdown_background` never blocks. Call it on a thread that the pool's tasks need and that cannot await
    /// [`shutdown_async`](Self::shutdown_async), such as the one thread of a runtime. If the process ends before the workers,
    /// the remaining tasks do not run to their end. To wait for a task, join its handle, or call [`wait`](crate::Job::wait) on
    /// its job.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// let handle = runtime.handle().clone();
    /// let slept = runtime.block_on(async {
    ///     let pool = tollgate::Pool::builder()
    ///         .workers(1)
    ///         .on_worker_start(move |_| std::mem::forget(handle.clone().enter()))
    ///         .build()
    ///         .unwrap();
    ///     // Only this thread drives the timer. A drop of the pool would block it for ever.
    ///     let task = pool.job(1).spawn_future(tokio::time::sleep(Duration::from_millis(1)));
    ///     pool.shutdown_background();
    ///     task.await
    /// });
    /// assert!(slept.is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown_background(self) {
        // Ordering: Relaxed; only this thread reads the value: it owns the pool, and drops the pool after this store.
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// A future that waits for the end of a pool. Made by [`Pool::shutdown_async`].
///
/// # Examples
///
/// ```
/// use futures::executor::block_on;
/// use futures::future::{Either, ready, select};
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let permit = pool.job(1).try_acquire()?;
/// assert!(matches!(block_on(select(pool.shutdown_async(), ready("enough"))), Either::Right(("enough", _))));
/// drop(permit);
/// block_on(pool.shutdown_async());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct Shutdown<'a> {
    pool: &'a Pool,
    /// The number of the future's entry in the parking lot. `None` until a poll has returned `Pending`.
    entry: Option<u64>,
    wait: Wait,
}

impl Shutdown<'_> {
    /// Removes the future's entry from the parking lot.
    fn leave(&mut self) {
        self.wait.end();
        if let Some(entry) = self.entry.take() {
            parking_lot().leave(self.pool.shared.shared().end_key(), entry);
        }
    }
}

impl Future for Shutdown<'_> {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.pool.refuse_to_wait_inside();
        let shared = self.pool.shared.shared();
        if self.entry.is_none() {
            control::drain(shared);
        }
        let entry =
            parking_lot().enter(shared.end_key(), self.entry, cx.waker(), || shared.await_end());
        if entry.is_some() {
            self.entry = entry;
            self.wait.begin();
            return Poll::Pending;
        }
        self.leave();
        Poll::Ready(())
    }
}

impl Drop for Shutdown<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Shutdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("pool", self.pool).finish_non_exhaustive()
    }
}
