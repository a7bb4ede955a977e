//! Makes jobs, and children of jobs.

use crate::api::job::Job;
use crate::job::control;
use crate::job::extra::Extra;
use crate::job::gate::adapt;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::turns::{AskedTurns, Turns};
use crate::pool::core::PoolPtr;

impl Job {
    /// Makes a child of this job. A task of the child needs a permit of the child and of each ancestor.
    ///
    /// A task of a child acquires its permits one after the other: first of its own job, then of each ancestor. If one of these
    /// jobs has no free permit, the task waits in that job's queue. If all permits of a parent are held, its children take
    /// turns of 16 tasks or 100 µs, however long their queues are. A turn that begins with a woken future ends after the poll
    /// of that future.
    ///
    /// A child inherits its parent's [share](crate::JobBuilder::share), turn time and class. Calls on a parent include all jobs
    /// below it: [`set_limit`](Self::set_limit) and [`pause`](Self::pause) hold back tasks of the jobs below,
    /// [`close`](Self::close) and [`cancel`](Self::cancel) close these jobs, and [`wait`](Self::wait) waits for them. Children
    /// may have children, to any depth.
    ///
    /// # Panics
    ///
    /// Panics if this job already has 67,108,864 handles and children.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(8).build()?;
    /// let everything = pool.job(20);
    /// let host = everything.job(6); // at most 6 to this host
    /// let search = host.job(2); // of which at most 2 searches
    /// let pages = host.job(5);
    /// for _ in 0..50 {
    ///     search.execute(|| ());
    ///     pages.execute(|| ());
    /// }
    /// everything.wait();
    /// assert_eq!(search.stats().completed + pages.stats().completed, 100);
    /// assert!(search.stats().most_running <= 2);
    /// assert!(host.stats().most_running <= 6);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn job(&self, limit: usize) -> Self {
        let turns = AskedTurns::default().below(Some(self.ptr()));
        let extra = (turns != Turns::USUAL).then(|| Extra::default().with_turns(turns));
        make(self.ptr().pool_ptr(), Some(self.ptr()), limit, extra, false)
    }
}

/// Makes a job, and lists it: a child in the pool's table of children, a job with a limit of 0 in the list of held jobs, and a
/// named root in the list of named jobs. `extra` is the state of features that most jobs do not use. `of_key` is true if the
/// job is the job of one key of a keyed job.
#[inline]
#[track_caller]
pub fn make(
    pool: PoolPtr,
    parent: Option<JobPtr>,
    limit: usize,
    extra: Option<Extra>,
    of_key: bool,
) -> Job {
    let job = JobPtr::make(pool, parent, control::limit_bits(limit));
    if of_key {
        job.tally.note_key();
    }
    if let Some(extra) = extra {
        job.set_extra(extra);
        // A job that counts weights or has an adaptive limit needs the flag `Rated`, as a job with a rate does. The flag must
        // be set before another thread can find the job, because a worker checks the flag at the end of each task.
        if job.counts_weights() || adapt::is_adaptive_itself(job) {
            job.permits.set(Flag::Rated);
        }
        job.enter_class();
        job.list_if_named_root();
    }
    if let Some(parent) = parent {
        job.pool().family.enter(parent, job);
    }
    if limit == 0 {
        control::list_if_held(job);
    }
    Job::from_handle(job)
}
