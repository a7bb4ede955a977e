//! Permits without tasks: `Job::acquire`, `acquire_blocking` and `try_acquire`.
//!
//! Module `gate::acquire` changes the counts of permits. Module `task::waiter` makes the cell by which a waiter waits in a
//! job's queue.

use crate::api::job::Job;
use crate::error::{Closed, TryAcquireError};
use crate::job::events::{self, Number};
use crate::job::gate::adapt::is_adaptive;
use crate::job::gate::handed::Handed;
use crate::job::record::JobPtr;
use crate::job::samples::Sample;
use crate::job::{control, gate};
use crate::pool::core::PoolPtr;
use crate::sync::atomic::Ordering;
use crate::task::awaiting::Wait;
use crate::task::waiter::{Outcome, Waiter};
use crate::worker::context::Context;
use crate::worker::{adapt, blocking};
use crate::{process, unwind};
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

/// The right to run one task of a job, held without a task: for work that runs outside of the pool. Dropping the permit gives
/// it back.
///
/// While a permit is held, it counts as a running task of its job and of each ancestor, for example in
/// [`JobStats::running`](crate::JobStats::running). [`Job::wait`], [`Job::settled`] and a [drain](crate::Pool::shutdown) of the
/// pool wait until the permit is given back. The permit then counts as a completed task.
///
/// A permit belongs to no thread, and can outlive the [`Pool`](crate::Pool) and all handles of its job. A drain of the pool
/// waits forever for a permit that is never dropped, for example because of `mem::forget`.
/// [`shutdown_timeout`](crate::Pool::shutdown_timeout) waits only for its time-out.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job(2);
/// let permit = job.try_acquire()?;
/// assert_eq!(job.stats().running, 1);
/// std::thread::spawn(move || drop(permit)).join().unwrap();
/// assert_eq!((job.stats().running, job.stats().completed), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct Permit {
    /// The record of the permit's job. The permit owns a busy count, which keeps the record alive.
    job: JobPtr,
    /// The permit's sample, if the limit of the job or of an ancestor is adaptive. `None` after [`Permit::discard_sample`].
    sample: Option<Box<PermitSample>>,
    /// The number by which the timeline identifies the permit.
    number: Number,
}

/// The sample of a permit, and how long the permit's work took, if the user has said so.
#[derive(Clone, Copy)]
struct PermitSample {
    sample: Sample,
    /// The time that the user has passed to [`Permit::set_latency`]. If the field is still `None` when the permit is dropped,
    /// the sample is the time for which the permit was held.
    took: Option<Duration>,
}

impl Permit {
    /// Makes a `Permit` that owns one permit of each gate of `job`, one busy count and one flight. The caller must own all of
    /// these, and passes them to the new `Permit`.
    #[inline]
    fn new(job: JobPtr, number: Number) -> Self {
        let sample = is_adaptive(job)
            .then(|| Box::new(PermitSample { sample: adapt::begin(job, false), took: None }));
        Self { job, sample, number }
    }

