//! The answer of `Job::explain`: its reasons, and their text.

use crate::api::job::Job;
use crate::sync::time::Instant;
use crate::task::handle::TaskHandle;
use std::fmt;

/// Tells why the next task of a job, or one given task, does not run. Returned by [`Job::explain`] and [`Job::explain_task`].
///
/// An explanation has at least one reason. The most binding reason comes first: a later reason matters only when the reasons
/// before it no longer apply. `Display` prints all reasons as one sentence.
///
/// An explanation is a snapshot. Tasks start and end while the library makes the explanation, so the explanation may no longer
/// be true when the caller reads it.
///
/// # Examples
///
/// ```
/// use tollgate::Reason;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let search = pool.job_builder().name("search").limit(2).build();
/// search.pause();
/// search.execute(|| ());
/// let why = search.explain();
/// assert_eq!(why.first(), &Reason::Paused { job: search.clone() });
/// assert_eq!(why.to_string(), "job \"search\" is paused");
/// # search.resume();
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The name of the explained task, if it has one.
    task: Option<String>,
    reasons: Vec<Reason>,
}

/// One reason of an [`Explanation`]. In each variant, the field `job` is the explained job or one of its ancestors. The texts
/// of the variants describe the reasons of [`Job::explain_task`]. If a variant means something else in the answer of
/// [`Job::explain`], its text says so after "In the explanation of a job".
///
/// # Examples
///
/// ```
/// use tollgate::Reason;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let host = pool.job_builder().name("host").limit(0).build();
/// let page = host.job(5);
/// page.execute(|| ());
/// let why = page.explain();
/// assert_eq!(why.first(), &Reason::Limit { job: host.clone(), running: 0, limit: 0 });
/// assert_eq!(why.to_string(), "job \"host\" has a limit of 0");
/// # host.set_limit(1);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The job `job`, or its pool, was cancelled: the task will be dropped.
    Cancelled {
        /// The cancelled job.
        job: Job,
    },
    /// The job `job` is paused. Its tasks start again after [`Job::resume`].
    Paused {
        /// The paused job.
        job: Job,
    },
    /// The job `job` is held off until a time, by [`Job::hold_off`].
    HeldOff {
        /// The job that is held off.
        job: Job,
        /// The time until which the job is held off.
        until: Instant,
    },
    /// A [`Rate`](crate::Rate) of the job `job` allows no start now.
    Rate {
        /// The job that has the rate.
        job: Job,
        /// The time at which the rates of the job allow the next start.
        until: Instant,
    },
    /// The task enters the queue later: it was pushed by [`Job::spawn_after`], or is a retried task that waits for its next
    /// attempt. In the explanation of a job: each task of the job enters the queue later.
    Delayed {
        /// The time at which the task enters the queue. In the explanation of a job: the earliest such time.
        until: Instant,
    },
    /// As many tasks of the job `job` run as its limit allows.
    Limit {
        /// The job that has the limit.
        job: Job,
        /// The number of tasks that hold a permit of `job`. Tasks of jobs below are included. If `job` counts weights, the
        /// number of permits that these tasks hold.
        running: usize,
        /// The job's limit.
        limit: usize,
    },
    /// The first task in the queue of the job `job` takes more permits of `job` than are free. The explained task is this first
    /// task or comes after it. See [`JobBuilder::weighted`](crate::JobBuilder::weighted).
    Weight {
        /// The job that counts weights.
        job: Job,
        /// The number of permits that the first task in the queue takes, or the explained task if the queue is empty. If this
        /// number exceeds the limit, the first task waits until no permit is held.
        needs: usize,
        /// The number of permits of `job` that are free.
        free: usize,
    },
    /// Other tasks go first: tasks of the same job, or tasks of other jobs in the queue of an ancestor that has no free permit.
    Behind {
        /// The number of the tasks that go first.
        ahead: usize,
    },
    /// Each worker of the pool runs a task.
    NoWorker {
        /// The number of workers that run tasks.
        busy: usize,
        /// The number of workers of the pool.
        workers: usize,
    },
    /// No job keeps the task from starting. A worker is about to take the task.
    Ready,
    /// The task is a future that waits to be woken. If the future awaits a task or a job of this library, the future holds no
    /// permit. Otherwise the future holds its permits.
    Pending,
    /// The task has started, and runs. In the explanation of a job: no task waits to start, and some tasks run.
    ///
    /// The reason does not say since when the task runs, because each task would have to read the clock at its start. A
    /// timeline shows the start of each task: see `Pool::timeline`, with the feature `timeline`.
    Running {
        /// The number of tasks that hold a permit. If the job counts weights, the number of permits that these tasks hold. In
        /// the explanation of one task: 1.
        running: usize,
    },
    /// The task has started, and waits inside, in a join for example. During the wait the task holds no permit, except those of
    /// jobs that [keep permits](crate::JobBuilder::keep_permits). In the explanation of a job: some of the job's tasks wait
    /// inside. A future counts as waiting inside if it has polled the handle of a task, still has that handle, and is pending.
    Waiting {
        /// The number of tasks that wait inside. In the explanation of one task: 1.
        tasks: usize,
        /// The job on which the waiting tasks have called [`Job::wait`]. `None` if they wait for anything else, such as a task.
        awaited: Option<Job>,
    },
    /// The task has ended.
    Ended,
    /// The job has no task.
    Idle,
    /// The job has no task, and accepts none, because this job or an ancestor was closed.
    Closed {
        /// The explained job.
        job: Job,
    },
}

