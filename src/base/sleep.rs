//! Parks a worker that finds no task, and wakes a worker when a task arrives.
//!
//! A worker is *running*, *searching* (awake, looking for a task) or *parked*. One packed word counts the searching
//! and the parked workers. A list under a lock holds the index of each parked worker.
//!
//! A thread that has made a task ready (a *notifier*):
//! - `wake-1`: the notifier puts the task into the injector or a deque.
//! - `wake-2`: the notifier executes a full fence.
//! - `wake-3`: the notifier loads the packed word. If the word counts a searching worker, or no parked worker, the notifier is
//!   done.
//! - `wake-4`: the notifier takes the lock of the list of parked workers, and checks the word again. Then it pops a worker from
//!   the list, counts that worker as searching, and unparks that worker.
//!
//! A searching worker that has found no task:
//! - `sleep-1`: under the lock of the list of parked workers, the worker adds itself to the list, and counts itself as parked
//!   instead of searching.
//! - `sleep-2`: the worker executes a full fence.
//! - `sleep-3`: the worker checks the injector and every deque. If a task is in one of them, the worker wakes a parked worker,
//!   as a thread that has made a task ready does (`wake-3`, `wake-4`). The woken worker might be this worker itself.
//! - `sleep-4`: the worker parks until a thread has popped it from the list (`wake-4`).
//!
//! Claim: a task never stays in a queue while a worker is parked and no worker is searching. The thread that has made the task
//! ready is its notifier.
//! - If the notifier sees a searching worker (`wake-3`), that worker finds the task, or counts itself as parked later
//!   (`sleep-1`). In the second case the two fences (`wake-2`, `sleep-2`) order the push before the worker's check (`sleep-3`).
//!   So the check sees the task.
//! - If the notifier sees no parked worker (`wake-3`), a worker that parks counts itself as parked later (`sleep-1`). By the
//!   two fences, the check of that worker (`sleep-3`) sees the task.
//!
//! `search-1`: when the last searching worker has found a task, it checks whether a queue has another task. If so, the worker
//! wakes another worker (`wake-4`). Without this check the other task could stay in its queue: its notifier might have woken no
//! worker, because the notifier saw this worker searching (`wake-3`).
//!
//! A drain ends when all workers are parked and nothing is outstanding (see [`Sleep::depart`]). Usually the worker that parks
//! last finds this state. The thread that finds it sets the flag `TERMINATED` under the lock of the list of parked workers, and
//! executes a full fence. Then the thread checks again that nothing is outstanding and that all queues are empty. If the check
//! fails, the thread clears `TERMINATED`.
//!
//! A thread that ends a drain might not see a task that another thread pushes at the same time. The pusher then sees
//! `TERMINATED` when it checks the word (`wake-3`, `wake-4`), and cancels all tasks in the injector, its own included.
//!
//! A drain also waits for each call that holds or cancels a job. If such a call begins only after `TERMINATED` was set, the
//! call waits for the list's lock (see [`Sleep::depart_in_time`]). Once the call has had this lock, `TERMINATED` says whether
//! the drain has ended.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, fence_after_rmw, full_fence, thread};

const SEARCHING: u64 = 1;
const PARKED: u64 = 1 << 16;
const AWAY: u64 = 1 << 32;
const AWAY_COUNT: u64 = (1 << 24) - 1;
/// The greatest number of spare workers of a pool. For each spare worker a task can be outstanding. The pool's sleep state is one
/// word with a field for the number of outstanding tasks, and this number must fit into that field.
pub const MOST_SPARES: usize = (1 << 14) - 1;
const DRAINING: u64 = 1 << 62;
const TERMINATED: u64 = 1 << 63;
const COUNT: u64 = (1 << 16) - 1;

/// Counts a pool's workers by state, and parks and wakes them.
#[derive(Debug)]
pub struct Sleep {
    /// The packed word: the counts of searching workers, of parked workers and of outstanding tasks, and the two flags of a
    /// drain.
    word: AtomicU64,
    /// The indices of the parked workers' seats.
    list: Mutex<Vec<usize>>,
    /// One parker for each worker, which parks and wakes that worker's thread.
    parkers: Box<[Parker]>,
    /// The number of workers. It changes only under the lock of `list`.
    workers: AtomicU64,
}

