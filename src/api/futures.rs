//! Futures as tasks of a job: `spawn_future`, `map_async`.

use crate::api::job::Job;
use crate::api::map_async::{AsyncInput, MapAsync};
use crate::api::reserve::ReservedSlot;
use crate::api::ticket::{Offered, Ticket};
use crate::base::task::CellPtr;
use crate::error::Rejected;
use crate::job::control;
use crate::task::future::future as make;
use crate::task::handle::TaskHandle;
use crate::task::plain::is_large;

impl Job {
    /// Pushes a future and returns the handle of its task. Workers of the pool poll the future.
    ///
    /// A pushed future takes a permit before its first poll, and holds the permit until the future is ready, is cancelled or
    /// panics. So a limit of 500 lets 500 futures be under way at once, even on 2 workers. A future that is woken needs no
    /// further permit.
    ///
    /// While a pushed future awaits a [`TaskHandle`], [`idle`](Self::idle) or [`settled`](Self::settled), it holds no permit.
    /// So a future can await tasks of its own job. After such a wait the future re-acquires its permit ahead of the queue.
    ///
    /// If the limit is 1 throughout, workers start the futures of one pusher in the order of its pushes, as they start closures.
    /// If the job is closed or its pool has shut down, the future is dropped, and the handle returns
    /// [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Blocking
    ///
    /// Blocks where [`spawn`](Self::spawn) does: a future owns a slot of the job's [`capacity`](crate::JobBuilder::capacity)
    /// until its first poll. In async code, await a slot with [`reserve`](Self::reserve), which never blocks the thread.
    ///
    /// # Runtimes
    ///
    /// Some futures need a runtime, such as those of tokio's sockets and timers. Such a future finds its runtime if the pool's
    /// workers have entered that runtime: see [`on_worker_start`](crate::PoolBuilder::on_worker_start).
    ///
    /// # Cancellation
    ///
    /// Dropping the handle detaches the task. [`TaskHandle::cancel`] and [`cancel`](Self::cancel) drop the future, and then the
    /// handle reports the cancellation. A future that has not started is dropped at once, on the calling thread or by a worker.
    /// A pending future is dropped by a worker, without a further poll.
    ///
    /// A [drain](crate::Pool::shutdown) of the pool waits for pending futures as it does for running closures, even if these
    /// futures are never woken. [`shutdown_now`](crate::Pool::shutdown_now) drops pending futures.
    ///
    /// # Panics
    ///
    /// If the future or its drop panics, the handle returns [`Panicked`](crate::JoinError::Panicked). There is one exception:
    /// if [`TaskHandle::cancel`] drops a future that has not started, and this drop panics, the handle returns
    /// [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// `spawn_future` itself panics where [`spawn`](Self::spawn) does.
    ///
    /// # Examples
    ///
    /// A thousand futures at once on two workers, and each future awaits a timer:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    /// let handle = runtime.handle().clone();
    /// let pool = tollgate::Pool::builder()
    ///     .workers(2)
    ///     // For as long as the worker lives, tokio's timers work on it.
    ///     .on_worker_start(move |_| std::mem::forget(handle.clone().enter()))
    ///     .build()?;
    /// let job = pool.job(1_000);
    /// let tasks: Vec<_> = (0..1_000)
    ///     .map(|i| {
    ///         job.spawn_future(async move {
    ///             tokio::time::sleep(Duration::from_millis(10)).await;
    ///             i
    ///         })
    ///     })
    ///     .collect();
    /// let sum: u32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
    /// assert_eq!(sum, 499_500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_future<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_future_with(self.take_ticket(), future)
    }

    /// Pushes a future as [`spawn_future`](Self::spawn_future) does. If the job does not accept the future at once, returns the
    /// future in the error. Never blocks.
    ///
    /// # Errors
    ///
    /// As [`try_spawn`](Self::try_spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Rejected;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().limit(0).capacity(1).build(); // held
    /// let first = job.try_spawn_future(async { 1 }).unwrap();
    /// assert!(matches!(job.try_spawn_future(async { 2 }), Err(Rejected::Full(_))));
    /// job.set_limit(1);
    /// assert_eq!(first.join().unwrap(), 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn try_spawn_future<F>(&self, future: F) -> Result<TaskHandle<F::Output>, Rejected<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if !self.accepts() {
            return Err(Rejected::Closed(future));
        }
        let (cell, handle) = match self.try_take_ticket() {
            Offered::Free => self.flight(future),
            Offered::Ticket(ticket) => {
                let (handed, ticket) = ticket.split();
                let (cell, handle) = self.flight_with(Some(ticket), future);
                self.push_with(handed, cell);
                return Ok(handle);
            }
            Offered::Full => return Err(Rejected::Full(future)),
            Offered::Closed => return Err(Rejected::Closed(future)),
        };
        self.push(cell);
        Ok(handle)
    }

    /// Pushes a future. If `ticket` is given, the future owns the ticket, and releases the ticket's slot at the first poll.
    fn spawn_future_with<F>(&self, ticket: Option<Ticket>, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (handed, ticket) = ticket.map_or((None, None), |ticket| {
            let (handed, ticket) = ticket.split();
            (handed, Some(ticket))
        });
        let (cell, handle) = self.flight_with(ticket, future);
        self.push_or_cancel_with(handed, cell);
        handle
    }

    /// Calls `f` with each item of `input`, and runs the futures that `f` returns as tasks of the job. As many futures run at
    /// once as the limit allows. `input` is an iterator or a stream. Returns a [`Stream`](futures_core::Stream) of the results
    /// of the futures, in the order of the input.
    ///
    /// The stream pulls no item before its first poll. Each poll pulls items until as many futures are under way as the least
    /// limit of the job and its ancestors allows, but at least 1. If none of these jobs has a limit, 1,024 futures are under
    /// way at once. A future is under way until the stream has yielded its result.
    ///
    /// The closure `f` runs on the thread that polls the stream. Put work for the pool into the future, not into `f`.
    ///
    /// Each item of the stream is the `Result` of one future, as with [`spawn_future`](Self::spawn_future). If a future panics,
    /// its item is an error, and the other futures continue. [`as_completed`](MapAsync::as_completed) yields results in the
    /// order in which the futures end.
    ///
    /// # Cancellation
    ///
    /// Dropping the stream cancels the futures under way. No further input is pulled.
    ///
    /// After [`cancel`](Self::cancel) of the job the stream pulls no further input. It still yields the results that are ready,
    /// and one [`Cancelled`](crate::JoinError::Cancelled) for each other item that was pulled. If the input was not at its end,
    /// one more `Cancelled` follows. [`close`](Self::close) does not stop the stream.
    ///
    /// # Panics
    ///
    /// A panic of `f` or of the input unwinds on the thread that polls the stream.
    ///
    /// # Errors
    ///
    /// An item of the stream can be any error of [`TaskHandle::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::StreamExt;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(3); // at most 3 in flight
    /// let urls = (0..100).map(|i| format!("/page/{i}")); // pulled lazily
    /// let lengths = job.map_async(urls, |url| async move { url.len() });
    /// let total = futures::executor::block_on(lengths.fold(0, |sum, length| async move {
    ///     sum + length.unwrap()
    /// }));
    /// assert_eq!(total, 10 * 7 + 90 * 8);
    /// assert!(job.stats().most_running <= 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn map_async<Kind, I, F, R>(&self, input: I, f: F) -> MapAsync<I::Stream, F, R::Output>
    where
        I: AsyncInput<Kind>,
        F: FnMut(I::Item) -> R,
        R: Future + Send + 'static,
        R::Output: Send + 'static,
    {
        MapAsync::new(self, input.into_stream(), f)
    }

    /// Pushes the future of an item that [`map_async`](Self::map_async) has pulled, even if the job was closed since the call
    /// of `map_async`.
    pub(super) fn spawn_accepted<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (cell, handle) = self.flight_with(Ticket::of(self.ptr(), None, None), future);
        self.push(cell);
        handle
    }

    /// Makes the cell and the handle of a future. If `ticket` is given, the new future owns the ticket.
    fn flight_with<F>(&self, ticket: Option<Ticket>, future: F) -> (CellPtr, TaskHandle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match ticket {
            None => self.flight(future),
            // The future is boxed, because the async block of `around_future` would store an unboxed future twice.
            Some(ticket) if ticket.lasts() => self.flight(ticket.around_future(Box::pin(future))),
            Some(ticket) => self.flight(release_at_start(ticket, future)),
        }
    }

    /// Makes the cell and the handle of a future.
    fn flight<F>(&self, future: F) -> (CellPtr, TaskHandle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let job = self.ptr();
        control::expect_futures(job);
        if const { is_large::<F>() } {
            return make(job, Box::pin(future));
        }
        make(job, future)
    }
}

/// Returns a future that does what `future` does. The returned future releases the ticket's slot when it is first polled or is
/// dropped.
async fn release_at_start<F: Future>(ticket: Ticket, future: F) -> F::Output {
    drop(ticket);
    future.await
}

impl ReservedSlot {
    /// Pushes a future into the job of this slot, as [`Job::spawn_future`] does. Returns the handle of the future's task. Never
    /// blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().capacity(1).build();
    /// let slot = futures::executor::block_on(job.reserve())?;
    /// assert_eq!(slot.spawn_future(async { 1 }).join()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_future<F>(self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (job, ticket) = self.into_parts();
        job.spawn_future_with(ticket, future)
    }
}
