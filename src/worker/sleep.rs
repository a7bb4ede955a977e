//! Who sleeps, who searches, and who wakes whom.
//!
//! A worker is *running*, *searching* (awake without a task) or *parked*. One packed word counts
//! them; a list under a lock names the parked ones.
//!
//! A push, or a permit handed on (both end in a task in a deque):
//! - P1: the task is in the injector or in a deque.
//! - P2: a full fence.
//! - P3: load the word. Somebody searches, or nobody is parked: done.
//! - P4: under the lock, look again, take a parked worker off the list, count it as searching,
//!   and unpark it.
//!
//! A worker that found nothing:
//! - S1: under the lock, put itself on the list, count itself parked and no longer searching.
//! - S2: a full fence.
//! - S3: look at the injector and at every deque. Something there: do P2 to P4 for it, which
//!   may well take this worker off the list again.
//! - S4: park until taken off the list.
//!
//! No task is left with a worker parked and nobody searching. If P3 saw a searcher, that searcher
//! either finds the task, or comes to S1 after P3; then S2 and P2 order P1 before S3, and S3 sees
//! the task. If P3 saw nobody parked, every worker is awake and comes to S1 likewise.
//!
//! A searcher that finds a task and was the last one looks once more for a further task (F1) and
//! does P4 for it: those who pushed meanwhile had relied on it.
//!
//! A drain that has come to rest with tasks that wait for held ones has *stalled*: then, too, what is held is
//! cancelled, and they go on.
//!
//! The drain ends in S1: the last worker to park, with no task on a lent place, sets `TERMINATED`
//! under the lock, fences, and looks once more. A pusher that has come too late sees the flag in P3
//! or P4 and cancels what it finds in the injector, its own task among it.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, fault, fence_after_rmw, full_fence, thread};

const SEARCHING: u64 = 1;
const PARKED: u64 = 1 << 16;
const AWAY: u64 = 1 << 32;
const WAITING: u64 = 1 << 46;
const AWAY_COUNT: u64 = (1 << 14) - 1;
/// The most tasks that may be away at a time: what the word counts.
pub const MOST_AWAY: usize = AWAY_COUNT as usize;
const DRAINING: u64 = 1 << 62;
const TERMINATED: u64 = 1 << 63;
const COUNT: u64 = (1 << 16) - 1;

/// The state of all workers of a pool.
#[derive(Debug)]
pub struct Sleep {
    word: AtomicU64,
    list: Mutex<Vec<usize>>,
    bunks: Box<[Bunk]>,
    /// Changed under the lock.
    workers: AtomicU64,
}

/// Where one worker sleeps.
#[derive(Debug)]
struct Bunk {
    woken: AtomicBool,
    thread: Mutex<Option<thread::Thread>>,
}

/// What a push, seen by the sleepers, must do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// Somebody will come, or nobody need.
    Fine,
    /// The workers have gone: what is in the injector will not be run.
    TooLate,
}

/// What a worker that went to sleep woke up for.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Search again.
    Search,
    /// The pool is drained.
    Leave,
}