    /// Reports that the permit's work has met an overload, such as a server that refuses, or a time-out. The report counts for
    /// the [adaptive](crate::Adaptive) limits of the permit's job and of its ancestors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Adaptive, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let api = pool.job_builder().limit(20).adaptive(Adaptive::new(1..=64)).build();
    /// let mut permit = api.try_acquire()?;
    /// clock.advance(Duration::from_secs(5)); // a time-out
    /// permit.overloaded();
    /// drop(permit);
    /// assert_eq!(api.limit(), 18);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overloaded(&mut self) {
        if let Some(permit) = &mut self.sample {
            permit.sample.overloaded = true;
        }
    }

    /// Sets how long the permit's work took, for the [adaptive](crate::Adaptive) limits of the permit's job and of its
    /// ancestors. Without this call, the sample is the time for which the permit was held.
    ///
    /// Call this method if you hold the permit for longer than the work takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Adaptive, Interval, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let rule = |interval: &Interval| interval.mean.as_millis() as usize;
    /// let api = pool.job_builder().adaptive(Adaptive::new(1..=64).rule(rule)).build();
    /// let mut permit = api.try_acquire()?;
    /// clock.advance(Duration::from_secs(1));
    /// permit.set_latency(Duration::from_millis(30));
    /// drop(permit);
    /// assert_eq!(api.limit(), 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_latency(&mut self, latency: Duration) {
        if let Some(permit) = &mut self.sample {
            permit.took = Some(latency);
        }
    }

    /// Discards the permit's sample. The permit then has no effect on the [adaptive](crate::Adaptive) limits of its job and of
    /// its ancestors.
    ///
    /// Call this method if the permit was not used. Otherwise the time for which the permit was held would count as the time of
    /// its work.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Adaptive, Interval, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let rule = |interval: &Interval| 10 * interval.tasks as usize;
    /// let api = pool.job_builder().adaptive(Adaptive::new(1..=64).rule(rule)).build();
    /// let mut unused = api.try_acquire()?;
    /// clock.advance(Duration::from_secs(1));
    /// unused.discard_sample();
    /// drop(unused);
    /// assert_eq!(api.limit(), 1);
    /// drop(api.try_acquire()?);
    /// assert_eq!(api.limit(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn discard_sample(&mut self) {
        self.sample = None;
    }

    /// Converts this `Permit` to a [`Handed`], which owns the same permits for a task that is about to be pushed. Drops the
    /// sample of this `Permit`, because the task gets a sample of its own.
    pub(super) fn for_a_task(self) -> Handed {
        let mut this = ManuallyDrop::new(self);
        this.sample = None;
        Handed::new(this.job, this.number)
    }

    /// Returns the job that the permit belongs to.
    ///
    /// # Panics
    ///
    /// Panics if the job already has 67,108,864 handles and children.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// assert_eq!(job.try_acquire()?.job(), job);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn job(&self) -> Job {
        Job::of(self.job)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Ordering: Relaxed; the release of the permit publishes the count.
        self.job.tally.completed.fetch_add(1, Ordering::Relaxed);
        if let Some(permit) = self.sample.take() {
            match permit.took {
                Some(took) => adapt::end_after(self.job, took, permit.sample.overloaded),
                None => adapt::end(self.job, permit.sample),
            }
        }
        events::given_back(self.job, self.number);
        gate::give_back(self.job);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.job.permits.load();
        let mut permit = f.debug_struct("Permit");
        if let Some(name) = self.job.extra().and_then(|extra| extra.name.as_ref()) {
            permit.field("job", name);
        }
        permit
            .field("limit", &crate::stats::DebugLimit(control::limit_of(word)))
            .field("running", &word.running())
            .finish()
    }
}

/// A future that waits for a permit. Made by [`Job::acquire`].
///
/// # Examples
///
/// If the future is dropped, its waiter leaves the queue:
///
/// ```
/// use futures::executor::block_on;
/// use futures::future::{Either, ready, select};
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job(1);
/// let held = job.try_acquire()?;
/// assert!(matches!(block_on(select(job.acquire(), ready("enough"))), Either::Right(("enough", _))));
/// drop(held);
/// assert!(job.try_acquire().is_ok()); // nothing waits
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct Acquire<'a> {
    job: &'a Job,
    /// The waiter of this future in the job's queue. `None` if the future does not wait. Must be dropped before the field
    /// `wait`: if a permit was granted to the waiter, the drop gives the permit back, and the future must count as waiting
    /// until then.
    waiter: Option<Waiter>,
    wait: Wait,
}

impl Future for Acquire<'_> {
    type Output = Result<Permit, Closed>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let number;
        let waited = match self.waiter.take() {
            Some(waiter) => {
                number = waiter.number();
                waiter.poll(cx.waker())
            }
            None => {
                self.job.refuse_to_acquire_inside();
                match self.job.acquire_or_queue(|| Some(cx.waker().clone()), true) {
                    Ok(waiter) => {
                        number = waiter.number();
                        waiter.take()
                    }
                    Err(outcome) => return Poll::Ready(outcome),
                }
            }
        };
        match waited {
            Ok(outcome) => {
                self.wait.end();
                Poll::Ready(self.job.permit_of(outcome, number))
            }
            Err(waiter) => {
                self.waiter = Some(waiter);
                self.wait.begin();
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("job", &self.job)
            .field("waits", &self.waiter.is_some())
            .finish()
    }
}

