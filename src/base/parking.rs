//! The parking lot: queues of waiters (threads and wakers), by the address of what they wait for.
//!
//! An object that threads or futures can wait for has one bit, *waited*. The thread that ends the wait uses the parking lot
//! only if that bit is set. So an object without waiters costs nothing.
//!
//! A waiter:
//! - `park-1`: the waiter locks the bucket of its key.
//! - `park-2`: the waiter sets the object's *waited* bit, and checks the condition that it waits for. If the condition holds,
//!   the waiter unlocks and returns.
//! - `park-3`: the waiter adds its entry to the bucket and unlocks.
//! - `park-4`: a waiting thread parks. A future returns `Pending`.
//!
//! The thread that ends a wait (the *waking thread*):
//! - `unpark-1`: the waking thread makes the condition hold and reads the *waited* bit, in one read-modify-write.
//! - `unpark-2`: if the bit was set, the waking thread locks the bucket, takes the entries of the key out, unlocks, and wakes
//!   the waiters of these entries.
//!
//! No wake-up is lost. If a waking thread makes the condition hold before the waiter checks it, the waiter does not park
//! (`park-2`). Otherwise the waking thread sees the *waited* bit (`unpark-1`), and waits for the bucket's lock (`unpark-2`).
//! The waiter holds this lock from its check until it has added its entry (`park-1` to `park-3`). So the waking thread finds
//! the entry.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Arc, Mutex, MutexGuard, global, shrunk, thread};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

const BUCKETS: usize = shrunk(64, 1);

/// A part of the parking lot: the waiters whose keys hash to this bucket.
#[derive(Debug, Default)]
struct Bucket {
    /// The waiters, by key and entry number. A later entry has a greater number, so the waiters of a key are in the order of
    /// their arrival.
    waiters: BTreeMap<(usize, u64), Waiter>,
    /// The greatest entry number so far.
    last: u64,
}

/// A thread or a future that waits in the parking lot.
#[derive(Debug)]
enum Waiter {
    Thread(Arc<Signal>),
    Future(Waker),
}

/// The signal that wakes one parked thread.
#[derive(Debug)]
struct Signal {
    /// Set before the thread is unparked, so that the thread can tell a wake-up from a spurious return of `park`.
    given: AtomicBool,
    thread: thread::Thread,
}

/// The parking lot: waiters by key, spread over buckets with a lock each.
#[derive(Debug)]
pub struct ParkingLot {
    buckets: Vec<Mutex<Bucket>>,
}

global! {
    /// Returns the one parking lot of the process.
    pub fn parking_lot() -> ParkingLot { ParkingLot::new() }
}

/// The entry number for a key that never has more than one waiter.
pub const ONLY: u64 = 0;

/// Why [`ParkingLot::park`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The thread was woken, or did not park. The caller must check its condition again.
    Look,
    /// The time `until`, which the caller of `park` has given, has passed.
    TimedOut,
}