/// Parks and wakes the thread of one worker.
#[derive(Debug)]
struct Parker {
    /// Set before the thread is unparked, so that the thread can tell a wake-up from a spurious return of `park`.
    woken: AtomicBool,
    thread: Mutex<Option<thread::Thread>>,
}

/// What a thread that has called [`Sleep::notify`] for a ready task must do next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// The thread has nothing more to do: a worker that is awake will find the task.
    Fine,
    /// The workers have ended. The thread must cancel the tasks in the injector.
    TooLate,
}

/// What a worker must do after it was parked.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The worker must search for a task again.
    Search,
    /// The worker must end, because the drain is over.
    Leave,
}

impl Sleep {
    /// Makes the state of a new pool, in which every worker counts as searching.
    pub fn new(workers: usize) -> Self {
        Self {
            word: AtomicU64::new(workers as u64 * SEARCHING),
            list: Mutex::new(Vec::with_capacity(workers)),
            parkers: (0..workers)
                .map(|_| Parker { woken: AtomicBool::new(false), thread: Mutex::new(None) })
                .collect(),
            workers: AtomicU64::new(workers as u64),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Registers the calling thread as the owner of the seat with the index `index`. From then on a wake-up of that seat's
    /// worker unparks this thread.
    pub fn sit_down(&self, index: usize) {
        *self.parkers[index].thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(thread::current());
    }

    /// Wakes a parked worker if no worker is searching (`wake-2` to `wake-4`). Call this after a task was put into a queue.
    #[inline]
    pub fn notify(&self) -> Notified {
        full_fence(); // wake-2
        self.notify_fenced()
    }

    /// Does what [`notify`](Self::notify) does, for a caller that has already executed the full fence (`wake-2`).
    #[inline]
    fn notify_fenced(&self) -> Notified {
        // Ordering: Relaxed; the caller's fence orders this load after the push (wake-3).
        let word = self.word.load(Ordering::Relaxed);
        if word & TERMINATED == 0 && (word & COUNT > 0 || (word / PARKED) & COUNT == 0) {
            return Notified::Fine;
        }
        self.wake_one()
    }

    /// Wakes one parked worker. Does nothing if a worker has begun to search meanwhile.
    #[cold]
    fn wake_one(&self) -> Notified {
        let mut list = self.lock(); // wake-4
        // Ordering: Relaxed; the flag and the count of parked workers change under the lock.
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
        // Ordering: AcqRel; pairs with the changes that searching workers make.
        self.word.fetch_add(SEARCHING.wrapping_sub(PARKED), Ordering::AcqRel);
        drop(list);
        self.parkers[index].wake();
        Notified::Fine
    }

    /// Counts the calling worker as searching.
    #[inline]
    pub fn start_searching(&self) {
        // Ordering: AcqRel; pairs with `stop_searching` and with `wake_one`.
        self.word.fetch_add(SEARCHING, Ordering::AcqRel);
    }

    /// Returns true if at most one worker is searching.
    #[inline]
    pub fn one_searches(&self) -> bool {
        // Ordering: Relaxed; only decides whether a worker spins before it parks.
        self.word.load(Ordering::Relaxed) & COUNT <= 1
    }

    /// Stops counting the calling worker as searching. Call this when the worker has found a task.
    ///
    /// Returns true if no other worker is searching. In this case the caller must check all queues, and wake a worker if one of
    /// them has a task (`search-1`).
    #[inline]
    #[must_use]
    pub fn stop_searching(&self) -> bool {
        // Ordering: AcqRel, then a full fence: the caller's check of the queues comes after this change.
        let before = self.word.fetch_sub(SEARCHING, Ordering::AcqRel);
        fence_after_rmw();
        before & COUNT == 1
    }

    /// Parks a searching worker until a notifier wakes it (`sleep-1` to `sleep-4`).
    ///
    /// `index` is the index of the worker's seat. `look` must return true if a task is in any queue. `busy` must return true if
    /// a drain still has something to wait for.
    pub fn park(&self, index: usize, look: impl Fn() -> bool, busy: impl Fn() -> bool) -> Woken {
        let parker = &self.parkers[index];
        {
            let mut list = self.lock(); // sleep-1
            // Ordering: Relaxed; a notifier sets the flag only after it has taken this lock.
            parker.woken.store(false, Ordering::Relaxed);
            list.push(index);
            // Ordering: AcqRel; the fence below makes the change visible to notifiers in wake-3.
            let word = self.word.fetch_add(PARKED.wrapping_sub(SEARCHING), Ordering::AcqRel);
            self.end_drain_if_due(&mut list, word.wrapping_add(PARKED - SEARCHING), &busy);
        }
        fence_after_rmw(); // sleep-2
        if look() {
            let _ = self.notify_fenced(); // sleep-3; `TooLate` needs no action: at the end of a drain all queues are empty
        }
        // Ordering: Acquire; pairs with the Release in `wake`.
        while !parker.woken.load(Ordering::Acquire) {
            thread::park(); // sleep-4
        }
        // Ordering: Acquire; pairs with the change that set TERMINATED.
        if self.word.load(Ordering::Acquire) & TERMINATED == 0 {
            Woken::Search
        } else {
            Woken::Leave
        }
    }

    /// Ends the drain if every worker is parked and the drain need not wait for anything. `list` is the list of parked workers,
    /// whose lock the caller must hold. `word` is the present value of the packed word. `busy` must return true while a drain has
    /// something to wait for.
    fn end_drain_if_due(&self, list: &mut Vec<usize>, word: u64, busy: &impl Fn() -> bool) {
        // Ordering: Relaxed; changed under the lock, which the caller holds.
        let all_parked = (word / PARKED) & COUNT == self.workers.load(Ordering::Relaxed);
        if word & DRAINING == 0 || word & TERMINATED != 0 || !all_parked || away(word) != 0 {
            return;
        }
        // Ordering: AcqRel, then a full fence: a pusher sees the flag, or `busy` sees the pusher's task.
        let word = self.word.fetch_or(TERMINATED, Ordering::AcqRel);
        fence_after_rmw();
        if away(word) != 0 || busy() {
            // The drain must still wait, so this thread clears the flag. A thread that has seen the flag set waits for the
            // lock, and then reads the flag again.
            self.word.fetch_and(!TERMINATED, Ordering::AcqRel);
            return;
        }
        let parked = list.len() as u64;
        // Ordering: AcqRel; pairs with the load in `park`, by which each woken worker sees TERMINATED.
        self.word
            .fetch_add((SEARCHING.wrapping_sub(PARKED)).wrapping_mul(parked), Ordering::AcqRel);
        for index in list.drain(..) {
            self.parkers[index].wake();
        }
    }

    /// Subtracts `missing` from the number of workers, and from the number of searching workers. Call this for workers whose
    /// threads could not be started.
    pub fn give_up_workers(&self, missing: usize) {
        let _list = self.lock();
        // Ordering: Relaxed; changed under the lock.
        self.workers.fetch_sub(missing as u64, Ordering::Relaxed);
        // Ordering: AcqRel; pairs with the other changes of the word.
        self.word.fetch_sub(missing as u64 * SEARCHING, Ordering::AcqRel);
    }

    /// Starts the drain: the workers end as soon as no task is left to run. `busy` must return true while a drain has something
    /// to wait for.
    pub fn drain(&self, busy: impl Fn() -> bool) {
        let mut list = self.lock();
        // Ordering: AcqRel; the flag and the counts that end a drain change under the lock.
        let word = self.word.fetch_or(DRAINING, Ordering::AcqRel) | DRAINING;
        self.end_drain_if_due(&mut list, word, &busy);
    }

    /// Ends the drain if nothing is left to wait for. Call this when something that a drain waits for has ended. `busy` must
    /// return true while a drain has something to wait for.
    pub fn reconsider_drain(&self, busy: impl Fn() -> bool) {
        let mut list = self.lock();
        // Ordering: Acquire; the flag and the counts that end a drain change under the lock.
        let word = self.word.load(Ordering::Acquire);
        self.end_drain_if_due(&mut list, word, &busy);
    }

    /// Counts one more outstanding task or call: a drain must wait for each, although no seat runs it.
    ///
    /// A task is outstanding if its thread has lent its seat. A call is outstanding if it holds or cancels a job. Pending
    /// futures are not in this count: they are counted as flights.
    pub fn depart(&self) {
        // Ordering: AcqRel; pairs with the load under the lock that decides whether a drain ends.
        self.word.fetch_add(AWAY, Ordering::AcqRel);
    }

    /// Does what [`depart`](Self::depart) does, for a thread that might have no seat.
    ///
    /// A thread that checks whether the drain ends does so under the list's lock. In one change it sets `TERMINATED` and reads
    /// the count of outstanding tasks and calls. If the caller of this function finds `TERMINATED` clear, each later check sees
    /// the caller counted. If the caller finds `TERMINATED` set, a check might have missed the caller. So the caller then waits
    /// for the list's lock, until that check is over.
    pub fn depart_in_time(&self) {
        // Ordering: AcqRel; pairs with the load that decides whether a drain ends, and with the change that sets TERMINATED.
        if self.word.fetch_add(AWAY, Ordering::AcqRel) & TERMINATED != 0 {
            drop(self.lock());
        }
    }

    /// Subtracts one outstanding task or call. Then ends the drain if the drain need not wait for anything. `busy` must
    /// return true while a drain has something to wait for.
    pub fn arrive(&self, busy: impl Fn() -> bool) {
        // Ordering: AcqRel; pairs with the load under the lock that decides whether a drain ends.
        let word = self.word.fetch_sub(AWAY, Ordering::AcqRel) - AWAY;
        if word & DRAINING != 0 {
            self.reconsider_drain(busy);
        }
    }

    /// Returns `TooLate` if the workers have ended or might be ending, because the drain is over. Otherwise returns `Fine`.
    #[inline]
    pub fn seen(&self) -> Notified {
        // Ordering: Acquire; pairs with the change that set TERMINATED.
        let terminated = self.word.load(Ordering::Acquire) & TERMINATED != 0;
        if terminated { Notified::TooLate } else { Notified::Fine }
    }

    /// Returns true if the workers have ended or are ending, because the drain is over. Waits for the list's lock, because a
    /// thread that holds this lock can set `TERMINATED` and clear it again.
    pub fn workers_left(&self) -> bool {
        let _list = self.lock();
        self.seen() == Notified::TooLate
    }

    /// Returns true if no task or call is outstanding. Call this only while no other thread uses the pool.
    pub fn none_away(&self) -> bool {
        // Ordering: Relaxed; no other thread uses the word.
        away(self.word.load(Ordering::Relaxed)) == 0
    }

    /// Returns the number of workers that are searching or parked.
    pub fn idle(&self) -> usize {
        // Ordering: Relaxed; the number is only a figure for statistics.
        let word = self.word.load(Ordering::Relaxed);
        (word & COUNT) as usize + ((word / PARKED) & COUNT) as usize
    }

    /// Returns the number of outstanding tasks and calls.
    pub fn away(&self) -> usize {
        // Ordering: Relaxed; the number is only a figure for statistics.
        away(self.word.load(Ordering::Relaxed)) as usize
    }

    /// Returns the number of parked workers.
    pub fn parked(&self) -> usize {
        // Ordering: Relaxed; the number is only a figure for statistics.
        ((self.word.load(Ordering::Relaxed) / PARKED) & COUNT) as usize
    }
}

/// Returns the number of outstanding tasks and calls that this value of the word counts.
const fn away(word: u64) -> u64 {
    (word / AWAY) & AWAY_COUNT
}

impl Parker {
    /// Sets `woken`, then unparks the worker's thread.
    fn wake(&self) {
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        // Ordering: Release; pairs with the Acquire in `park`.
        self.woken.store(true, Ordering::Release);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }
}
