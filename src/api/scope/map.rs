//! `Scope::map`: calls a closure with each item of an input, and returns an iterator over the results. The closure and the
//! input may borrow values that outlive the scope.

use crate::api::scope::Scope;
use crate::api::stream::pump::OfScope;
use crate::api::stream::taker::Taker;
use crate::error::JoinError;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

impl<'scope> Scope<'scope, '_> {
    /// Does what [`Job::map`](crate::Job::map) does. The input and the closure may borrow values that outlive the scope.
    ///
    /// The tasks that pull the input belong to the scope. So the scope waits for each call of `f` that has begun, even if the
    /// iterator is dropped before.
    ///
    /// # Blocking, cancellation, errors
    ///
    /// The returned iterator behaves like that of [`Job::map`](crate::Job::map): it blocks in the same cases, its drop cancels
    /// the same calls, and it yields the same errors.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let text = String::from("ten million lines");
    /// let longest = "million".len();
    /// let lengths: Vec<usize> = pool.job(2).scope(|s| {
    ///     s.map(text.split(' '), |word| word.len().min(longest)).map(Result::unwrap).collect()
    /// });
    /// assert_eq!(lengths, [3, 7, 5]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    ///
    /// The iterator cannot leave the scope:
    ///
    /// ```compile_fail
    /// let pool = tollgate::Pool::new().unwrap();
    /// let mut results = pool.job(2).scope(|s| s.map(0..3, |i| i));
    /// results.next();
    /// ```
    #[track_caller]
    pub fn map<I, F, R>(&'scope self, input: I, f: F) -> ScopedMap<'scope, R>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'scope,
        F: Fn(I::Item) -> R + Send + Sync + 'scope,
        R: Send + 'scope,
    {
        let keeper = OfScope((&self.tasks).into());
        // SAFETY: all borrows live for 'scope, which lasts until `Tasks::enter` returns. Only the iterator and tasks of the
        // scope make pullers.
        let taker = unsafe { Taker::new(&self.job, input.into_iter(), f, keeper) };
        ScopedMap { taker, scope: PhantomData }
    }
}

/// An iterator over results, in the order of the input. Made by [`Scope::map`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let numbers = [1, 2, 3];
/// let sum: i32 = pool.job(2).scope(|s| s.map(&numbers, |i| i * i).map(Result::unwrap).sum());
/// assert_eq!(sum, 14);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "nothing happens before the first `next`, and dropping it cancels the rest"]
pub struct ScopedMap<'scope, R> {
    taker: Taker<'scope, R>,
    // `'scope` is invariant here, as it is in `Scope`.
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<R> ScopedMap<'_, R> {
    /// Changes the iterator to yield results in the order in which the calls end, not in the order of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let numbers = [1, 2, 3];
    /// let squares = pool.job(2).scope(|s| {
    ///     s.map(&numbers, |i| i * i).as_completed().map(Result::unwrap).sum::<i32>()
    /// });
    /// assert_eq!(squares, 14);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn as_completed(self) -> Self {
        self.taker.pump.order_by_completion();
        self
    }
}

impl<R> Iterator for ScopedMap<'_, R> {
    type Item = Result<R, JoinError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.taker.next()
    }
}

impl<R> FusedIterator for ScopedMap<'_, R> {}

impl<R> fmt::Debug for ScopedMap<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.taker.describe(&mut f.debug_struct("ScopedMap"))
    }
}
