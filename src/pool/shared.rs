//! What a pool's workers, jobs and handles share.

mod drain;

use crate::job::capacity::BlockedPushers;
use crate::job::family::Family;
use crate::job::permits::MOST_READY_CAP;
use crate::job::record::JobPtr;
use crate::pool::due::{Due, Hands};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::deque::Injector;
use crate::sync::{Arc, Condvar, Mutex, RESTS};
use crate::task::{CellPtr, cells};
use crate::timer::Timer;
use crate::worker::context::Context;
use crate::worker::seat::{Seat, Victim};
use crate::worker::sleep::{Notified, Sleep};
use crate::worker::spares::{Spares, Threads};
use crate::worker::waiting::Waiting;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::collections::BTreeSet;
use std::ptr::NonNull;

/// A hook that is told a worker's index.
pub type WorkerHook = Box<dyn Fn(usize) + Send + Sync>;
/// A hook that is told a panic's payload.
pub type PanicHook = Box<dyn Fn(&(dyn Any + Send)) + Send + Sync>;

/// The code of the pool's owner that the pool's threads call.
pub struct Hooks {
    /// Returns the name of the thread with this index.
    pub name: Box<dyn Fn(usize) -> String + Send + Sync>,
    /// On each worker's thread, before its first task.
    pub start: Option<WorkerHook>,
    /// On each worker's thread, after its last task.
    pub stop: Option<WorkerHook>,
    /// For each panic that no handle carries over.
    pub panic: Option<PanicHook>,
}

/// The pool.
pub struct Shared {
    injector: Injector<CellPtr>,
    victims: Box<[Victim]>,
    /// One for each worker.
    pub seats: Box<[CachePadded<Seat>]>,
    /// Who sleeps.
    pub sleep: Sleep,
    notice: CachePadded<Notice>,
    /// The code of the pool's owner, until the last worker has left. No part of any protocol, and of no model.
    hooks: std::sync::Mutex<Option<std::sync::Arc<Hooks>>>,
    /// Who is whose child.
    pub family: Family,
    /// Who waits for room in a bounded backlog.
    pub blocked_pushers: BlockedPushers,
    /// How threads are made.
    pub threads: Threads,
    /// Threads that take the place of one that waits.
    pub spares: Spares,
    /// Tasks that wait inside, by job.
    pub waiting: Waiting,
    refused: AtomicU64,
    /// The process that has the workers.
    process: u32,
    has_spare_cores: bool,
    /// As in `Seat`, for threads that sit in no place.
    flights: AtomicU64,
    /// Tasks that `shutdown_now` dropped.
    pub dropped: AtomicUsize,
    /// Jobs that are paused or have a limit of 0, each with a handle, for the drain to cancel.
    held: Mutex<BTreeSet<JobPtr>>,
    /// What waits for a time.
    pub timer: Timer<Due>,
    /// What shows the time, if the pool goes by a clock that a test moves.
    pub hands: Option<Arc<Hands>>,
    ended: Mutex<bool>,
    ended_changed: Condvar,
    working: AtomicUsize,
    /// The pool, each worker, each record.
    owners: CachePadded<AtomicU64>,
}

/// What all workers read at each task and hardly anybody writes.
#[derive(Debug)]
struct Notice {
    /// Goes up when a job is held back: who runs on under a permit looks at its word again.
    epoch: AtomicU64,
    draining: AtomicBool,
    drops: AtomicBool,
}

/// A pointer to a pool that an owner of it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolPtr(NonNull<Shared>);

// SAFETY: all of `Shared` is Sync, or guarded by what `Seat` says.
unsafe impl Send for PoolPtr {}
// SAFETY: as above.
unsafe impl Sync for PoolPtr {}

impl PoolPtr {
    /// Makes a pool with an owner for each worker and one for the caller.
    pub fn make(
        workers: usize,
        hooks: Hooks,
        threads: Threads,
        most_spares: usize,
        hands: Option<Arc<Hands>>,
    ) -> Self {
        let seats: Box<[_]> =
            (0..workers).map(|index| CachePadded::new(Seat::new(index))).collect();
        let victims = seats.iter().map(|seat| seat.victim()).collect();
        let shared = Shared {
            injector: Injector::new(),
            victims,
            seats,
            sleep: Sleep::new(workers),
            notice: CachePadded::new(Notice {
                epoch: AtomicU64::new(0),
                draining: AtomicBool::new(false),
                drops: AtomicBool::new(false),
            }),
            hooks: std::sync::Mutex::new(Some(std::sync::Arc::new(hooks))),
            family: Family::new(),
            blocked_pushers: BlockedPushers::new(),
            threads,
            spares: Spares::new(most_spares),
            waiting: Waiting::default(),
            refused: AtomicU64::new(0),
            process: crate::process::note_maker(),
            has_spare_cores: crate::sync::thread::available_parallelism()
                .is_ok_and(|cores| workers <= cores.get()),
            flights: AtomicU64::new(0),
            dropped: AtomicUsize::new(0),
            held: Mutex::new(BTreeSet::new()),
            timer: Timer::new(),
            hands,
            ended: Mutex::new(false),
            ended_changed: Condvar::new(),
            working: AtomicUsize::new(workers),
            owners: CachePadded::new(AtomicU64::new(workers as u64 + 1)),
        };
        Self(cells::make(shared))
    }

