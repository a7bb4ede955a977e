//! `JobBuilder`: makes a job with a name, a parent, a capacity, rates or other settings.

use crate::adaptive::Adaptive;
use crate::api::children;
use crate::api::job::Job;
use crate::job::capacity::Capacity;
use crate::job::control;
use crate::job::extra::Extra;
use crate::job::gate::rated;
use crate::job::samples::Samples;
use crate::job::timed::Timed;
use crate::job::turns::{AskedTurns, Turns};
use crate::pool::core::PoolPtr;
use crate::rate::Rate;
use crate::stats::DebugLimit;
use crate::sync::Arc;
use std::fmt;
use std::num::NonZeroU32;

/// Configures and makes a job. Returned by [`Pool::job_builder`](crate::Pool::job_builder) and [`Job::job_builder`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let search = pool.job_builder().limit(2).build();
/// assert_eq!(search.limit(), 2);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a builder makes no job until `build` is called"]
pub struct JobBuilder {
    pool: Owner,
    /// The limit that the user has set. `None` means no limit, or the least limit of the range if the job is adaptive.
    limit: Option<usize>,
    adaptive: Option<Adaptive>,
    parent: Option<Job>,
    name: Option<String>,
    capacity: Option<usize>,
    timed: bool,
    #[cfg(feature = "tracing")]
    traced: bool,
    pub(super) keeps_permits: bool,
    rates: Vec<Rate>,
    pub(super) turns: AskedTurns,
    pub(super) counts_weights: bool,
    pub(super) weight: Option<NonZeroU32>,
    /// True if the job is the job of one key of a keyed job.
    of_key: bool,
}

/// One owner of the pool: a count that keeps the pool's memory, because the builder may outlive the `Pool`. Dropping this value
/// subtracts the count.
struct Owner(PoolPtr);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.disown(1);
    }
}

impl Job {
    /// Returns a builder for a child of this job, with a name, a limit or a capacity.
    ///
    /// `job_builder` needs only this handle, and no [`Pool`](crate::Pool).
    ///
    /// # Panics
    ///
    /// Panics if this job already has 67,108,864 handles and children.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(6);
    /// let search = host.job_builder().name("search").limit(2).capacity(100).build();
    /// assert_eq!(search.spawn(|| "found").join().unwrap(), "found");
    /// assert_eq!(host.stats().most_running, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn job_builder(&self) -> JobBuilder {
        JobBuilder::new(self.ptr().pool_ptr()).parent(self)
    }
}

impl JobBuilder {
    pub(crate) fn new(pool: PoolPtr) -> Self {
        pool.own();
        Self {
            pool: Owner(pool),
            limit: None,
            adaptive: None,
            parent: None,
            name: None,
            capacity: None,
            timed: false,
            #[cfg(feature = "tracing")]
            traced: false,
            keeps_permits: false,
            rates: Vec::new(),
            turns: AskedTurns::default(),
            counts_weights: false,
            weight: None,
            of_key: false,
        }
    }

    /// Marks the job as the job of one key of a keyed job. [`Job::children`] and [`Pool::jobs`](crate::Pool::jobs) do not
    /// return jobs of keys.
    pub(super) fn of_key(mut self) -> Self {
        self.of_key = true;
        self
    }

