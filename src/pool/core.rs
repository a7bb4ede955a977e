//! The state that a pool's workers, jobs and handles share.

mod classes;
mod drain;

use crate::base::cache;
#[cfg(feature = "timeline")]
use crate::base::log::Log;
use crate::base::queues::{Seat, Victim};
use crate::base::sleep::{Notified, Sleep};
use crate::base::task::{CellPtr, OpaqueJob};
use crate::base::timer::Timer;
use crate::pool::blocked::BlockedPushers;
use crate::pool::children::Family;
use crate::pool::due::{Due, Hands};
use crate::pool::named::NamedRoots;
use crate::pool::spares::Spares;
use crate::pool::waits::Waits;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::deque::Injector;
use crate::sync::thread::Builder;
use crate::sync::{Arc, Condvar, Mutex, RESTS};
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::collections::BTreeSet;
use std::ptr::NonNull;

/// The greatest ready cap that a pool can have. The ready cap is the greatest number of ready tasks of one job at a time.
pub const MOST_READY_CAP: u64 = 127;

/// A closure of the user, for the start or end of a worker's thread. The argument is the index of the worker.
pub type WorkerHook = Box<dyn Fn(usize) + Send + Sync>;
/// A closure of the user, for a panic of a task. The argument is the payload of the panic.
pub type PanicHook = Box<dyn Fn(&(dyn Any + Send)) + Send + Sync>;

/// The closures of the user that the pool's threads call.
pub struct Hooks {
    /// Returns the name of the thread with the given index.
    pub name: Box<dyn Fn(usize) -> String + Send + Sync>,
    /// Called on each worker's thread, before its first task.
    pub start: Option<WorkerHook>,
    /// Called on each worker's thread, after its last task.
    pub stop: Option<WorkerHook>,
    /// Called for each panic of a task without a handle.
    pub panic: Option<PanicHook>,
}

/// How the pool makes its threads, and the function that these threads run.
#[derive(Debug)]
pub struct Threads {
    /// The size of a thread's stack in bytes, or `None` for the platform's default.
    pub stack_size: Option<usize>,
    /// The function that each worker and spare worker runs. The arguments are the pool, the number of the thread, and the index
    /// of its first seat.
    pub work: fn(PoolPtr, usize, usize),
}

impl Threads {
    /// Returns a builder for a thread with the name `name`.
    pub fn builder_named(&self, name: String) -> Builder {
        let builder = Builder::new().name(name);
        match self.stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        }
    }
}

/// The shared state of a pool.
pub struct Shared {
    /// The injector of the class `Normal`. All injected tasks lie here while the pool has only jobs of this class.
    injector: Injector<CellPtr>,
    /// The injector of the class `High`. The next field is that of the class `Low`.
    high: Injector<CellPtr>,
    low: Injector<CellPtr>,
    victims: Box<[Victim]>,
    /// The seats of the pool, one for each worker.
    pub seats: Box<[CachePadded<Seat>]>,
    /// The counts of searching and parked workers. This field also parks and wakes workers.
    pub sleep: Sleep,
    notice: CachePadded<Notice>,
    /// The user's closures. `None` after the last worker has ended. No protocol depends on this field, so its lock is that of
    /// `std` also in models.
    hooks: std::sync::Mutex<Option<std::sync::Arc<Hooks>>>,
    /// The table of the children of the pool's jobs.
    pub family: Family,
    /// The list of the jobs with a name and without a parent.
    pub named: NamedRoots,
    /// The list of the pushers that wait for a slot of a job with a capacity.
    pub blocked_pushers: BlockedPushers,
    /// How the pool makes its threads.
    pub threads: Threads,
    /// The spare workers of the pool.
    pub spares: Spares,
    /// The tasks of the pool that wait in `join`, `wait` or `scope`.
    pub waits: Waits,
    /// The recorded events of the timeline.
    #[cfg(feature = "timeline")]
    pub log: Log,
    refused: AtomicU64,
    /// The id of the process that made the pool. A process that was forked from that process has another id, and no workers.
    process: u32,
    has_spare_cores: bool,
    /// The number of flights that began on threads without a seat, minus the number of flights that ended on such threads. Each
    /// seat has such a number of its own. The sum of all these numbers is the number of flights in the pool.
    pub(super) flights: AtomicU64,
    /// The number of tasks that `shutdown_now` has dropped.
    pub dropped: AtomicUsize,
    /// The list of held jobs (paused, or with a limit of 0). The list has a handle of each job on it. A drain cancels these
    /// jobs.
    held: Mutex<BTreeSet<OpaqueJob>>,
    /// The timer of the pool.
    pub timer: Timer<Due>,
    /// The time that the manual clock shows, if the pool has such a clock.
    pub hands: Option<Arc<Hands>>,
    end_state: Mutex<End>,
    ended_changed: Condvar,
    working: AtomicUsize,
    /// The number of owners, which keep the pool's memory: the handle `Pool`, each worker, each record, and each task that can
    /// use the timer.
    owners: CachePadded<AtomicU64>,
}

