//! The ticket of a task: what the task owns beside its closure. A ticket has a slot or permits if the job has a capacity, a
//! stopwatch if the job is timed, and a span if the job is traced.

use crate::api::capacity::Asked;
use crate::api::job::Job;
use crate::api::traced::TaskSpan;
use crate::job::capacity::Slot;
use crate::job::extra::Extra;
use crate::job::gate::handed::Handed;
use crate::job::record::JobPtr;
use crate::job::timed::{Timed, Timings};
use crate::sync::time::Instant;
#[cfg(feature = "futures")]
use std::{future::poll_fn, pin::pin, task::Context};

/// What a task owns beside its closure: a slot if the job has a capacity, or permits if the capacity is 0; a stopwatch if the
/// job is timed; a span if the job is traced.
#[derive(Debug)]
pub struct Ticket {
    slot: Option<Slot>,
    handed: Option<Handed>,
    stopwatch: Option<Stopwatch>,
    span: TaskSpan,
}

/// The answer to a push that asks for a ticket and must not block.
#[derive(Debug)]
pub enum Offered {
    /// The task needs no ticket.
    Free,
    /// The ticket of the task.
    Ticket(Ticket),
    /// The job has a capacity, and no slot is free.
    Full,
    /// The job is closed or its pool has shut down, so the job accepts no further tasks.
    Closed,
}

impl Ticket {
    /// Makes the ticket of a task of `job`, with the task's slot or permits. Returns `None` if the task needs no ticket.
    pub fn of(job: JobPtr, slot: Option<Slot>, handed: Option<Handed>) -> Option<Self> {
        let (stopwatch, span) = (Stopwatch::of(job), TaskSpan::of(job));
        let needed = slot.is_some() || handed.is_some() || stopwatch.is_some() || span.is_some();
        needed.then_some(Self { slot, handed, stopwatch, span })
    }

    /// Takes the permits out of the ticket. The caller must push the task with these permits.
    pub fn split(mut self) -> (Option<Handed>, Self) {
        (self.handed.take(), self)
    }

    /// Returns true if the ticket's task belongs to a timed or traced job.
    #[cfg(feature = "futures")]
    pub fn lasts(&self) -> bool {
        self.stopwatch.is_some() || self.span.is_some()
    }

    /// Adds the name of the ticket's task to the task's span.
    pub fn note_name(&self, name: &str) {
        self.span.note_name(name);
    }

    /// Sets the time at which the measured wait of the task begins.
    pub fn since(self, since: Instant) -> Self {
        Self { stopwatch: self.stopwatch.map(|stopwatch| stopwatch.since(since)), ..self }
    }

    /// Releases the slot of a task that starts, and notes how long the task has waited. Returns the ticket's stopwatch and
    /// span.
    fn start(self) -> (Option<Stopwatch>, TaskSpan) {
        drop(self.slot);
        let mut stopwatch = self.stopwatch;
        stopwatch.iter_mut().for_each(Stopwatch::start);
        (stopwatch, self.span)
    }

    /// Wraps the closure of this ticket's task. The start of the closure releases the slot and ends the measured wait. If
    /// the closure is dropped before its start, the drop releases the slot.
    pub fn around<T>(self, task: impl FnOnce() -> T) -> impl FnOnce() -> T {
        move || {
            let (stopwatch, span) = self.start();
            let inside = span.enter();
            let out = task();
            drop(inside);
            stopwatch.iter().for_each(Stopwatch::end);
            out
        }
    }

    /// Wraps the future of this ticket's task. The first poll releases the slot and ends the measured wait. If the future
    /// is dropped before its first poll, the drop releases the slot.
    #[cfg(feature = "futures")]
    pub async fn around_future<F: Future>(self, future: F) -> F::Output {
        let (stopwatch, span) = self.start();
        let mut future = pin!(future);
        let poll = |cx: &mut Context<'_>| {
            let _inside = span.enter();
            future.as_mut().poll(cx)
        };
        let out = poll_fn(poll).await;
        stopwatch.iter().for_each(Stopwatch::end);
        out
    }

    /// Wraps a closure that can be called several times. The first call releases the slot and ends the measured wait.
    pub fn around_attempts<T>(self, mut task: impl FnMut() -> T) -> impl FnMut() -> T {
        let (mut ticket, mut started) = (Some(self), None);
        move || {
            if let Some(ticket) = ticket.take() {
                started = Some(ticket.start());
            } else if let Some((Some(stopwatch), _)) = &mut started {
                stopwatch.start_again();
            }
            let (stopwatch, span) = started.as_ref().expect("it was set at the first call");
            let inside = span.enter();
            let out = task();
            drop(inside);
            stopwatch.iter().for_each(Stopwatch::end);
            out
        }
    }
}

