//! The record of a job: the job's shared state, in one cell. The record is freed when no handle and no busy task is left.

use crate::base::cache;
use crate::base::parking::parking_lot;
use crate::base::task::{CellPtr, Header, OpaqueJob};
use crate::base::timer::Key;
use crate::job::busy::BusyCount;
use crate::job::extra::Extra;
use crate::job::permits::{Flag, MOST_READY, Permits, Snapshot};
use crate::job::queue::{Arrivals, Departures, Queue};
use crate::job::tally::Tally;
use crate::pool::core::{PoolPtr, Shared};
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::time::Instant;
use std::iter;
use std::ptr::{self, NonNull};

/// The shared state of a job.
///
/// | bytes   | fields                       | each push     | each task              |
/// |---------|------------------------------|---------------|------------------------|
/// | 0..48   | `arrivals` to `extra`        | writes, reads |                        |
/// | 48..80  | `busy`, most of `tally`      |               |                        |
/// | 80..88  | the count of completed tasks |               | writes once in 16      |
/// | 88..96  | the front stack              |               | reads                  |
/// | 96..112 | the rest of `departures`     |               | writes                 |
///
/// The fields of a record are in this order so that pushers and workers of a job at its limit use different cache lines. If
/// both used the same line, a task under a limit of 1 would take 25 % longer. A slab places records side by side, so a record
/// begins at byte 0, 16, 32 or 48 of a cache line. In each of these four cases a push and a running task use different lines,
/// with one exception: in a record that begins at byte 32, a push shares a line with the count of completed tasks.
#[derive(Debug)]
#[repr(C)]
pub struct Record {
    /// The tail side of the job's queue.
    arrivals: Arrivals,
    /// The packed word: permits held, limit, ready tasks and flags.
    pub permits: Permits,
    pool: PoolPtr,
    parent: Option<JobPtr>,
    /// Points to the fields that few jobs have, in a box that this record owns. Null if the job has none of these fields.
    pub(super) extra: AtomicPtr<Extra>,
    /// The counts of busy tasks and of handles, which keep the record.
    pub busy: BusyCount,
    /// The statistics of the job.
    pub tally: Tally,
    /// The head side of the job's queue.
    departures: Departures,
}

#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
const _: () = {
    assert!(size_of::<Record>() == cache::LARGE && cache::LARGE.is_multiple_of(16));
    assert!(std::mem::offset_of!(Record, busy) == 48);
    assert!(std::mem::offset_of!(Record, tally) + std::mem::offset_of!(Tally, completed) == 80);
    assert!(std::mem::offset_of!(Record, departures) == 88);
};

/// A pointer to a job's record. Use the pointer only while a handle or a busy task keeps the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobPtr(pub(super) NonNull<Record>);

// SAFETY: a record consists of atomics, and of pointers that never change.
unsafe impl Send for JobPtr {}
// SAFETY: as above.
unsafe impl Sync for JobPtr {}

impl std::ops::Deref for JobPtr {
    type Target = Record;

    #[inline]
    fn deref(&self) -> &Record {
        // SAFETY: by the type's contract the record is not freed.
        unsafe { self.0.as_ref() }
    }
}

impl CellPtr {
    /// Returns the job of the task in this cell.
    #[inline]
    pub fn job(self) -> JobPtr {
        self.header().job()
    }
}

impl Header {
    /// Returns the job of the task whose cell begins with this header.
    #[inline]
    pub fn job(&self) -> JobPtr {
        JobPtr::of(self.job)
    }
}

impl JobPtr {
    /// Returns the pointer to a record whose opaque form, made by [`opaque`](Self::opaque), is `job`.
    #[inline]
    pub fn of(job: OpaqueJob) -> Self {
        Self(job.record().cast())
    }

    /// Returns the opaque form of this pointer, for modules that must not know what a record is.
    #[inline]
    pub fn opaque(self) -> OpaqueJob {
        // SAFETY: it is a record's.
        unsafe { OpaqueJob::new(self.0.cast()) }
    }

    /// Makes the record of a new job, with one handle. If the job has a parent, the record also owns a handle of the parent.
    #[track_caller]
    pub fn make(pool: PoolPtr, parent: Option<Self>, limit: u64) -> Self {
        if let Some(parent) = parent {
            parent.add_handle();
        }
        pool.own();
        Self(cache::make(Record {
            arrivals: Arrivals::new(),
            permits: Permits::new(limit),
            busy: BusyCount::new(),
            pool,
            parent,
            extra: AtomicPtr::new(ptr::null_mut()),
            tally: Tally::new(),
            departures: Departures::new(),
        }))
    }