impl Bucket {
    /// Returns a new entry number, which is greater than all earlier ones.
    fn next_entry(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Returns the entry number of the waiter that has waited for `key` the longest.
    fn first(&self, key: usize) -> Option<u64> {
        self.waiters.range((key, 0)..=(key, u64::MAX)).next().map(|(&(_, entry), _)| entry)
    }

    /// Removes the waiter that has waited for `key` the longest.
    fn take_first(&mut self, key: usize) -> Option<Waiter> {
        let entry = self.first(key)?;
        self.waiters.remove(&(key, entry))
    }
}

impl ParkingLot {
    fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Mutex::new(Bucket::default())).collect() }
    }

    /// Locks the bucket of `key`.
    ///
    /// While the caller holds the bucket's lock, it must not clone, wake or drop a waker, because wakers run user code.
    fn lock(&self, key: usize) -> MutexGuard<'_, Bucket> {
        // Keys are multiples of eight, so the shift drops three bits that are always 0. The multiplication spreads the keys
        // over the buckets.
        let bucket = (key >> 3).wrapping_mul(0x9E37_79B9) / 64 % BUCKETS;
        self.buckets[bucket].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Parks the calling thread until another thread wakes the waiters of `key`, or until the time `until` has passed.
    ///
    /// `wait` runs under the lock of the bucket of `key`. `wait` must set the *waited* bit of the object at `key`. Then `wait`
    /// must return true if the condition that the thread waits for does not hold (`park-2`). If `wait` returns false, the
    /// thread does not park.
    pub fn park(&self, key: usize, until: Option<Instant>, wait: impl FnOnce() -> bool) -> Waited {
        let thread = thread::current();
        let signal = Arc::new(Signal { given: AtomicBool::new(false), thread });
        let entry = {
            let mut bucket = self.lock(key);
            if !wait() {
                return Waited::Look;
            }
            let entry = bucket.next_entry();
            bucket.waiters.insert((key, entry), Waiter::Thread(signal.clone()));
            entry
        };
        loop {
            // Ordering: Acquire; pairs with the Release in `Waiter::wake`.
            if signal.given.load(Ordering::Acquire) {
                return Waited::Look;
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => break,
                Some(left) => thread::park_timeout(left),
            }
        }
        let left = self.lock(key).waiters.remove(&(key, entry));
        drop(left);
        Waited::TimedOut
    }

    /// Registers a waker for `key` and returns its entry number, or `None` if `wait` returns false.
    ///
    /// `wait` must set the *waited* bit, and then return true if the future must wait, as in [`park`](Self::park). If `entry`
    /// is the number from an earlier call, the new waker replaces the waker of that entry. The entry keeps its place in the
    /// queue.
    pub fn enter(
        &self,
        key: usize,
        entry: Option<u64>,
        waker: &Waker,
        wait: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let waker = waker.clone();
        let mut bucket = self.lock(key);
        if !wait() {
            drop(bucket);
            return None;
        }
        let entry = entry.unwrap_or_else(|| bucket.next_entry());
        let replaced = bucket.waiters.insert((key, entry), Waiter::Future(waker));
        drop(bucket);
        drop(replaced);
        Some(entry)
    }

    /// Returns true if no key has a waiter. Only models call this function.
    #[cfg(any(tollgate_loom, tollgate_shuttle))]
    pub fn is_empty(&self) -> bool {
        self.buckets
            .iter()
            .map(|bucket| bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
            .all(|bucket| bucket.waiters.is_empty())
    }

    /// Returns true if `key` has a waiter. Builds that check for leftover waiters call this function when a job or a task is
    /// freed.
    pub fn has_waiter(&self, key: usize) -> bool {
        self.lock(key).first(key).is_some()
    }

    /// Removes the waiter of `key` with the entry number `entry`. Does nothing if that waiter was woken before.
    pub fn leave(&self, key: usize, entry: u64) {
        let left = self.lock(key).waiters.remove(&(key, entry));
        drop(left);
    }

    /// Wakes the waiter that has waited for `key` the longest.
    pub fn wake_one(&self, key: usize) {
        let first = self.lock(key).take_first(key);
        if let Some(waiter) = first {
            waiter.wake();
        }
    }

    /// Returns true if `key` has a waiter. If `key` has none, runs `f` under the bucket's lock, and returns false.
    ///
    /// `f` typically clears the *waited* bit of the object at `key`. Because of the bucket's lock no new waiter sets the bit at
    /// the same time.
    pub fn if_none_waits(&self, key: usize, f: impl FnOnce()) -> bool {
        let bucket = self.lock(key);
        let waits = bucket.first(key).is_some();
        if !waits {
            f();
        }
        waits
    }

    /// Wakes all waiters of `key`. The object at that address might already be freed, because the parking lot only compares the
    /// address.
    pub fn wake(&self, key: usize) {
        let mut woken = Vec::new();
        {
            let mut bucket = self.lock(key);
            while let Some(waiter) = bucket.take_first(key) {
                woken.push(waiter);
            }
        }
        for waiter in woken {
            waiter.wake();
        }
    }
}

impl Waiter {
    /// Unparks the waiting thread, or wakes the future's waker. Catches and drops a panic of the waker.
    fn wake(self) {
        match self {
            Self::Thread(signal) => {
                // Ordering: Release; pairs with the Acquire in `park`.
                signal.given.store(true, Ordering::Release);
                signal.thread.unpark();
            }
            Self::Future(waker) => {
                if let Err(payload) = crate::unwind::halt(|| waker.wake()) {
                    crate::unwind::drop_quietly(payload);
                }
            }
        }
    }
}