    /// Sets how many tasks of the job may run at once. Without this call the job has no limit.
    ///
    /// A limit of 0 holds the job, as with [`Job::set_limit`](crate::Job::set_limit). A limit above
    /// [`Job::MAX_LIMIT`](crate::Job::MAX_LIMIT) means no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.job_builder().limit(2).build().limit(), 2);
    /// assert_eq!(pool.job_builder().build().limit(), usize::MAX);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Makes the job a child of `parent`, as [`Job::job`](crate::Job::job) does.
    ///
    /// # Panics
    ///
    /// Panics if `parent` is a job of another pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(1);
    /// let page = pool.job_builder().parent(&host).limit(5).build();
    /// page.spawn(|| ()).join().unwrap();
    /// assert_eq!(host.stats().most_running, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn parent(mut self, parent: &Job) -> Self {
        assert!(
            parent.ptr().pool_ptr() == self.pool.0,
            "a job's parent{} is of another pool: make the job by that pool",
            parent.name().map(|name| format!(" `{name}`")).unwrap_or_default()
        );
        self.parent = Some(parent.clone());
        self
    }

    /// Names the job.
    ///
    /// [`Job::name`] returns the name. The job's `Debug` output and the messages of panics about the job contain the name. A
    /// task of the job, or a panic hook that the task's panic calls, finds the name by [`current_job`](crate::current_job).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let search = pool.job_builder().name("search").limit(2).build();
    /// assert_eq!(search.name(), Some("search"));
    /// assert!(format!("{search:?}").contains("search"));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the number of *slots*: at most that many tasks of the job wait to start. Without this call any number of tasks can
    /// wait.
    ///
    /// A task takes a slot when it is pushed, and releases the slot when it starts or is dropped. A future starts with its
    /// first poll. Futures of `map_async`, and items of [`map`](Job::map) and [`for_each`](Job::for_each), need no slot.
    ///
    /// # If no slot is free
    ///
    /// - [`try_spawn`](Job::try_spawn) and [`try_execute`](Job::try_execute) return the closure as
    ///   [`Full`](crate::Rejected::Full) if no slot is free.
    /// - [`spawn`](Job::spawn), [`execute`](Job::execute), `spawn_future` and the tasks of a [`scope`](Job::scope) block until
    ///   a slot is free. If the job is closed or cancelled during this wait, or its pool is shut down, the task is cancelled.
    /// - Inside a task of the same pool, `spawn`, `execute`, `spawn_future` and the tasks of a `scope` never block: if no slot
    ///   is free, these calls exceed the capacity. Inside a task, a wait for a slot might never end, because the task may
    ///   occupy the only worker.
    /// - [`reserve`](Job::reserve) and [`spawn_async`](Job::spawn_async) wait for a slot without blocking the thread.
    ///
    /// If [`TaskHandle::cancel`](crate::TaskHandle::cancel) cancels a task in the queue, the call drops the task's captures and
    /// releases the task's slot at once. The task's empty cell stays in the queue until a worker or a later push frees it. The
    /// number of empty cells is never much greater than the number of slots or of queued tasks, whichever is greater.
    ///
    /// # A capacity of 0
    ///
    /// In a job with a capacity of 0, no pushed task waits for a permit: a push needs a free permit of the job and of each
    /// ancestor. A job has no free permit while it is paused, held off or at its limit, while its rate allows no start, or
    /// while a task or a waiter is in its queue. From the push until its end the task counts as
    /// [`running`](crate::JobStats::running), although it may first wait for a worker.
    ///
    /// - If no permit is free, `try_spawn` and `try_execute` return `Full`. `spawn` and the other calls that block wait in the
    ///   queue for the permits, as [`acquire`](Job::acquire) does. [`backlog`](crate::JobStats::backlog) counts each such
    ///   waiter.
    /// - A [`ReservedSlot`](crate::ReservedSlot) of a job with a capacity of 0 holds the permits of its task, as a
    ///   [`Permit`](crate::Permit) does. So [`reserve`](Job::reserve) panics where [`acquire`](Job::acquire) panics. The
    ///   reserved slot counts as a start at each [rate](Self::rate).
    /// - A pushed task may wait for a worker, with its permits. If its job or an ancestor is then paused, is held off or gets a
    ///   lower limit, the task gives its permits back and goes to the front of the queue. If the job has a rate, such a task
    ///   takes a second token when it starts. If the job is cancelled before the start, the task is dropped.
    /// - Inside a task of the same pool, `spawn` and `execute` push the new task without permits: the new task waits in the
    ///   queue, as in a job without a capacity. A further attempt of a [retried](Job::spawn_retry) task also waits in the
    ///   queue. [`spawn_after`](Job::spawn_after) and [`spawn_at`](Job::spawn_at) panic in a job with a capacity of 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Rejected;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().limit(0).capacity(2).build(); // held
    /// job.execute(|| ());
    /// job.execute(|| ());
    /// assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
    /// job.set_limit(1);
    /// job.execute(|| ()); // waits until one of the others has started
    /// job.wait();
    /// assert_eq!(job.stats().completed, 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    ///
    /// With a capacity of 0, `try_spawn` gives the task its permits at once, or refuses the task:
    ///
    /// ```
    /// use tollgate::Rejected;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let requests = pool.job_builder().limit(1).capacity(0).build();
    /// let (go, wait_for_go) = std::sync::mpsc::channel();
    /// let first = requests.try_spawn(move || wait_for_go.recv().unwrap()).unwrap();
    /// assert!(matches!(requests.try_spawn(|| "too busy"), Err(Rejected::Full(_))));
    /// go.send("served").unwrap();
    /// assert_eq!(first.join().unwrap(), "served");
    /// assert_eq!(requests.spawn(|| "waited until then").join().unwrap(), "waited until then");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn capacity(mut self, tasks: usize) -> Self {
        self.capacity = Some(tasks);
        self
    }

    /// Measures how long each task of the job waits, and how long it runs. [`Job::timings`] returns these times as two
    /// histograms.
    ///
    /// | task | its wait | its run |
    /// |---|---|---|
    /// | a closure, also of a scope, of a [set](Job::set) or with a deadline | from its push to its start. If the pusher has waited for a slot, from the end of that wait | from its start until it returns |
    /// | a [delayed](Job::spawn_after) closure | from the end of its delay to its start | from its start until it returns |
    /// | a [retried](Job::spawn_retry) closure | from its push to its first attempt | each attempt, from its start until it returns |
    /// | a future | from its push to its first poll | from its first poll until it is ready. The time in which it is pending is included |
    ///
    /// The measured run of a closure includes the time for which the closure waits inside, as in a join. A task that panics, or
    /// is dropped before its end, is not in the histogram `run`. A task that is dropped before its start is in neither
    /// histogram. Items of [`map`](Job::map) and [`for_each`](Job::for_each), permits without a task, and tasks of jobs below
    /// are not measured.
    ///
    /// The times of a timed job's tasks are read from the pool's [clock](crate::PoolBuilder::clock). A task of a timed job
    /// takes 24 bytes more, and reads the clock three times. Jobs that are not timed pay nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let job = pool.job_builder().limit(0).timed().build(); // held
    /// let task = job.spawn(|| ());
    /// clock.advance(Duration::from_secs(2));
    /// job.set_limit(1);
    /// task.join().unwrap();
    /// let timings = job.timings().unwrap();
    /// assert_eq!(timings.wait.longest(), Some(Duration::from_secs(2)));
    /// assert_eq!(timings.run.longest(), Some(Duration::ZERO));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    /// Runs each task of the job in a [span](https://docs.rs/tracing) of its own, by the facade `tracing`.
    ///
    /// The span has the name `task`, the target `tollgate` and the level `INFO`. The span's fields `job` and `task` are the
    /// names of the job and of the task. The span's parent is the current span of the thread that pushes the task. The span
    /// begins with the push, is entered while the task runs, and ends with the task. A future enters the span for each poll. A
    /// retried task has one span for all attempts.
    ///
    /// Items of [`map`](Job::map) and [`for_each`](Job::for_each), permits without a task, and tasks of jobs below have no
    /// span. A future of `map_async` has a span. The parent of that span is the current span of the thread that polls the
    /// results. A job that is not traced pays nothing. Needs the feature `tracing`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let search = pool.job_builder().name("search").traced().build();
    /// let _request = tracing::info_span!("request", id = 7).entered();
    /// // The span of the task is a child of `request`, on the worker's thread, too.
    /// let task = search.spawn(|| tracing::info!("searching"));
    /// task.join().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[cfg(feature = "tracing")]
    pub fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// Adds a rate, which bounds how often tasks of the job start. If this method is called several times, all the rates apply.
    ///
    /// In each window of length `t`, at most `burst + t / interval` tasks start, whatever the limit is. While no task starts,
    /// the job saves up tokens for later starts, at most `burst` of them. The rate counts a start when the worker acquires the
    /// task's permits. After that moment the operating system can still delay the task.
    ///
    /// A rate counts the starts of tasks of the job and of all jobs below. An acquired [`Permit`](crate::Permit) counts as a
    /// start, as does each item of [`map`](Job::map) and [`for_each`](Job::for_each). When a task continues after it has
    /// waited inside, it does not count again.
    ///
    /// A rate and a limit are independent: a rate sets no limit, and a limit sets no rate. A task that waits for a rate is in
    /// the queue, and holds no permit, no worker and no thread. In a job with a rate, a join never runs the joined task inline.
    /// [`Job::set_rates`] changes the rates of a job.
    ///
    /// A rate counts a task at the moment at which the task gets its permits. So a task that is cancelled in the queue does not
    /// count. A task that its handle cancels between that moment and the start does count.
    ///
    /// A [drain](crate::Pool::shutdown) of the pool waits for tasks that wait for a rate. The memory of a job without a handle
    /// is freed only when the job's rate allows the next start.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool, Rate};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(4).clock(&clock).build()?;
    /// let host = pool.job(4);
    /// let search = host.job_builder().rate(Rate::per_second(10)).build();
    /// let first = search.spawn(|| 1);
    /// let second = search.spawn(|| 2);
    /// assert_eq!(first.join().unwrap(), 1);
    /// # while host.stats().running > 0 {
    /// #     std::thread::yield_now();
    /// # }
    /// assert_eq!(host.stats().running, 0); // the second task holds no permit of the host
    /// clock.advance(Duration::from_millis(100));
    /// assert_eq!(second.join().unwrap(), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rates.push(rate);
        self
    }

    /// Makes the limit adaptive: a rule sets the limit within a range, by how long the tasks take.
    ///
    /// The job starts with the [limit](Self::limit) of this builder, clamped into the range. Without such a limit, the job
    /// starts with the least limit of the range. From then on the rule of `adaptive` sets the limit, as [`Job::set_limit`]
    /// does: running tasks are not stopped. [`Job::limit`], [`Job::stats`] and [`Job::explain`] tell the present limit.
    ///
    /// - The sample of a task is the time from its start to its end. A task that panics has a sample. A task that is cancelled
    ///   or expires has no sample. A sample is also taken of each attempt of [`spawn_retry`](Job::spawn_retry), of each
    ///   [`Permit`](crate::Permit), and of each item of [`map`](Job::map) and [`for_each`](Job::for_each).
    /// - [`Job::set_limit`] sets the nearest limit within the range, and the rule continues from that limit. A limit of 0 sets
    ///   the least limit of the range, and does not hold the job. Use [`pause`](Job::pause) to hold the job.
    /// - While the job is paused or [held off](Job::hold_off), its running tasks still end, and their samples count. While
    ///   fewer tasks run than the limit allows, the rule does not raise the limit.
    /// - The samples of a job include those of the tasks of jobs below. While the limit of an ancestor keeps fewer tasks
    ///   running than this job's limit allows, the rule does not raise this job's limit.
    /// - A join inside a task of the job never runs another task of the job inline.
    /// - Each key of a [`keyed`](Self::keyed) job has a limit of its own. When an idle key is evicted, its limit is
    ///   forgotten: the key's next job starts with the limit of a new job.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Adaptive, ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(2).clock(&clock).build()?;
    /// let table = pool.job_builder().limit(8).adaptive(Adaptive::new(1..=16)).build();
    /// let slow = clock.clone();
    /// // The server refuses.
    /// table.execute(move || {
    ///     slow.advance(Duration::from_millis(100));
    ///     tollgate::overloaded();
    /// });
    /// table.wait();
    /// assert_eq!(table.limit(), 7);
    /// table.set_limit(1_000);
    /// assert_eq!(table.limit(), 16);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn adaptive(mut self, adaptive: Adaptive) -> Self {
        self.adaptive = Some(adaptive);
        self
    }

    /// Makes the job with the settings of this builder.
    ///
    /// # Panics
    ///
    /// Panics if the parent already has 67,108,864 handles and children.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(6);
    /// let search = pool.job_builder().name("search").parent(&host).limit(2).capacity(100).build();
    /// assert_eq!(search.spawn(|| "found").join().unwrap(), "found");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn build(self) -> Job {
        let mut capacity = None;
        if let Some(most) = self.capacity {
            // This call is not inside a closure, because a panic inside a closure would not report the caller's line.
            capacity = Some(Arc::new(Capacity::new(most)));
        }
        let samples =
            self.adaptive.map(|adaptive| Samples::new(adaptive, self.pool.0.shared().now()));
        let limit = match &samples {
            Some(samples) => samples.clamped(self.limit.unwrap_or(0)),
            None => self.limit.unwrap_or(usize::MAX),
        };
        let timed = self.timed.then(|| Box::new(Timed::new(self.pool.0.shared())));
        let parent = self.parent.as_ref().map(Job::ptr);
        let turns = self.turns.below(parent);
        let weighs = self.counts_weights || self.weight.is_some();
        let measured = samples.is_some() || timed.is_some();
        let kept = self.keeps_permits;
        let few = self.name.is_some() || capacity.is_some() || measured || weighs || kept;
        #[cfg(feature = "tracing")]
        let few = few || self.traced;
        let extra = (few || turns != Turns::USUAL).then(|| {
            let extra = Extra::new(self.name, capacity).with_samples(samples).with_timed(timed);
            let extra = extra.with_weights(self.counts_weights, self.weight);
            extra.with_turns(turns).with_kept_permits(kept)
        });
        #[cfg(feature = "tracing")]
        let extra = extra.map(|extra| extra.with_traced(self.traced));
        let job = children::make(self.pool.0, parent, limit, extra, self.of_key);
        if kept {
            // In a job that keeps its permits, a task that waits holds a permit but occupies no worker. So more tasks than
            // workers can hold permits. This call makes the job count as limited, even if its limit is above the number of
            // workers.
            control::expect_futures(job.ptr());
        }
        if !self.rates.is_empty() {
            rated::set_rates(job.ptr(), &self.rates);
        }
        job
    }
}

