//! `Job::idle`: a future waits until a job is idle. `Job::settled`: a thread or a future waits until at most as many tasks
//! of a job run as its limit allows.

use crate::api::job::Job;
use crate::base::parking::parking_lot;
use crate::base::rests::Resting;
use crate::job::family::{self, Passes};
use crate::job::idle;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;
use crate::task::awaiting::Wait;
use crate::unwind;
use crate::worker::blocking;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

impl Job {
    /// Returns a future that waits as [`wait`](Self::wait) does. The future needs no runtime.
    ///
    /// A task that is a future holds no permit while it awaits the returned future.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the wait, and changes nothing else.
    ///
    /// # Panics
    ///
    /// Panics if the future is polled inside a task of this job or of a job below it. Such a task would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// for _ in 0..5 {
    ///     job.execute(|| ());
    /// }
    /// futures::executor::block_on(job.idle());
    /// assert_eq!(job.stats().completed, 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn idle(&self) -> Idle {
        Idle {
            resting: None,
            job: self.clone(),
            passes: Passes::default(),
            entry: None,
            wait: Wait::default(),
        }
    }

    /// Returns a value that waits until at most as many tasks of the job run as its limit allows. A paused job allows no
    /// running task.
    ///
    /// Neither [`set_limit`](Self::set_limit) nor [`pause`](Self::pause) stops a running task. So after such a call more tasks
    /// can run than the job allows. [`Settled::wait`] blocks until enough tasks have ended, and a `Settled` is also a future.
    /// If the limit changes during the wait, the new limit counts. Running tasks of jobs below this job count, because each of
    /// them holds a permit of this job.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// let (go, wait_for_go) = mpsc::channel();
    /// let running = job.spawn(move || wait_for_go.recv().unwrap());
    /// while job.stats().running == 0 {
    ///     std::thread::yield_now();
    /// }
    /// job.set_limit(0);
    /// assert!(!job.settled().wait_timeout(Duration::from_millis(1))); // one still runs
    /// go.send(()).unwrap();
    /// job.settled().wait();
    /// assert_eq!(job.stats().running, 0);
    /// # running.join().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn settled(&self) -> Settled {
        Settled { job: self.clone(), entry: None, wait: Wait::default() }
    }
}

/// An entry in the parking lot, under the key `key`. Dropping this value removes the entry. `key` is an address in the job's
/// record, which the field `job` keeps.
struct Entry {
    job: Job,
    key: usize,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        parking_lot().leave(self.key, self.number);
    }
}

/// Calls `wait`. If `wait` returns true, stores the waker of `cx` in the parking lot, under the key `key`. Returns what `wait`
/// returned. If `entry` has the same key, the entry gets the new waker and keeps its place among the waiters. Otherwise a new
/// entry replaces `entry`.
fn enter(
    entry: &mut Option<Entry>,
    job: &Job,
    key: usize,
    cx: &Context<'_>,
    wait: impl FnOnce() -> bool,
) -> bool {
    let number = entry.as_ref().filter(|entry| entry.key == key).map(|entry| entry.number);
    match parking_lot().enter(key, number, cx.waker(), wait) {
        Some(number) => {
            if entry.as_ref().is_none_or(|entry| entry.key != key) {
                *entry = Some(Entry { job: job.clone(), key, number });
            }
            true
        }
        None => false,
    }
}

/// A future that waits until a job has no task queued or running. Made by [`Job::idle`].
///
/// # Examples
///
/// A future that is dropped before the job is idle ends its wait:
///
/// ```
/// use futures::executor::block_on;
/// use futures::future::{Either, ready, select};
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job(0); // held
/// job.execute(|| ());
/// assert!(matches!(block_on(select(job.idle(), ready("enough"))), Either::Right(("enough", _))));
/// job.set_limit(1);
/// block_on(job.idle());
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct Idle {
    /// Tells whether another waiter has seen the job idle since this future was first polled. `None` before the first poll.
    /// Must be dropped before the field `job`, because `resting` uses the address of the job's record.
    resting: Option<Resting>,
    job: Job,
    passes: Passes,
    entry: Option<Entry>,
    wait: Wait,
}

impl Idle {
    /// Checks that `job` and all jobs below it are idle, one after the other. If all of them are idle, returns how many
    /// tasks of these jobs have ended so far. At the first busy job, registers the waker for that job and returns
    /// `None`.
    fn pass(&mut self, job: &Job, cx: &Context<'_>) -> Option<u64> {
        let mut ended = self.pass_one(job, cx)?;
        let mut below = family::children_of(job.ptr());
        while let Some(child) = below.pop() {
            let child = Job::from_handle(child.into_handle());
            ended = ended.wrapping_add(self.pass_one(&child, cx)?);
            below.append(&mut family::children_of(child.ptr()));
        }
        Some(ended)
    }

