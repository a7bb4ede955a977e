//! `Rate`: how often tasks of a job may start.

use crate::sync::time::Instant;
use std::time::Duration;

/// About thirty years: a wait of this length counts as a wait without end. The clock of each platform can represent a time this
/// far in the future.
pub const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A bound on how often tasks of a job start. There are two kinds of rates. One kind allows a number of starts in a given time,
/// such as ten in a second. The other kind allows no start for a given time after the end of each task.
///
/// A rate of [`per_second`](Self::per_second), [`per_minute`](Self::per_minute) or [`every`](Self::every) has an
/// *interval* and a *burst*. In each window of length `t`, at most `burst + t / interval` tasks start. The burst is 1
/// if [`burst`](Self::burst) sets no other. After a time without starts, at most `burst` tasks start at once, however
/// long that time was.
///
/// # Examples
///
/// ```
/// use tollgate::Rate;
///
/// let pool = tollgate::Pool::builder().workers(4).build()?;
/// // At most ten a second, of which three may start at once, and at most 100 a minute.
/// let job = pool.job_builder().rate(Rate::per_second(10).burst(3)).rate(Rate::per_minute(100)).build();
/// assert_eq!(job.spawn(|| "in time").join().unwrap(), "in time");
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Allows one start in each interval, and up to `burst` starts at once.
    Every { interval: Duration, burst: u32 },
    /// Allows no start for this time after the end of a task.
    GapAfterEnd(Duration),
}

impl Rate {
    /// Makes a rate that allows `starts` starts a second, evenly spread.
    ///
    /// # Panics
    ///
    /// Panics if `starts` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::Rate;
    ///
    /// assert_eq!(Rate::per_second(10), Rate::every(Duration::from_millis(100)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn per_second(starts: u32) -> Self {
        Self::within(Duration::from_secs(1), starts)
    }

    /// Makes a rate that allows `starts` starts a minute, evenly spread.
    ///
    /// # Panics
    ///
    /// Panics if `starts` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::Rate;
    ///
    /// assert_eq!(Rate::per_minute(20), Rate::every(Duration::from_secs(3)));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn per_minute(starts: u32) -> Self {
        Self::within(Duration::from_secs(60), starts)
    }

    #[track_caller]
    fn within(time: Duration, starts: u32) -> Self {
        assert!(starts > 0, "a rate of 0 would start no task: pause the job instead");
        // The interval is rounded up, so that no window has more starts than allowed.
        let nanos = (time.as_nanos() as u64).div_ceil(u64::from(starts));
        Self::every(Duration::from_nanos(nanos))
    }

    /// Makes a rate that allows one start in each interval.
    ///
    /// # Panics
    ///
    /// Panics if the interval is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tollgate::Rate;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let interval = Duration::from_millis(5);
    /// let host = pool.job_builder().rate(Rate::every(interval)).build();
    /// let before = Instant::now();
    /// let starts = [(); 3].map(|()| host.spawn(Instant::now));
    /// let last = starts.map(|start| start.join().unwrap()).into_iter().max();
    /// assert!(last >= Some(before + 2 * interval));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn every(interval: Duration) -> Self {
        assert!(!interval.is_zero(), "an interval of 0 is no rate: leave the rate out instead");
        Self { kind: Kind::Every { interval: interval.min(FAR), burst: 1 } }
    }

    /// Makes a rate that allows no start for the time `gap` after a task has ended.
    ///
    /// In a job with a limit of 1, the gap is the pause between two tasks. For example, a crawler gives a server a pause
    /// between two requests. In a job with a higher limit, a task starts only if no task of the job has ended within the
    /// last `gap`. A gap does not affect tasks that run.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool, Rate};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let gap = Rate::gap_after_end(Duration::from_secs(5));
    /// let host = pool.job_builder().limit(1).rate(gap).build();
    /// host.execute(|| ());
    /// host.wait();
    /// let second = host.spawn(|| ());
    /// assert_eq!(host.stats().backlog, 1);
    /// clock.advance(Duration::from_secs(5));
    /// second.join().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use]
    pub fn gap_after_end(gap: Duration) -> Self {
        Self { kind: Kind::GapAfterEnd(gap.min(FAR)) }
    }

    /// Sets the burst: how many tasks may start at once after a time without starts.
    ///
    /// # Panics
    ///
    /// Panics if `starts` is 0, or if the rate is a [`gap_after_end`](Self::gap_after_end).
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::{ManualClock, Pool, Rate};
    ///
    /// let clock = ManualClock::new(); // no time passes
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let job = pool.job_builder().rate(Rate::per_second(1).burst(3)).build();
    /// for _ in 0..4 {
    ///     job.execute(|| ());
    /// }
    /// while job.stats().completed < 3 || job.stats().backlog < 1 {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(job.stats().completed, 3); // the fourth task would start a second later
    /// assert_eq!(pool.shutdown_now(), 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn burst(self, starts: u32) -> Self {
        assert!(starts > 0, "a burst of 0 would start no task: set at least 1");
        match self.kind {
            Kind::Every { interval, .. } => Self { kind: Kind::Every { interval, burst: starts } },
            Kind::GapAfterEnd(_) => panic!("a gap after the end of a task has no burst"),
        }
    }
}