/// The fields that each worker reads before each task, and that seldom change. They share a cache line.
#[derive(Debug)]
struct Notice {
    /// The epoch. When this number grows, each worker with a lease checks its job's word again before its next task.
    epoch: AtomicU64,
    draining: AtomicBool,
    drops: AtomicBool,
    /// True after the pool has got its first job of the class `High` or `Low`.
    has_classes: AtomicBool,
    /// True while the timeline records events.
    #[cfg(feature = "timeline")]
    records: AtomicBool,
}

/// A pointer to the shared state of a pool. Use the pointer only while the pool has an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolPtr(NonNull<Shared>);

// SAFETY: all of `Shared` is Sync, or guarded by what `Seat` says.
unsafe impl Send for PoolPtr {}
// SAFETY: all of `Shared` is Sync, or guarded by what `Seat` says.
unsafe impl Sync for PoolPtr {}

impl PoolPtr {
    /// Makes the shared state of a pool. Counts one owner of the pool for each worker, and one for the caller.
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
            high: Injector::new(),
            low: Injector::new(),
            victims,
            seats,
            sleep: Sleep::new(workers),
            notice: CachePadded::new(Notice {
                epoch: AtomicU64::new(0),
                draining: AtomicBool::new(false),
                drops: AtomicBool::new(false),
                has_classes: AtomicBool::new(false),
                #[cfg(feature = "timeline")]
                records: AtomicBool::new(false),
            }),
            hooks: std::sync::Mutex::new(Some(std::sync::Arc::new(hooks))),
            family: Family::new(),
            named: NamedRoots::new(),
            blocked_pushers: BlockedPushers::new(),
            threads,
            spares: Spares::new(workers, most_spares),
            waits: Waits::default(),
            #[cfg(feature = "timeline")]
            log: Log::new(workers),
            refused: AtomicU64::new(0),
            process: crate::process::note_maker(),
            has_spare_cores: crate::sync::thread::available_parallelism()
                .is_ok_and(|cores| workers <= cores.get()),
            flights: AtomicU64::new(0),
            dropped: AtomicUsize::new(0),
            held: Mutex::new(BTreeSet::new()),
            timer: Timer::new(),
            hands,
            end_state: Mutex::default(),
            ended_changed: Condvar::new(),
            working: AtomicUsize::new(workers),
            owners: CachePadded::new(AtomicU64::new(workers as u64 + 1)),
        };
        Self(cache::make(shared))
    }

    /// Returns the shared state of the pool.
    #[inline]
    pub fn shared(&self) -> &Shared {
        // SAFETY: an owner of the pool keeps the pool alive while this pointer is used.
        unsafe { self.0.as_ref() }
    }

    /// Adds an owner of the pool, such as a record or a task that can use the timer. Each owner keeps the pool's memory.
    pub fn own(self) {
        // Ordering: Relaxed; the caller is an owner, or an owner keeps the pool for the caller.
        self.shared().owners.fetch_add(1, Ordering::Relaxed);
    }

    /// Subtracts `owners` from the number of the pool's owners. If no owner is left, frees the pool.
    pub fn disown(self, owners: u64) {
        // Ordering: AcqRel; all use of the pool comes before its memory is freed.
        if self.shared().owners.fetch_sub(owners, Ordering::AcqRel) == owners {
            assert!(!RESTS || self.shared().is_at_rest(), "a pool is freed that is not at rest");
            // SAFETY: no owner is left.
            unsafe { self.0.as_ptr().drop_in_place() };
            // SAFETY: its contents were dropped just now, and it came from `cache::make`.
            unsafe { cache::free(self.0.as_ptr()) };
        }
    }
}

/// Whether the pool has ended: its last worker has ended.
#[derive(Debug, Default)]
struct End {
    has_come: bool,
    /// True if a future might wait in the parking lot for the end of the pool.
    is_awaited: bool,
}

