//! Adaptive limits: the type `Adaptive`, and the rules that choose a job's next limit.
//!
//! The rule of an adaptive limit receives the figures of one interval, and returns the next limit. Module `job::samples`
//! collects the figures, and module `worker::adapt` calls the rule.

mod moving_average;
mod vegas;

pub use moving_average::MovingAverage;
pub use vegas::Vegas;

use crate::job::permits::MOST;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The least length of an interval, unless [`Adaptive::interval`] sets another length.
const SHORTEST: Duration = Duration::from_millis(10);

/// A limit that a rule sets within a range, by how long the job's tasks take. Pass this value to
/// [`JobBuilder::adaptive`](crate::JobBuilder::adaptive).
///
/// The library measures how long each task holds its permits. The time for which the task waits inside, as in a join, does not
/// count. A task that meets an overloaded server should call [`overloaded`]. After each *interval* a [`LimitRule`] receives the
/// figures of the tasks that ended in the interval, and returns the next limit. If this limit is outside of the range, the
/// library takes the nearer end of the range.
///
/// The default rule is [`MovingAverage`].
///
/// # Examples
///
/// ```
/// use tollgate::{Adaptive, Vegas};
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let search = pool.job_builder().adaptive(Adaptive::new(1..=64)).build();
/// let pages = pool.job_builder().adaptive(Adaptive::new(2..=20).rule(Vegas::new())).build();
/// assert_eq!((search.limit(), pages.limit()), (1, 2));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
///
/// [`overloaded`]: crate::overloaded
#[must_use = "a limit adapts only in a job that is built with it"]
pub struct Adaptive {
    pub(crate) range: RangeInclusive<usize>,
    pub(crate) shortest: Duration,
    pub(crate) rule: Box<dyn LimitRule>,
}

impl Adaptive {
    /// Makes an adaptive limit that stays within `range`.
    ///
    /// # Panics
    ///
    /// Panics if the range begins with 0, is empty, or ends above [`Job::MAX_LIMIT`](crate::Job::MAX_LIMIT).
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Adaptive;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().adaptive(Adaptive::new(4..=64)).build();
    /// assert_eq!(job.limit(), 4);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn new(range: RangeInclusive<usize>) -> Self {
        assert!(*range.start() > 0, "an adaptive limit of 0 would start no task: begin at 1");
        assert!(!range.is_empty(), "an adaptive limit needs a range that is not empty");
        let most = MOST as usize - 1;
        assert!(*range.end() <= most, "an adaptive limit ends at {most} at most: Job::MAX_LIMIT");
        Self { range, shortest: SHORTEST, rule: Box::new(MovingAverage::new()) }
    }

    /// Sets the rule that chooses the limit. Without this call the rule is [`MovingAverage`].
    ///
    /// # Examples
    ///
    /// A closure can be the rule:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Adaptive, Interval, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let grow = |interval: &Interval| if interval.overloads > 0 { 1 } else { interval.limit + 1 };
    /// let job = pool.job_builder().adaptive(Adaptive::new(1..=8).rule(grow)).build();
    /// for limit in 1..=8 {
    ///     assert_eq!(job.limit(), limit);
    ///     let permit = job.try_acquire()?;
    ///     clock.advance(Duration::from_millis(100));
    ///     drop(permit); // The end of an interval.
    /// }
    /// assert_eq!(job.limit(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rule(mut self, rule: impl LimitRule + 'static) -> Self {
        self.rule = Box::new(rule);
        self
    }

    /// Sets the least length of an interval. Without this call the least length is 10 ms.
    ///
    /// An interval is never shorter than this length, and never shorter than the mean time of the tasks of the previous
    /// interval. So most tasks that end in an interval have run under the limit of that interval. Only the end of a task can
    /// end an interval, so a job without tasks has no intervals.
    ///
    /// # Panics
    ///
    /// Panics if the time is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Adaptive, Interval, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let adaptive = Adaptive::new(1..=8).interval(Duration::from_secs(1));
    /// let job = pool.job_builder().adaptive(adaptive.rule(|_: &Interval| 5)).build();
    /// drop(job.try_acquire()?);
    /// assert_eq!(job.limit(), 1);
    /// clock.advance(Duration::from_secs(1));
    /// drop(job.try_acquire()?);
    /// assert_eq!(job.limit(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn interval(mut self, shortest: Duration) -> Self {
        assert!(!shortest.is_zero(), "an interval needs a time: set more than 0");
        self.shortest = shortest;
        self
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("range", &self.range)
            .field("interval", &self.shortest)
            .finish_non_exhaustive()
    }
}

