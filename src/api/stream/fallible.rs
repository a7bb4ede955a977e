//! `Job::try_for_each` and `Job::try_map`: after the first error no further item of the input is pulled.

use crate::api::job::Job;
use crate::api::stream::map::Map;
use crate::error::JoinError;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::unwind;
use std::error::Error;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

/// Why [`Job::try_for_each`] or [`Job::try_map`] ended early.
///
/// # Examples
///
/// ```
/// use tollgate::TryError;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let outcome = pool.job(1).try_for_each(["no number"], |text| text.parse::<u8>().map(drop));
/// match outcome {
///     Err(TryError::Failed(error)) => assert_eq!(error.to_string(), "invalid digit found in string"),
///     _ => unreachable!(),
/// }
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Debug)]
pub enum TryError<E> {
    /// The closure returned this error.
    Failed(E),
    /// The closure panicked, or the job was closed or cancelled before the end of the input.
    Join(JoinError),
}

impl<E: fmt::Display> fmt::Display for TryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Join(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for TryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::Join(error) => error.source(),
        }
    }
}

/// Wraps an input: `next` returns `None` as soon as a call of the closure has failed.
struct Until<I> {
    input: I,
    failed: Arc<AtomicBool>,
}

impl<I: Iterator> Iterator for Until<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        // Ordering: Acquire; pairs with the store after the failed call of the closure.
        if self.failed.load(Ordering::Acquire) { None } else { self.input.next() }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.input.size_hint().1)
    }
}

impl Job {
    /// Does what [`for_each`](Self::for_each) does, with a closure that can fail. The first error is the end of the
    /// input.
    ///
    /// After an error `try_for_each` pulls no further item, and drops pulled items whose calls have not begun. Calls of `f`
    /// that have begun run to their end. Calls that take less than 5 ns are made in blocks of 256, and a block that has
    /// begun runs to its end. Errors after the first one are dropped.
    ///
    /// # Blocking
    ///
    /// Blocks as [`for_each`](Self::for_each) does.
    ///
    /// # Errors
    ///
    /// Returns [`TryError::Failed`] with the first error of `f`. If no call of `f` has failed, returns [`TryError::Join`] in two
    /// cases: the job was closed before this call, or the job was cancelled or its pool shut down before the end of the input.
    ///
    /// # Panics
    ///
    /// Passes on the first panic of `f`, of the input or of the input's drop, as [`for_each`](Self::for_each) does. If a
    /// call of `f` has failed before the panic, the error of that call is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::TryError;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// job.try_for_each(["1", "20"], |text| text.parse::<u8>().map(drop))?;
    /// let failed = job.try_for_each(["1", "many", "300"].iter().cycle(), |text| text.parse::<u8>().map(drop));
    /// assert!(matches!(failed, Err(TryError::Failed(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_for_each<I, F, E>(&self, input: I, f: F) -> Result<(), TryError<E>>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Send,
        F: Fn(I::Item) -> Result<(), E> + Sync,
        E: Send,
    {
        let first = Mutex::new(None);
        let outcome = unwind::halt(|| {
            self.for_each_while(input.into_iter(), |item| {
                let Err(error) = f(item) else { return true };
                let mut first = first.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if first.is_none() {
                    *first = Some(error);
                }
                false
            })
        });
        let first = first.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (outcome, first) {
            (Ok(_), Some(error)) => Err(TryError::Failed(error)),
            (Ok(outcome), None) => outcome.map_err(TryError::Join),
            (Err(payload), first) => {
                // This thread is about to pass on a panic. The drop of the error can panic, too, and two panics at once would
                // abort the process.
                unwind::drop_quietly(first);
                unwind::pass_on(payload)
            }
        }
    }

    /// Does what [`map`](Self::map) does, with a closure that can fail. The first error ends the iterator.
    ///
    /// The iterator of `try_map` yields results in the order of the input, up to the first error in this order, and then
    /// `None`. So `collect` into a `Result` gives all results, or the error. When a call of `f` fails or panics, no further
    /// item is pulled, even if the call with an earlier item still runs. Calls that run when the iterator yields the error
    /// continue, and their results are dropped.
    ///
    /// With [`as_completed`](TryMap::as_completed), the iterator yields results in the order in which the calls end.
    ///
    /// # Blocking, cancellation
    ///
    /// The iterator blocks in the same cases as that of [`map`](Self::map), and can be cancelled in the same ways.
    ///
    /// # Errors
    ///
    /// If a call of `f` fails, the last item of the iterator is the error of this call, as [`TryError::Failed`]. The last item is
    /// [`TryError::Join`], with the error that [`map`](Self::map) yields, in three cases: `f` or the input panics; the job was
    /// closed before the call of `try_map`; or the job is cancelled or its pool shuts down before the end of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// let numbers: Vec<u8> = job.try_map(["1", "20"], str::parse).collect::<Result<_, _>>()?;
    /// assert_eq!(numbers, [1, 20]);
    /// let failed: Result<Vec<u8>, _> = job.try_map(["1", "many", "30"], str::parse).collect();
    /// assert_eq!(failed.unwrap_err().to_string(), "invalid digit found in string");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_map<I, F, R, E>(&self, input: I, f: F) -> TryMap<R, E>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        F: Fn(I::Item) -> Result<R, E> + Send + Sync + 'static,
        R: Send + 'static,
        E: Send + 'static,
    {
        let failed = Arc::new(AtomicBool::new(false));
        let input = Until { input: input.into_iter(), failed: failed.clone() };
        let map = self.map(input, move |item| {
            let outcome = unwind::halt(|| f(item));
            if !matches!(outcome, Ok(Ok(_))) {
                // Ordering: Release; pairs with the load in `Until::next`.
                failed.store(true, Ordering::Release);
            }
            outcome.unwrap_or_else(|payload| unwind::pass_on(payload))
        });
        TryMap(Some(map))
    }
}

/// An iterator over results that ends with the first error. Made by [`Job::try_map`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let halves = |i: u32| if i % 2 == 0 { Ok(i / 2) } else { Err("odd") };
/// let mut results = pool.job(2).try_map([4, 5, 6], halves);
/// assert_eq!(results.next().unwrap().unwrap(), 2);
/// assert!(results.next().unwrap().is_err());
/// assert!(results.next().is_none());
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "nothing happens before the first `next`, and dropping it cancels the rest"]
pub struct TryMap<R, E>(Option<Map<Result<R, E>>>);

impl<R, E> TryMap<R, E> {
    /// Changes the iterator to yield results in the order in which the calls end, not in the order of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let results = pool.job(2).try_map(0..10, |i| Ok::<_, String>(i * i)).as_completed();
    /// assert_eq!(results.map(Result::unwrap).sum::<i32>(), 285);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn as_completed(self) -> Self {
        if let Some(map) = &self.0 {
            map.order_by_completion();
        }
        self
    }
}

impl<R, E> Iterator for TryMap<R, E> {
    type Item = Result<R, TryError<E>>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        let error = match self.0.as_mut()?.next() {
            Some(Ok(Ok(result))) => return Some(Ok(result)),
            Some(Ok(Err(error))) => Some(Err(TryError::Failed(error))),
            Some(Err(error)) => Some(Err(TryError::Join(error))),
            None => None,
        };
        // The iterator ends here. Drops the inner iterator, with all results that come after the error.
        self.0 = None;
        error
    }
}

impl<R, E> FusedIterator for TryMap<R, E> {}

impl<R, E> fmt::Debug for TryMap<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryMap").field(&self.0).finish()
    }
}
