//! Jobs whose limit bounds the tasks that have begun.

use crate::api::builder::JobBuilder;
#[cfg(doc)]
use crate::api::job::Job;

impl JobBuilder {
    /// If `keep` is true, lets the limit bound the tasks that have begun, and not only the tasks that run.
    ///
    /// By default a task that waits inside, in [`join`](crate::TaskHandle::join), [`wait`](Job::wait), [`scope`](Job::scope) or
    /// the like, gives its permits back meanwhile. So any number of tasks may have begun. If `keep` is true, each task of this
    /// job, or of a job below, keeps its permit of this job until the task ends. A waiting task still gives back its permits of
    /// other jobs. A future keeps all its permits, also while it awaits a task.
    ///
    /// # Waits for a kept permit
    ///
    /// A task of the job may wait for another task that needs the very permit which the waiting task keeps. These rules apply:
    ///
    /// - If the joined task is a closure of the same job, and has not started, the closure runs inline under the kept permit.
    ///   The tasks of a `scope` and the items of [`map`](Job::map) run inline in the same way. Such a closure counts as a part
    ///   of the joining task: it runs even if the job is paused, held off or over its limit.
    /// - At a limit of 1, the join of these tasks panics, because they need a second permit of the job: a future; a delayed or
    ///   retried task; a task of a job below; a closure more than 32 inline joins deep; a closure of a job with a
    ///   [rate](Self::rate), an [adaptive](Self::adaptive) limit or [weights](Self::weighted). The panic names the job. A
    ///   deadline of the joined task makes no difference.
    /// - At a limit of 1, a wait for a [set](Job::set) panics if no remaining task of the set has begun, and all are of the
    ///   waiting task's job. At a limit of 1, a wait for a job below panics if that job has a task that has not begun. This
    ///   holds even if the job below is cancelled.
    /// - If the joined task is a closure of another job, the closure may run inline. But if that closure also needs a permit of
    ///   this job, it never runs inline.
    /// - If the limit is greater than 1, a task may wait for a second permit of the job. If all tasks that have begun wait for
    ///   one, only a higher limit ends their waits.
    /// - The pool does not detect other waits that may never end. A task may join a task of another job, which joins a task of
    ///   this job. Tasks of two jobs that keep their permits may join one another. A future may await a task of its own job. A
    ///   task may pause its job, and then wait until the job is [settled](Job::settled).
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
