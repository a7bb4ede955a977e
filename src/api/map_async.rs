//! `map_async`: a stream of the results of futures. The stream pulls its input lazily.

use crate::api::job::Job;
use crate::error::JoinError;
use crate::job::{control, gate};
use crate::sync::{Mutex, MutexGuard};
use crate::task::handle::TaskHandle;
use futures_core::Stream;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// The greatest number of futures under way at once, if the job and its ancestors have no limit.
const WITHOUT_LIMIT: usize = 1024;

/// An input of [`Job::map_async`]: an iterator or a stream.
///
/// # Examples
///
/// ```
/// use futures::{StreamExt, channel::mpsc, executor::block_on};
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(2);
/// let (send, pages) = mpsc::unbounded();
/// send.unbounded_send("a stream").unwrap();
/// drop(send);
/// let from_stream = job.map_async(pages, |page: &str| async move { page.len() });
/// let from_iterator = job.map_async(["an iterator"], |page| async move { page.len() });
/// let both: Vec<_> = block_on(from_stream.chain(from_iterator).collect());
/// assert_eq!(both.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [8, 11]);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub trait AsyncInput<Kind> {
    /// The type of the input's items.
    type Item;
    /// The type of the stream that the input becomes.
    type Stream: Stream<Item = Self::Item>;

    /// Converts the input to a stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::executor::block_on_stream;
    /// use tollgate::AsyncInput;
    ///
    /// assert_eq!(block_on_stream([1, 2, 3].into_stream()).sum::<u32>(), 6);
    /// ```
    fn into_stream(self) -> Self::Stream;
}

/// The kind of an [`AsyncInput`] that is an iterator. The compiler infers the kind.
///
/// # Examples
///
/// ```
/// use tollgate::{AsyncInput, Iterated};
///
/// fn is_iterator(_: impl AsyncInput<Iterated, Item = u32>) -> bool { true }
/// assert!(is_iterator(0..3_u32));
/// ```
#[derive(Debug)]
pub enum Iterated {}

/// The kind of an [`AsyncInput`] that is a stream. The compiler infers the kind.
///
/// # Examples
///
/// ```
/// use tollgate::{AsyncInput, Streamed};
///
/// fn is_stream(_: impl AsyncInput<Streamed, Item = u32>) -> bool { true }
/// assert!(is_stream(futures::stream::iter(0..3_u32)));
/// ```
#[derive(Debug)]
pub enum Streamed {}

impl<I: IntoIterator> AsyncInput<Iterated> for I {
    type Item = I::Item;
    type Stream = Iter<I::IntoIter>;

    fn into_stream(self) -> Self::Stream {
        Iter(self.into_iter())
    }
}

impl<S: Stream> AsyncInput<Streamed> for S {
    type Item = S::Item;
    type Stream = S;

    fn into_stream(self) -> S {
        self
    }
}

/// An iterator as a stream whose next item is always ready. Made by [`AsyncInput::into_stream`].
///
/// # Examples
///
/// ```
/// use tollgate::{AsyncInput, Iter};
///
/// let pages: Iter<std::ops::Range<u32>> = (0..3).into_stream();
/// assert_eq!(futures::executor::block_on_stream(pages).collect::<Vec<_>>(), [0, 1, 2]);
/// ```
#[derive(Debug)]
pub struct Iter<I>(I);

impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// The input of a stream, the closure that makes a future of each item, and the job that runs the futures.
struct Pull<S, F> {
    job: Job,
    /// The rest of the input. `None` after the end of the input, or if the rest was dropped.
    input: Option<Pin<Box<S>>>,
    f: F,
    /// True if the rest of the input was dropped because the job was cancelled or its pool has shut down. False again when the
    /// stream has yielded the one `Cancelled` for that rest.
    cut_off: bool,
}

