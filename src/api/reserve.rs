//! Slots that are reserved before their tasks exist: `Job::reserve` and `Job::spawn_async`, for callers that must not block.
//!
//! A future waits for a slot by the same steps as a thread (module `capacity`). A thread that releases a slot wakes only one
//! pusher. If the woken pusher is a future that no longer needs a slot, another pusher must be woken instead. So each future
//! whose wait has ended, by getting a slot or by being dropped, takes two steps:
//!
//! - `pass-1`: a future whose wait for a slot ends removes its entry from the parking lot.
//! - `pass-2`: after this removal the future wakes the next pusher, if a slot is free.

use crate::api::acquire::Permit;
use crate::api::capacity::{Asked, BlockedPusher};
use crate::api::job::Job;
use crate::api::ticket::Ticket;
use crate::base::parking::parking_lot;
use crate::error::Closed;
use crate::job::capacity::{Capacity, Slot};
use crate::job::gate::handed::Handed;
use crate::sync::Arc;
use crate::task::awaiting::Wait;
use crate::task::handle::TaskHandle;
use crate::task::waiter::Waiter;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

impl Job {
    /// Returns a future that waits for a slot of the job's [`capacity`](crate::JobBuilder::capacity), and yields the
    /// slot. The slot is for one task.
    ///
    /// The wait for a slot does not block the thread, and needs no runtime. If the job has no capacity, the future is ready at
    /// the first poll. Threads and futures that wait for a slot are woken in the order in which they began to wait. But another
    /// caller that asks just when a slot becomes free can get this slot first. A future that the same pool runs holds no permit
    /// while it awaits the returned future.
    ///
    /// If the capacity is 0, the returned future waits for the permits of a task, not for a slot: see
    /// [`capacity`](crate::JobBuilder::capacity).
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the wait. If the future was woken for a free slot, its drop wakes the next caller that waits. So
    /// a future that was woken must be polled or dropped.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] if the job is closed or its pool has shut down, before the call or during the wait.
    ///
    /// # Panics
    ///
    /// If the capacity is 0, polling the future panics inside a task of this job or of a related job. A job is related if
    /// it is above or below this job, or shares an ancestor with it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().limit(1).capacity(2).build();
    /// let sum = futures::executor::block_on(async {
    ///     let mut tasks = Vec::new();
    ///     for i in 0..100 {
    ///         tasks.push(job.reserve().await?.spawn(move || i)); // never more than 2 wait to start
    ///     }
    ///     let mut sum = 0;
    ///     for task in tasks {
    ///         sum += task.await?;
    ///     }
    ///     Ok::<i32, Box<dyn std::error::Error>>(sum)
    /// });
    /// assert_eq!(sum.unwrap(), 4_950);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn reserve(&self) -> Reserve<'_> {
        Reserve { job: self, waiting: None, waiter: None, wait: Wait::default() }
    }

    /// Waits for a slot as [`reserve`](Self::reserve) does, and then pushes a task as [`spawn`](Self::spawn) does. Returns
    /// the task's handle.
    ///
    /// If the job is closed or its pool has shut down, the closure is dropped, and the handle returns
    /// [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Cancellation
    ///
    /// Dropping the future before it is ready drops the closure.
    ///
    /// # Panics
    ///
    /// Panics where [`reserve`](Self::reserve) does.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().limit(1).capacity(1).build();
    /// let length = futures::executor::block_on(async { job.spawn_async(|| "page".len()).await.await });
    /// assert_eq!(length.unwrap(), 4);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub async fn spawn_async<F, T>(&self, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.reserve().await {
            Ok(slot) => slot.spawn(task),
            Err(Closed) => self.spawn_with(None, task),
        }
    }
}

/// A future that waits for a slot of a job. Made by [`Job::reserve`].
///
/// # Examples
///
/// ```
/// use futures::executor::block_on;
/// use futures::future::{Either, ready, select};
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job_builder().limit(0).capacity(1).build(); // held
/// job.execute(|| ());
/// assert!(matches!(block_on(select(job.reserve(), ready("enough"))), Either::Right(("enough", _))));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct Reserve<'a> {
    job: &'a Job,
    waiting: Option<Waiting>,
    /// If the job has a capacity of 0: the future's waiter in the job's queue. The drop of the waiter gives back a permit that
    /// was granted to it. Must be dropped before the field `wait`, so that the future counts as waiting until the permit is given
    /// back.
    waiter: Option<Waiter>,
    wait: Wait,
}

/// What a new task needs: a slot, or permits if the job's capacity is 0. Both fields are `None` if the job has no capacity.
type Room = (Option<Slot>, Option<Handed>);

/// The wait of one future for a slot of a job.
#[derive(Debug)]
struct Waiting {
    capacity: Arc<Capacity>,
    _listed: BlockedPusher,
    /// The number of the future's last entry in the parking lot, or `None` before the first entry. A wake-up removes the entry
    /// from the parking lot, but does not change this field.
    entry: Option<u64>,
}