    /// The pool.
    #[inline]
    pub fn shared(&self) -> &Shared {
        // SAFETY: by the type's contract an owner keeps it alive.
        unsafe { self.0.as_ref() }
    }

    /// One more owner: a record, or a builder of one.
    pub fn own(self) {
        // Ordering: Relaxed; the caller is an owner, or in an owner's hands.
        self.shared().owners.fetch_add(1, Ordering::Relaxed);
    }

    /// A record is freed: one owner fewer. A worker counts for itself and settles when it ends.
    #[inline]
    pub fn record_freed(self) {
        if !Context::of_pool(self, Context::count_freed_record) {
            self.disown(1);
        }
    }

    /// So many owners fewer; the last one frees the pool.
    pub fn disown(self, owners: u64) {
        // Ordering: AcqRel; all use of the pool comes before its end.
        if self.shared().owners.fetch_sub(owners, Ordering::AcqRel) == owners {
            assert!(!RESTS || self.shared().is_at_rest(), "a pool is freed that is not at rest");
            // SAFETY: no owner is left.
            unsafe { self.0.as_ptr().drop_in_place() };
            // SAFETY: its contents were dropped just now, and it came from `cells::make`.
            unsafe { cells::free(self.0.as_ptr()) };
        }
    }
}

impl Shared {
    /// Returns true if this process is a fork of the one that has the workers.
    pub fn is_in_child(&self) -> bool {
        self.process != std::process::id()
    }

    /// Whether there is a core for each worker, so that one that spins takes nothing from another.
    #[inline]
    pub fn has_spare_cores(&self) -> bool {
        self.has_spare_cores
    }

    /// Returns the code of the pool's owner. A thread of the pool gives its share back before it leaves the pool.
    pub fn hooks(&self) -> Option<std::sync::Arc<Hooks>> {
        self.hooks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Drops the code of the pool's owner. A `Job` that outlives the pool must not keep what the closures have captured.
    fn drop_hooks(&self) {
        let hooks = self.hooks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        crate::unwind::drop_quietly(hooks);
    }

    /// How many workers.
    #[inline]
    pub fn workers(&self) -> usize {
        self.seats.len()
    }

    /// How many ready tasks of one job may lie in deques at a time.
    #[inline]
    pub fn ready_cap(&self) -> u64 {
        (self.seats.len() as u64).clamp(2, MOST_READY_CAP)
    }

    /// Injects a task, and wakes a worker if none is searching. `TooLate`: the workers have left. A thread outside the pool
    /// must then call `drop_late`, as soon as it holds no queue lock.
    #[inline]
    pub fn inject(&self, cell: CellPtr) -> Notified {
        self.injector.push(cell);
        self.sleep.notify()
    }

    /// Wakes a worker if none is searching, for a task that the calling worker has put into a deque.
    #[inline]
    pub fn notify(&self) {
        let notified = self.sleep.notify();
        debug_assert_eq!(notified, Notified::Fine, "the pool does not end while a worker is awake");
    }

    /// Whether the injector looks empty.
    #[inline]
    pub fn injector_is_empty(&self) -> bool {
        self.injector.is_empty()
    }

    /// The injector.
    #[inline]
    pub fn injector(&self) -> &Injector<CellPtr> {
        &self.injector
    }

    /// The thieves' ends of all deques.
    #[inline]
    pub fn victims(&self) -> &[Victim] {
        &self.victims
    }

    /// Whether a task lies in any deque.
    pub fn has_ready(&self) -> bool {
        !self.injector.is_empty() || self.victims.iter().any(|victim| !victim.is_empty())
    }

    /// Returns true if nothing is queued, lent, listed, outstanding or waited for. No other thread may use the pool.
    fn is_at_rest(&self) -> bool {
        !self.is_busy()
            && self.sleep.none_away()
            && self.spares.is_unused()
            && self.waiting.is_empty()
            && self.blocked_pushers.is_empty()
            && self.held().is_empty()
            && self.timer.is_empty()
    }

    /// How often a job was held back.
    #[inline]
    pub fn epoch(&self) -> u64 {
        // Ordering: Acquire; pairs with `advance_epoch`: who sees the new epoch, and looks at a word
        // because of it, sees the change that was made there.
        self.notice.epoch.load(Ordering::Acquire)
    }

    /// A job is held back: every worker looks before it starts a further task of its job.
    pub fn advance_epoch(&self) {
        // Ordering: Release; after the change of the job's word.
        self.notice.epoch.fetch_add(1, Ordering::Release);
    }

    /// Counts a task that a gate refused.
    pub fn count_refused(&self) {
        // Ordering: Relaxed; a figure.
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many tasks gates have refused.
    pub fn refused(&self) -> u64 {
        // Ordering: Relaxed; a figure.
        self.refused.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sleep", &self.sleep).finish_non_exhaustive()
    }
}
