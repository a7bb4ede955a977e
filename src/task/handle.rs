//! `TaskHandle`: join, cancel, detach.
//!
//! `awaiting` has the handle as a future, `joint` the cell behind it, `state` the word that says who may touch what of the
//! cell when, and `flight` the cell of a future.

pub mod awaiting;
#[cfg(feature = "futures")]
pub mod flight;
mod joint;
mod state;

pub use joint::joint;
pub use state::is_asked_to_end;

use crate::error::JoinError;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;
use crate::sync::time::Instant;
use crate::task::handle::awaiting::Wait;
use crate::task::handle::joint::{Face, SideTable};
use crate::task::handle::state::{
    ASKED, CLAIMED, DONE, HANDLE, INSIDE, QUEUE, TAKEN, WAITED, claim,
};
use crate::task::room::{ONLY, room};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::waiting;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::time::Duration;

/// The handle of a task: join it, ask for it, cancel it. Made by [`Job::spawn`](crate::Job::spawn).
///
/// Dropping the handle detaches the task: it runs all the same, and its result is dropped. The handle is also a future, for any
/// executor.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let answer = pool.job(1).spawn(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a dropped handle detaches its task: say so by `drop`, or push a closure by `execute`, which makes no handle"]
pub struct TaskHandle<T> {
    cell: NonNull<Face>,
    side: &'static SideTable,
    /// Of the future that awaits this task.
    wait: Wait,
    result: PhantomData<T>,
}

// SAFETY: the cell's state is atomic; the outcome is moved to the one that has the handle by value.
unsafe impl<T: Send> Send for TaskHandle<T> {}
// SAFETY: through a shared handle nothing of `T` can be reached.
unsafe impl<T: Send> Sync for TaskHandle<T> {}

impl<T> TaskHandle<T> {
    fn new(cell: NonNull<Face>, side: &'static SideTable) -> Self {
        Self { cell, side, wait: Wait::default(), result: PhantomData }
    }

    fn state(&self) -> &AtomicU64 {
        // SAFETY: the handle's share keeps the cell alive.
        unsafe { &self.cell.as_ref().state }
    }

    fn key(&self) -> usize {
        self.cell.as_ptr().addr()
    }