impl Job {
    /// Returns true if each task of the job needs a ticket.
    #[inline]
    pub(crate) fn needs_ticket(&self) -> bool {
        self.extra().is_some_and(Extra::needs_ticket)
    }

    /// Returns the ticket of one task, or `None` if the task needs no ticket. Blocks as [`take_slot`](Self::take_slot)
    /// does.
    #[inline]
    #[track_caller]
    pub(crate) fn take_ticket(&self) -> Option<Ticket> {
        if !self.needs_ticket() {
            return None;
        }
        if self.hands_over() {
            return self.take_handed_ticket();
        }
        // Calls `take_slot` outside of a closure, so that a panic of this call reports the caller's line.
        let slot = self.take_slot();
        Ticket::of(self.ptr(), slot, None)
    }

    /// Asks for the ticket of one task, and returns the answer. Never blocks.
    #[inline]
    pub(crate) fn try_take_ticket(&self) -> Offered {
        if !self.needs_ticket() {
            return Offered::Free;
        }
        if self.hands_over() {
            return self.try_take_handed_ticket();
        }
        let slot = match self.try_take_slot() {
            Asked::Unbounded => None,
            Asked::Taken(slot) => Some(slot),
            Asked::Full => return Offered::Full,
        };
        Ticket::of(self.ptr(), slot, None).map_or(Offered::Free, Offered::Ticket)
    }

    /// Returns how long the job's tasks have waited and run, or `None` if the job is not [timed](crate::JobBuilder::timed).
    ///
    /// If a task was joined before this call, the timings include that task. While tasks run, the figures of one reading can
    /// belong to slightly different moments.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job_builder().timed().build();
    /// job.spawn(|| ()).join().unwrap();
    /// assert_eq!(job.timings().unwrap().run.count(), 1);
    /// assert_eq!(pool.job(2).timings(), None);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn timings(&self) -> Option<Timings> {
        Some(self.extra()?.timed.as_ref()?.read())
    }
}

/// Measures how long one task of a timed job waits, and then how long it runs.
///
/// The methods of a stopwatch may be called only while the task or a handle keeps the job's record. The stopwatch itself can be
/// dropped later.
#[derive(Debug)]
pub struct Stopwatch {
    job: JobPtr,
    /// The time at which the task began to wait or, after [`start`](Self::start), to run. The unit is nanoseconds since
    /// the job's base time.
    since: u64,
}

impl Stopwatch {
    /// Begins to measure the wait of a task of `job`. Returns `None` if the job is not timed.
    pub fn of(job: JobPtr) -> Option<Self> {
        let timed = job.extra()?.timed.as_ref()?;
        Some(Self { job, since: timed.nanos(job.pool().now()) })
    }

    fn timed(&self) -> &Timed {
        let timed = self.job.extra().and_then(|extra| extra.timed.as_deref());
        timed.expect("a timed job stays timed")
    }

    fn now(&self) -> u64 {
        self.timed().nanos(self.job.pool().now())
    }

    /// Sets the time at which the measured wait of a delayed task begins. `since` is the time at which the task enters the
    /// queue.
    pub fn since(self, since: Instant) -> Self {
        Self { since: self.timed().nanos(since), ..self }
    }

    /// Notes how long the task has waited. Begins to measure how long it runs.
    pub fn start(&mut self) {
        let now = self.now();
        self.timed().add_wait(now.saturating_sub(self.since));
        self.since = now;
    }

    /// Begins to measure how long a further attempt of the task runs.
    pub fn start_again(&mut self) {
        self.since = self.now();
    }

    /// Notes how long the task has run.
    pub fn end(&self) {
        self.timed().add_run(self.now().saturating_sub(self.since));
    }
}
