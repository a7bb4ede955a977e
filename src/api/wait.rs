//! `Job::wait`: a thread waits until a job is idle. Module `settle` has the same wait as a future.

use crate::api::job::Job;
use crate::base::rests::Resting;
use crate::job::record::JobPtr;
use crate::job::{family, idle};
use crate::sync::time::Instant;
use crate::worker::blocking;
use crate::worker::context::Context;
use crate::worker::keeping::refuse_if_hopeless;
use crate::{process, unwind};
use std::time::Duration;

impl Job {
    /// Waits until this job and all jobs below it have no task queued or running. [`idle`](Self::idle) is the same wait as a
    /// future.
    ///
    /// When `wait` returns, all tasks that were pushed before the call have ended, and so have all tasks that they pushed into
    /// the job. At some moment during the call no task of the job, or of a job below it, was queued or running. All threads that
    /// waited at that moment return. A thread that has returned can push again before another of these threads has returned.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread. If the job is paused and has queued tasks, the wait lasts until the job is resumed or
    /// cancelled. A caller that is a task of another job holds no permit while it waits, and a spare worker takes its place, as
    /// in [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Panics
    ///
    /// Panics inside a task of this job or of a job below it, because the task would wait for itself. Panics inside another
    /// task if the wait would block its pool's [last thread](crate::PoolBuilder::max_spare_workers).
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
        unwind::at_caller(|| wait(self.0, None));
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`. Returns true if at one moment before the time-out the job and
    /// all jobs below it were idle.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread for at most `timeout`. A caller that is a task of another job then re-acquires its permit, so
    /// the call can take longer than `timeout`.
    ///
    /// # Panics
    ///
    /// Panics where [`wait`](Self::wait) does.
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
    #[must_use = "it says whether the time was enough"]
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.refuse_to_wait_inside();
        unwind::at_caller(|| wait(self.0, Instant::now().checked_add(timeout)))
    }

    /// Returns true if at one moment of the call no task of this job, or of a job below it, was queued or running. Never
    /// waits for a task.
    ///
    /// Delayed tasks, pending futures and held [permits](crate::Permit) count as running. Inside a task of this job or of a job
    /// below it, `is_idle` returns false. Another thread can push as soon as the call has returned. The call visits each job
    /// below this one.
    ///
    /// # Panics
    ///
    /// Panics in a child process of `fork`, in which the pool has no workers.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// assert!(job.is_idle());
    /// job.execute(|| ());
    /// assert!(!job.is_idle());
    /// job.set_limit(1);
    /// job.wait();
    /// assert!(job.is_idle());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn is_idle(&self) -> bool {
        assert!(!self.0.pool().is_in_child(), "{}", process::NO_WORKERS);
        let mut passes = family::Passes::default();
        loop {
            if let together @ (None | Some(true)) = passes.make(self.0, || ended_if_idle(self.0)) {
                return together.is_some();
            }
        }
    }

    /// Panics if the caller is a task of this job or of a job below it. Panics in a child process of `fork`, too, because the
    /// pool has no workers there.
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

/// Waits until no task of the job, or of a job below it, is queued or running. Returns true if this thread or another waiter
/// has seen such a moment during this call. Returns false if the time `until` comes first.
fn wait(job: JobPtr, until: Option<Instant>) -> bool {
    let resting = Resting::enter(job.idle_key());
    let mut passes = family::Passes::default();
    loop {
        match passes.make(job, || wait_for_each(job, until, &resting)) {
            None => return resting.has_come(),
            Some(true) => {
                resting.note();
                return true;
            }
            Some(false) if resting.has_come() => return true,
            Some(false) => {}
        }
    }
}

/// Checks that the job and each job below it are idle, one after the other. If all of them are idle, returns how many
/// tasks of these jobs have ended so far. Returns `None` if one of the jobs is busy.
fn ended_if_idle(job: JobPtr) -> Option<u64> {
    let mut ended = idle::is_idle(job).then(|| job.tally.ended())?;
    let mut below = family::children_of(job);
    while let Some(child) = below.pop() {
        ended = ended.wrapping_add(idle::is_idle(child.ptr()).then(|| child.ptr().tally.ended())?);
        below.append(&mut family::children_of(child.ptr()));
    }
    Some(ended)
}

/// Waits until the job is idle, then until each job below it is idle, one after the other. Returns how many tasks of these jobs
/// have ended so far. Returns `None` if the time `until` comes first, or if another waiter has seen all these jobs idle at
/// once.
fn wait_for_each(job: JobPtr, until: Option<Instant>, resting: &Resting) -> Option<u64> {
    let mut ended = wait_for_one(job, until, resting)?;
    let mut below = family::children_of(job);
    while let Some(child) = below.pop() {
        ended = ended.wrapping_add(wait_for_one(child.ptr(), until, resting)?);
        below.append(&mut family::children_of(child.ptr()));
    }
    Some(ended)
}

/// Waits until the job is idle. Returns how many tasks of this job have ended so far. Returns `None` if the time `until`
/// comes first, or if another waiter has seen this job and all jobs below it idle at once.
fn wait_for_one(job: JobPtr, until: Option<Instant>, resting: &Resting) -> Option<u64> {
    while !wait_while_busy(job, until, || resting.has_come()) {
        // The wait has ended, but the job is busy. For example, a parent can be idle for a moment only, between two tasks of
        // its children.
        if resting.has_come() || until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
    }
    Some(job.tally.ended())
}

/// Waits until no task of the job is queued or running, until `enough` returns true, or until the time `until` comes.
/// Returns true if the job is idle at the end of the wait.
fn wait_while_busy(job: JobPtr, until: Option<Instant>, enough: impl Fn() -> bool) -> bool {
    if idle::is_idle(job) {
        return true;
    }
    // The wait is hopeless only if a task of the job needs the permit that the waiting task keeps. Only a task that is queued
    // or ready can need it.
    if until.is_none() && (job.has_waiting() || job.permits.load().ready() > 0) {
        refuse_if_hopeless(job.opaque());
    }
    idle::enter_while_busy(job, |wait, clear| {
        blocking::wait_then(job.idle_key(), Some(job), until, || !enough() && wait(), clear);
        false
    });
    idle::forget_waiters(job);
    idle::is_idle(job)
}