    /// Returns the gates that each task of the job must pass, in this order: the job, its parent, the parent's parent, and so
    /// on.
    #[inline]
    pub fn gates(self) -> impl Iterator<Item = Self> {
        iter::successors(Some(self), |gate| gate.parent)
    }

    /// Returns the key in the parking lot for threads and futures that wait until the job is idle.
    pub fn idle_key(self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Returns the key in the parking lot for tasks that wait to re-acquire their permit of this job.
    pub fn permit_key(self) -> usize {
        self.0.as_ptr().addr() + 1
    }

    /// Returns the key in the parking lot for threads and futures that wait until at most as many tasks of the job run as its
    /// limit allows.
    pub fn settle_key(self) -> usize {
        self.0.as_ptr().addr() + 3
    }

    /// Returns true if the parking lot has no waiter under a key of the job. Under loom always returns true, because a loom
    /// model checks the whole parking lot at its end.
    pub fn has_no_waiters(self) -> bool {
        let keys = [self.idle_key(), self.permit_key(), self.settle_key()];
        cfg!(tollgate_loom) || !keys.into_iter().any(|key| parking_lot().has_waiter(key))
    }
}

impl Record {
    /// Returns the job's queue.
    #[inline]
    pub fn queue(&self) -> Queue<'_> {
        Queue::new(&self.arrivals, &self.departures)
    }

    /// Returns the job's parent, or `None` if the job has no parent.
    #[inline]
    pub fn parent(&self) -> Option<JobPtr> {
        self.parent
    }

    /// Returns the state that all threads of the job's pool share.
    #[inline]
    pub fn pool(&self) -> &Shared {
        self.pool.shared()
    }

    /// Returns the pointer to the job's pool.
    #[inline]
    pub fn pool_ptr(&self) -> PoolPtr {
        self.pool
    }

    /// Returns the fields that few jobs have, or `None` if this job has none of them.
    #[inline]
    pub fn extra(&self) -> Option<&Extra> {
        // Ordering: Acquire; pairs with `set_extra`.
        let extra = self.extra.load(Ordering::Acquire);
        // SAFETY: the pointer is null, or is that of a box that is freed together with the record and never replaced.
        unsafe { extra.as_ref() }
    }

    /// Returns the fields that few jobs have. If this job has none of them, makes them first, with default values.
    pub fn extra_or_make(&self) -> &Extra {
        if let Some(extra) = self.extra() {
            return extra;
        }
        let made = Box::into_raw(Box::new(Extra::default()));
        // Ordering: Release on success; publishes the fields, as in `set_extra`. Acquire on failure; as in `extra`.
        let set =
            self.extra.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        if set.is_err() {
            // SAFETY: the pointer came from `Box::into_raw` just now, and no other thread has seen it.
            drop(unsafe { Box::from_raw(made) });
        }
        self.extra().expect("it was set just now, and is never cleared")
    }

    /// Gives the job the fields that few jobs have. Call it at most once, on a new record without these fields.
    pub fn set_extra(&self, extra: Extra) {
        // Ordering: Release; pairs with `extra`, and publishes what the pointer points to.
        self.extra.store(Box::into_raw(Box::new(extra)), Ordering::Release);
    }

    /// Returns true if the job is *unlimited*: its limit leaves a permit for every worker, so no task of the job ever waits for
    /// a permit. `word` is the job's word.
    ///
    /// Tasks of an unlimited job can lie in deques without a reservation, and start in any order. So four kinds of jobs never
    /// count as unlimited:
    /// - a job with a limit of 1, because its tasks must start in order;
    /// - a job with a parent or a child, because its tasks or its child's tasks must pass two gates;
    /// - a job with the flag `Futures`, which has futures or is of the class `High` or `Low`: a pending future has a permit
    ///   without a worker, and a task of these classes must not lie in a deque;
    /// - a job with a rate, because each start needs a token.
    #[inline]
    pub fn is_unlimited(&self, word: Snapshot) -> bool {
        self.parent.is_none()
            && word.limit() >= (self.pool().workers() as u64).max(2)
            && !word.has(Flag::Parent)
            && !word.has(Flag::Futures)
            && !word.has(Flag::Rated)
    }