/// One flight: a drain of the pool waits until this value is dropped.
struct Flight(PoolPtr);

impl Flight {
    #[inline]
    fn begin(pool: PoolPtr) -> Self {
        pool.shared().flight_starts();
        Self(pool)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.shared().flight_ends();
    }
}

impl Job {
    /// Returns a future that acquires a permit, for work that runs elsewhere, such as on tokio or on a thread of your own. The
    /// future needs no worker and no runtime.
    ///
    /// The future waits in the job's queue, behind the tasks and waiters that are already in it. If an ancestor has no free
    /// permit, the future waits in the ancestor's queue in the same way. The thread that grants the permit wakes the future
    /// itself, without a worker. [`set_limit`](Self::set_limit) and [`pause`](Self::pause) apply to permits as to tasks. The
    /// future needs no slot, even if the job has a [`capacity`](crate::JobBuilder::capacity).
    ///
    /// A future that runs as a task of another job can await the returned future. During that wait the task holds no permit of
    /// its own job.
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes its waiter out of the queue. If the waiter is granted a permit at that moment, the permit goes
    /// to the next task or waiter in the queue. [`cancelled`](crate::JobStats::cancelled) counts each waiter that is dropped or
    /// refused.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] if the job is closed or cancelled, or the pool has shut down, when the future is first polled. A
    /// future that already waits gets `Closed` only in the following two cases:
    ///
    /// - A waiting future gets `Closed` if the job is cancelled. If the job is only closed, or the pool drains, a waiting
    ///   future still gets its permit.
    /// - After [`shutdown_now`](crate::Pool::shutdown_now) a waiting future gets `Closed` when the next permit of its job is
    ///   given back.
    ///
    /// # Panics
    ///
    /// Panics if the future is polled inside a task of the same job, or of a job with a common ancestor. The task and the
    /// future may need the same permit, so the wait might never end. Inside such a task, call
    /// [`try_acquire`](Self::try_acquire), which never waits.
    ///
    /// # Examples
    ///
    /// At most two requests run at once, on tokio:
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(2);
    /// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// runtime.block_on(async {
    ///     let mut requests = tokio::task::JoinSet::new();
    ///     for _ in 0..100 {
    ///         let job = job.clone();
    ///         requests.spawn(async move {
    ///             let _permit = job.acquire().await.expect("the job stays open");
    ///             tokio::task::yield_now().await; // the request
    ///         });
    ///     }
    ///     requests.join_all().await;
    /// });
    /// let stats = job.stats();
    /// assert_eq!((stats.completed, stats.running), (100, 0));
    /// assert!(stats.most_running <= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire { job: self, waiter: None, wait: Wait::default() }
    }

    /// Acquires a permit as [`acquire`](Self::acquire) does, but blocks the calling thread until the permit is granted.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread. If a task of another job calls this method, the task holds no permit during the wait, and a
    /// spare worker replaces the task's worker, as in [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] in the cases in which the future of [`acquire`](Self::acquire) returns it.
    ///
    /// # Panics
    ///
    /// Panics inside a task of the same job, or of a job with a common ancestor, as the future of [`acquire`](Self::acquire)
    /// does. Inside any other task, panics if the wait would block the pool's [last
    /// thread](crate::PoolBuilder::max_spare_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// std::thread::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| drop(job.acquire_blocking().unwrap()));
    ///     }
    /// });
    /// assert_eq!((job.stats().completed, job.stats().most_running), (3, 1));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn acquire_blocking(&self) -> Result<Permit, Closed> {
        self.refuse_to_acquire_inside();
        let mut waiter = match self.acquire_or_queue(|| None, true) {
            Ok(waiter) => waiter,
            Err(outcome) => return outcome,
        };
        let number = waiter.number();
        loop {
            unwind::at_caller(|| blocking::wait(waiter.key(), None, || !waiter.is_decided()));
            match waiter.take() {
                Ok(outcome) => return self.permit_of(outcome, number),
                Err(waits) => waiter = waits,
            }
        }
    }

    /// Acquires a permit if one is free and no task or waiter is in the queue. A task of the same job is allowed to call this
    /// method, because the call never waits.
    ///
    /// # Errors
    ///
    /// Returns [`TryAcquireError::NoPermit`] if the job or one of its ancestors has no free permit. Returns the same error if a
    /// task or a waiter is in the queue of one of these jobs. Returns [`TryAcquireError::Closed`] if the job is closed or
    /// cancelled, or if its pool has shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// let permit = job.try_acquire()?;
    /// assert!(job.try_acquire().is_err());
    /// job.set_limit(2);
    /// assert!(job.try_acquire().is_ok());
    /// drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, TryAcquireError> {
        self.ask().map_err(|(error, _)| error)
    }

    /// Acquires a permit if one is free and the job is open. Otherwise returns the error and a flight. While the flight exists, no
    /// drain ends, so a caller that will wait keeps the flight until its waiter is in the queue.
    ///
    /// `ask` begins the flight before it checks whether the pool drains. So a drain waits for each call of `ask` that passes
    /// the check.
    #[inline]
    fn ask(&self) -> Result<Permit, (TryAcquireError, Flight)> {
        let job = self.ptr();
        let flight = Flight::begin(job.pool_ptr());
        if !self.accepts() {
            return Err((TryAcquireError::Closed, flight));
        }
        control::expect_futures(job);
        if !gate::try_acquire(job) {
            return Err((TryAcquireError::NoPermit, flight));
        }
        std::mem::forget(flight); // The permit owns the flight from here on.
        Ok(Permit::new(job, events::acquired(job)))
    }

    /// Acquires a permit if one is free, and returns `Err(Ok(permit))`. Otherwise pushes a waiter into the job's queue, and
    /// returns `Ok(waiter)`. If the job accepts no waiters, returns `Err(Err(Closed))`.
    ///
    /// The flight of this call lasts until the push of the waiter has ended. So a drain does not end during the push, which can
    /// also admit a task from the queue.
    ///
    /// If `counts` is true, a waiter that is dropped or refused counts as a cancelled task.
    pub(super) fn acquire_or_queue(
        &self,
        waker: impl FnOnce() -> Option<task::Waker>,
        counts: bool,
    ) -> Result<Waiter, Result<Permit, Closed>> {
        match self.ask() {
            Ok(permit) => Err(Ok(permit)),
            Err((TryAcquireError::Closed, _)) => Err(Err(Closed)),
            Err((TryAcquireError::NoPermit, _flight)) => {
                Ok(Waiter::push(self.ptr(), waker(), counts))
            }
        }
    }

    /// Converts the outcome of a wait to a permit or an error.
    pub(super) fn permit_of(&self, outcome: Outcome, number: Number) -> Result<Permit, Closed> {
        match outcome {
            Outcome::Granted => Ok(Permit::new(self.ptr(), number)),
            Outcome::Refused => Err(Closed),
        }
    }

    /// Panics if this thread runs a task of this job, or of a job with a common ancestor.
    #[track_caller]
    pub(super) fn refuse_to_acquire_inside(&self) {
        let inside = Context::with(|context| context?.lease().job.get());
        let Some(inside) = inside else { return };
        assert!(!self.ptr().pool().is_in_child(), "{}", process::NO_WORKERS);
        assert!(
            outermost(inside) != outermost(self.ptr()),
            "a task acquires a permit of its own job{}, or of one with a common parent, which might never come: use \
             `try_acquire` or `try_spawn`, or acquire from outside",
            self.name().map(|name| format!(" `{name}`")).unwrap_or_default()
        );
    }
}

/// Returns the outermost ancestor of `job`, or `job` itself if it has no parent.
fn outermost(job: JobPtr) -> JobPtr {
    job.gates().last().expect("a job is its own first gate")
}