impl fmt::Debug for JobBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("JobBuilder");
        if let Some(name) = &self.name {
            builder.field("name", name);
        }
        if let Some(parent) = &self.parent {
            builder.field("parent", parent);
        }
        if let Some(adaptive) = &self.adaptive {
            builder.field("adaptive", adaptive);
        }
        if self.limit.is_some() || self.adaptive.is_none() {
            let limit = self.limit.filter(|limit| *limit <= Job::MAX_LIMIT);
            builder.field("limit", &DebugLimit(limit.unwrap_or(usize::MAX)));
        }
        if let Some(capacity) = &self.capacity {
            builder.field("capacity", capacity);
        }
        if !self.rates.is_empty() {
            builder.field("rates", &self.rates);
        }
        if let Some(weight) = &self.weight {
            builder.field("weight", weight);
        }
        if let Some(share) = &self.turns.share {
            builder.field("share", share);
        }
        if let Some(time) = &self.turns.time {
            builder.field("turn_time", time);
        }
        if let Some(priority) = &self.turns.priority {
            builder.field("priority", priority);
        }
        #[cfg(feature = "tracing")]
        builder.field("traced", &self.traced);
        builder
            .field("timed", &self.timed)
            .field("weighted", &self.counts_weights)
            .field("keep_permits", &self.keeps_permits)
            .finish_non_exhaustive()
    }
}
