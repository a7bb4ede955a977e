//! Histograms of times, with a bucket for each power of two.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::ops::{AddAssign, RangeInclusive};
use std::time::Duration;

/// The number of buckets: one for a time of zero, and one for each power of two of nanoseconds.
const BUCKETS: usize = 65;

/// The measured times of a job's tasks: how many tasks ran, or waited, for how long. Returned by
/// [`Job::timings`](crate::Job::timings).
///
/// A bucket counts the measured times from one power of two of nanoseconds to the next. So quantiles are known within a factor
/// of two. The count, the mean and the longest time are exact.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tollgate::{ManualClock, Pool};
///
/// let clock = ManualClock::new();
/// let pool = Pool::builder().workers(1).clock(&clock).build()?;
/// let job = pool.job_builder().timed().build();
/// for millis in [1, 1, 1, 9] {
///     let clock = clock.clone();
///     job.spawn(move || clock.advance(Duration::from_millis(millis))).join().unwrap();
/// }
/// let run = job.timings().unwrap().run;
/// assert_eq!((run.count(), run.mean()), (4, Some(Duration::from_millis(3))));
/// assert_eq!(run.longest(), Some(Duration::from_millis(9)));
/// assert!(run.quantile(0.5).unwrap().contains(&Duration::from_millis(1)));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    total: u64,
    longest: u64,
}

impl Histogram {
    /// Returns the number of measured times in the histogram.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().timed().build();
    /// job.spawn(|| ()).join().unwrap();
    /// assert_eq!(job.timings().unwrap().wait.count(), 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the mean of all measured times, or `None` if the histogram is empty.
    ///
    /// The mean is wrong if the sum of all measured times exceeds 584 years.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().timed().build();
    /// assert_eq!(job.timings().unwrap().run.mean(), None);
    /// job.spawn(|| ()).join().unwrap();
    /// let run = job.timings().unwrap().run;
    /// assert_eq!(run.mean(), run.longest()); // of one task
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn mean(&self) -> Option<Duration> {
        self.total.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// Returns the longest measured time, or `None` if the histogram is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().timed().build();
    /// assert_eq!(job.timings().unwrap().run.longest(), None);
    /// job.spawn(|| std::thread::sleep(Duration::from_millis(2))).join().unwrap();
    /// assert!(job.timings().unwrap().run.longest() >= Some(Duration::from_millis(2)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn longest(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.longest))
    }

    /// Returns a lower and an upper bound of the quantile `share` of the measured times, or `None` if the histogram is empty.
    ///
    /// At least `share * count()` of the measured times are not longer than the upper bound. For example, `quantile(0.5)`
    /// returns bounds of the median.
    ///
    /// # Panics
    ///
    /// Panics if `share` is not between 0 and 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().timed().build();
    /// (0..100).for_each(|_| job.execute(|| ()));
    /// job.wait();
    /// let wait = job.timings().unwrap().wait;
    /// let (median, most) = (wait.quantile(0.5).unwrap(), wait.quantile(1.0).unwrap());
    /// assert!(median.start() <= most.start());
    /// assert!(most.contains(&wait.longest().unwrap()));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn quantile(&self, share: f64) -> Option<RangeInclusive<Duration>> {
        assert!(
            (0.0..=1.0).contains(&share),
            "a quantile is a share from 0 to 1, and {share} is not"
        );
        let count = self.count();
        let rank = ((share * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(self.bounds(bucket))
    }

    /// Returns each bucket that is not empty: the least and the greatest time of the bucket, and the number of measured
    /// times in the bucket. Buckets of shorter times come first.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().timed().build();
    /// (0..100).for_each(|_| job.execute(|| ()));
    /// job.wait();
    /// let run = job.timings().unwrap().run;
    /// assert_eq!(run.buckets().map(|(_, count)| count).sum::<u64>(), 100);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (RangeInclusive<Duration>, u64)> + '_ {
        let buckets = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        buckets.map(|(bucket, count)| (self.bounds(bucket), *count))
    }