    /// Whether the task has ended: returned, panicked or been cancelled. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// let task = job.spawn(|| ());
    /// job.wait();
    /// assert!(task.is_finished());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        // Ordering: Acquire; who sees it finished sees what the task did.
        self.state().load(Ordering::Acquire) & DONE != 0
    }

    /// Waits for the task and returns its result.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the task has ended. Inside a task of a pool it never deadlocks: if the
    /// task joined is of the same job and has not started, it is run here, in the stead of the one that
    /// joins, ahead of its turn; otherwise the one that joins holds no permit while it waits, a spare worker
    /// takes its place, and it takes its permit back ahead of the backlog before it goes on.
    ///
    /// # Panics
    ///
    /// If a task joins itself, which could never end; inside a task, if all
    /// [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use; if the result was given to somebody who
    /// awaited `&mut handle`.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] with the payload if the task panicked, [`JoinError::Cancelled`] if it
    /// was dropped before it started; a future, before it ended.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let length = pool.job(1).spawn(|| "tollgate".len());
    /// assert_eq!(length.join().unwrap(), 8);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        self.wait(None);
        self.take()
    }

    /// Waits for the task for at most `timeout`; gives the handle back if that was too short.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the task has ended or the time is over. Inside a task of a pool, that one
    /// holds no permit while it waits, as in [`join`](Self::join), and takes it back when the time is over, which may take
    /// longer; the task joined is not run in its stead.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// The handle, if the time is over. The inner result is as with [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let (go, wait_for_go) = mpsc::channel();
    /// let task = pool.job(1).spawn(move || wait_for_go.recv().unwrap());
    /// let task = task.join_timeout(Duration::from_millis(1)).unwrap_err(); // still running
    /// go.send(5).unwrap();
    /// assert_eq!(task.join().unwrap(), 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        // A time so far away that it cannot be said is never.
        self.wait(Instant::now().checked_add(timeout));
        if self.is_finished() { Ok(self.take()) } else { Err(self) }
    }

    /// Cancels the task if it has not started: its closure, or future, is dropped now, on this thread, and
    /// the handle says [`JoinError::Cancelled`]. True if it was this call that cancelled it.
    ///
    /// A closure that runs is not stopped, and has a result. It can ask: [`is_cancelled`](crate::is_cancelled) is
    /// true in it from now on.
    ///
    /// A future in flight is cancelled, too: it is not polled again, and a worker drops it at once, or at the
    /// end of the poll that is under way; then the handle says `Cancelled`. One that
    /// waits in line for its permit, having awaited another task, is dropped when its turn comes.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(0); // held
    /// let task = job.spawn(|| unreachable!());
    /// assert!(task.cancel());
    /// assert!(!task.cancel());
    /// assert!(matches!(task.join(), Err(tollgate::JoinError::Cancelled)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let claimed = claim(self.state(), CLAIMED) & CLAIMED == 0;
        if claimed {
            // SAFETY: it is claimed just now, and the handle has a share.
            unsafe { (self.side.cancel)(self.cell.as_ptr()) };
            // SAFETY: the handle has a share.
            note_gone(unsafe { self.cell.as_ref() }.header.job);
        }
        if claimed {
            return true;
        }
        // Ordering: Relaxed; a question that the task may ask, and nothing follows from the answer here.
        self.state().fetch_or(ASKED, Ordering::Relaxed);
        // SAFETY: the handle has a share.
        self.side.abort.is_some_and(|abort| unsafe { abort(self.cell.as_ptr()) })
    }

    #[track_caller]
    fn wait(&self, until: Option<Instant>) {
        if self.is_finished() {
            return;
        }
        let itself =
            Context::with(|context| context.is_some_and(|here| here.is_running(self.key())));
        assert!(!itself, "a task joins itself, which could never end: join it from elsewhere");
        Context::with(|context| {
            let Some(context) = context else { return };
            if until.is_none() {
                self.run_inside(context);
            }
        });
        if self.is_finished() {
            // It ran here.
            return;
        }
        unwind::at_caller(|| {
            waiting::wait(self.key(), until, || {
                // Ordering: AcqRel; W2 of the room against E1 in `finish`.
                self.state().fetch_or(WAITED, Ordering::AcqRel) & DONE == 0
            });
        });
    }

    /// Runs the task, if it has not started, inside the one that joins it: in its stead, and under its
    /// permit. Only for a task of the same job, whose permit it is.
    fn run_inside(&self, context: &Context) {
        // SAFETY: the handle's share keeps the cell alive; the job is only compared.
        let job = unsafe { self.cell.as_ref() }.header.job;
        let Some(run) = self.side.run.filter(|_| context.may_run_inside(job)) else {
            return;
        };
        if claim(self.state(), CLAIMED | INSIDE) & CLAIMED != 0 {
            return;
        }
        context.depth.set(context.depth.get() + 1);
        context.as_task(self.key(), Some(self.state()), || {
            // SAFETY: it is claimed just now, and the handle has a share.
            unsafe { run(self.cell.as_ptr()) };
        });
        context.depth.set(context.depth.get() - 1);
    }

    /// Moves the outcome of a finished task out. The caller has the handle to itself, and notes TAKEN.
    ///
    /// # Panics
    /// If it was moved out before.
    #[track_caller]
    fn move_out(&self) -> Result<T, JoinError> {
        // Ordering: Relaxed; this handle's side sets it.
        let taken = self.state().load(Ordering::Relaxed) & TAKEN != 0;
        assert!(!taken, "a task's result was taken from its handle before: await or join it once");
        let mut outcome = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: it is finished, nobody else has the handle, and the result type is the cell's.
        unsafe { (self.side.outcome)(self.cell.as_ptr(), outcome.as_mut_ptr().cast()) };
        // SAFETY: it was written just now.
        unsafe { outcome.assume_init() }
    }

    /// Takes the outcome of a finished task.
    #[track_caller]
    fn take(mut self) -> Result<T, JoinError> {
        self.wait.end();
        let outcome = self.move_out();
        let this = ManuallyDrop::new(self);
        // Ordering: AcqRel; all use of the cell comes before its end.
        let left = this.state().fetch_xor(HANDLE | TAKEN, Ordering::AcqRel);
        if left & QUEUE == 0 {
            // SAFETY: both shares are gone, and the outcome is taken.
            unsafe { (this.side.free)(this.cell.as_ptr(), false) };
        }
        outcome
    }
}

impl<T> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; this handle's side sets it.
        if self.state().load(Ordering::Relaxed) & WAITED != 0 {
            // Before the share is given up, and the key may become another's.
            room().leave(self.key(), ONLY);
        }
        // Ordering: AcqRel; as in `take`.
        let left = self.state().fetch_and(!HANDLE, Ordering::AcqRel);
        if left & QUEUE == 0 && left & DONE != 0 {
            // SAFETY: both shares are gone.
            unsafe { (self.side.free)(self.cell.as_ptr(), left & TAKEN == 0) };
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for a person.
        let state = self.state().load(Ordering::Relaxed);
        let state = match (state & CLAIMED != 0, state & DONE != 0) {
            (_, true) => "finished",
            (true, false) => "running",
            (false, false) => "waiting",
        };
        f.debug_struct("TaskHandle").field("state", &state).finish()
    }
}

global! {
    /// How many tasks handles have cancelled, in all pools: whoever waits for a job looks again when there are more. The
    /// job itself may be gone when its task's handle comes to tell it.
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// A task of the job that may stand in a line has been emptied: who waits for a held job looks whether it was the last one. Only
/// the job's address is used.
pub fn note_gone(job: JobPtr) {
    // Ordering: AcqRel; before the wake, for `enter_while_busy`.
    cancel_count().fetch_add(1, Ordering::AcqRel);
    room().wake(job.idle_key());
}

/// A number that changes when a handle has cancelled a task, or what else stands in a line has been emptied.
pub fn cancels() -> u64 {
    // Ordering: Acquire; who sees the number sees the claim.
    cancel_count().load(Ordering::Acquire)
}
