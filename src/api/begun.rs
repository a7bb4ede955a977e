//! Jobs whose limit bounds the tasks that have begun.

use crate::api::builder::JobBuilder;
#[cfg(doc)]
use crate::api::job::Job;

impl JobBuilder {
    /// Lets the limit bound the tasks that have begun, instead of those that run. By default a task that waits inside, in
    /// [`join`](crate::TaskHandle::join), [`wait`](Job::wait), [`scope`](Job::scope) or the like, gives its permit back meanwhile.
    /// So any number of tasks may have begun. If `keep` is true, a task of this job or of a job below keeps its permit of this
    /// job until it ends. It still gives back its permits of other jobs. A future keeps all its permits, also while it awaits a
    /// task.
    ///
    /// The joined task may need the permit that the waiting task keeps:
    ///
    /// - A closure of the same job that has not started runs inline when it is joined, and so do those of a `scope` and the items
    ///   of [`map`](Job::map). Such a closure is a part of the task that joins it: it runs also while the job is paused, held off
    ///   or over its limit.
    /// - Any other wait is for a permit that another task must give back. If there is no other permit, because the limit is 1,
    ///   the wait panics and names the job. Such are the join of a future, of a delayed or retried task, of a task of a job below,
    ///   of a closure more than 32 inline joins deep, or of a closure of a job with a [rate](Self::rate), an
    ///   [adaptive](Self::adaptive) limit or [weights](Self::weighted); a wait for a [set](Job::set) of which each task left is of
    ///   the same job, or for a job below that has tasks which have not begun, also if it is cancelled. A deadline of the awaited
    ///   task makes no difference.
    /// - A joined closure of another job may run inline, but not one that needs a second permit of this job.
    /// - At a higher limit such a wait is allowed. If all begun tasks wait so, nothing ends their waits but a higher limit. The
    ///   pool does not see waits in a circle over several jobs either: a task that joins a task of another job, which joins one of
    ///   this job; or tasks of two jobs that keep their permits and join one another. The same holds for a future that awaits a
    ///   task of its own job, and for a task that pauses its job and then waits until the job is [settled](Job::settled).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static OPEN: AtomicUsize = AtomicUsize::new(0);
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let files = pool.job_builder().limit(3).keep_permits(true).build();
    /// let parse = pool.job(1);
    /// for _ in 0..100 {
    ///     let parse = parse.clone();
    ///     files.execute(move || {
    ///         assert!(OPEN.fetch_add(1, Ordering::SeqCst) < 3); // never more than 3 have begun
    ///         parse.spawn(|| ()).join().unwrap();
    ///         OPEN.fetch_sub(1, Ordering::SeqCst);
    ///     });
    /// }
    /// files.wait();
    /// assert_eq!(files.stats().completed, 100);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn keep_permits(mut self, keep: bool) -> Self {
        self.keeps_permits = keep;
        self
    }
}