    /// Returns for each bucket its greatest time, and how many measured times were added to it since `before` was read. Leaves
    /// out buckets to which no time was added.
    #[cfg(feature = "metrics")]
    pub(crate) fn since(&self, before: Option<&Self>) -> impl Iterator<Item = (Duration, usize)> {
        let more = move |bucket: usize| {
            let before = before.map_or(0, |before| before.counts[bucket]);
            self.counts[bucket].saturating_sub(before) as usize
        };
        let buckets = (0..BUCKETS).filter(move |bucket| more(*bucket) > 0);
        buckets.map(move |bucket| (*self.bounds(bucket).end(), more(bucket)))
    }

    /// Returns the least and the greatest time of the bucket with the index `bucket`.
    fn bounds(&self, bucket: usize) -> RangeInclusive<Duration> {
        let least = if bucket == 0 { 0 } else { 1 << (bucket - 1) };
        // In the second branch the shift is below 64, because `bucket` is at least 1.
        let most = if bucket == 0 { 0 } else { u64::MAX >> (BUCKETS - 1 - bucket) };
        Duration::from_nanos(least)..=Duration::from_nanos(most.min(self.longest))
    }
}

/// Adds the measured times of another histogram, for example of another job's.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let jobs = [(); 3].map(|()| pool.job_builder().timed().build());
/// jobs.iter().for_each(|job| job.spawn(|| ()).join().unwrap());
/// let mut all = jobs[0].timings().unwrap().run;
/// jobs[1..].iter().for_each(|job| all += job.timings().unwrap().run);
/// assert_eq!(all.count(), 3);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
impl AddAssign for Histogram {
    fn add_assign(&mut self, more: Self) {
        self.counts.iter_mut().zip(more.counts).for_each(|(count, more)| *count += more);
        self.total += more.total;
        self.longest = self.longest.max(more.longest);
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(mean), Some(longest)) = (self.mean(), self.longest()) else {
            return f.write_str("no task");
        };
        let most = |share| self.quantile(share).map(|bounds| *bounds.end()).unwrap_or_default();
        let tasks = if self.count() == 1 { "task" } else { "tasks" };
        write!(f, "{} {tasks}: mean {mean:.1?}, ", self.count())?;
        write!(f, "50 % at most {:.1?}, 99 % at most {:.1?}, ", most(0.5), most(0.99))?;
        write!(f, "longest {longest:.1?}")
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.buckets()).finish()
    }
}

/// A histogram to which several threads can add times at once.
#[derive(Debug)]
pub(crate) struct Buckets {
    counts: [AtomicU64; BUCKETS],
    total: AtomicU64,
    longest: AtomicU64,
}

impl Buckets {
    /// Makes an empty histogram.
    pub fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            total: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }

    /// Adds a time of `nanos` nanoseconds.
    pub fn add(&self, nanos: u64) {
        let bucket = (u64::BITS - nanos.leading_zeros()) as usize;
        // Ordering: Relaxed; figures.
        if nanos > self.longest.load(Ordering::Relaxed) {
            // Ordering: Relaxed; figures, published by the count.
            self.longest.fetch_max(nanos, Ordering::Relaxed);
        }
        // Ordering: Relaxed; figures, published by the count.
        self.total.fetch_add(nanos, Ordering::Relaxed);
        // Ordering: Release; pairs with `read`, so that a count implies its total and its longest.
        self.counts[bucket].fetch_add(1, Ordering::Release);
    }

    /// Returns a histogram of the times that were added so far.
    pub fn read(&self) -> Histogram {
        // Ordering: Acquire for the counts, which are read first; pairs with `add`. Relaxed for the figures read after
        // them.
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Acquire));
        let total = self.total.load(Ordering::Relaxed);
        let longest = self.longest.load(Ordering::Relaxed);
        // The sum can include times that were added after the counts were read. So the sum is limited here: the mean must not
        // be greater than the longest time.
        let most = longest.saturating_mul(counts.iter().sum());
        Histogram { counts, total: total.min(most), longest }
    }
}
