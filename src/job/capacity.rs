//! A bound on the tasks of a job that have not started, and the wait for room.
//!
//! Each accepted task of a bounded job bears a [`Room`], which goes when its closure is started or dropped. So
//! the count is exact wherever the task lies meanwhile, and jobs without a bound know nothing of it.
//!
//! - B1: who finds no room enters its key in the pool's list of crowds. B2: under the lock of the waiting room's
//!   bucket it sets the bit, fences, and looks whether there is still no room and the job still open.
//! - F1: whoever frees room lowers the count and reads the bit, in one read-modify-write; F2: if it is set, it
//!   wakes one that waits. Who takes room clears the bit when nobody waits, and else wakes the next if there
//!   is room left; so does a task of another pool that has to take its permit back first.
//! - C1: whoever closes sets its flag, C2: then wakes all keys in the list of crowds.
//!
//! B2 sees F1, or F1 sees the bit and F2 comes after the entry. B1 comes before C2 and that one's wake finds the
//! waiter entered, or the waiter's look sees the flag.

use crate::job::Job;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, fault, fence_after_rmw};
use crate::task::room::room;
use crate::worker::context::Context;
use crate::worker::waiting;

const WAITED: u64 = 1;
const TASK: u64 = 1 << 1;

/// How many tasks have not started, and how many may wait.
#[derive(Debug)]
pub struct Capacity {
    most: u64,
    /// Bit 0: somebody waits for room. Above: tasks that have not started.
    taken: AtomicU64,
}

impl Capacity {
    /// An empty backlog's.
    ///
    /// # Panics
    /// If `most` is 0.
    pub fn new(most: usize) -> Self {
        assert!(
            most > 0,
            "a job with a capacity of 0 would take no task: set at least 1, or none for no bound"
        );
        Self { most: (most as u64).min(u64::MAX / TASK), taken: AtomicU64::new(0) }
    }

    /// The most that may wait.
    pub fn most(&self) -> usize {
        self.most as usize
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    fn is_full(&self) -> bool {
        // Ordering: Acquire; the caller has a fence before it where it matters.
        self.taken.load(Ordering::Acquire) / TASK >= self.most
    }
}

/// The place that one task takes until it starts or is dropped.
#[derive(Debug)]
pub struct Room(Arc<Capacity>);

impl Room {
    fn try_take(capacity: &Arc<Capacity>) -> Option<Self> {
        // Ordering: AcqRel, Relaxed; only the count matters.
        let taken = capacity.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
            (taken / TASK < capacity.most).then_some(taken + TASK)
        });
        taken.is_ok().then(|| Self(capacity.clone()))
    }

    /// Also when there is none.
    fn take_over(capacity: &Arc<Capacity>) -> Self {
        // Ordering: as in `try_take`.
        capacity.taken.fetch_add(TASK, Ordering::AcqRel);
        Self(capacity.clone())
    }

    /// The task, with the place it takes.
    pub fn around<T>(self, task: impl FnOnce() -> T) -> impl FnOnce() -> T {
        move || {
            drop(self);
            task()
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Ordering: AcqRel; F1.
        if self.0.taken.fetch_sub(TASK, Ordering::AcqRel) & WAITED != 0 {
            room().wake_one(self.0.key()); // F2
        }
    }
}

/// What asking for room without waiting came to.
#[derive(Debug)]
pub enum Asked {
    /// The job has no bound.
    Unbounded,
    /// There is room.
    Taken(Room),
    /// There is none.
    Full,
}

impl Job {
    /// Takes room for one task if the job's backlog is bounded; waits for it, outside of the pool. `None`: it has
    /// no bound, or was closed meanwhile.
    #[inline]
    pub(crate) fn take_room(&self) -> Option<Room> {
        let capacity = self.extra()?.capacity.as_ref()?;
        self.take_room_of(capacity)
    }

    /// As `take_room`, without waiting.
    #[inline]
    pub(crate) fn try_take_room(&self) -> Asked {
        match self.extra().and_then(|extra| extra.capacity.as_ref()) {
            None => Asked::Unbounded,
            Some(capacity) => Room::try_take(capacity).map_or(Asked::Full, Asked::Taken),
        }
    }

    #[cold]
    fn take_room_of(&self, capacity: &Arc<Capacity>) -> Option<Room> {
        if Context::of_pool(self.ptr().pool_ptr(), |_| ()) {
            return Some(Room::take_over(capacity));
        }
        if let Some(room) = Room::try_take(capacity) {
            return Some(room);
        }
        let job = self.ptr();
        let _crowd = Crowd::enter(&job.pool().crowds, capacity.key()); // B1
        while self.accepts() {
            if let Some(taken) = Room::try_take(capacity) {
                self.pass_on(capacity);
                return Some(taken);
            }
            let wait = || {
                // Ordering: AcqRel; B2.
                capacity.taken.fetch_or(WAITED, Ordering::AcqRel);
                fence_after_rmw();
                capacity.is_full() && self.accepts()
            };
            // A task of another pool may have to wait for its permit now, and leaves the room to others meanwhile.
            waiting::wait_then(capacity.key(), None, wait, || self.pass_on(capacity));
        }
        None
    }

    fn pass_on(&self, capacity: &Capacity) {
        if fault("room-bit-cleared-for-all") {
            capacity.taken.fetch_and(!WAITED, Ordering::AcqRel);
            return;
        }
        let others = room().if_none_waits(capacity.key(), || {
            // Ordering: AcqRel; under the bucket's lock, as B2.
            capacity.taken.fetch_and(!WAITED, Ordering::AcqRel);
        });
        if others && !capacity.is_full() {
            room().wake_one(capacity.key());
        }
    }
}

/// The keys under which callers wait for room in jobs of one pool.
#[derive(Debug)]
pub struct Crowds(Mutex<Vec<usize>>);

impl Crowds {
    /// Nobody waits.
    pub fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// C2: has all that wait look again, for a job or the pool takes no more tasks.
    pub fn wake(&self) {
        let keys = self.lock().clone();
        for key in keys {
            room().wake(key);
        }
    }
}

/// An entry in the list of crowds, while one waits.
struct Crowd<'a> {
    crowds: &'a Crowds,
    key: usize,
}

impl<'a> Crowd<'a> {
    fn enter(crowds: &'a Crowds, key: usize) -> Self {
        crowds.lock().push(key);
        Self { crowds, key }
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        let mut keys = self.crowds.lock();
        if let Some(entry) = keys.iter().position(|key| *key == self.key) {
            keys.swap_remove(entry);
        }
    }
}
