//! Waiting for a job on a thread of one's own; `settle` has the futures that do.

use crate::job::{Job, family};
use crate::process;
use crate::sync::time::Instant;
use crate::unwind;
use crate::worker::context::Context;
use std::time::Duration;

impl Job {
    /// Waits until the job and all below it have nothing queued or running. [`idle`](Self::idle) does as a future.
    ///
    /// What was pushed before the call has ended when it returns, and what those tasks pushed into the job. It returns when
    /// there was nothing at some moment since the call. If several threads wait, each is released by that moment, although
    /// one of them may have pushed again before another has returned.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread. A job that is paused with tasks in its backlog is waited for until
    /// somebody resumes or cancels it. Inside a task of another job, that task holds no permit while it waits, and
    /// a spare worker takes its place, as in [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Panics
    ///
    /// Inside a task of the same job, or of one below it: it would wait for itself. Inside another task, if all
    /// [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// for _ in 0..5 {
    ///     job.execute(|| ());
    /// }
    /// job.wait();
    /// assert_eq!(job.stats().completed, 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn wait(&self) {
        self.refuse_to_wait_inside();
        unwind::at_caller(|| family::wait(self.0, None));
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`; true if the job is idle.
    ///
    /// # Blocking
    ///
    /// As [`wait`](Self::wait), until the time is over. Inside a task of another job, that task then takes its permit back,
    /// which may take longer.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// job.execute(|| ());
    /// assert!(!job.wait_timeout(Duration::from_millis(1)));
    /// job.set_limit(1);
    /// assert!(job.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.refuse_to_wait_inside();
        unwind::at_caller(|| family::wait(self.0, Instant::now().checked_add(timeout)))
    }

    #[track_caller]
    pub(crate) fn refuse_to_wait_inside(&self) {
        assert!(!self.0.pool().is_in_child(), "{}", process::NO_WORKERS);
        let inside = Context::with(|context| {
            let mut job = context.and_then(|context| context.lease().job.get());
            while let Some(inner) = job {
                if inner == self.0 {
                    return true;
                }
                job = inner.parent();
            }
            false
        });
        assert!(
            !inside,
            "a task waits for its own job{}, which could never end: wait from outside, or join the tasks",
            self.name().map(|name| format!(" `{name}`")).unwrap_or_default()
        );
    }
}
