//! The waiting room: where threads and wakers wait for a key, the address of what they wait for.
//!
//! Nobody pays for it who does not wait: what is waited for keeps one bit, "somebody waits", and
//! whoever ends the wait looks here only if the bit is set.
//!
//! - W1: the waiter takes the bucket's lock. W2: it sets the bit and looks; done: it leaves.
//!   W3: it enters itself and lets the lock go. W4: it parks.
//! - E1: the ender makes it done and reads the bit, in one read-modify-write. E2: if the bit was
//!   set, it takes the lock and wakes all that are entered.
//!
//! No wake-up is lost: either E1 comes before W2 and W2 sees it done; or W2 comes before E1, E1
//! sees the bit, and E2 comes after W3, for the lock is held from W1 to W3.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, global, shrunk, thread};
use std::task::Waker;
use std::time::{Duration, Instant};

const BUCKETS: usize = shrunk(64, 1);

#[derive(Debug)]
struct Entry {
    key: usize,
    sleeper: Sleeper,
}

#[derive(Debug)]
enum Sleeper {
    Thread(Arc<Signal>),
    Task(Waker),
}

#[derive(Debug)]
struct Signal {
    given: AtomicBool,
    thread: thread::Thread,
}

/// The room.
#[derive(Debug)]
pub struct Room {
    buckets: Vec<Mutex<Vec<Entry>>>,
}

global! {
    /// The one room of the process: a bucket is chosen by address.
    pub fn room() -> Room { Room::new() }
}

/// Where a wait with an end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for may have come; look.
    Look,
    /// The time is over.
    TimedOut,
}

impl Room {
    fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Mutex::new(Vec::new())).collect() }
    }

    fn bucket(&self, key: usize) -> &Mutex<Vec<Entry>> {
        // Cells and records are multiples of eight bytes apart; the multiplier spreads them.
        &self.buckets[(key >> 3).wrapping_mul(0x9E37_79B9) / 64 % BUCKETS]
    }

    /// Parks the thread until `key` is woken, unless `wait` says that there is nothing to wait
    /// for; `wait` sets the bit and looks. Returns at once after a wake-up: the caller looks again.
    pub fn park(&self, key: usize, until: Option<Instant>, wait: impl FnOnce() -> bool) -> Waited {
        let signal = Arc::new(Signal { given: AtomicBool::new(false), thread: thread::current() });
        {
            let mut bucket = lock(self.bucket(key));
            if !wait() {
                return Waited::Look;
            }
            bucket.push(Entry { key, sleeper: Sleeper::Thread(signal.clone()) });
        }
        loop {
            // Ordering: Acquire; pairs with the Release in `wake`.
            if signal.given.load(Ordering::Acquire) {
                return Waited::Look;
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => break,
                Some(left) => thread::park_timeout(left),
            }
        }
        let mut bucket = lock(self.bucket(key));
        bucket.retain(|entry| {
            !matches!(&entry.sleeper, Sleeper::Thread(other) if Arc::ptr_eq(other, &signal))
        });
        Waited::TimedOut
    }

    /// Enters a waker for `key`, unless `wait` says that there is nothing to wait for; one that
    /// would wake the same task is replaced. Tells whether it was entered.
    pub fn enter(&self, key: usize, waker: &Waker, wait: impl FnOnce() -> bool) -> bool {
        let mut bucket = lock(self.bucket(key));
        if !wait() {
            return false;
        }
        let known = bucket.iter().any(|entry| {
            entry.key == key
                && matches!(&entry.sleeper, Sleeper::Task(other) if other.will_wake(waker))
        });
        if !known {
            bucket.push(Entry { key, sleeper: Sleeper::Task(waker.clone()) });
        }
        true
    }

    /// Takes a waker of `key` out again.
    pub fn leave(&self, key: usize, waker: &Waker) {
        lock(self.bucket(key)).retain(|entry| {
            entry.key != key
                || !matches!(&entry.sleeper, Sleeper::Task(other) if other.will_wake(waker))
        });
    }

    /// Wakes the one that has waited for `key` the longest.
    pub fn wake_one(&self, key: usize) {
        let mut bucket = lock(self.bucket(key));
        let Some(first) = bucket.iter().position(|entry| entry.key == key) else { return };
        let entry = bucket.remove(first);
        drop(bucket);
        entry.sleeper.wake();
    }

    /// Runs `f` under the bucket's lock if nobody waits for `key`; tells whether somebody does.
    pub fn if_none_waits(&self, key: usize, f: impl FnOnce()) -> bool {
        let bucket = lock(self.bucket(key));
        let waits = bucket.iter().any(|entry| entry.key == key);
        if !waits {
            f();
        }
        waits
    }

    /// Wakes all that wait for `key`. The address need no longer be anything's.
    pub fn wake(&self, key: usize) {
        let woken: Vec<Entry> = {
            let mut bucket = lock(self.bucket(key));
            bucket.extract_if(.., |entry| entry.key == key).collect()
        };
        for entry in woken {
            entry.sleeper.wake();
        }
    }
}

impl Sleeper {
    fn wake(self) {
        match self {
            Self::Thread(signal) => {
                // Ordering: Release; pairs with the Acquire in `park`.
                signal.given.store(true, Ordering::Release);
                signal.thread.unpark();
            }
            Self::Task(waker) => drop(crate::unwind::halt(|| waker.wake())),
        }
    }
}

fn lock(bucket: &Mutex<Vec<Entry>>) -> crate::sync::MutexGuard<'_, Vec<Entry>> {
    // Nothing under the lock runs foreign code but `will_wake` and `clone` of a waker; if one
    // of them panics the list is still whole.
    bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
