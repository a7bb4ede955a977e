//! Lazy input of `Job::for_each` and `Job::map`: which tasks pull the input, and when.
//!
//! A *puller* is a task of the job that pulls the input. A puller pulls an item, runs the closure on it, and pulls the next
//! item. So an item is in memory only while a puller holds a permit to run it.
//!
//! To *send* a puller is to push it into the job's queue. A puller that has pulled an item sends the next puller, unless one is
//! queued. So the job's limit decides how many pullers run, even if the limit changes.
//!
//! A puller is *missing* if no puller is queued and the input has not ended. An unlimited job makes one exception: no puller is
//! missing while enough pullers run. Enough is the number that the limit allows, or the number of workers if there is no limit.
//!
//! One puller at a time has the lock of the input. Another puller must not wait for this lock, because it holds a permit. So a
//! puller that finds the lock taken *leaves*: its task ends. The number `pullers` counts the running pullers. Six steps make sure
//! that a missing puller is sent:
//!
//! - `pull-1`: a puller that finds the lock of the input taken lowers `pullers`, the number of running pullers.
//! - `pull-2`: that puller executes a full fence.
//! - `pull-3`: that puller tries the lock once more. If it gets the lock, it raises `pullers` again. If not, its task ends.
//! - `send-1`: the puller that has the lock of the input unlocks it.
//! - `send-2`: the puller that has unlocked the input executes a full fence.
//! - `send-3`: the puller that has unlocked the input reads `pullers`, and whether a puller is queued. If a puller is missing,
//!   this puller sends one.
//!
//! No puller stays missing. Say that puller A found the lock of the input taken, and puller B unlocked the input. Both execute a
//! fence (`pull-2`, `send-2`). So A gets the lock at its last try and continues (`pull-3`). Or B reads that a puller is missing
//! and sends one (`send-3`).

pub mod chunks;
pub mod fallible;
pub mod for_each;
pub mod map;
pub mod pump;
pub mod results;
pub mod taker;

use crate::base::task::CellPtr;
use crate::job::control;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard, full_fence, scaled, shrunk, spin_loop};
use crate::task::scoped::ScopedTask;
use crate::unwind;
use crate::worker::context::Context;
use std::any::Any;
use std::fmt;
use std::sync::TryLockError;
use std::time::Duration;

/// The number of items after which a puller checks whether other tasks wait for its worker.
const TURN: u32 = shrunk(16, 2) as u32;
const _: () = assert!(TURN.is_power_of_two());
/// A puller that has run for this time stops if other tasks wait for its worker. One of those tasks can be the next puller of the
/// same input. So with a shorter time, the pullers of one input would replace each other too often.
const TURN_TIME: Duration = Duration::from_micros(shrunk(20, 0) as u64);

/// How often a puller tries the lock of the input before it lowers the number of running pullers (`pull-1`). The puller stops
/// trying earlier if no item was pulled between two tries.
const TRIES: usize = scaled(5, 1, 0);

/// Spins: 16 times if `round` is 0, and twice as often in each further round. The caller spins between two checks of what
/// another thread does. The pauses get longer, because each check slows down the other thread.
pub fn pause(round: usize) {
    const FIRST: usize = scaled(16, 1, 0);
    (0..FIRST << round).for_each(|_| spin_loop());
}

/// The state that the pullers of one input share: the input, and counts of pullers and items.
pub struct Feed<I> {
    job: JobPtr,
    /// The input. `None` when a puller has found the end of the input, or the input was dropped.
    source: Mutex<Option<I>>,
    /// The number of items that pullers have pulled from the input.
    pulled: AtomicU64,
    /// The number of running pullers. A puller lowers this number when it ends, or before its last try of the input's
    /// lock (`pull-1`).
    pullers: AtomicUsize,
    /// True while a puller is queued, and also after the queued puller was dropped before its start.
    puller_queued: AtomicBool,
    /// The puller that was queued last. This puller might have started or ended since.
    queued: Mutex<Option<ScopedTask>>,
    /// True if no puller may pull further items.
    finished: AtomicBool,
}

/// The outcome of an attempt to pull.
pub enum Pulled<I: Iterator> {
    /// The pulled item, and the number of items that were pulled before it.
    Item(u64, I::Item),
    /// The caller must pull no further item: the input is at its end, or the feed is finished.
    End,
    /// Another puller has the lock of the input, or has found the end of the input. The caller has lowered the number
    /// of running pullers, and must end.
    Left,
    /// The call of the input's `next`, or the drop of the input, has panicked. The panic takes the place of an item, and the
    /// number says how many items were pulled before it. No item is left.
    Panicked(u64, Box<dyn Any + Send>),
}