impl Reserve<'_> {
    /// Takes a slot, or the permits of a task if the job has a capacity of 0. If none are free, registers the waker and returns
    /// `None`.
    #[track_caller]
    fn take(&mut self, cx: &Context<'_>) -> Option<Result<Room, Closed>> {
        let (job, hands_over) = (self.job, self.job.hands_over());
        loop {
            if !job.accepts() {
                return Some(Err(Closed));
            }
            if hands_over {
                if let Some(acquired) = self.acquire(cx) {
                    return Some(acquired.map(|handed| (None, Some(handed))));
                }
            } else {
                match job.try_take_slot() {
                    Asked::Unbounded => return Some(Ok((None, None))),
                    Asked::Taken(slot) => return Some(Ok((Some(slot), None))),
                    Asked::Full => {}
                }
            }
            let waiting = self.waiting.get_or_insert_with(|| {
                let capacity = job.extra().and_then(|extra| extra.capacity.clone());
                let capacity = capacity.expect("a job without a capacity is never full");
                let listed = BlockedPusher::enter(job.ptr().pool_ptr(), capacity.key()); // full-1
                Waiting { capacity, _listed: listed, entry: None }
            });
            let Waiting { capacity, entry, .. } = waiting;
            let wait = || job.must_wait_for_slot(capacity); // full-2. With a capacity of 0 no slot is ever free.
            if let Some(number) = parking_lot().enter(capacity.key(), *entry, cx.waker(), wait) {
                *entry = Some(number);
                return None;
            }
        }
    }

    /// Acquires the permits of a task. If these permits are not free, pushes a waiter into the job's queue and returns
    /// `None`.
    #[cold]
    #[track_caller]
    fn acquire(&mut self, cx: &Context<'_>) -> Option<Result<Handed, Closed>> {
        let waiter = match self.waiter.take() {
            Some(waiter) => waiter,
            None => {
                self.job.refuse_to_acquire_inside();
                match self.job.acquire_or_queue(|| Some(cx.waker().clone()), false) {
                    Ok(waiter) => waiter,
                    Err(outcome) => return Some(outcome.map(Permit::for_a_task)),
                }
            }
        };
        let number = waiter.number();
        match waiter.poll(cx.waker()) {
            Ok(outcome) => Some(self.job.permit_of(outcome, number).map(Permit::for_a_task)),
            Err(waiter) => {
                self.waiter = Some(waiter);
                None
            }
        }
    }

    /// Ends the future's wait for a slot: drops its waiter, and removes its entry from the parking lot. Then wakes the next
    /// pusher if a slot is free.
    fn leave(&mut self) {
        self.waiter = None;
        self.wait.end();
        if let Some(Waiting { capacity, entry, .. }) = &self.waiting {
            if let Some(entry) = entry {
                parking_lot().leave(capacity.key(), *entry); // pass-1
            }
            // `pass_on` also clears the *waited* bit if no pusher waits.
            self.job.pass_on(capacity); // pass-2
        }
        self.waiting = None;
    }
}

impl Future for Reserve<'_> {
    type Output = Result<ReservedSlot, Closed>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(taken) = self.take(cx) else {
            self.wait.begin();
            return Poll::Pending;
        };
        self.leave();
        Poll::Ready(taken.map(|room| ReservedSlot { job: self.job.clone(), room }))
    }
}

impl Drop for Reserve<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Reserve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("job", self.job)
            .field("waits", &self.waiting.is_some())
            .finish()
    }
}

/// A slot for one task of a job. Made by [`Job::reserve`]. Dropping this value gives the slot back.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job_builder().limit(1).capacity(1).build();
/// let slot = futures::executor::block_on(job.reserve())?;
/// assert!(job.try_execute(|| ()).is_err()); // the only slot is taken
/// assert_eq!(slot.spawn(|| 1).join()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a slot that is dropped at once takes no task"]
pub struct ReservedSlot {
    job: Job,
    room: Room,
}

impl ReservedSlot {
    /// Pushes a task as [`Job::spawn`] does, and returns its handle. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().capacity(1).build();
    /// assert_eq!(futures::executor::block_on(job.reserve())?.spawn(|| 1).join()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn<F, T>(self, task: F) -> TaskHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, ticket) = self.into_parts();
        job.spawn_with(ticket, task)
    }

    /// Pushes a task without a handle, as [`Job::execute`] does. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job_builder().capacity(1).build();
    /// futures::executor::block_on(job.reserve())?.execute(|| ());
    /// job.wait();
    /// assert_eq!(job.stats().completed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute<F>(self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let (job, ticket) = self.into_parts();
        job.execute_with(ticket, task);
    }
}

impl ReservedSlot {
    /// Returns the job and the ticket of the task that takes the slot. The ticket is `None` if the task needs no
    /// ticket. In a timed job, the task's wait begins at this call.
    pub(super) fn into_parts(self) -> (Job, Option<Ticket>) {
        let (slot, handed) = self.room;
        let ticket = Ticket::of(self.job.ptr(), slot, handed);
        (self.job, ticket)
    }
}

impl fmt::Debug for ReservedSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReservedSlot").field("job", &self.job).finish_non_exhaustive()
    }
}