impl Explanation {
    /// Makes the explanation of a job.
    pub(super) fn of_job(reasons: Vec<Reason>) -> Self {
        Self { task: None, reasons }
    }

    /// Makes the explanation of a task.
    pub(super) fn of_task<T>(task: &TaskHandle<T>, reasons: Vec<Reason>) -> Self {
        Self { task: task.name().map(str::to_owned), reasons }
    }

    /// Returns the most binding reason, which is the first of [`reasons`](Self::reasons).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.job(1).explain().first(), &tollgate::Reason::Idle);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn first(&self) -> &Reason {
        &self.reasons[0]
    }

    /// Returns all reasons, with the most binding reason first. There is at least one reason.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Reason;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0);
    /// job.execute(|| ());
    /// job.pause();
    /// let held = Reason::Limit { job: job.clone(), running: 0, limit: 0 };
    /// assert_eq!(job.explain().reasons(), [Reason::Paused { job }, held]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "task {task:?}: ")?;
        }
        for (i, reason) in self.reasons.iter().enumerate() {
            let last = i + 1 == self.reasons.len();
            f.write_str(if i == 0 {
                ""
            } else if last {
                ", and "
            } else {
                ", "
            })?;
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled { job } => write!(f, "{} is cancelled", Named(job)),
            Self::Paused { job } => write!(f, "{} is paused", Named(job)),
            Self::HeldOff { job, until } => {
                let left = until.saturating_duration_since(job.ptr().pool().now());
                write!(f, "{} is held off for another {left:.1?}", Named(job))
            }
            Self::Delayed { .. } => f.write_str("the task waits for its time"),
            Self::Rate { job, until } => {
                let left = until.saturating_duration_since(job.ptr().pool().now());
                write!(f, "{} starts no task for another {left:.1?}, by its rate", Named(job))
            }
            Self::Limit { job, running: 0, limit: 0 } => {
                write!(f, "{} has a limit of 0", Named(job))
            }
            Self::Limit { job, running, limit: usize::MAX } => {
                write!(f, "{} runs {}, the most that any job can", Named(job), Tasks(*running))
            }
            Self::Limit { job, running, limit } => {
                write!(f, "{} runs {} of at most {limit}", Named(job), Tasks(*running))
            }
            Self::Weight { job, needs, free } => {
                write!(f, "{} has {free} of {needs} permits free for its first task", Named(job))
            }
            Self::Behind { ahead: 1 } => f.write_str("1 task goes first"),
            Self::Behind { ahead } => write!(f, "{ahead} tasks go first"),
            Self::NoWorker { busy: 1, .. } => f.write_str("the only worker is busy"),
            Self::NoWorker { busy, .. } => write!(f, "all {busy} workers are busy"),
            Self::Ready => f.write_str("a worker is about to take it"),
            Self::Pending => f.write_str("the future waits to be woken"),
            Self::Running { running: 1 } => f.write_str("1 task runs"),
            Self::Running { running } => write!(f, "{running} tasks run"),
            Self::Waiting { tasks: 1, awaited: None } => f.write_str("1 task waits for another"),
            Self::Waiting { tasks, awaited: None } => write!(f, "{tasks} tasks wait for others"),
            Self::Waiting { tasks: 1, awaited: Some(job) } => {
                write!(f, "1 task waits for {}", Named(job))
            }
            Self::Waiting { tasks, awaited: Some(job) } => {
                write!(f, "{tasks} tasks wait for {}", Named(job))
            }
            Self::Ended => f.write_str("the task has ended"),
            Self::Idle => f.write_str("there is no task"),
            Self::Closed { job } => write!(f, "{} is closed and has no task", Named(job)),
        }
    }
}

/// Prints a job by its name.
struct Named<'a>(&'a Job);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => write!(f, "job {name:?}"),
            None => f.write_str("a job without a name"),
        }
    }
}

/// Prints a number of tasks, with the noun in the singular or the plural.
struct Tasks(usize);

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "task" } else { "tasks" })
    }
}
