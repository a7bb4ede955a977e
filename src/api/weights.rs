//! Jobs that count weights: a task can take more than one permit of such a job.

use crate::api::builder::JobBuilder;
use crate::api::job::Job;
use std::num::NonZeroU32;

impl JobBuilder {
    /// Makes the job count weights: a task takes as many permits of this job as the task [weighs](Self::weight).
    ///
    /// Each task of a job that counts weights, and of all jobs below it, weighs 1 if no weight was set. The limit bounds the
    /// sum of the weights of the running tasks. [`JobStats::running`](crate::JobStats::running) and `most_running` count
    /// permits, not tasks.
    ///
    /// - If a heavy task is first in the queue of this job, no task behind it in this queue starts first. But tasks of three
    ///   kinds can start or continue before the heavy task: tasks of another child, if a worker has already begun a turn with
    ///   that child; tasks that have waited inside and re-acquire their permits; and woken futures of the heavy task's own job.
    ///   The heavy task starves only if new tasks of these kinds keep coming.
    /// - A task that weighs more than the limit runs alone: the task starts when no permit of this job is held. If the
    ///   limit is lowered below the weight of a waiting task, this task runs alone, too.
    /// - Each child has at most one task in this job's queue, as without weights. So children with heavy tasks and children
    ///   with light tasks take turns. No order is promised between tasks of two children.
    /// - A task that waits inside, as in a join, gives back all its permits, and re-acquires all of them at once after the
    ///   wait. So does a pending future that awaits a task or a job of this library. Any other pending future keeps all its
    ///   permits.
    ///
    /// Weights have a cost: workers take the tasks of such a job out of its queue one by one, not in batches, and no join runs a
    /// task of such a job inline. If a handle cancels a heavy task that is first in the queue, the next tasks can stay in the
    /// queue until a permit is released. A job that counts no weights pays nothing.
    ///
    /// # Examples
    ///
    /// A build on four cores, in which a link step takes three cores:
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(4).build()?;
    /// let cores = pool.job_builder().limit(4).weighted().build();
    /// let links = cores.weigh(3);
    /// for _ in 0..10 {
    ///     cores.execute(|| ()); // compiles
    ///     links.execute(|| ());
    /// }
    /// cores.wait();
    /// assert!(cores.stats().most_running <= 4);
    /// assert_eq!(links.stats().most_running, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn weighted(mut self) -> Self {
        self.counts_weights = true;
        self
    }

    /// Sets the weight of the job's tasks. Among this job and its ancestors, a task takes this number of permits of each job that
    /// [counts weights](Self::weighted). [`Job::weigh`] is the short form.
    ///
    /// A job without a weight of its own has the weight of its parent. A weight above [`Job::MAX_LIMIT`](crate::Job::MAX_LIMIT)
    /// counts as `MAX_LIMIT`. Jobs that count no weights ignore the weight.
    ///
    /// # Panics
    ///
    /// Panics if the weight is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let memory = pool.job_builder().limit(100).weighted().build(); // megabytes
    /// let decode = memory.job_builder().name("decode").weight(30).limit(8).build();
    /// let permit = decode.try_acquire()?;
    /// assert_eq!((decode.stats().running, memory.stats().running), (1, 30));
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn weight(mut self, weight: usize) -> Self {
        let most = Job::MAX_LIMIT as u32;
        let weight =
            NonZeroU32::new(weight.try_into().map_or(most, |weight: u32| weight.min(most)));
        assert!(
            weight.is_some(),
            "a task that weighs 0 would take no permit: give it a weight of 1 or more"
        );
        self.weight = weight;
        self
    }
}

impl Job {
    /// Makes a child of this job without a limit of its own. The child's tasks take `weight` permits of each job that [counts
    /// weights](crate::JobBuilder::weighted).
    ///
    /// The returned child is a job like any other: its closures, futures, scopes, streams and permits have the weight. Tasks of
    /// the child wait in the child's own queue, and take turns with the tasks of this job and of its other children. So make
    /// one child for each weight, and keep its handle. [`JobBuilder::weight`](crate::JobBuilder::weight) makes a child with a
    /// limit or a name.
    ///
    /// # Panics
    ///
    /// Panics if the weight is 0, or if this job has 67,108,864 handles and children already.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let memory = pool.job_builder().limit(100).weighted().build();
    /// let large = memory.weigh(80);
    /// let first = large.try_acquire()?;
    /// assert_eq!(memory.stats().running, 80);
    /// assert!(large.try_acquire().is_err()); // 20 are free
    /// assert!(memory.weigh(20).try_acquire().is_ok());
    /// drop(first);
    /// let alone = memory.weigh(1_000).try_acquire()?; // above the limit, and nothing else runs
    /// assert!(memory.try_acquire().is_err());
    /// # drop(alone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn weigh(&self, weight: usize) -> Self {
        self.job_builder().weight(weight).build()
    }
}
