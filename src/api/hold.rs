//! The hold-off and the rates of a job: `hold_off`, `hold_off_until`, `held_until`, `set_rate`, `set_rates`.

use crate::api::job::Job;
use crate::job::gate::{hold, rated};
use crate::rate::Rate;
use crate::sync::time::Instant;
use std::time::Duration;

impl Job {
    /// Holds the job off for the time `time` from now: during that time no task of the job, or of a job below it, starts.
    ///
    /// Call this method when a service asks its clients to wait, as HTTP does by the header `Retry-After`. A task of the job
    /// itself is allowed to call this method. A later call can extend the hold-off, but never shortens it. The hold-off needs
    /// no thread and no worker: one timer serves the whole pool.
    ///
    /// After `hold_off` has returned, no task of the job acquires a permit during the hold-off. But a worker that is between
    /// two tasks of the job, and still has a permit, can start one more task. Tasks that have begun continue, and can also
    /// re-acquire their permits after a wait inside.
    ///
    /// A hold-off is independent of the [limit](Self::set_limit) and of a [pause](Self::pause): a task starts only if all three
    /// allow the start. So [`resume`](Self::resume) does not end a hold-off, and the end of a hold-off does not end a pause.
    /// After [`close`](Self::close) the accepted tasks run when the hold-off has ended. After [`cancel`](Self::cancel) they are
    /// dropped without waiting for the end of the hold-off.
    ///
    /// A [drain](crate::Pool::shutdown) of the pool waits until the hold-off has ended and the job's tasks have run.
    /// [`shutdown_now`](crate::Pool::shutdown_now) and [`shutdown_timeout`](crate::Pool::shutdown_timeout) drop the tasks of a
    /// held-off job. When its pool has ended, a job is no longer held off.
    ///
    /// # Panics
    ///
    /// Panics if the platform cannot start the thread of the pool's timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(2);
    /// let inside = host.clone();
    /// // The first answer says `Retry-After`.
    /// host.spawn(move || inside.hold_off(Duration::from_millis(20))).join().unwrap();
    /// let until = host.held_until();
    /// let began = host.spawn(Instant::now).join().unwrap();
    /// assert!(until.is_none_or(|until| began >= until));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn hold_off(&self, time: Duration) {
        let until = self.ptr().pool().after(time);
        self.hold_off_or_panic(until);
    }

    /// Holds the job off until the time `until`, as [`hold_off`](Self::hold_off) does. Does nothing if the time `until` has
    /// already come.
    ///
    /// # Panics
    ///
    /// As with [`hold_off`](Self::hold_off).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(2);
    /// let until = Instant::now() + Duration::from_secs(3600);
    /// host.hold_off_until(until);
    /// host.hold_off(Duration::from_secs(1)); // does not shorten it
    /// assert_eq!(host.held_until(), Some(until));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn hold_off_until(&self, until: Instant) {
        self.hold_off_or_panic(until);
    }

    #[track_caller]
    fn hold_off_or_panic(&self, until: Instant) {
        if let Err(error) = hold::hold_off(self.ptr(), until) {
            panic!("no thread for the pool's timer: {error}");
        }
    }

    /// Replaces all the job's rates by `rate`, even while tasks run. To set several rates, call [`set_rates`](Self::set_rates).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool, Rate};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let job = pool.job_builder().rate(Rate::per_minute(1)).build();
    /// job.spawn(|| ()).join().unwrap();
    /// let second = job.spawn(|| "a second later");
    /// job.set_rate(Rate::per_second(1));
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(second.join().unwrap(), "a second later");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn set_rate(&self, rate: Rate) {
        self.set_rates(&[rate]);
    }

    /// Replaces all the job's rates by `rates`, even while tasks run. An empty slice removes all rates.
    ///
    /// After `set_rates` each start needs a token of each of the new rates, as with [`JobBuilder::rate`]. A worker that is
    /// between two tasks of the job can still start one task by the old rates. Each new rate begins with as many tokens used up
    /// as the old rate at the same index had used up. So the call grants no further burst. If a new rate has a
    /// [gap](Rate::gap_after_end), the gap follows each task that starts after the call.
    ///
    /// [`JobBuilder::rate`]: crate::JobBuilder::rate
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::{ManualClock, Pool, Rate};
    ///
    /// let clock = ManualClock::new(); // no time passes
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let job = pool.job(2);
    /// job.set_rates(&[Rate::per_minute(1)]);
    /// job.spawn(|| ()).join().unwrap();
    /// let second = job.spawn(|| "at last");
    /// assert_eq!(job.stats().backlog, 1);
    /// job.set_rates(&[]);
    /// assert_eq!(second.join().unwrap(), "at last");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn set_rates(&self, rates: &[Rate]) {
        rated::set_rates(self.ptr(), rates);
    }

    /// Returns the time until which the job is held off, or `None` if the job is not held off.
    ///
    /// `held_until` reports this job alone: if only an ancestor is held off, the method returns `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(2);
    /// assert_eq!(host.held_until(), None);
    /// host.hold_off(Duration::from_secs(3600));
    /// assert!(host.held_until().is_some_and(|until| until > Instant::now()));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn held_until(&self) -> Option<Instant> {
        hold::held_until(self.ptr())
    }
}