impl<S, F, R, T> Pull<S, F>
where
    S: Stream,
    F: FnMut(S::Item) -> R,
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    /// Pulls the next item, pushes its future, and returns the future's handle. `under_way` is the number of futures under way.
    /// Returns `None` if no further future may be under way, or if the input has no item now.
    fn next(&mut self, under_way: usize, cx: &mut Context<'_>) -> Option<TaskHandle<T>> {
        if under_way >= self.room() {
            return None;
        }
        let input = self.input.as_mut()?;
        if gate::is_dropped(self.job.ptr()) || !self.job.pool_takes() {
            self.input = None;
            self.cut_off = true;
            return None;
        }
        match input.as_mut().poll_next(cx) {
            Poll::Ready(Some(item)) => Some(self.job.spawn_accepted((self.f)(item))),
            Poll::Ready(None) => {
                self.input = None;
                None
            }
            Poll::Pending => None,
        }
    }

    /// Returns the greatest number of futures that may be under way at once.
    fn room(&self) -> usize {
        let limits = self.job.ptr().gates().map(|gate| control::limit_of(gate.permits.load()));
        let room = limits.min().unwrap_or(usize::MAX);
        if room == usize::MAX { WITHOUT_LIMIT } else { room.max(1) }
    }

    /// Returns what the stream yields when no future is under way: `Cancelled` once if the rest of the input was dropped,
    /// `Pending` if the input can have more items, and otherwise the end.
    fn at_rest(&mut self) -> Poll<Option<Result<T, JoinError>>> {
        if std::mem::take(&mut self.cut_off) {
            return Poll::Ready(Some(Err(JoinError::Cancelled)));
        }
        if self.input.is_some() { Poll::Pending } else { Poll::Ready(None) }
    }
}

/// The handle of one future of a stream. Dropping this value cancels the future.
struct Wanted<T>(TaskHandle<T>);

impl<T> Drop for Wanted<T> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<T> Wanted<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// A stream of the results of futures, in the order of the input. Made by [`Job::map_async`].
///
/// # Examples
///
/// ```
/// use futures::executor::block_on_stream;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let squares = pool.job(2).map_async(1.., |i: u64| async move { i * i }); // without an end
/// let first: Vec<_> = block_on_stream(squares).take(3).map(Result::unwrap).collect();
/// assert_eq!(first, [1, 4, 9]); // the rest was cancelled
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct MapAsync<S, F, T> {
    pull: Pull<S, F>,
    under_way: VecDeque<Wanted<T>>,
}

impl<S, F, T> MapAsync<S, F, T> {
    #[track_caller]
    pub(crate) fn new(job: &Job, input: S, f: F) -> Self {
        let job = job.clone();
        let input = (!job.is_closed()).then(|| Box::pin(input));
        let cut_off = input.is_none();
        let pull = Pull { job, input, f, cut_off };
        Self { pull, under_way: VecDeque::new() }
    }

    /// Changes the stream to yield results in the order in which the futures end.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::{StreamExt, channel::oneshot, executor::block_on};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// let (fast, slow) = (oneshot::channel(), oneshot::channel());
    /// let mut results = job.map_async([slow.1, fast.1], |answer| answer).as_completed();
    /// block_on(async {
    ///     fast.0.send("fast").unwrap();
    ///     assert_eq!(results.next().await.unwrap().unwrap(), Ok("fast"));
    ///     slow.0.send("slow").unwrap();
    ///     assert_eq!(results.next().await.unwrap().unwrap(), Ok("slow"));
    ///     assert!(results.next().await.is_none());
    /// });
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn as_completed(self) -> MapAsyncAsCompleted<S, F, T> {
        let under_way: BTreeMap<_, _> = (0..).zip(self.under_way).collect();
        let finished = Arc::new(Finished::default());
        // All futures under way are added to the list `finished`. So the first poll of the new stream polls each
        // future's handle, which registers a waker in the handle.
        finished.lock().numbers.extend(under_way.keys());
        let pulled = under_way.len() as u64;
        MapAsyncAsCompleted { pull: self.pull, under_way, pulled, finished }
    }
}