    /// Checks that `job` is idle, and returns how many of its tasks have ended so far. If `job` is busy, registers the
    /// waker and returns `None`.
    fn pass_one(&mut self, job: &Job, cx: &Context<'_>) -> Option<u64> {
        let ptr = job.ptr();
        if !idle::is_idle(ptr) {
            let busy = idle::enter_while_busy(ptr, |wait, _| {
                enter(&mut self.entry, job, ptr.idle_key(), cx, wait)
            });
            if busy {
                return None;
            }
        }
        Some(ptr.tally.ended())
    }

    /// Removes the future's entry from the parking lot.
    fn leave(&mut self) {
        if let Some(entry) = self.entry.take() {
            let job = entry.job.clone();
            drop(entry);
            idle::forget_waiters(job.ptr());
        }
    }
}

impl Future for Idle {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.job.refuse_to_wait_inside();
        let job = self.job.clone();
        let resting = self.resting.take().unwrap_or_else(|| Resting::enter(job.ptr().idle_key()));
        while !resting.has_come() {
            let mut passes = std::mem::take(&mut self.passes);
            let last = passes.make(job.ptr(), || self.pass(&job, cx));
            self.passes = passes;
            match last {
                None if resting.has_come() => {}
                None => {
                    self.resting = Some(resting);
                    self.wait.begin();
                    return Poll::Pending;
                }
                Some(true) => {
                    resting.note();
                    break;
                }
                Some(false) => {}
            }
        }
        self.wait.end();
        self.leave();
        Poll::Ready(())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("job", &self.job).finish_non_exhaustive()
    }
}

/// Waits until at most as many tasks of a job run as its limit allows. Made by [`Job::settled`].
///
/// # Examples
///
/// A `Settled` is also a future:
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(2);
/// (0..100).for_each(|_| job.execute(|| ()));
/// job.set_limit(0);
/// futures::executor::block_on(job.settled());
/// assert_eq!(job.stats().running, 0); // and nothing starts
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "it tells only if it is waited for or polled"]
pub struct Settled {
    job: Job,
    entry: Option<Entry>,
    wait: Wait,
}

impl Settled {
    /// Waits until at most as many tasks of the job run as its limit allows.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread. A caller that is a task holds no permit while it waits, as in
    /// [`TaskHandle::join`](crate::TaskHandle::join). So a task that waits for its own job does not count as running, unless the
    /// job [keeps its permits](crate::JobBuilder::keep_permits).
    ///
    /// # Panics
    ///
    /// Panics if the caller is a task whose wait would block its pool's [last thread](crate::PoolBuilder::max_spare_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// (0..100).for_each(|_| job.execute(|| ()));
    /// job.set_limit(1);
    /// job.settled().wait();
    /// assert!(job.stats().running <= 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn wait(self) {
        unwind::at_caller(|| wait(self.job.ptr(), None));
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`. Returns true if at the end of the wait at most as many tasks
    /// run as the limit allows.
    ///
    /// # Blocking
    ///
    /// Blocks as [`wait`](Self::wait) does, for at most `timeout`.
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
    /// assert!(pool.job(1).settled().wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use = "it says whether the time was enough"]
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        unwind::at_caller(|| wait(self.job.ptr(), Instant::now().checked_add(timeout)));
        is_settled(self.job.ptr())
    }
}

fn is_settled(job: JobPtr) -> bool {
    job.permits.load().is_settled()
}

/// Sets the flag `Settling`. Then returns true if more tasks run than the limit allows, so that the caller must wait.
///
/// `settle-1`: the waiter sets the flag `Settling` before it reads the number of running tasks. The flag and this number are in
/// one word, and each release of a permit changes this word. So a thread that releases a permit after the waiter's read sees
/// the flag. That thread wakes the waiter when at most as many tasks run as the limit allows.
fn must_wait(job: JobPtr) -> bool {
    job.permits.set(Flag::Settling);
    fence_after_rmw();
    !is_settled(job)
}

fn wait(job: JobPtr, until: Option<Instant>) {
    if !is_settled(job) {
        blocking::wait(job.settle_key(), until, || must_wait(job));
    }
}

impl Future for Settled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let job = this.job.ptr();
        let busy = !is_settled(job)
            && enter(&mut this.entry, &this.job, job.settle_key(), cx, || must_wait(job));
        if busy {
            this.wait.begin();
            return Poll::Pending;
        }
        this.wait.end();
        this.entry = None;
        Poll::Ready(())
    }
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled")
            .field("job", &self.job)
            .field("settled", &is_settled(self.job.ptr()))
            .finish()
    }
}
