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

use crate::pool::shared::PoolPtr;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Arc, Mutex, MutexGuard, fault, global, shrunk, thread};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

const BUCKETS: usize = shrunk(64, 1);

/// Those who wait for the keys of one bucket, by key and seat.
#[derive(Debug, Default)]
struct Bucket {
    sleepers: BTreeMap<(usize, u64), Sleeper>,
    /// The seat given out last; they go up, so that a key's sleepers are in the order of coming.
    last: u64,
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
    /// The pool inside one of whose tasks the thread waits: a drain counts those.
    inside: Option<PoolPtr>,
}

/// The room.
#[derive(Debug)]
pub struct Room {
    buckets: Vec<Mutex<Bucket>>,
}

global! {
    /// The one room of the process: a bucket is chosen by address.
    pub fn room() -> Room { Room::new() }
}

/// The seat of one who is the only one ever to wait for its key.
pub const ONLY: u64 = 0;

/// Where a wait with an end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for may have come; look.
    Look,
    /// The time is over.
    TimedOut,
}

impl Bucket {
    fn next_seat(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn first(&self, key: usize) -> Option<u64> {
        self.sleepers.range((key, 0)..=(key, u64::MAX)).next().map(|(&(_, seat), _)| seat)
    }

    fn take_first(&mut self, key: usize) -> Option<Sleeper> {
        let seat = self.first(key)?;
        self.sleepers.remove(&(key, seat))
    }
}

impl Room {
    fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Mutex::new(Bucket::default())).collect() }
    }

    /// Nothing under the lock runs foreign code: wakers are cloned, woken and dropped outside.
    fn lock(&self, key: usize) -> MutexGuard<'_, Bucket> {
        // Cells and records are multiples of eight bytes apart; the multiplier spreads them.
        let bucket = (key >> 3).wrapping_mul(0x9E37_79B9) / 64 % BUCKETS;
        self.buckets[bucket].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Parks the thread until `key` is woken, unless `wait` says that there is nothing to wait
    /// for; `wait` sets the bit and looks. Returns at once after a wake-up: the caller looks again.
    pub fn park(&self, key: usize, until: Option<Instant>, wait: impl FnOnce() -> bool) -> Waited {
        self.park_inside(None, key, until, wait)
    }

    /// Parks as [`park`](Self::park) does, inside a task of `pool`, which is told when the wait begins and when
    /// it is ended.
    pub fn park_inside(
        &self,
        inside: Option<PoolPtr>,
        key: usize,
        until: Option<Instant>,
        wait: impl FnOnce() -> bool,
    ) -> Waited {
        let thread = thread::current();
        let signal = Arc::new(Signal { given: AtomicBool::new(false), thread, inside });
        let seat = {
            let mut bucket = self.lock(key);
            if fault("room-looks-before-it-enters") {
                drop(bucket);
                if !wait() {
                    return Waited::Look;
                }
                bucket = self.lock(key);
            } else if !wait() {
                return Waited::Look;
            }
            let seat = bucket.next_seat();
            bucket.sleepers.insert((key, seat), Sleeper::Thread(signal.clone()));
            if let Some(pool) = inside {
                // Under the lock: whoever wakes this sleeper counts it off.
                pool.shared().sleep.start_waiting();
            }
            seat
        };
        if let Some(pool) = inside {
            pool.shared().end_stall();
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
        let left = self.lock(key).sleepers.remove(&(key, seat));
        match (left, inside) {
            (Some(_), Some(pool)) => pool.shared().sleep.stop_waiting(),
            (None, Some(_)) => {
                // Whoever wakes it is about to count it off, and has the pool by this thread.
                // Ordering: Acquire; as above.
                while !signal.given.load(Ordering::Acquire) {
                    thread::park();
                }
            }
            (_, None) => {}
        }
        Waited::TimedOut
    }

    /// Enters a waker for `key`, unless `wait` says that there is nothing to wait for. Who has a seat
    /// keeps it, and the waker there is replaced. The seat, if it was entered.
    pub fn enter(
        &self,
        key: usize,
        seat: Option<u64>,
        waker: &Waker,
        wait: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let waker = waker.clone();
        let mut bucket = self.lock(key);
        if !wait() {
            drop(bucket);
            return None;
        }
        let seat = seat.unwrap_or_else(|| bucket.next_seat());
        let replaced = bucket.sleepers.insert((key, seat), Sleeper::Task(waker));
        drop(bucket);
        drop(replaced);
        Some(seat)
    }

    /// Takes who has this seat out again.
    pub fn leave(&self, key: usize, seat: u64) {
        let left = self.lock(key).sleepers.remove(&(key, seat));
        drop(left);
    }

    /// Wakes the one that has waited for `key` the longest.
    pub fn wake_one(&self, key: usize) {
        let first = self.lock(key).take_first(key);
        if let Some(sleeper) = first {
            sleeper.wake();
        }
    }

    /// Runs `f` under the bucket's lock if nobody waits for `key`; tells whether somebody does.
    pub fn if_none_waits(&self, key: usize, f: impl FnOnce()) -> bool {
        let bucket = self.lock(key);
        let waits = bucket.first(key).is_some();
        if !waits {
            f();
        }
        waits
    }

    /// Wakes all that wait for `key`. The address need no longer be anything's.
    pub fn wake(&self, key: usize) {
        let mut woken = Vec::new();
        {
            let mut bucket = self.lock(key);
            while let Some(sleeper) = bucket.take_first(key) {
                woken.push(sleeper);
            }
        }
        for sleeper in woken {
            sleeper.wake();
        }
    }
}

impl Sleeper {
    fn wake(self) {
        match self {
            Self::Thread(signal) => {
                if let Some(pool) = signal.inside {
                    // Before the signal: the thread keeps the pool until it has seen that.
                    pool.shared().sleep.stop_waiting();
                }
                // Ordering: Release; pairs with the Acquire in `park`.
                signal.given.store(true, Ordering::Release);
                signal.thread.unpark();
            }
            Self::Task(waker) => {
                if let Err(payload) = crate::unwind::halt(|| waker.wake()) {
                    crate::unwind::drop_quietly(payload);
                }
            }
        }
    }
}