impl<I: Iterator> Feed<I> {
    /// Makes the state of an input whose pullers are tasks of `job`.
    ///
    /// If the `size_hint` of the input says that the input is empty, the feed is finished from the start. `new` never calls the
    /// input's `next` to find that out: the calling thread could not give the item to a puller, because items might not be
    /// `Send`.
    pub fn new(job: JobPtr, input: I) -> Self {
        let is_empty = input.size_hint().1 == Some(0);
        Self {
            job,
            source: Mutex::new(Some(input)),
            pulled: AtomicU64::new(0),
            pullers: AtomicUsize::new(0),
            puller_queued: AtomicBool::new(false),
            queued: Mutex::new(None),
            finished: AtomicBool::new(is_empty),
        }
    }

    /// Returns the job.
    pub fn job(&self) -> JobPtr {
        self.job
    }

    /// Notes that the queued puller has started: no puller is queued any more, and one more puller runs. Each puller from the
    /// queue must call this first.
    pub fn start(&self) {
        // Ordering: AcqRel for both changes; this puller executes a full fence (`pull-2`) after them, before it leaves.
        self.puller_queued.swap(false, Ordering::AcqRel);
        self.come_back();
    }

    /// Lowers the number of running pullers. Call this before a puller ends, except after [`Pulled::Left`]: the pull that
    /// returned `Left` has lowered the number already.
    pub fn leave(&self) {
        // Ordering: AcqRel; the caller executes its fence after this change (pull-1).
        self.pullers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Raises the number of running pullers. Call this in a puller that continues after it has called [`leave`](Self::leave), or
    /// in a puller that was never queued.
    pub fn come_back(&self) {
        // Ordering: AcqRel; as in `start`.
        self.pullers.fetch_add(1, Ordering::AcqRel);
    }

    /// Pulls one item of the input.
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

    /// Drops an input that is at its end. If the drop panics and `pulled` is no panic, returns the panic of the drop.
    /// Otherwise returns `pulled`. The caller must have unlocked `source`, because the input's destructor might wait.
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

    /// Adds `items` to the number of pulled items, and returns the number before the addition. The caller must hold the
    /// lock of `source`, or must have found the end of the input. In both cases no other puller writes the number.
    pub fn count_pulled(&self, items: u64) -> u64 {
        // Ordering: Relaxed both; the caller holds the lock of `source`, or is the only puller that writes after the last
        // item.
        let before = self.pulled.load(Ordering::Relaxed);
        self.pulled.store(before + items, Ordering::Relaxed);
        before
    }

    /// Locks the input. If another puller has the lock, lowers the number of running pullers, and returns `None` (`pull-1` to
    /// `pull-3`). If the call returns `None`, the calling puller must end.
    pub fn come_to_source(&self) -> Option<MutexGuard<'_, Option<I>>> {
        for tries in 0..TRIES {
            let pulled = self.pulled();
            if let Some(source) = self.try_lock() {
                return Some(source);
            }
            pause(tries);
            if tries > 0 && self.pulled() == pulled {
                break;
            }
        }
        self.leave(); // pull-1
        full_fence(); // pull-2
        let source = self.try_lock(); // pull-3
        if source.is_some() {
            self.come_back();
        }
        source
    }

    /// If a puller is missing, calls `push`, which must queue a puller (`send-2`, `send-3`). A puller is missing if none is
    /// queued and the input has not ended. In an unlimited job no puller is missing if `most_pullers` pullers run.
    pub fn send_puller(&self, push: impl FnOnce()) {
        full_fence(); // send-2
        // Ordering: Relaxed; the fence above orders both loads.
        if self.puller_queued.load(Ordering::Relaxed) || self.is_finished() {
            return;
        }
        // Ordering: Relaxed; the fence above orders this load.
        let pullers = self.pullers.load(Ordering::Relaxed);
        let unlimited = self.job.is_unlimited(self.job.permits.load());
        if unlimited && pullers >= self.most_pullers() {
            return;
        }
        // Ordering: AcqRel; if several threads reach this swap at once, only one of them sends a puller.
        if !self.puller_queued.swap(true, Ordering::AcqRel) {
            push();
        }
    }

    /// Calls `push` with the cell of `puller`, to queue the puller. If the feed is finished after that, drops the
    /// puller. Call this inside the closure that is passed to [`send_puller`](Self::send_puller).
    pub fn queue(&self, puller: ScopedTask, push: impl FnOnce(CellPtr)) {
        let cell = puller.cell();
        let started = self.queued().replace(puller);
        drop(started);
        push(cell);
        if self.is_finished() {
            self.cancel_queued();
        }
    }

