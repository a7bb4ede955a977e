//! Lazy input: who pulls it, and when. Shared by `Job::for_each` and `Job::map`.
//!
//! Input is pulled by tasks of the job, the *pullers*: each runs the closure on what it has pulled, and
//! pulls again. So an item is in memory only while a puller, under its permit, has it in hand. Further
//! pullers come one by one: while there is input and the limit might let one more in, one puller stands
//! in the job's line, and sends the next when it starts. So the job's own admission decides how many there
//! are, and a limit that changes meanwhile needs no thought here.
//!
//! One puller at a time is at the input; who finds another one there leaves instead of waiting with a
//! permit in hand. That nobody is missing then is a protocol like the sleepers':
//!
//! - L1: who finds the input taken no longer counts as a puller. L2: a full fence. L3: it tries for
//!   the input once more, and leaves only if that is taken still.
//! - T1: who has the input lets go of it. T2: a full fence. T3: it looks how many pullers there are and
//!   whether one stands in line, and sends one if one is missing.
//!
//! By the fences, L3 finds the input free or T3 sees L1.

pub mod batches;
pub mod for_each;
pub mod map;
pub mod pump;
pub mod results;

use crate::job::control;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard, full_fence, shrunk, spin_loop};
use crate::task::CellPtr;
use crate::task::handle::scoped::ScopedTask;
use crate::unwind;
use crate::worker::context::Context;
use std::any::Any;
use std::fmt;
use std::sync::TryLockError;
use std::time::Duration;

/// Items after which a puller looks whether others want its worker,
const TURN: u32 = shrunk(16, 2) as u32;
/// and how long it may keep it from them: long enough to be worth the change. One of those that wait may
/// be the next puller.
const TURN_TIME: Duration = Duration::from_micros(shrunk(20, 0) as u64);

/// An input and its pullers.
pub struct Feed<I> {
    job: JobPtr,
    /// The input. `None` after its end: the puller that found the end has taken it.
    source: Mutex<Option<I>>,
    /// The number of items pulled.
    pulled: AtomicU64,
    /// The number of pullers that have started and not left.
    pullers: AtomicUsize,
    /// A puller stands in the job's queue. Stays set when that one is dropped.
    in_line: AtomicBool,
    /// The puller that was queued last.
    queued: Mutex<Option<ScopedTask>>,
    /// Nothing more is to be pulled.
    finished: AtomicBool,
}

/// The outcome of an attempt to pull.
pub enum Pulled<I: Iterator> {
    /// One item, and its number.
    Item(u64, I::Item),
    /// Nothing is left.
    End,
    /// Another puller is at the input, or has found its end. This puller has left.
    Left,
    /// The input panicked in place of the item with this number, in `next` or in its drop. Nothing is left.
    Panicked(u64, Box<dyn Any + Send>),
}

impl<I: Iterator> Feed<I> {
    /// Makes the state of an input whose pullers are tasks of `job`.
    ///
    /// If the input says that it is empty, there is nothing to pull from the start, and no puller must get a permit first.
    /// The caller's thread cannot find out by a pull: an item may be of a type that must stay on its thread.
    pub fn new(job: JobPtr, input: I) -> Self {
        let is_empty = input.size_hint().1 == Some(0);
        Self {
            job,
            source: Mutex::new(Some(input)),
            pulled: AtomicU64::new(0),
            pullers: AtomicUsize::new(0),
            in_line: AtomicBool::new(false),
            queued: Mutex::new(None),
            finished: AtomicBool::new(is_empty),
        }
    }

    /// The job.
    pub fn job(&self) -> JobPtr {
        self.job
    }

    /// A puller that stood in line starts.
    pub fn start(&self) {
        // Ordering: AcqRel both; the fence of L2 is behind them before this puller leaves.
        self.in_line.swap(false, Ordering::AcqRel);
        self.come_back();
    }

    /// A puller that has not left by [`Pulled::Left`] leaves.
    pub fn leave(&self) {
        // Ordering: AcqRel; L1.
        self.pullers.fetch_sub(1, Ordering::AcqRel);
    }

    /// One that has left, or was never in line, counts as a puller.
    pub fn come_back(&self) {
        // Ordering: AcqRel; as in `start`.
        self.pullers.fetch_add(1, Ordering::AcqRel);
    }

    /// Pulls one item.
    pub fn pull_item(&self) -> Pulled<I> {
        let Some(mut source) = self.come_to_source() else { return Pulled::Left };
        if self.is_finished() {
            return Pulled::End;
        }
        let Some(input) = &mut *source else {
            drop(source);
            self.leave();
            return Pulled::Left;
        };
        let pulled = match unwind::halt(|| input.next()) {
            Ok(Some(item)) => return Pulled::Item(self.count_pulled(1), item),
            Ok(None) => Pulled::End,
            Err(payload) => Pulled::Panicked(self.count_pulled(1), payload),
        };
        let input = source.take();
        drop(source);
        self.drop_at_end(input, pulled)
    }

    /// Drops the input at its end, without the lock: its destructor may wait. The first panic of the input is the one that
    /// is reported.
    fn drop_at_end(&self, input: Option<I>, pulled: Pulled<I>) -> Pulled<I> {
        match (unwind::halt(|| drop(input)), pulled) {
            (Err(payload), Pulled::End) => Pulled::Panicked(self.count_pulled(1), payload),
            (Err(payload), pulled) => {
                unwind::drop_quietly(payload);
                pulled
            }
            (Ok(()), pulled) => pulled,
        }
    }

