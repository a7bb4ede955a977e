//! Shares, turn times and priorities of jobs.

use crate::api::builder::JobBuilder;
use crate::api::job::Job;
use crate::job::turns::MOST_SHARE;
use crate::priority::Priority;
use std::time::Duration;

impl JobBuilder {
    /// Multiplies the length of a worker's turns with the job by `n`: a turn has 16·n tasks. Without this call `n` is 1.
    ///
    /// If several jobs have tasks waiting, a worker serves the jobs in turn (deficit round robin). So on one worker, a job with
    /// a share of 3 starts 48 tasks for each 16 tasks of a job with a share of 1. A share reserves no worker. If no other task
    /// waits, a turn does not end.
    ///
    /// A share counts tasks, not time. [`turn_time`](Self::turn_time) bounds the time of a turn.
    ///
    /// - *Siblings.* If all permits of the parent are held, its children take turns, and a turn of this job is `n` times as
    ///   long: 16·n tasks or `n` · 100 µs.
    /// - *Children.* The share of a child is multiplied by the share of this job, up to [`MAX_SHARE`](Job::MAX_SHARE). Each
    ///   child has turns of its own.
    /// - *Latency.* A lone task of another job waits for at most 16·n tasks of this job on each worker.
    /// - *Waits.* A task that waits inside can end the turn. The turn ends if the worker's thread blocks in the wait. At a limit
    ///   of 1 the turn also ends if the next task of the job has become ready meanwhile. That task must start before the tasks in
    ///   the queue.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0 or greater than [`Job::MAX_SHARE`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let (large, small) = (pool.job_builder().limit(1).share(3).build(), pool.job(1));
    /// let order = Arc::new(Mutex::new(Vec::new()));
    /// for (name, job) in [("large", &large), ("small", &small)] {
    ///     job.pause();
    ///     for _ in 0..96 {
    ///         let order = Arc::clone(&order);
    ///         job.execute(move || order.lock().unwrap().push(name));
    ///     }
    /// }
    /// let both = [large.clone(), small.clone()];
    /// pool.job(1).execute(move || both.iter().for_each(|job| job.resume()));
    /// large.wait();
    /// small.wait();
    /// let order = order.lock().unwrap();
    /// let turns: Vec<_> = order.chunk_by(|a, b| a == b).map(|turn| (turn[0], turn.len())).collect();
    /// assert_eq!(turns[..4], [("large", 48), ("small", 16), ("large", 48), ("small", 80)]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn share(mut self, n: u32) -> Self {
        assert!(
            (1..=MOST_SHARE).contains(&n),
            "a share of {n} is out of range: take one from 1 to {MOST_SHARE}"
        );
        self.turns.share = Some(n);
        self
    }

    /// Limits the time of a worker's turn with the job to `most`. The number of tasks in a turn is limited with and without
    /// this call.
    ///
    /// If another task waits when the turn time has passed, the turn ends after the task in progress. So a lone task of another
    /// job waits, on each worker, for at most the turn time and one task. If no other task waits, the turn continues until
    /// another task waits. With a time of zero each task is a turn.
    ///
    /// Set a turn time on a job whose tasks are long: if each task takes 20 ms, a lone task of another job waits for a turn of
    /// 16 tasks, which takes 320 ms. The time for which a task waits inside, as in a join, is a part of the turn. A child
    /// inherits the turn time of its parent. Items of [`map`](Job::map) and [`for_each`](Job::for_each) count as tasks.
    ///
    /// The turn time is measured by the pool's [clock](crate::PoolBuilder::clock), which the worker reads after each task of
    /// the job.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let slow = pool.job_builder().limit(0).turn_time(Duration::from_millis(50)).build(); // held
    /// for _ in 0..16 {
    ///     let clock = clock.clone();
    ///     slow.execute(move || clock.advance(Duration::from_millis(20)));
    /// }
    /// let lone = pool.job(1);
    /// let (slow_inside, lone_inside) = (slow.clone(), lone.clone());
    /// let before = pool.job(1).spawn(move || {
    ///     slow_inside.set_limit(1);
    ///     let ended = slow_inside.clone();
    ///     lone_inside.spawn(move || ended.stats().completed)
    /// });
    /// assert_eq!(before.join().unwrap().join().unwrap(), 3); // of sixteen
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn turn_time(mut self, most: Duration) -> Self {
        self.turns.time = Some(most);
        self
    }

    /// Sets the class of the job. A worker takes ready tasks of [`High`](Priority::High) jobs first, and ready tasks of
    /// [`Low`](Priority::Low) jobs last. Without this call a job has the class of its parent, or [`Normal`](Priority::Normal).
    ///
    /// A worker chooses a job by its class when it begins a turn. A ready task of a higher class stops neither a running task nor
    /// a turn that has begun. On each worker, a ready task of class `High` waits at most for these turns: the turn in progress,
    /// one turn of each other `High` job, and the turns that keep lower classes from starving.
    ///
    /// No class starves. While a `Normal` task is ready, a worker takes at most 8 turns of `High` jobs, then one of `Normal`.
    /// While a `Low` task is ready, the worker takes at most 32 turns of higher classes, then one of `Low`. These numbers hold
    /// for each worker, and for the tasks in its own deque and in the injectors. Ready tasks in the deque of another worker wait
    /// until the turn of that worker ends, or until a worker without a ready task steals them.
    ///
    /// - *Limits.* A class changes no limit. A ready task of a `Low` job counts toward the limits of its job and of the
    ///   ancestors, as any ready task does. A parent with a rate, weights or an adaptive limit has one ready task at a time. If
    ///   this one task is of a `Low` child, the tasks of all other children wait for it. So give all children of such a parent
    ///   the same class.
    /// - *Siblings.* If all permits of a parent are held, its children take turns in the parent's queue, and classes have no
    ///   effect there. Use [`share`](Self::share) for these children.
    /// - *Cost.* After the pool has got its first job of class `High` or `Low`, its workers look at three injectors. A
    ///   pool without such a job pays nothing. Tasks of a `High` or `Low` job start one at a time, even without a limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use tollgate::Priority;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let order = Arc::new(Mutex::new(Vec::new()));
    /// let push = [Priority::Low, Priority::Normal, Priority::High].map(|class| {
    ///     let (job, order) = (pool.job_builder().priority(class).build(), Arc::clone(&order));
    ///     move || job.execute(move || order.lock().unwrap().push(class))
    /// });
    /// pool.job(1).execute(|| push.into_iter().for_each(|push| push()));
    /// pool.shutdown();
    /// assert_eq!(*order.lock().unwrap(), [Priority::High, Priority::Normal, Priority::Low]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn priority(mut self, class: Priority) -> Self {
        self.turns.priority = Some(class);
        self
    }
}

impl Job {
    /// The greatest share that a job may have.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Job;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let large = pool.job_builder().share(Job::MAX_SHARE).build();
    /// assert_eq!((large.share(), Job::MAX_SHARE), (64, 64));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub const MAX_SHARE: u32 = MOST_SHARE;

    /// Returns the share of the job, multiplied by the shares of all its ancestors. A turn with the job has 16 times as many
    /// tasks as this number.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let host = pool.job_builder().limit(4).share(2).build();
    /// let page = host.job_builder().share(3).build();
    /// assert_eq!((host.share(), page.share(), host.job(1).share()), (2, 6, 2));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn share(&self) -> u32 {
        self.ptr().turns().share
    }

    /// Returns the class of the job.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Priority;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let host = pool.job_builder().limit(4).priority(Priority::Low).build();
    /// assert_eq!(host.job(1).priority(), Priority::Low);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn priority(&self) -> Priority {
        self.ptr().turns().priority
    }
}