/// Decides the next limit of a job from the figures of one interval.
///
/// One thread at a time calls the rule of a job. If the program has set the job's limit since the interval ended, the library
/// ignores the limit that the rule returns. If the rule panics, the job's limit stays as it is.
///
/// The rule runs on the thread that ends the last task of the interval, before the task's permit is released. So a rule must be
/// fast. A rule must not wait for a task, a job or a permit of the pool: on a worker such a wait panics.
///
/// Each adaptive job has a rule of its own, and so has the job of each key of a [`Keyed`](crate::Keyed). A rule is dropped with
/// its job.
///
/// # Examples
///
/// ```
/// use tollgate::{Adaptive, Interval, LimitRule};
///
/// /// Adds one after a good interval, and halves after a bad one.
/// struct Aimd;
///
/// impl LimitRule for Aimd {
///     fn next_limit(&mut self, interval: &Interval) -> usize {
///         match interval.overloads {
///             0 if interval.is_limit_reached() => interval.limit + 1,
///             0 => interval.limit,
///             _ => interval.limit / 2,
///         }
///     }
/// }
///
/// let mut interval = Interval::new(8, 1..=64);
/// interval.most_running = 8;
/// assert_eq!(Aimd.next_limit(&interval), 9);
/// interval.overloads = 1;
/// assert_eq!(Aimd.next_limit(&interval), 4);
/// let adaptive = Adaptive::new(1..=64).rule(Aimd);
/// # drop(adaptive);
/// ```
pub trait LimitRule: Send {
    /// Returns the limit for the next interval. If this limit is outside of the job's range, the library takes the
    /// nearer end of the range.
    ///
    /// # Examples
    ///
    /// See the example of [`LimitRule`].
    fn next_limit(&mut self, interval: &Interval) -> usize;
}

impl<F: FnMut(&Interval) -> usize + Send> LimitRule for F {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        self(interval)
    }
}

/// The figures of the tasks that ended in one interval.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Interval, LimitRule, MovingAverage};
///
/// let mut interval = Interval::new(10, 1..=64);
/// interval.tasks = 30;
/// interval.mean = Duration::from_millis(50);
/// interval.most_running = 10;
/// let mut rule = MovingAverage::new();
/// assert_eq!(rule.next_limit(&interval), 11);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interval {
    /// The job's limit during the interval.
    pub limit: usize,
    /// The range within which the rule may set the limit.
    pub range: RangeInclusive<usize>,
    /// The number of tasks that ended in the interval, at least 1.
    pub tasks: u64,
    /// The mean time for which the tasks that ended in the interval held their permits.
    pub mean: Duration,
    /// The standard deviation of the times for which the tasks that ended in the interval held their permits.
    pub deviation: Duration,
    /// The number of tasks that ended in the interval and had called [`overloaded`](crate::overloaded).
    pub overloads: u64,
    /// The greatest number of the job's tasks that ran at once in the interval.
    pub most_running: usize,
}

impl Interval {
    /// Makes an interval in which no task ended, for a test of a rule.
    ///
    /// # Examples
    ///
    /// ```
    /// let interval = tollgate::Interval::new(4, 1..=8);
    /// assert_eq!((interval.limit, interval.tasks), (4, 0));
    /// ```
    #[must_use]
    pub fn new(limit: usize, range: RangeInclusive<usize>) -> Self {
        Self {
            limit,
            range,
            tasks: 0,
            mean: Duration::ZERO,
            deviation: Duration::ZERO,
            overloads: 0,
            most_running: 0,
        }
    }

    /// Returns true if the limit was reached: in the interval as many tasks ran at once as the limit allows. If the answer is
    /// false, a higher limit would have let no further task run.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut interval = tollgate::Interval::new(4, 1..=8);
    /// interval.most_running = 3;
    /// assert!(!interval.is_limit_reached());
    /// interval.most_running = 4;
    /// assert!(interval.is_limit_reached());
    /// ```
    #[must_use]
    pub fn is_limit_reached(&self) -> bool {
        self.most_running >= self.limit
    }

    /// Returns nine tenths of the interval's limit, rounded down, or the start of the range if the start is greater.
    fn lowered(&self) -> usize {
        (self.limit - self.limit.div_ceil(10)).max(*self.range.start())
    }
}
