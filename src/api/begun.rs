//! Jobs whose limit bounds the tasks that have begun.

use crate::api::builder::JobBuilder;
#[cfg(doc)]
use crate::api::job::Job;

impl JobBuilder {
    /// Sets whether the limit bounds the tasks that have begun, or only the tasks that run. The default, `false`, bounds only
    /// the tasks that run.
    ///
    /// By default a task gives its permits back while it waits inside, in [`join`](crate::TaskHandle::join),
    /// [`wait`](Job::wait), [`scope`](Job::scope) or the like. So more tasks can have begun than the limit allows to run. If
    /// `keep` is true, each task of this job, or of a job below, keeps its permit of this job until the task ends. A closure
    /// that waits still gives back its permits of other jobs. A future keeps all its permits, even while it awaits a task.
    ///
    /// # Waits for a kept permit
    ///
    /// A waiting task may keep a permit that the awaited task needs. The following rules apply to such waits:
    ///
    /// - If a task of the job joins a closure of the same job that has not started, the closure runs inline under the permit of
    ///   the joining task. The tasks of a `scope` and the items of [`map`](Job::map) run inline in the same way. An inline
    ///   closure counts as a part of the joining task: it runs even if the job is paused, held off or over its limit.
    /// - At a limit of 1, a task of the job must not join a task that needs a second permit of the job: the join panics, and
    ///   the panic names the job. Tasks that need a second permit are: a future; a delayed or retried task; a task of a job
    ///   below; a closure more than 32 inline joins deep; a closure of a job with a [rate](Self::rate), an
    ///   [adaptive](Self::adaptive) limit or [weights](Self::weighted). A closure with a deadline is joined like any other
    ///   closure.
    /// - At a limit of 1, a wait for a [set](Job::set) panics if all remaining tasks of the set are of the waiting task's job,
    ///   and none of them has begun. At a limit of 1, a wait for a job below panics if that job has a task that has not begun,
    ///   even if that job is cancelled.
    /// - If a task that keeps a permit of this job joins a closure of another job, the closure runs inline only if it needs no
    ///   permit of this job.
    /// - At a limit above 1, a task is allowed to wait for a second permit of the job. If all tasks that have begun do so, only
    ///   a higher limit ends their waits.
    /// - The pool does not detect other waits that might never end. Four examples: a task joins a task of another job, and that
    ///   task joins a task of this job; tasks of two jobs that keep their permits join one another; a future awaits a task of
    ///   its own job; a task pauses its job, and then waits until the job is [settled](Job::settled).
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
