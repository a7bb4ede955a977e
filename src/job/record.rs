//! The record of a job: one cell of memory, alive while a handle or a task needs it.

use crate::job::backlog::{Arrivals, Backlog, Departures};
use crate::job::extra::Extra;
use crate::job::permits::{Flag, MOST_READY, Permits, Snapshot};
use crate::pool::shared::{PoolPtr, Shared};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::fault;
use crate::task::cells;
use std::ptr::{self, NonNull};

/// What a job is made of.
///
/// | bytes   | what                            | each push    | each task     |
/// |---------|---------------------------------|--------------|---------------|
/// | 0..48   | `arrivals` to `extra`           | writes, reads|               |
/// | 48..88  | `tokens`, `tally`               |              |               |
/// | 88..96  | the tasks that were refused     |              | reads         |
/// | 96..112 | the rest of `departures`        |              | writes        |
///
/// Records lie side by side, the first of a block on a line's beginning, so that each begins at 0, 16, 32 or 48 of one. In all
/// four cases what a push touches lies on other lines than what a task of a full job writes: where they did not, a task of a
/// limit of 1 took a quarter more time.
#[derive(Debug)]
#[repr(C)]
pub struct Record {
    arrivals: Arrivals,
    /// The packed word.
    pub permits: Permits,
    pool: PoolPtr,
    parent: Option<JobPtr>,
    extra: AtomicPtr<Extra>,
    /// Who needs the record.
    pub tokens: Tokens,
    /// How the job's tasks ended.
    pub tally: Tally,
    departures: Departures,
}

#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
const _: () = {
    assert!(size_of::<Record>() == cells::LARGE && cells::LARGE.is_multiple_of(16));
    assert!(std::mem::offset_of!(Record, tokens) == 48);
    assert!(std::mem::offset_of!(Record, departures) == 88);
};

/// How many tasks ended how, and how many ever ran at once.
#[derive(Debug)]
pub struct Tally {
    /// Tasks that ran to their end.
    pub completed: AtomicU64,
    /// Tasks dropped without running.
    pub cancelled: AtomicU64,
    /// Tasks that unwound.
    pub panicked: AtomicU64,
    most_running: AtomicU32,
}

impl Tally {
    fn new() -> Self {
        Self {
            completed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            most_running: AtomicU32::new(0),
        }
    }

    /// Notes how many run at once now.
    #[inline]
    pub fn note_running(&self, word: Snapshot) {
        let running = word.running() as u32;
        // Ordering: Relaxed both; a figure, which `wait` makes exact.
        if running > self.most_running.load(Ordering::Relaxed) {
            self.most_running.fetch_max(running, Ordering::Relaxed);
        }
    }

    /// How many tasks have ended, one way or the other.
    pub fn ended(&self) -> u64 {
        // Ordering: Relaxed; read behind a look at the tokens, which are given back later.
        self.completed.load(Ordering::Relaxed)
            + self.cancelled.load(Ordering::Relaxed)
            + self.panicked.load(Ordering::Relaxed)
    }

    /// The most that ever ran at once.
    pub fn most_running(&self) -> usize {
        // Ordering: Relaxed; as above.
        self.most_running.load(Ordering::Relaxed) as usize
    }
}

/// Who needs a record: a counter like a reference count, in two parts.
///
/// | bits   | field   | one for each                                                     |
/// |--------|---------|------------------------------------------------------------------|
/// | 0..36  | tasks   | task that is ready or running (those in the backlog have none)   |
/// | 36     | waited  | (a flag) somebody waits until there are no such tasks            |
/// | 37..64 | handles | handle, child job, entry in the pool's list of held jobs         |
///
/// A task's token passes from the pusher to the deque to the worker that runs the task. A worker
/// that runs a job may hold many at a time, as credit for tasks it pushes, and gives them back at
/// once; the counter is never below the truth.
#[derive(Debug)]
pub struct Tokens(AtomicU64);

const WAITED: u64 = 1 << 36;
const TASKS: u64 = WAITED - 1;
const HANDLE: u64 = 1 << 37;
const MOST_HANDLES: u64 = 1 << 26;

/// What is left after tokens were given back.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left(u64);

impl Left {
    /// Nobody needs the record: it is the caller's to free.
    pub const fn nobody(self) -> bool {
        self.0 & !WAITED == 0
    }

    /// No task is ready or running.
    pub const fn no_tasks(self) -> bool {
        self.0 & TASKS == 0
    }

    /// No task is ready or running, and somebody wants to know.
    pub const fn awaited(self) -> bool {
        self.0 & TASKS == 0 && self.0 & WAITED != 0
    }

