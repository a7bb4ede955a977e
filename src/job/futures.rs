//! Futures as tasks of a job: `spawn_future`, `map_async`.

pub mod map;

use crate::job::futures::map::{AsyncInput, MapAsync};
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{Job, admission};
use crate::sync::fence_after_rmw;
use crate::task::future::future as make;
use crate::task::handle::TaskHandle;
use crate::task::{CellPtr, is_large};

impl Job {
    /// Pushes a future and returns the handle of its task. The pool's workers poll it.
    ///
    /// The future takes a permit before it is polled for the first time, and holds it until it has ended: ready,
    /// cancelled or panicked. So a limit of 500 means 500 in flight, on 2 workers, too; a limit far above
    /// the number of workers is the normal case. When it is woken it needs no permit, for it has one.
    /// While it awaits a [`TaskHandle`], [`idle`](Self::idle) or [`settled`](Self::settled), it holds none, and
    /// takes it back ahead of the backlog before it goes on: it may await tasks of its own job. With a
    /// limit of 1, futures start in the order pushed, as closures do. If the job is closed or its pool shut down, the future is
    /// dropped and the handle says [`Cancelled`](crate::JoinError::Cancelled). A
    /// [`capacity`](crate::JobBuilder::capacity) does not hold for futures: the call never blocks.
    ///
    /// Futures that need a runtime around them, as tokio's sockets and timers do, find it if the workers have
    /// entered it: see [`on_worker_start`](crate::PoolBuilder::on_worker_start).
    ///
    /// # Cancellation
    ///
    /// Dropping the handle detaches the task. [`TaskHandle::cancel`] and [`cancel`](Self::cancel) drop the
    /// future: one that has not started at once, on the calling thread or by a worker; one in flight by a
    /// worker, without a further poll. It is dropped before its handle says that it has ended.
    ///
    /// A drain of the pool waits for futures in flight as it does for closures that run, also for one that
    /// nobody will wake; [`shutdown_now`](crate::Pool::shutdown_now) drops them.
    ///
    /// # Panics
    ///
    /// A panic in the future, or in its drop, stays in its task: the handle says
    /// [`Panicked`](crate::JoinError::Panicked). One exception: if the handle cancels a future that has not started, and its
    /// drop panics, the handle says [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Examples
    ///
    /// A thousand at once, each awaiting a timer, on two workers:
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
    pub fn spawn_future<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (cell, handle) = self.flight(future);
        self.push_or_cancel(cell);
        handle
    }

    /// Calls `f` with each item of `input`, an iterator or a stream, and runs the futures that it returns as
    /// tasks of the job, as many at once as the limit allows; a [`Stream`](futures_core::Stream) of their results,
    /// in the order of the input.
    ///
    /// Nothing happens before the stream is polled. Whenever it is, it pulls input until as many
    /// futures are under way, or have results that were not taken yet, as the limit of the job and of each above
    /// it says (1,024 where there is none; one at least). `f` is called by whoever polls the stream; what
    /// should run on the pool belongs into the future.
    ///
    /// Each result is a `Result`, as that of [`spawn_future`](Self::spawn_future) is: a future that panics gives an
    /// error, and the others go on. [`as_completed`](MapAsync::as_completed) gives results as they come instead
    /// of in order.
    ///
    /// # Cancellation
    ///
    /// Dropping the stream cancels the futures under way and pulls nothing more. After
    /// [`cancel`](Self::cancel) of the job, the results that are there still come, the rest of those pulled
    /// says [`Cancelled`](crate::JoinError::Cancelled), and nothing more is pulled; if the input was not at
    /// its end, a last item says so, too. [`close`](Self::close) does not stop it.
    ///
    /// # Panics
    ///
    /// Panics of `f` and of the input are passed on to whoever polls the stream.
    ///
    /// # Errors
    ///
    /// Items are those of [`TaskHandle::join`].
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
    pub fn map_async<Kind, I, F, R>(&self, input: I, f: F) -> MapAsync<I::Stream, F, R::Output>
    where
        I: AsyncInput<Kind>,
        F: FnMut(I::Item) -> R,
        R: Future + Send + 'static,
        R::Output: Send + 'static,
    {
        MapAsync::new(self, input.into_stream(), f)
    }

    /// Pushes a future that was accepted as part of an input, whether or not the job was closed since.
    fn spawn_accepted<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (cell, handle) = self.flight(future);
        self.push(cell);
        handle
    }

    fn flight<F>(&self, future: F) -> (CellPtr, TaskHandle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let job = self.ptr();
        expect_futures(job);
        if const { is_large::<F>() } {
            return make(job, Box::pin(future));
        }
        make(job, future)
    }
}

/// Notes, at a job's first future, that its limit and those above it may bind whatever the number of workers.
fn expect_futures(job: JobPtr) {
    let mut gate = Some(job);
    while let Some(outer) = gate {
        if !outer.permits.load().has(Flag::Futures) {
            outer.permits.set(Flag::Futures);
            fence_after_rmw();
            if !outer.tokens.load().no_tasks() {
                // Whoever runs it now goes on as the word says.
                outer.pool().advance_epoch();
            }
            // Tasks may have been left to whoever runs the job.
            admission::look(outer);
        }
        gate = outer.parent();
    }
}