    /// Returns true if a thread should admit a task from the job's queue now. `word` is the job's word.
    #[inline]
    pub fn wants_admission(&self, word: Snapshot) -> bool {
        if !word.has_room(MOST_READY) {
            // The job has no room for one more reservation. This check comes first, because it needs no further load: so a
            // push into a job at its limit stays cheap.
            return false;
        }
        if self.is_unlimited(word) {
            // An unlimited job needs only one ready task, because the worker that starts it takes further tasks from the queue
            // into its batch. While a worker has such a batch, the job needs no ready task, because other workers can steal
            // from the batch.
            word.has_room(1) && !(word.has(Flag::BatchOut) && word.running() > 0)
        } else {
            word.has_room(self.pool().ready_cap())
        }
    }
}

impl JobPtr {
    /// Adds a handle of the job. The caller must keep the job alive during the call.
    ///
    /// # Panics
    /// Panics if the job already has 67,108,864 handles and children.
    #[inline]
    #[track_caller]
    pub fn add_handle(self) {
        if !self.busy.add_handle() {
            self.refuse_handle();
        }
    }

    #[cold]
    #[track_caller]
    fn refuse_handle(self) -> ! {
        let of = self.of_its_name();
        let of = if of.is_empty() { " of one job" } else { of.as_str() };
        panic!("too many handles and children{of}: drop some before more are made");
    }

    /// Returns the words that follow a noun in the text of a panic, such as " of the job `search`" after "a task". Returns an
    /// empty text if the job has no name.
    pub fn of_its_name(self) -> String {
        let name = self.extra().and_then(|extra| extra.name.as_deref());
        name.map(|name| format!(" of the job `{name}`")).unwrap_or_default()
    }

    /// Returns how many of the job's tasks are ready, or lie in the queue of an ancestor. `word` is the job's word. The
    /// number is exact only while no task of the job starts, ends or moves.
    pub fn ready_tasks(self, word: Snapshot) -> u64 {
        self.busy_tasks().saturating_sub(word.running())
    }

    /// Returns the number of the job's delayed tasks, which wait in the pool's timer.
    pub fn delayed_tasks(self) -> usize {
        self.extra().map_or(0, |extra| extra.times().delayed.len())
    }

    /// Returns true if a task of the job waits in the job's queue or in the timer, or if a task of this job or of a job below
    /// waits in the parent's queue.
    pub fn has_waiting(self) -> bool {
        !self.queue().is_empty()
            || self.permits.load().has(Flag::Blocked)
            || self.delayed_tasks() > 0
    }

    /// Returns the earliest time at which a delayed task of the job enters the queue, or `None` if no task is delayed.
    pub fn first_delayed(self) -> Option<Instant> {
        self.extra()?.times().delayed.first().map(|(when, _)| *when)
    }

    /// Returns the time at which the delayed task in `cell` enters the job's queue. Returns `None` if the pool's timer has no
    /// entry of this task.
    pub fn delayed_until(self, cell: CellPtr) -> Option<Instant> {
        let keys: Vec<_> = self.extra()?.times().delayed.iter().copied().collect();
        let of = |key: &Key| self.pool().timer.get(*key).is_some_and(|due| due.cell() == cell);
        keys.into_iter().find(of).map(|(when, _)| when)
    }

    /// Returns how many of the job's tasks are ready, are running, or lie in the queue of an ancestor. The number is exact only
    /// while no task of the job starts, ends or moves.
    pub fn busy_tasks(self) -> u64 {
        let (pool, key) = (self.pool(), self.idle_key());
        let spare: u64 = pool.seats.iter().map(|seat| seat.spare_busy_counts(key)).sum();
        // A waiting task that keeps its permit counts as running. So this function subtracts the waiting tasks only if the job
        // keeps no permits.
        let keeps = self.extra().is_some_and(|extra| extra.keeps_permits);
        let waits = if keeps { 0 } else { pool.waits.count(self.opaque()) };
        let elsewhere = spare + waits + self.delayed_tasks() as u64;
        self.busy.load().tasks().saturating_sub(elsewhere)
    }
}

impl Record {
    /// Adds one to the number of the job's cancelled tasks.
    pub fn count_cancelled(&self) {
        // Ordering: Relaxed; the later `drop_tasks` orders it before a waiter reads it.
        self.tally.cancelled.fetch_add(1, Ordering::Relaxed);
        if self.pool().drops() {
            self.pool().dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
