//! What a pool's workers, jobs and handles share.

use crate::job::capacity::Crowds;
use crate::job::family::Family;
use crate::job::permits::MOST_WINDOW;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::deque::{Injector, Steal};
use crate::sync::{Condvar, Mutex, MutexGuard, fault};
use crate::task::CellPtr;
use crate::worker::context::Context;
use crate::worker::place::{Place, Victim};
use crate::worker::sleep::{Notified, Sleep};
use crate::worker::spares::{Spares, Threads};
use crate::worker::waiting::Waiting;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::collections::BTreeSet;
use std::ptr::NonNull;

/// In a count of futures in flight, one that waits without a permit. The lower half counts all of them.
const WAITING_FLIGHT: u64 = 1 << 32;

/// A hook that is told a worker's index.
pub type WorkerHook = Box<dyn Fn(usize) + Send + Sync>;
/// A hook that is told a panic's payload.
pub type PanicHook = Box<dyn Fn(&(dyn Any + Send)) + Send + Sync>;

/// The code of the pool's owner that workers call.
#[derive(Default)]
pub struct Hooks {
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
    pub places: Box<[CachePadded<Place>]>,
    /// Who sleeps.
    pub sleep: Sleep,
    notice: CachePadded<Notice>,
    /// The code of the pool's owner.
    pub hooks: Hooks,
    /// Who is whose child.
    pub family: Family,
    /// Who waits for room in a bounded backlog.
    pub crowds: Crowds,
    /// How threads are made.
    pub threads: Threads,
    /// Threads that take the place of one that waits.
    pub spares: Spares,
    /// Tasks that wait inside, by job.
    pub waiting: Waiting,
    refused: AtomicU64,
    has_spare_cores: bool,
    /// As in `Place`, for threads that sit in no place.
    flights: AtomicU64,
    /// Tasks that `shutdown_now` dropped.
    pub dropped: AtomicUsize,
    /// Jobs that are paused or have a limit of 0, each with a handle, for the drain to find.
    held: Mutex<BTreeSet<JobPtr>>,
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

// SAFETY: all of `Shared` is Sync, or guarded by what `Place` says.
unsafe impl Send for PoolPtr {}
// SAFETY: as above.
unsafe impl Sync for PoolPtr {}

impl PoolPtr {
    /// Makes a pool with an owner for each worker and one for the caller.
    pub fn make(workers: usize, hooks: Hooks, threads: Threads, most_spares: usize) -> Self {
        let places: Box<[_]> =
            (0..workers).map(|index| CachePadded::new(Place::new(index))).collect();
        let victims = places.iter().map(|place| place.victim()).collect();
        let shared = Shared {
            injector: Injector::new(),
            victims,
            places,
            sleep: Sleep::new(workers),
            notice: CachePadded::new(Notice {
                epoch: AtomicU64::new(0),
                draining: AtomicBool::new(false),
                drops: AtomicBool::new(false),
            }),
            hooks,
            family: Family::new(),
            crowds: Crowds::new(),
            threads,
            spares: Spares::new(most_spares),
            waiting: Waiting::default(),
            refused: AtomicU64::new(0),
            has_spare_cores: crate::sync::thread::available_parallelism()
                .is_ok_and(|cores| workers <= cores.get()),
            flights: AtomicU64::new(0),
            dropped: AtomicUsize::new(0),
            held: Mutex::new(BTreeSet::new()),
            ended: Mutex::new(false),
            ended_changed: Condvar::new(),
            working: AtomicUsize::new(workers),
            owners: CachePadded::new(AtomicU64::new(workers as u64 + 1)),
        };
        Self(NonNull::from(Box::leak(Box::new(shared))))
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
            // SAFETY: it came from `Box::leak`, and no owner is left.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl Shared {
    /// Whether there is a core for each worker, so that one that spins takes nothing from another.
    #[inline]
    pub fn has_spare_cores(&self) -> bool {
        self.has_spare_cores
    }

    /// How many workers.
    #[inline]
    pub fn workers(&self) -> usize {
        self.places.len()
    }

    /// How many ready tasks of one job may lie in deques at a time.
    #[inline]
    pub fn window(&self) -> u64 {
        (self.places.len() as u64).clamp(2, MOST_WINDOW)
    }

    /// Puts a task into the injector and sees to it that somebody comes.
    #[inline]
    pub fn inject(&self, cell: CellPtr) {
        self.injector.push(cell);
        self.notify();
    }

    /// Sees to it that somebody comes for a task that was put into a deque.
    #[inline]
    pub fn notify(&self) {
        if self.sleep.notify() == Notified::TooLate {
            self.discard_injected();
        }
    }

    /// Drops what is in the injector of a pool whose workers have gone.
    #[cold]
    pub fn discard_injected(&self) {
        loop {
            match self.injector.steal() {
                Steal::Success(cell) => crate::job::admission::discard(cell),
                Steal::Empty => return,
                Steal::Retry => crate::sync::spin_loop(),
            }
        }
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

    /// A future is in flight from now on, and waits `without_permit` or with one: a drain waits for it.
    #[cfg(feature = "futures")]
    pub fn flight_starts(&self, without_permit: bool) {
        self.add_flights(1 + u64::from(without_permit) * WAITING_FLIGHT);
    }

    /// A future that was in flight with its permit waits without one.
    #[cfg(feature = "futures")]
    pub fn flight_waits(&self) {
        self.add_flights(WAITING_FLIGHT);
    }

    /// A future in flight has ended, or is on its way into a line.
    #[cfg(feature = "futures")]
    pub fn flight_ends(&self, without_permit: bool) {
        self.add_flights((1 + u64::from(without_permit) * WAITING_FLIGHT).wrapping_neg());
    }

    #[cfg(feature = "futures")]
    fn add_flights(&self, change: u64) {
        let here = Context::with(|context| {
            let place = context.filter(|context| std::ptr::eq(context.pool(), self))?.place()?;
            place.add_flights(change);
            Some(())
        });
        if here.is_none() {
            // Ordering: AcqRel; read under the sleepers' lock.
            self.flights.fetch_add(change, Ordering::AcqRel);
            if self.draining() {
                self.sleep.reconsider_drain(|| self.is_busy());
                self.end_stall();
            }
        }
    }

    /// Whether anything is left for a drain to wait for, when all workers are parked.
    pub fn is_busy(&self) -> bool {
        self.flights() != 0 || self.has_ready()
    }

    fn flights(&self) -> u64 {
        // Ordering: Acquire; as in `add_flights`.
        let elsewhere = self.flights.load(Ordering::Acquire);
        self.places.iter().map(|place| place.flights()).fold(elsewhere, u64::wrapping_add)
    }

    /// Whether anything is left, when all workers are parked and all tasks that have begun wait, that may let go what is
    /// held: a ready task, or a future that waits for something that is not this library's.
    fn may_move(&self) -> bool {
        let flights = self.flights();
        flights % WAITING_FLIGHT > flights / WAITING_FLIGHT || self.has_ready()
    }

    /// Whether a task lies in any deque.
    pub fn has_ready(&self) -> bool {
        !self.injector.is_empty() || self.victims.iter().any(|victim| !victim.is_empty())
    }

    /// How often a job was held back.
    #[inline]
    pub fn epoch(&self) -> u64 {
        // Ordering: Acquire; pairs with `advance_epoch`: who sees the new epoch, and looks at a word
        // because of it, sees the change that was made there.
        let relaxed = fault("relaxed-epoch");
        self.notice.epoch.load(if relaxed { Ordering::Relaxed } else { Ordering::Acquire })
    }

    /// A job is held back: every worker looks before it starts a further task of its job.
    pub fn advance_epoch(&self) {
        // Ordering: Release; after the change of the job's word.
        self.notice.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether pushes from outside are refused.
    #[inline]
    pub fn draining(&self) -> bool {
        // Ordering: Relaxed; a push that comes too late is caught by the sleepers' word.
        self.notice.draining.load(Ordering::Relaxed)
    }

    /// Whether tasks are dropped instead of started.
    #[inline]
    pub fn drops(&self) -> bool {
        // Ordering: Relaxed; the epoch carries it.
        self.notice.drops.load(Ordering::Relaxed)
    }

    /// Starts the drain.
    pub fn drain(&self) {
        // Ordering: Release; before the word that ends the drain.
        self.notice.draining.store(true, Ordering::Release);
        self.crowds.wake();
        self.sleep.drain(|| self.is_busy());
        // Tasks that wait for a permit of a held job go on, to be ended.
        for job in self.held().iter() {
            crate::task::room::room().wake(job.permit_key());
        }
        self.end_stall();
    }

    /// From now on tasks are dropped instead of started.
    pub fn drop_all(&self) {
        // Ordering: Release; before the epoch.
        self.notice.drops.store(true, Ordering::Release);
        self.advance_epoch();
    }

    /// The list of held jobs.
    pub fn held(&self) -> MutexGuard<'_, BTreeSet<JobPtr>> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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

    /// So many workers will never come: their threads could not be started.
    pub fn give_up_workers(&self, missing: usize) {
        self.sleep.give_up_workers(missing);
        // Ordering: AcqRel; as in `worker_left`.
        if self.working.fetch_sub(missing, Ordering::AcqRel) == missing {
            self.end();
        }
    }

    /// A spare worker is about to start: one more to wait for, one more owner.
    pub fn worker_comes(&self, pool: PoolPtr) {
        // Ordering: Relaxed both; the caller is a worker, and counted.
        self.working.fetch_add(1, Ordering::Relaxed);
        pool.shared().owners.fetch_add(1, Ordering::Relaxed);
    }

    /// A worker has run its last task. The last one drops what is still held and ends the pool.
    pub fn worker_left(&self) {
        // Ordering: AcqRel; the last one sees what the others did.
        if self.working.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        self.end();
    }

    /// Cancels what is held if a drain has stalled over it.
    pub fn end_stall(&self) {
        if self.draining() && self.sleep.is_stalled(|| self.may_move()) {
            self.cancel_held();
        }
    }

    fn cancel_held(&self) {
        loop {
            let held = std::mem::take(&mut *self.held());
            if held.is_empty() {
                break;
            }
            crate::job::control::cancel_held(&held);
        }
    }

    fn end(&self) {
        self.cancel_held();
        self.discard_injected();
        *self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.ended_changed.notify_all();
    }

    /// Waits until the last worker has left; `None` waits for ever. True: it has.
    pub fn wait_ended(&self, timeout: Option<std::time::Duration>) -> bool {
        let ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        wait_until(ended, &self.ended_changed, timeout)
    }
}

#[cfg(not(tollgate_loom))]
fn wait_until(
    ended: MutexGuard<'_, bool>,
    changed: &Condvar,
    timeout: Option<std::time::Duration>,
) -> bool {
    let going = |ended: &mut bool| !*ended;
    match timeout {
        None => *changed.wait_while(ended, going).unwrap_or_else(|poison| poison.into_inner()),
        Some(timeout) => {
            *changed
                .wait_timeout_while(ended, timeout, going)
                .unwrap_or_else(|poison| poison.into_inner())
                .0
        }
    }
}

#[cfg(tollgate_loom)]
fn wait_until(
    mut ended: MutexGuard<'_, bool>,
    changed: &Condvar,
    _: Option<std::time::Duration>,
) -> bool {
    while !*ended {
        ended = changed.wait(ended).unwrap();
    }
    true
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sleep", &self.sleep).finish_non_exhaustive()
    }
}
