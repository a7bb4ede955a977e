//! Pushes tasks that enter the queue at a later time (`spawn_after`, `spawn_at`), and tasks that must start before a deadline
//! (`spawn_within`, `spawn_before`).
//!
//! Module [`crate::task::delay`] explains how a delayed task moves from the pool's timer to the queue. Module
//! [`crate::task::deadline`] explains how a task is dropped at its deadline.

use crate::api::job::Job;
use crate::job::gate::handed::Handed;
use crate::sync::time::Instant;
use crate::task::deadline::Deadline;
use crate::task::delay::Delay;
use crate::task::handle::{self, TaskHandle};
use crate::task::plain::is_large;
use crate::task::state::State;
use std::time::Duration;

impl Job {
    /// Pushes a task that enters the queue after `delay`. Returns the task's handle.
    ///
    /// During the delay the task holds no permit, no worker and no thread: one timer serves the whole pool. When the delay is
    /// over, the task enters the queue behind the tasks that are already in the queue. It then behaves like a
    /// [spawned](Self::spawn) task. Tasks whose delays end at the same time enter the queue in the order in which they were
    /// pushed. With a delay of zero the call does what [`spawn`](Self::spawn) does.
    ///
    /// A delayed task counts as a task that has not ended: [`wait`](Self::wait) of its job and a [drain](crate::Pool::shutdown)
    /// of the pool wait for the task, and [`JobStats::delayed`](crate::JobStats::delayed) counts it. The task takes a slot of
    /// the [`capacity`](crate::JobBuilder::capacity) when it is pushed. If the job is paused, held off or has a limit of 0 when
    /// the delay is over, the task waits in the queue. If the job is [closed](Self::close) during the delay, the task still
    /// runs.
    ///
    /// A task that joins a delayed task holds no permit while it waits. During the delay the delayed task never runs inline in
    /// the task that joins it.
    ///
    /// # Blocking
    ///
    /// As with [`spawn`](Self::spawn).
    ///
    /// # Cancellation
    ///
    /// [`TaskHandle::cancel`] drops the task's captures at once, on the calling thread, and ends the delay.
    /// [`Job::cancel`](Self::cancel) and [`shutdown_now`](crate::Pool::shutdown_now) let the workers drop the captures without
    /// waiting for the end of the delay.
    ///
    /// # Panics
    ///
    /// Panics where [`spawn`](Self::spawn) does, or if the platform cannot start the thread of the pool's timer. Panics if
    /// `delay` is not zero and the job has a [`capacity`](crate::JobBuilder::capacity) of 0: such a job lets no task wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool};
    ///
    /// let clock = ManualClock::new(); // an hour takes no time in a test
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let job = pool.job(1);
    /// let later = job.spawn_after(Duration::from_secs(3600), || "an hour later");
    /// assert_eq!(job.spawn(|| "now").join().unwrap(), "now"); // the permit is free
    /// assert_eq!((job.stats().delayed, later.is_finished()), (1, false));
    /// clock.advance(Duration::from_secs(3600));
    /// assert_eq!(later.join().unwrap(), "an hour later");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_after<F, T>(&self, delay: Duration, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if delay.is_zero() {
            return self.spawn(task);
        }
        self.spawn_at(self.ptr().pool().after(delay), task)
    }

    /// Pushes a task that enters the queue at the time `when`, as [`spawn_after`](Self::spawn_after) does after a delay.
    /// Returns the task's handle.
    ///
    /// If the time `when` has already come, `spawn_at` does what [`spawn`](Self::spawn) does.
    ///
    /// # Panics
    ///
    /// Panics where [`spawn`](Self::spawn) does, or if the platform cannot start the thread of the pool's timer. Also panics if
    /// the job has a [`capacity`](crate::JobBuilder::capacity) of 0, even if the time `when` has already come.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// let when = Instant::now() + Duration::from_millis(20);
    /// let began = job.spawn_at(when, Instant::now).join().unwrap();
    /// assert!(began >= when);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_at<F, T>(&self, when: Instant, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        assert!(
            !self.hands_over(),
            "a task{} cannot wait for its time, because the job has a capacity of 0: spawn the task at that time, or set a capacity",
            self.ptr().of_its_name()
        );
        if when <= self.ptr().pool().now() {
            return self.spawn(task);
        }
        match self.take_ticket() {
            None => self.delayed(when, task),
            Some(ticket) => self.delayed(when, ticket.since(when).around(task)),
        }
    }

    /// Pushes a task that must start within `time` from now. Returns the task's handle.
    ///
    /// A task with a deadline waits in the queue like any other task. If the task has not started when the time is over, its
    /// captures are dropped, and its handle returns [`JoinError::Expired`](crate::JoinError::Expired). Such a task counts as
    /// cancelled. With a time of zero the task is dropped at once. The deadline has no effect on a task that has started,
    /// however long the task runs.
    ///
    /// The captures of a task that misses its deadline are usually dropped by the thread of the pool's timer, or by the thread
    /// that moves the pool's [`ManualClock`](crate::ManualClock). Destructors of captures are allowed to wait for tasks and jobs of
    /// the pool. A destructor that blocks on anything else delays all entries of the pool's timer.
    ///
    /// # Blocking
    ///
    /// Blocks as [`spawn`](Self::spawn) does. `time` counts from the call, even if the call blocks.
    ///
    /// # Cancellation
    ///
    /// As with [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Panics where [`spawn`](Self::spawn) does, or if the platform cannot start the thread of the pool's timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{JoinError, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let job = pool.job(1);
    /// job.pause();
    /// let quote = job.spawn_within(Duration::from_secs(2), || "too old by then");
    /// clock.advance(Duration::from_secs(2));
    /// assert!(matches!(quote.join(), Err(JoinError::Expired)));
    /// job.resume();
    /// assert_eq!(job.spawn_within(Duration::from_secs(2), || "in time").join().unwrap(), "in time");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_within<F, T>(&self, time: Duration, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_before(self.ptr().pool().after(time), task)
    }

    /// Pushes a task that must start before `deadline`, as [`spawn_within`](Self::spawn_within) does. Returns the task's
    /// handle.
    ///
    /// # Panics
    ///
    /// As with [`spawn_within`](Self::spawn_within).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// let deadline = Instant::now() + Duration::from_millis(20);
    /// let task = job.spawn_before(deadline, || unreachable!());
    /// assert!(task.join().unwrap_err().is_expired());
    /// assert!(Instant::now() >= deadline);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_before<F, T>(&self, deadline: Instant, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.take_ticket() {
            None => self.bounded(deadline, None, task),
            Some(ticket) => {
                let (handed, ticket) = ticket.split();
                self.bounded(deadline, handed, ticket.around(task))
            }
        }
    }

    /// Makes a task that must start before `deadline`, and pushes the task. If `handed` is given, it owns the task's permits,
    /// and is pushed together with the task. Returns the task's handle.
    #[track_caller]
    fn bounded<F, T>(&self, deadline: Instant, handed: Option<Handed>, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if const { is_large::<F>() } {
            let task = Box::new(task);
            return self.bounded_in_cell(deadline, handed, task);
        }
        self.bounded_in_cell(deadline, handed, task)
    }

    #[track_caller]
    fn bounded_in_cell<F, T>(
        &self,
        deadline: Instant,
        handed: Option<Handed>,
        task: F,
    ) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = self.ptr();
        let deadline = Deadline::new(job.pool_ptr(), deadline);
        let (cell, handle) = handle::owned(job, State::of_closure(), deadline, task);
        if !self.accepts() {
            cell.cancel();
            return handle;
        }
        match deadline.arm::<F, T>(cell) {
            Ok(true) => self.push_with(handed, cell),
            Ok(false) => {}
            Err(error) => panic!("no thread for the pool's timer: {error}"),
        }
        handle
    }

    /// Makes a task that waits until the time `when`, and puts it into the pool's timer. Returns the task's handle.
    #[track_caller]
    fn delayed<F, T>(&self, when: Instant, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if const { is_large::<F>() } {
            let task = Box::new(task);
            return self.delayed_in_cell(when, task);
        }
        self.delayed_in_cell(when, task)
    }

    #[track_caller]
    fn delayed_in_cell<F, T>(&self, when: Instant, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = self.ptr();
        let delay = Delay::new(job.pool_ptr(), when);
        let (cell, handle) = handle::owned(job, State::of_delayed(), delay, task);
        if !self.accepts() {
            cell.cancel();
        } else if let Err(error) = delay.arm(cell) {
            panic!("no thread for the pool's timer: {error}");
        }
        handle
    }
}