    /// Tokens of tasks.
    pub const fn tasks(self) -> u64 {
        self.0 & TASKS
    }

    /// Handles.
    pub const fn handles(self) -> u64 {
        self.0 / HANDLE
    }
}

impl Tokens {
    /// One handle, no task.
    fn new() -> Self {
        Self(AtomicU64::new(HANDLE))
    }

    /// Reads the counter.
    #[inline]
    pub fn load(&self) -> Left {
        // Ordering: Acquire; who sees the last token gone sees what its holder did.
        Left(self.0.load(Ordering::Acquire))
    }

    /// Adds tokens for tasks.
    #[inline]
    pub fn add_tasks(&self, count: u64) {
        // Ordering: Release; a pop from the backlog is counted before, for `not_started`. The caller has a token or a
        // handle, and the tasks are published by what they are pushed into.
        self.0.fetch_add(count, Ordering::Release);
    }

    /// Gives tokens of tasks back.
    #[inline]
    pub fn drop_tasks(&self, count: u64) -> Left {
        // Ordering: AcqRel; all use of the record comes before its end.
        Left(self.0.fetch_sub(count, Ordering::AcqRel) - count)
    }

    /// Adds a handle.
    ///
    /// # Panics
    /// If there are 2²⁶ handles already.
    pub fn add_handle(&self) {
        // Ordering: Relaxed; the caller has a handle or a token.
        let before = self.0.fetch_add(HANDLE, Ordering::Relaxed);
        if Left(before).handles() >= MOST_HANDLES {
            self.0.fetch_sub(HANDLE, Ordering::Relaxed);
            panic!("too many handles and children of one job: drop some before more are made");
        }
    }

    /// Adds a handle that is the pool's own, for which there is always room: they are few, and the counter holds
    /// twice as many as others may have.
    pub fn keep(&self) {
        // Ordering: as in `add_handle`.
        self.0.fetch_add(HANDLE, Ordering::Relaxed);
    }

    /// Adds a handle unless nobody needs the record any more; tells whether it did.
    pub fn add_handle_if_needed(&self) -> bool {
        // Ordering: Acquire, Relaxed; the caller comes from outside of all handles.
        self.0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |count| {
                (!Left(count).nobody()).then_some(count + HANDLE)
            })
            .is_ok()
    }

    /// Gives a handle back.
    #[inline]
    pub fn drop_handle(&self) -> Left {
        // Ordering: AcqRel; as in `drop_tasks`.
        Left(self.0.fetch_sub(HANDLE, Ordering::AcqRel) - HANDLE)
    }

    /// Notes that nobody waits any more.
    pub fn clear_waited(&self) {
        // Ordering: AcqRel; under the lock of the room's bucket, as setting it is.
        self.0.fetch_and(!WAITED, Ordering::AcqRel);
    }

    /// Notes that somebody waits.
    pub fn set_waited(&self) {
        // Ordering: AcqRel; E1 against W2 of the waiting room.
        self.0.fetch_or(WAITED, Ordering::AcqRel);
    }
}

/// A pointer to a record that the holder of a token or a handle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobPtr(NonNull<Record>);

// SAFETY: a record is made of atomics and of pointers that do not change.
unsafe impl Send for JobPtr {}
// SAFETY: as above.
unsafe impl Sync for JobPtr {}

impl std::ops::Deref for JobPtr {
    type Target = Record;

    #[inline]
    fn deref(&self) -> &Record {
        // SAFETY: by the type's contract the record is alive.
        unsafe { self.0.as_ref() }
    }
}

impl JobPtr {
    /// Makes a record with one handle, and one handle of the parent for itself.
    pub fn make(pool: PoolPtr, parent: Option<Self>, limit: u64) -> Self {
        if let Some(parent) = parent {
            parent.tokens.add_handle();
        }
        pool.own();
        Self(cells::make(Record {
            arrivals: Arrivals::new(),
            permits: Permits::new(limit),
            tokens: Tokens::new(),
            pool,
            parent,
            extra: AtomicPtr::new(ptr::null_mut()),
            tally: Tally::new(),
            departures: Departures::new(),
        }))
    }

    /// The key under which threads wait until the job is idle.
    pub fn idle_key(self) -> usize {
        self.0.as_ptr().addr()
    }

    /// The key under which tasks that waited wait for their permit.
    pub fn permit_key(self) -> usize {
        self.0.as_ptr().addr() + 1
    }

    /// The key under which those wait who want no more to run than the limit allows.
    pub fn settle_key(self) -> usize {
        self.0.as_ptr().addr() + 3
    }