impl Sleep {
    /// All workers searching.
    pub fn new(workers: usize) -> Self {
        Self {
            word: AtomicU64::new(workers as u64 * SEARCHING),
            list: Mutex::new(Vec::with_capacity(workers)),
            bunks: (0..workers)
                .map(|_| Bunk { woken: AtomicBool::new(false), thread: Mutex::new(None) })
                .collect(),
            workers: AtomicU64::new(workers as u64),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The thread that sits in a worker's place; it is who will park.
    pub fn sit_down(&self, index: usize) {
        *self.bunks[index].thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(thread::current());
    }

    /// P2 to P4: sees to it that somebody comes for the task that is now in a deque.
    #[inline]
    pub fn notify(&self) -> Notified {
        if !fault("wake-without-fence") {
            full_fence(); // P2
        }
        self.notify_fenced()
    }

    #[inline]
    fn notify_fenced(&self) -> Notified {
        // Ordering: Relaxed; the fence before it orders it behind the push. P3.
        let word = self.word.load(Ordering::Relaxed);
        if word & TERMINATED == 0 && (word & COUNT > 0 || (word / PARKED) & COUNT == 0) {
            return Notified::Fine;
        }
        self.wake_one()
    }

    #[cold]
    fn wake_one(&self) -> Notified {
        let mut list = self.lock(); // P4
        // Ordering: Relaxed; changes to what matters here are made under the lock.
        let word = self.word.load(Ordering::Relaxed);
        if word & TERMINATED != 0 {
            return Notified::TooLate;
        }
        if word & COUNT > 0 {
            return Notified::Fine;
        }
        let Some(index) = list.pop() else {
            return Notified::Fine;
        };
        // Ordering: AcqRel; pairs with the searchers' own changes.
        self.word.fetch_add(SEARCHING.wrapping_sub(PARKED), Ordering::AcqRel);
        drop(list);
        self.bunks[index].wake();
        Notified::Fine
    }

    /// A running worker starts to search.
    #[inline]
    pub fn start_searching(&self) {
        // Ordering: AcqRel; a count.
        self.word.fetch_add(SEARCHING, Ordering::AcqRel);
    }

    /// Whether at most one worker searches.
    #[inline]
    pub fn one_searches(&self) -> bool {
        // Ordering: Relaxed; only decides who lingers.
        self.word.load(Ordering::Relaxed) & COUNT <= 1
    }

    /// A searching worker found a task. True: it was the last one to search, and must look for
    /// a further task on behalf of those who relied on it (F1).
    #[inline]
    #[must_use]
    pub fn stop_searching(&self) -> bool {
        // Ordering: AcqRel; and a fence, for the look that follows must not be older.
        let before = self.word.fetch_sub(SEARCHING, Ordering::AcqRel);
        fence_after_rmw();
        before & COUNT == 1 && !fault("wake-not-passed-on")
    }

    /// S1 to S4, for a searching worker. `look` tells whether there is a task anywhere, `busy` whether a
    /// drain has anything left to wait for, `rest` is for a drain that may have stalled.
    pub fn park(
        &self,
        index: usize,
        look: impl Fn() -> bool,
        busy: impl Fn() -> bool,
        rest: impl Fn(),
    ) -> Woken {
        let bunk = &self.bunks[index];
        {
            let mut list = self.lock(); // S1
            // Ordering: Relaxed; this thread's own, under the lock that the waker takes.
            bunk.woken.store(false, Ordering::Relaxed);
            list.push(index);
            // Ordering: AcqRel; the fence that follows makes it visible to pushers in P3.
            let word = self.word.fetch_add(PARKED.wrapping_sub(SEARCHING), Ordering::AcqRel);
            self.end_drain_if_due(&mut list, word.wrapping_add(PARKED - SEARCHING), &busy);
        }
        if !fault("sleep-without-fence") {
            fence_after_rmw(); // S2
        }
        if !fault("no-last-look") && look() {
            let _ = self.notify_fenced(); // S3; a drain's end leaves nothing here
        }
        // Ordering: Relaxed; the drain itself looks once the flag is set.
        if self.word.load(Ordering::Relaxed) & DRAINING != 0 {
            rest();
        }
        // Ordering: Acquire; pairs with the Release in `wake`.
        while !bunk.woken.load(Ordering::Acquire) {
            thread::park(); // S4
        }
        // Ordering: Acquire; pairs with the change that terminated.
        if self.word.load(Ordering::Acquire) & TERMINATED == 0 {
            Woken::Search
        } else {
            Woken::Leave
        }
    }

    /// Under the lock: ends the drain if nothing is left that could run.
    fn end_drain_if_due(&self, list: &mut Vec<usize>, word: u64, busy: &impl Fn() -> bool) {
        // Ordering: Relaxed; changed under the lock.
        let all_parked = (word / PARKED) & COUNT == self.workers.load(Ordering::Relaxed);
        if word & DRAINING == 0 || word & TERMINATED != 0 || !all_parked || away(word) != 0 {
            return;
        }
        // Ordering: AcqRel, then a fence: a pusher sees the flag, or is seen here.
        self.word.fetch_or(TERMINATED, Ordering::AcqRel);
        fence_after_rmw();
        if !fault("drain-without-last-look") && busy() {
            // Somebody was in time: whoever saw the flag waits for the lock and looks again.
            self.word.fetch_and(!TERMINATED, Ordering::AcqRel);
            return;
        }
        let parked = list.len() as u64;
        // Ordering: AcqRel; all wake up, to leave.
        self.word
            .fetch_add((SEARCHING.wrapping_sub(PARKED)).wrapping_mul(parked), Ordering::AcqRel);
        for index in list.drain(..) {
            self.bunks[index].wake();
        }
    }

    /// So many workers will never come: their threads could not be started.
    pub fn give_up_workers(&self, missing: usize) {
        let _list = self.lock();
        // Ordering: Relaxed; changed under the lock.
        self.workers.fetch_sub(missing as u64, Ordering::Relaxed);
        // Ordering: AcqRel; as all changes of the counts.
        self.word.fetch_sub(missing as u64 * SEARCHING, Ordering::AcqRel);
    }

    /// Starts the drain: the workers leave once nothing can run any more.
    pub fn drain(&self, busy: impl Fn() -> bool) {
        let mut list = self.lock();
        // Ordering: AcqRel; under the lock, like all that decides about the end.
        let word = self.word.fetch_or(DRAINING, Ordering::AcqRel) | DRAINING;
        self.end_drain_if_due(&mut list, word, &busy);
    }

    /// Looks again whether the drain is at its end: what it waited for may have gone.
    pub fn reconsider_drain(&self, busy: impl Fn() -> bool) {
        let mut list = self.lock();
        // Ordering: Acquire; what decides about the end is changed under the lock.
        let word = self.word.load(Ordering::Acquire);
        self.end_drain_if_due(&mut list, word, &busy);
    }

    /// A task goes on without a worker's place, or a future is in flight: the drain waits for it.
    pub fn depart(&self) {
        // Ordering: AcqRel; a count that the drain reads under the lock.
        self.word.fetch_add(AWAY, Ordering::AcqRel);
    }

    /// Such a task has ended.
    pub fn arrive(&self, busy: impl Fn() -> bool) {
        // Ordering: AcqRel; as in `depart`.
        let word = self.word.fetch_sub(AWAY, Ordering::AcqRel) - AWAY;
        if word & DRAINING != 0 {
            self.reconsider_drain(busy);
        }
    }

    /// A task that is away waits from now on, and holds no permit.
    pub fn start_waiting(&self) {
        // Ordering: AcqRel; as in `depart`.
        self.word.fetch_add(WAITING, Ordering::AcqRel);
    }

    /// Such a task was woken: it may go on from now on, even if its thread has not come to it yet.
    pub fn stop_waiting(&self) {
        // Ordering: AcqRel; as in `depart`.
        self.word.fetch_sub(WAITING, Ordering::AcqRel);
    }

    /// Whether a drain has come to where nothing runs or is ready, and every task that is away waits. What is
    /// left then is held by a pause or a limit of 0.
    pub fn is_stalled(&self, look: impl Fn() -> bool) -> bool {
        let _list = self.lock();
        // Ordering: Acquire; what decides about the end is changed under the lock.
        let word = self.word.load(Ordering::Acquire);
        // Ordering: Relaxed; changed under the lock.
        let all_parked = (word / PARKED) & COUNT == self.workers.load(Ordering::Relaxed);
        let all_wait = away(word) == (word / WAITING) & AWAY_COUNT;
        word & DRAINING != 0 && word & TERMINATED == 0 && all_parked && all_wait && !look()
    }

    /// Whether the workers have gone or are about to.
    pub fn terminated(&self) -> bool {
        // Ordering: Acquire; pairs with the change that terminated.
        self.word.load(Ordering::Acquire) & TERMINATED != 0
    }

    /// How many workers are parked.
    pub fn parked(&self) -> usize {
        // Ordering: Relaxed; a figure for people.
        ((self.word.load(Ordering::Relaxed) / PARKED) & COUNT) as usize
    }
}

/// Tasks on threads that sit in no place.
const fn away(word: u64) -> u64 {
    (word / AWAY) & AWAY_COUNT
}

impl Bunk {
    fn wake(&self) {
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if fault("unpark-before-the-mark") {
            thread.iter().for_each(thread::Thread::unpark);
            return self.woken.store(true, Ordering::Release);
        }
        // Ordering: Release; pairs with the Acquire in `park`.
        self.woken.store(true, Ordering::Release);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }
}