    /// Returns the greatest number of pullers that may run at once in an unlimited job.
    fn most_pullers(&self) -> usize {
        match control::limit_of(self.job.permits.load()) {
            usize::MAX => self.job.pool().workers(),
            limit => limit,
        }
    }

    /// Returns true if a puller is queued, or was dropped from the queue before it started.
    pub fn is_puller_queued(&self) -> bool {
        // Ordering: Acquire; pairs with `send_puller` and `start`.
        self.puller_queued.load(Ordering::Acquire)
    }

    /// Finishes the feed: from now on no puller pulls an item. Drops a queued puller that has not started.
    ///
    /// A puller that another thread queues during this call is dropped, too. Both threads take the lock of `queued`. If this
    /// thread has the lock last, it finds the new puller and drops it. Otherwise the other thread sees that the feed is finished,
    /// and drops the puller.
    pub fn finish(&self) {
        // Ordering: Release; pairs with `is_finished`.
        self.finished.store(true, Ordering::Release);
        self.cancel_queued();
    }

    fn queued(&self) -> MutexGuard<'_, Option<ScopedTask>> {
        // Code under the lock of `queued` never panics, because it only moves a reference.
        self.queued.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// If the puller in `queued` has not started, drops the puller. Unlocks `queued` before the drop, because the drop
    /// can run destructors of the user.
    fn cancel_queued(&self) {
        let queued = self.queued().take();
        if let Some(puller) = queued {
            puller.cancel_unstarted();
        }
    }

    /// Returns true if no puller may pull further items.
    pub fn is_finished(&self) -> bool {
        // Ordering: Acquire; pairs with `finish`.
        self.finished.load(Ordering::Acquire)
    }

    /// Returns the number of items that pullers have pulled.
    pub fn pulled(&self) -> u64 {
        // Ordering: Relaxed; a caller that needs the last value has seen `finished`, which publishes it.
        self.pulled.load(Ordering::Relaxed)
    }
}

impl<I> Feed<I> {
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<I>>> {
        match self.source.try_lock() {
            Ok(source) => Some(source),
            // Code under the lock of the input never panics: a panic of the input is caught at each call.
            Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the input out of the feed, with the items that were not pulled. Returns `None` if a puller has the lock, or if the
    /// input was taken out before.
    pub fn take_input(&self) -> Option<I> {
        self.try_lock()?.take()
    }
}

impl<I> fmt::Debug for Feed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed for both loads; figures for the debug output.
        f.debug_struct("Feed")
            .field("pulled", &self.pulled.load(Ordering::Relaxed))
            .field("pullers", &self.pullers.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Tells a puller after each item whether the puller must stop.
pub struct Watch<'a> {
    context: &'a Context,
    job: JobPtr,
    epoch: u64,
    items: u32,
    /// The puller checks whether other tasks wait when `items & mask` is 0. `items` is the number of items or blocks that the
    /// puller has run.
    mask: u32,
    began: Instant,
}

impl<'a> Watch<'a> {
    /// Makes the `Watch` of a puller that starts now.
    pub fn new(context: &'a Context, job: JobPtr) -> Self {
        let lease = context.lease();
        // A mask of 0 makes the puller read the clock after each item. This is necessary if the turn has a turn time.
        let mask = if lease.turns.get().time.is_some() { 0 } else { TURN - 1 };
        Self { context, job, epoch: lease.epoch.get(), items: 0, mask, began: Instant::now() }
    }

    /// Returns true if the puller must stop: the job allows no further item now, or other tasks wait and the time of
    /// the puller's turn is over. Call this after each item.
    #[inline]
    pub fn must_stop(&mut self) -> bool {
        self.is_held_back() || self.is_others_turn()
    }

    /// Returns true if the job allows no further item to start now.
    #[inline]
    pub fn is_held_back(&mut self) -> bool {
        let epoch = self.context.pool().epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            return !crate::job::gate::may_go_on(self.job);
        }
        false
    }

    /// Counts one item, or one block of items. Returns true if the count says that a check is due, other tasks wait for the
    /// worker, and the time of the puller's turn is over.
    #[inline]
    pub fn is_others_turn(&mut self) -> bool {
        self.items = self.items.wrapping_add(1);
        self.items & self.mask == 0 && self.is_over()
    }

    /// Returns true if other tasks wait for the worker and the time of the puller's turn is over.
    #[inline]
    fn is_over(&self) -> bool {
        if self.mask == 0 {
            return self.context.is_out_of_time() && self.context.is_turn_wanted();
        }
        self.context.is_turn_wanted() && self.began.elapsed() >= TURN_TIME
    }
}
