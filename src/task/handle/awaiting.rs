//! Awaiting a task, and what a future of ours holds while it awaits.
//!
//! A handle's waker is kept in the waiting room, under the cell's address, and not in the cell: most
//! handles are joined, dropped, or awaited when the task has ended, so a cell has one bit for it, WAITED,
//! instead of the 24 bytes of a waker with its lock. The bit is set and looked behind under the room's lock
//! (W1 to W3 there), and whoever ends the task reads it in the change that sets DONE (E1): no wake-up is
//! lost. There is one seat for a handle, so that the waker of the last poll is the one that is woken.
//!
//! # Without a permit
//!
//! A future of a job that awaits something of this library's (a task, an idle or a settled job) must not
//! keep others from their permits meanwhile, or that for which it waits might never come. So each such
//! wait is counted, from the poll that finds it pending until it is ready or dropped:
//!
//! - V1: a future's poll ends pending, with waits counted. It is noted that it waits without a permit.
//! - V2: its worker goes on under the permit with the next task, or gives it back (R1 to R3 of
//!   `admission`). The future keeps one token, so the job is not idle.
//! - V3: when it is woken, it goes to the front of its job's backlog, and its token with it; P4 follows.
//!   It is let through ahead of all that have not started, and polled under a permit again.
//!
//! V1 comes before the future can be woken, for until the poll is over the one who polls has it alone: so
//! V3 always finds the note of the last poll. In V2 and V3 the permit and the task in the backlog are what
//! they are for any other task, and so is the argument why it starts.

use crate::error::JoinError;
use crate::sync::atomic::Ordering;
use crate::task::handle::TaskHandle;
use crate::task::handle::state::{DONE, TAKEN, WAITED};
use crate::task::room::{ONLY, room};
use crate::worker::context::Context;
#[cfg(feature = "futures")]
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll};

/// How many things of this library's a future waits for; made at the first.
#[derive(Debug, Default)]
pub struct Waits(OnceLock<Arc<()>>);

/// A future's wait for one of them, while it lasts.
#[derive(Debug, Default)]
pub struct Wait(Option<Arc<()>>);

impl Waits {
    /// Whether it waits for any.
    #[cfg(feature = "futures")]
    pub fn any(&self) -> bool {
        self.0.get().is_some_and(|waits| Arc::strong_count(waits) > 1)
    }

    /// Takes over those of a first poll.
    #[cfg(feature = "futures")]
    pub fn take_over(&self, first: Self) {
        if let Some(waits) = first.0.into_inner() {
            let _ = self.0.set(waits);
        }
    }
}

impl Wait {
    /// What is polled here has been found pending: if it is polled by a future of a pool, that one waits.
    pub fn begin(&mut self) {
        Context::with(|context| {
            let waits = context.and_then(Context::polled);
            self.0 = waits.map(|waits| waits.0.get_or_init(Arc::default).clone());
        });
    }

    /// It is ready.
    pub fn end(&mut self) {
        self.0 = None;
    }
}

impl<T> Unpin for TaskHandle<T> {}

/// Waits for the task, by any executor or none of this library's. Ready with the task's result, as
/// [`join`](TaskHandle::join) is.
///
/// A future of a pool that awaits a handle holds no permit meanwhile, and takes one back ahead of the
/// backlog before it goes on: it may await tasks of its own job, at a limit of 1, too. So does one that awaits a
/// handle and something else at the same time.
///
/// # Cancellation
///
/// Dropping the future that awaits, or a handle that was polled, loses nothing but the handle: the task is
/// detached. To give up the wait and keep the handle, await `&mut handle`.
///
/// # Panics
///
/// If it is polled after it was ready; if a task awaits itself.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(1);
/// let sum = futures::executor::block_on(async {
///     let one = job.spawn(|| 1);
///     let two = job.spawn(|| 2);
///     one.await.unwrap() + two.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
impl<T> Future for TaskHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() {
            self.refuse_itself();
            let seat = room().enter(self.key(), Some(ONLY), cx.waker(), || {
                // Ordering: AcqRel; W2 of the room against E1 in `finish`.
                self.state().fetch_or(WAITED, Ordering::AcqRel) & DONE == 0
            });
            if seat.is_some() {
                self.wait.begin();
                return Poll::Pending;
            }
        }
        self.wait.end();
        let outcome = self.move_out();
        // Ordering: AcqRel; the outcome was read before whoever frees the cell looks for it.
        self.state().fetch_or(TAKEN, Ordering::AcqRel);
        Poll::Ready(outcome)
    }
}

impl<T> TaskHandle<T> {
    fn refuse_itself(&self) {
        let itself = Context::with(|context| context.is_some_and(|own| own.is_running(self.key())));
        assert!(!itself, "a task awaits itself, which could never end: await it from elsewhere");
    }
}

/// Restores what was polled before, on every way out.
#[cfg(feature = "futures")]
pub struct Polled<'a> {
    context: &'a Context,
    outer: *const Waits,
}

#[cfg(feature = "futures")]
impl<'a> Polled<'a> {
    /// From now on the future with these waits is polled here.
    pub fn enter(context: &'a Context, waits: &'a Waits) -> Self {
        Self { context, outer: context.set_polled(waits) }
    }
}

#[cfg(feature = "futures")]
impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.context.set_polled(self.outer);
    }
}

#[cfg(feature = "futures")]
impl fmt::Debug for Polled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled").finish_non_exhaustive()
    }
}