/// The state of a rate: the rate, and how much of its burst is used up.
///
/// The state of a rate with an interval is the time `free`, at which the whole burst is free again. A start moves `free` one
/// interval further into the future. A start is allowed if `free` is at most `burst - 1` intervals in the future. So any span
/// of time has at most `burst` starts, plus one for each whole interval in the span.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: Rate,
    /// The time in which all tokens of the burst but one come free. A start is allowed if the time in the field `free` is at
    /// most this far in the future. 0 if the rate is a gap.
    saved: Duration,
    /// The time at which the whole burst is free again, or at which the gap after the end of a task is over. `None` before
    /// the first start or end.
    free: Option<Instant>,
}

impl Pace {
    /// Makes the state of a rate before its first start.
    pub fn new(rate: Rate) -> Self {
        Self { rate, saved: saved(rate), free: None }
    }

    /// Returns the state of the new rate `rate`, which replaces this one. As many starts of the new burst are used up as were
    /// used up of the old burst, but at most the whole new burst. A gap that has begun continues, but for at most the length of
    /// the new gap. If only one of the two rates is a gap, the new rate begins unused.
    pub fn with_rate(self, rate: Rate, now: Instant) -> Self {
        let left = self.free.map_or(Duration::ZERO, |free| free.saturating_duration_since(now));
        let wait = match (self.rate.kind, rate.kind) {
            (Kind::Every { interval: old, .. }, Kind::Every { interval, burst }) => {
                let scaled = left.as_nanos().saturating_mul(interval.as_nanos());
                let scaled = u64::try_from(scaled.div_ceil(old.as_nanos())).unwrap_or(u64::MAX);
                Duration::from_nanos(scaled).min(interval.saturating_mul(burst))
            }
            (Kind::GapAfterEnd(_), Kind::GapAfterEnd(gap)) => left.min(gap),
            _ => Duration::ZERO,
        };
        Self { rate, saved: saved(rate), free: now.checked_add(wait) }
    }

    /// Returns the rate that this state belongs to.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Returns true if at the time `now` the whole burst is free, or the gap is over.
    pub fn is_unused(&self, now: Instant) -> bool {
        self.free.is_none_or(|free| free <= now)
    }

    /// Returns the time at which the rate allows the next start, or `None` if it allows a start at the time `now`.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let left = self.free?.saturating_duration_since(now);
        let wait = left.saturating_sub(self.saved);
        if wait.is_zero() { None } else { now.checked_add(wait) }
    }

    /// Counts a start at the time `now`. The caller must have checked that the rate allows the start.
    pub fn start(&mut self, now: Instant) {
        if let Kind::Every { interval, .. } = self.rate.kind {
            let free = self.free.map_or(now, |free| free.max(now));
            self.free = free.checked_add(interval);
        }
    }

    /// Returns true if the rate counts the ends of tasks and not their starts, as [`Rate::gap_after_end`] does.
    pub fn is_gap(&self) -> bool {
        matches!(self.rate.kind, Kind::GapAfterEnd(_))
    }

    /// If the rate counts the ends of tasks, counts the end of a task at the time `now`.
    pub fn end(&mut self, now: Instant) {
        if let Kind::GapAfterEnd(gap) = self.rate.kind {
            self.free = self.free.max(now.checked_add(gap));
        }
    }
}

/// Returns the value for the field `saved` of a [`Pace`]: the time in which all tokens of the rate's burst but one come free.
fn saved(rate: Rate) -> Duration {
    match rate.kind {
        Kind::Every { interval, burst } => interval.saturating_mul(burst - 1),
        Kind::GapAfterEnd(_) => Duration::ZERO,
    }
}