impl<S, F, T> Unpin for MapAsync<S, F, T> {}

impl<S, F, R, T> Stream for MapAsync<S, F, T>
where
    S: Stream,
    F: FnMut(S::Item) -> R,
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some(task) = this.pull.next(this.under_way.len(), cx) {
            this.under_way.push_back(Wanted(task));
        }
        let Some(first) = this.under_way.front_mut() else {
            return this.pull.at_rest();
        };
        let result = first.poll(cx);
        if result.is_ready() {
            this.under_way.pop_front();
        }
        result.map(Some)
    }
}

impl<S, F, T> fmt::Debug for MapAsync<S, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapAsync")
            .field("job", &self.pull.job)
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

/// The numbers of those futures of a stream that may have ended, and the waker of the task that polls the stream.
#[derive(Default)]
struct Finished(Mutex<News>);

#[derive(Default)]
struct News {
    numbers: VecDeque<u64>,
    reader: Option<Waker>,
}

impl Finished {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The waker of one future of a stream. A wake-up adds the future's number to the list `finished`, and wakes the task that
/// polls the stream.
struct Bell {
    number: u64,
    finished: Arc<Finished>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let reader = {
            let mut news = self.finished.lock();
            news.numbers.push_back(self.number);
            news.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A stream of the results of futures, in the order in which the futures end. Made by [`MapAsync::as_completed`].
///
/// # Examples
///
/// ```
/// use futures::executor::block_on_stream;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let squares = pool.job(2).map_async(0..10, |i| async move { i * i }).as_completed();
/// assert_eq!(block_on_stream(squares).map(Result::unwrap).sum::<i32>(), 285);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct MapAsyncAsCompleted<S, F, T> {
    pull: Pull<S, F>,
    under_way: BTreeMap<u64, Wanted<T>>,
    pulled: u64,
    finished: Arc<Finished>,
}

impl<S, F, T> MapAsyncAsCompleted<S, F, T> {
    /// Polls the handle of the future with the number `number`. Returns the future's result if the future has ended. Otherwise
    /// the end of the future will add the number to the list `finished`.
    fn look(&mut self, number: u64) -> Option<Result<T, JoinError>> {
        let task = self.under_way.get_mut(&number)?;
        let bell = Waker::from(Arc::new(Bell { number, finished: self.finished.clone() }));
        match task.poll(&mut Context::from_waker(&bell)) {
            Poll::Ready(result) => {
                self.under_way.remove(&number);
                Some(result)
            }
            Poll::Pending => None,
        }
    }
}

impl<S, F, T> Unpin for MapAsyncAsCompleted<S, F, T> {}

impl<S, F, R, T> Stream for MapAsyncAsCompleted<S, F, T>
where
    S: Stream,
    F: FnMut(S::Item) -> R,
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // The waker must be stored before the handles are polled. Otherwise a future that ends after the poll of its handle and
        // before the store of the waker would wake no task.
        let waker = cx.waker().clone();
        let before = this.finished.lock().reader.replace(waker);
        drop(before);
        while let Some(task) = this.pull.next(this.under_way.len(), cx) {
            let number = this.pulled;
            this.pulled += 1;
            this.under_way.insert(number, Wanted(task));
            if let Some(result) = this.look(number) {
                return Poll::Ready(Some(result));
            }
        }
        loop {
            let next = this.finished.lock().numbers.pop_front();
            let Some(number) = next else { break };
            if let Some(result) = this.look(number) {
                return Poll::Ready(Some(result));
            }
        }
        if this.under_way.is_empty() { this.pull.at_rest() } else { Poll::Pending }
    }
}

impl<S, F, T> fmt::Debug for MapAsyncAsCompleted<S, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapAsyncAsCompleted")
            .field("job", &self.pull.job)
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}