    /// Whether a key is one of the job's.
    pub fn is_waited_for_by(self, key: usize) -> bool {
        [self.idle_key(), self.permit_key(), self.settle_key()].contains(&key)
    }

    /// Gives tokens of tasks back; wakes who waits, frees the record if it was the last.
    #[inline]
    pub fn drop_tasks(self, count: u64) {
        let key = self.idle_key();
        let left = self.tokens.drop_tasks(count);
        if left.nobody() {
            // SAFETY: nobody else has a token or a handle.
            unsafe { self.free() };
        } else if left.awaited() {
            crate::task::room::room().wake(key);
        }
    }

    /// Gives a handle back; frees the record if it was the last.
    #[inline]
    pub fn drop_handle(self) {
        let left = self.tokens.drop_handle();
        if left.nobody() || (left.handles() == 0 && fault("handles-alone-free")) {
            // SAFETY: nobody else has a token or a handle.
            unsafe { self.free() };
        }
    }

    /// Frees the record, and the parent's if this was the last that needed it.
    ///
    /// # Safety
    /// Nobody else uses the record.
    #[inline]
    pub unsafe fn free(self) {
        debug_assert!(self.backlog().is_empty(), "a record is freed with tasks in its backlog");
        if let Some(parent) = self.parent {
            self.pool().family.leave(parent, self);
        }
        let (pool, parent) = (self.pool, self.parent);
        // Ordering: Relaxed; nobody else uses it.
        let extra = self.extra.load(Ordering::Relaxed);
        // SAFETY: by this function's contract nobody else uses it.
        unsafe { self.0.as_ptr().drop_in_place() };
        // SAFETY: its contents were dropped just now.
        unsafe { cells::free(self.0.as_ptr()) };
        if !extra.is_null() {
            // SAFETY: it was made by `Box::into_raw` and is freed once, here.
            drop(unsafe { Box::from_raw(extra) });
        }
        if let Some(parent) = parent {
            crate::job::control::drop_handle(parent);
        }
        pool.record_freed();
    }
}

impl Record {
    /// The job's backlog.
    #[inline]
    pub fn backlog(&self) -> Backlog<'_> {
        Backlog::new(&self.arrivals, &self.departures)
    }

    /// The job that this one is a child of.
    #[inline]
    pub fn parent(&self) -> Option<JobPtr> {
        self.parent
    }

    /// The pool.
    #[inline]
    pub fn pool(&self) -> &Shared {
        self.pool.shared()
    }

    /// A pointer to the pool.
    #[inline]
    pub fn pool_ptr(&self) -> PoolPtr {
        self.pool
    }

    /// What few jobs have.
    #[inline]
    pub fn extra(&self) -> Option<&Extra> {
        // Ordering: Acquire; pairs with `set_extra`.
        let extra = self.extra.load(Ordering::Acquire);
        // SAFETY: it is null or a box's, which lives as long as the record and is not changed.
        unsafe { extra.as_ref() }
    }

    /// Gives a record that was made just now something extra, once.
    pub fn set_extra(&self, extra: Extra) {
        // Ordering: Release; publishes what it points to.
        self.extra.store(Box::into_raw(Box::new(extra)), Ordering::Release);
    }

    /// Whether the limit never binds the workers: a permit is free for each of them. The tasks of
    /// such a job may lie in deques uncounted, and in any order: a limit of 1 is not open, nor is a
    /// job whose line may hold delegates of children. Nor is a job
    /// of futures, which hold permits without workers.
    #[inline]
    pub fn is_open(&self, word: Snapshot) -> bool {
        self.parent.is_none()
            && word.limit() >= (self.pool().workers() as u64).max(2)
            && !word.has(Flag::Parent)
            && !word.has(Flag::Futures)
    }

    /// Whether a task should leave the backlog now.
    #[inline]
    pub fn wants_promotion(&self, word: Snapshot) -> bool {
        if !word.has_room(MOST_READY) {
            // Of a full job a pusher looks no further.
            return false;
        }
        if self.is_open(word) {
            // One in the injector is enough, or the batch of somebody who runs the job.
            word.has_room(1) && !(word.has(Flag::Covered) && word.running() > 0)
        } else {
            word.has_room(self.pool().window())
        }
    }
}

impl Record {
    /// Counts a task that was dropped without running.
    pub fn count_cancelled(&self) {
        // Ordering: Relaxed; ordered by the token that is given back after it.
        self.tally.cancelled.fetch_add(1, Ordering::Relaxed);
        if self.pool().drops() {
            self.pool().dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