impl Shared {
    /// Returns true if this process was forked from the process that made the pool. Only the process that made the pool has the
    /// pool's workers.
    pub fn is_in_child(&self) -> bool {
        self.process != std::process::id()
    }

    /// Returns true if the machine has a core for each worker of the pool. If so, a worker that spins delays no other worker.
    #[inline]
    pub fn has_spare_cores(&self) -> bool {
        self.has_spare_cores
    }

    /// Returns the hooks that the user gave to the builder, or `None` if the last worker has ended. A thread of the pool must
    /// drop the returned reference before the thread ends.
    pub fn hooks(&self) -> Option<std::sync::Arc<Hooks>> {
        self.hooks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Drops the user's hooks, so that a `Job` that outlives the pool does not keep their captures.
    fn drop_hooks(&self) {
        let hooks = self.hooks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        crate::unwind::drop_quietly(hooks);
    }

    /// Returns the number of workers of the pool. Spare workers are not counted.
    #[inline]
    pub fn workers(&self) -> usize {
        self.seats.len()
    }

    /// Returns the ready cap: the greatest number of ready tasks of one job at a time.
    #[inline]
    pub fn ready_cap(&self) -> u64 {
        (self.seats.len() as u64).clamp(2, MOST_READY_CAP)
    }

    /// Puts a task into the injector of the class `Normal`, and wakes a worker if none is searching. Returns `TooLate` if all
    /// workers have ended. In that case a thread outside the pool must call `drop_late` as soon as it holds no queue lock.
    #[inline]
    pub fn inject(&self, cell: CellPtr) -> Notified {
        self.injector.push(cell);
        self.sleep.notify()
    }

    /// Wakes a worker if none is searching. Call it after a worker has put a task into its deque.
    #[inline]
    pub fn notify(&self) {
        let notified = self.sleep.notify();
        debug_assert_eq!(notified, Notified::Fine, "the pool does not end while a worker is awake");
    }

    /// Returns the injector of the class `Normal`.
    #[inline]
    pub fn injector(&self) -> &Injector<CellPtr> {
        &self.injector
    }

    /// Returns, for each seat, the two stealers of its deques, from which other workers steal.
    #[inline]
    pub fn victims(&self) -> &[Victim] {
        &self.victims
    }

    /// Returns true if a task is in one of the injectors or deques.
    pub fn has_ready(&self) -> bool {
        !self.injector_is_empty() || self.victims.iter().any(|victim| !victim.is_empty())
    }

    /// Returns true if the pool has no ready task, no lent seat, no held job, no named root, no blocked pusher, no timer
    /// entry, nothing for which a drain waits, and no waiting task. Call it only while no other thread uses the pool.
    fn is_at_rest(&self) -> bool {
        !self.is_busy()
            && self.sleep.none_away()
            && self.spares.is_unused()
            && self.waits.is_empty()
            && self.blocked_pushers.is_empty()
            && self.held().is_empty()
            && self.named.lock().is_empty()
            && self.timer.is_empty()
    }

    /// Returns the epoch. When this number has grown, each worker with a lease must check its job's word again before its next
    /// task.
    #[inline]
    pub fn epoch(&self) -> u64 {
        // Ordering: Acquire; pairs with `advance_epoch`: the new epoch shows the change of the job's word.
        self.notice.epoch.load(Ordering::Acquire)
    }

    /// Adds one to the epoch, so that each worker with a lease checks its job's word before its next task.
    pub fn advance_epoch(&self) {
        // Ordering: Release; the job's word was changed before.
        self.notice.epoch.fetch_add(1, Ordering::Release);
    }

    /// Returns true if the pool records events for its timeline.
    #[cfg(feature = "timeline")]
    #[inline]
    pub fn records(&self) -> bool {
        // Ordering: Relaxed; a hint.
        self.notice.records.load(Ordering::Relaxed)
    }

    /// Sets whether the pool records events for its timeline.
    #[cfg(feature = "timeline")]
    pub fn set_records(&self, records: bool) {
        // Ordering: Relaxed; a hint.
        self.notice.records.store(records, Ordering::Relaxed);
    }

    /// Counts one task that a gate has refused, for the statistics of the pool.
    pub fn count_refused(&self) {
        // Ordering: Relaxed; the number is only a figure for statistics.
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of tasks that gates have refused so far.
    pub fn refused(&self) -> u64 {
        // Ordering: Relaxed; the number is only a figure for statistics.
        self.refused.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sleep", &self.sleep).finish_non_exhaustive()
    }
}