    /// Adds to the number of pulled items, and returns the number before. The caller must hold the lock of the source, or
    /// have found the end.
    pub fn count_pulled(&self, items: u64) -> u64 {
        // Ordering: Relaxed; under the lock, or behind the last item.
        self.pulled.fetch_add(items, Ordering::Relaxed)
    }

    /// Locks the source (L1 to L3). `None`: another puller is there, and this one has left.
    pub fn come_to_source(&self) -> Option<MutexGuard<'_, Option<I>>> {
        const SPINS: usize = shrunk(64, 1);
        for _ in 0..SPINS {
            if let Some(source) = self.try_lock() {
                return Some(source);
            }
            spin_loop();
        }
        self.leave(); // L1
        full_fence(); // L2
        let source = self.try_lock(); // L3
        if source.is_some() {
            self.come_back();
        }
        source
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Option<I>>> {
        match self.source.try_lock() {
            Ok(source) => Some(source),
            // Nothing panics under the lock: the input's own code is stopped where it is called.
            Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// T2, T3: has `push` put a puller in line if one is missing.
    pub fn send_puller(&self, push: impl FnOnce()) {
        full_fence(); // T2
        // Ordering: Relaxed; the fence before it.
        if self.in_line.load(Ordering::Relaxed) || self.is_finished() {
            return;
        }
        // Ordering: Relaxed; as above.
        let pullers = self.pullers.load(Ordering::Relaxed);
        let unlimited = self.job.is_unlimited(self.job.permits.load());
        if unlimited && pullers >= self.most_pullers() {
            return;
        }
        // Ordering: AcqRel; one of those who come this far sends.
        if !self.in_line.swap(true, Ordering::AcqRel) {
            push();
        }
    }

    /// Queues a puller by `push`, or drops it if nothing more is pulled. Call it in [`send_puller`](Self::send_puller).
    pub fn queue(&self, puller: ScopedTask, push: impl FnOnce(CellPtr)) {
        let cell = puller.cell();
        let started = self.queued().replace(puller);
        drop(started);
        push(cell);
        if self.is_finished() {
            self.cancel_queued();
        }
    }

    /// How many pullers there may be.
    fn most_pullers(&self) -> usize {
        match control::limit_of(self.job.permits.load()) {
            usize::MAX => self.job.pool().workers(),
            limit => limit,
        }
    }

    /// Whether a puller stands in line, or was dropped there.
    pub fn is_in_line(&self) -> bool {
        // Ordering: Acquire; behind the end of the puller's part.
        self.in_line.load(Ordering::Acquire)
    }

    /// Ends the feed: nothing more is pulled. Drops a puller that has not started.
    ///
    /// The lock of `queued` orders this thread and the sender of a puller. This thread finds the puller there, or the sender
    /// sees the end.
    pub fn finish(&self) {
        // Ordering: Release; pairs with `is_finished`.
        self.finished.store(true, Ordering::Release);
        self.cancel_queued();
    }

    fn queued(&self) -> MutexGuard<'_, Option<ScopedTask>> {
        // Nothing panics under this lock: a reference is moved.
        self.queued.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Drops the queued puller unless it has started, outside of the lock.
    fn cancel_queued(&self) {
        let queued = self.queued().take();
        if let Some(puller) = queued {
            puller.cancel_unstarted();
        }
    }

    /// Whether nothing more is to be pulled.
    pub fn is_finished(&self) -> bool {
        // Ordering: Acquire; pairs with `finish`.
        self.finished.load(Ordering::Acquire)
    }

    /// How many items were pulled one by one.
    pub fn pulled(&self) -> u64 {
        // Ordering: Relaxed; read behind the end of those who pulled.
        self.pulled.load(Ordering::Relaxed)
    }

    /// Takes what is left of the input, unless somebody is at it.
    pub fn take_input(&self) -> Option<I> {
        self.try_lock()?.take()
    }
}

impl<I> fmt::Debug for Feed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed both; for a person.
        f.debug_struct("Feed")
            .field("pulled", &self.pulled.load(Ordering::Relaxed))
            .field("pullers", &self.pullers.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Tells a puller when to stop between two items.
pub struct Watch<'a> {
    context: &'a Context,
    job: JobPtr,
    epoch: u64,
    items: u32,
    began: Instant,
}

impl<'a> Watch<'a> {
    /// From the start of a puller on.
    pub fn new(context: &'a Context, job: JobPtr) -> Self {
        Self { context, job, epoch: context.lease().epoch.get(), items: 0, began: Instant::now() }
    }

    /// After an item: whether the job is held back, or it is another job's turn.
    #[inline]
    pub fn must_stop(&mut self) -> bool {
        self.is_held_back() || self.is_others_turn()
    }

    /// Whether no further item may start, for now.
    #[inline]
    pub fn is_held_back(&mut self) -> bool {
        let epoch = self.context.pool().epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            return !crate::worker::turn::may_go_on(self.job);
        }
        false
    }

    /// Counts an item, or several that count as one; whether others wait and have waited long enough.
    #[inline]
    pub fn is_others_turn(&mut self) -> bool {
        self.items = self.items.wrapping_add(1);
        self.items.is_multiple_of(TURN)
            && self.context.others_wait()
            && self.began.elapsed() >= TURN_TIME
    }
}
