//! The statistics of a job alone, and of a job with all jobs below it.

use crate::api::job::Job;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{control, family};
use crate::pool::children::Ended;
use crate::stats::JobStats;

impl Job {
    /// Returns the statistics of the job alone: how many of its tasks wait and run now, and how many have ended in which way.
    ///
    /// Two figures include tasks of jobs below this job. [`running`](JobStats::running) includes each running task of a job
    /// below, because that task holds a permit of this job, too. [`backlog`](JobStats::backlog) includes, for each child, the
    /// one task that waits for a permit of this job. [`stats_with_children`](Self::stats_with_children) counts all tasks of the
    /// jobs below.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(3);
    /// job.execute(|| ());
    /// job.wait();
    /// let stats = job.stats();
    /// assert_eq!((stats.limit, stats.completed, stats.running), (3, 1, 0));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn stats(&self) -> JobStats {
        let job = self.ptr();
        let mut counts = Counts::of(job);
        if counts.are_zero() {
            // A task that moves from the timer to the queue counts as delayed, then for a moment only as busy, and then as
            // queued. The first reading of the counts can miss such a task. So this code reads the counts once more, in the
            // order in which the task passes through them.
            let delayed = job.delayed_tasks();
            let moving = job.ready_tasks(job.permits.load()) as usize;
            counts = Counts::of(job).or(delayed, moving);
        }
        counts.with(job, Ended::of(job))
    }

    /// Returns the statistics of the job and all jobs below it, as one sum.
    ///
    /// The sum counts each task once, and includes the ended tasks of jobs without handles. `limit` and `most_running` are
    /// those of this job, because each running task of a job below holds a permit of this job. The time that the call takes
    /// grows with the number of jobs below.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(6);
    /// for _ in 0..10 {
    ///     let page = host.job(2); // gone at the end of each round
    ///     page.execute(|| ());
    /// }
    /// host.wait();
    /// assert_eq!(host.stats().completed, 0);
    /// assert_eq!(host.stats_with_children().completed, 10);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn stats_with_children(&self) -> JobStats {
        let root = self.ptr();
        let (mut counts, mut ended) = Counts::of_all(root);
        if counts.are_zero() {
            // The first reading of the counts can miss a task that moves from the timer to the queue, because for a moment the
            // task counts only as busy. So this code counts the delayed and the busy tasks, and then reads all counts once
            // more.
            let running = root.permits.load().running() as usize;
            let (mut delayed, mut busy) = (0, 0);
            family::see_all(root, |job| {
                delayed += job.delayed_tasks();
                busy += job.busy_tasks() as usize;
            });
            (counts, ended) = Counts::of_all(root);
            counts = counts.or(delayed, busy.saturating_sub(running));
        }
        counts.with(root, ended)
    }
}

/// How many tasks of a job run, are ready, are queued and are delayed.
struct Counts {
    running: usize,
    ready: usize,
    backlog: usize,
    delayed: usize,
}

impl Counts {
    /// Reads the counts of one job in the order in which a task moves through them: queued, running, delayed (if the task is
    /// tried again). Reads the busy count, which contains ready and running tasks, last. A task that moves on between two reads
    /// can be counted twice. Only a delayed task that enters the queue can be missed, so the caller must read once more if all
    /// counts are 0.
    fn of(job: JobPtr) -> Self {
        let queued = job.queue().len();
        let word = job.permits.load();
        let running = word.running() as usize;
        let delayed = job.delayed_tasks();
        // If the job's word has the flag `Blocked`, one task of this job is in the parent's queue. That task counts as queued,
        // not as ready.
        let delegate = usize::from(word.has(Flag::Blocked));
        let mut ready = job.ready_tasks(word) as usize;
        if queued + running + ready == 0 {
            // No task was found so far, so the reservations are counted: a task that moves from the queue to a deque has a
            // reservation, and is not yet counted as busy.
            ready = word.ready() as usize;
        }
        let (ready, backlog) = (ready.saturating_sub(delegate), queued + delegate);
        Self { running, ready, backlog, delayed }
    }

    /// Reads the counts of `root` and all jobs below it, as one sum, in the same order as [`of`](Self::of). Also returns how
    /// many tasks of these jobs have ended.
    fn of_all(root: JobPtr) -> (Self, Ended) {
        let (mut backlog, mut busy, mut delegates, mut reserved, mut delayed) = (0, 0, 0, 0, 0);
        let ended = family::see_all(root, |job| {
            backlog += job.queue().len();
            let word = job.permits.load();
            delayed += job.delayed_tasks();
            busy += job.busy_tasks() as usize;
            delegates += usize::from(word.has(Flag::Blocked));
            reserved = reserved.max(word.ready() as usize);
        });
        let word = root.permits.load();
        // So far `backlog` counts the tasks in the queues of `root` and of all jobs below. If a task of `root` is in the queue
        // of the parent of `root`, this line adds that task.
        backlog += usize::from(word.has(Flag::Blocked));
        let running = word.running() as usize;
        let mut ready = busy.saturating_sub(running + delegates);
        if backlog + running + ready == 0 {
            // No task was found so far, so the reservations are counted: a task that moves from the queue to a deque has a
            // reservation, and is not yet counted as busy.
            ready = reserved;
        }
        (Self { running, ready, backlog, delayed }, ended)
    }

    /// Returns true if all four counts are 0.
    fn are_zero(&self) -> bool {
        self.running + self.ready + self.backlog + self.delayed == 0
    }

    /// Returns `self` if it counts at least one task. Otherwise returns counts with `delayed` delayed tasks, `ready` ready
    /// tasks, and no other task.
    fn or(self, delayed: usize, ready: usize) -> Self {
        if self.are_zero() { Self { delayed, ready, ..self } } else { self }
    }

    /// Makes the statistics of `job` from the counts in `self` and in `ended`, and from the limit and the most running tasks of
    /// `job`.
    fn with(self, job: JobPtr, ended: Ended) -> JobStats {
        let Self { running, ready, backlog, delayed } = self;
        let Ended { completed, panicked, cancelled } = ended;
        JobStats {
            limit: control::limit_of(job.permits.load()),
            running,
            ready,
            backlog,
            delayed,
            completed,
            panicked,
            cancelled,
            most_running: job.tally.most_running(),
        }
    }
}
