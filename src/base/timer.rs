//! The timer of a pool: the entries that wait for a time, in the order of their times.
//!
//! To *arm* an entry is to add it to the timer. The entry is taken out when its time has come, or when it is cancelled. Each
//! operation takes O(log n) under one lock. This module knows neither jobs nor tasks: the pool decides what to do with an entry
//! whose time has come.
//!
//! The first entry starts the timer's thread, which sleeps until the earliest time of an entry. The thread ends when the timer
//! has been empty for [`KEPT`], or is closed. If a test moves the timer's clock, the timer has no thread.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Condvar, Mutex, MutexGuard, thread, thread_static, wait_timeout};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the thread of an empty timer waits for a further entry before it ends.
const KEPT: Duration = Duration::from_secs(1);

thread_static! {
    /// On a timer's thread, the function that hands the timer to another thread, and returns false if that failed. `None` on
    /// all other threads.
    static HAND_OVER: Cell<Option<Box<dyn Fn() -> bool>>> = Cell::new(None);
}

/// Notes that this thread serves a timer. [`end_service`] calls `hand_over`, which must hand the timer to another thread, and
/// return false if that failed.
pub fn begin_service(hand_over: impl Fn() -> bool + 'static) {
    HAND_OVER.with(|timer| timer.set(Some(Box::new(hand_over))));
}

/// Returns true if this thread serves a timer.
#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
pub fn is_in_service() -> bool {
    HAND_OVER.with(|timer| {
        let hand_over = timer.take();
        let serves = hand_over.is_some();
        timer.set(hand_over);
        serves
    })
}

/// If this thread serves a timer, hands the timer to another thread. A thread that runs no task must call this function before it
/// waits: it might be a timer's thread, which also runs user code, such as a waker. If that code waits for a later entry of the
/// same timer, only another thread can fire the entry meanwhile.
pub fn end_service() {
    HAND_OVER.with(|timer| {
        if let Some(hand_over) = timer.take()
            && !hand_over()
        {
            timer.set(Some(hand_over));
        }
    });
}

/// The key of an entry: its time, and a number that no other entry of the timer has.
pub type Key = (Instant, u64);

/// Entries of type `T`, in the order of their times.
#[derive(Debug)]
pub struct Timer<T> {
    state: Mutex<State<T>>,
    /// The number of keys made so far.
    keys: AtomicU64,
    /// Notified when the timer's thread must read the state again.
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    entries: BTreeMap<Key, T>,
    /// True while a thread serves the timer: it waits for the earliest time, or fires an entry.
    has_thread: bool,
    /// The thread that was started last, which might have ended.
    thread: Option<thread::JoinHandle<()>>,
    /// True after the pool has ended, or has begun to drop its tasks. From then on no entry can be armed.
    closed: bool,
}

/// Why an entry could not be armed.
#[derive(Debug)]
pub enum NotArmed {
    /// The timer is closed, because the pool has ended or drops its tasks.
    Closed,
    /// The platform could not start the timer's thread.
    NoThread(std::io::Error),
}

impl<T> Timer<T> {
    /// Makes an empty timer.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                entries: BTreeMap::new(),
                has_thread: false,
                thread: None,
                closed: false,
            }),
            keys: AtomicU64::new(0),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the key of an entry for the time `when`. If two entries have the same time, the timer first takes the entry whose
    /// key was made first.
    pub fn key(&self, when: Instant) -> Key {
        // Ordering: Relaxed; a figure, and no two calls get the same one.
        (when, self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds an entry under a key that [`key`](Self::key) has made. If the timer needs a thread and has none, calls `start` to
    /// start one.
    ///
    /// `start` must start the timer's thread. It is called under the timer's lock, so it must run no user code. Pass `None` if
    /// the timer needs no thread.
    ///
    /// # Errors
    /// Returns an error if the timer is closed, or the thread could not be started. Then no entry was added.
    pub fn arm(
        &self,
        key: Key,
        entry: T,
        start: Option<impl FnOnce() -> std::io::Result<thread::JoinHandle<()>>>,
    ) -> Result<(), NotArmed> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotArmed::Closed);
        }
        if let Some(start) = start
            && !state.has_thread
        {
            state.thread = Some(start().map_err(NotArmed::NoThread)?);
            state.has_thread = true;
        }
        state.entries.insert(key, entry);
        let is_first = state.entries.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Makes a new thread serve the timer instead of the calling thread. If no entry is left or the timer is closed, starts no
    /// thread, and no thread serves the timer from then on. Returns false if the new thread could not be started: then the
    /// calling thread must keep serving the timer. Otherwise returns true.
    ///
    /// `start` must start the new thread of the timer. It is called under the timer's lock, so it must run no user code.
    pub fn change_thread(
        &self,
        start: impl FnOnce() -> std::io::Result<thread::JoinHandle<()>>,
    ) -> bool {
        let mut state = self.lock();
        if state.closed || state.entries.is_empty() {
            state.has_thread = false;
            return true;
        }
        let started = start();
        let is_started = started.is_ok();
        if let Ok(thread) = started {
            state.thread = Some(thread);
        }
        is_started
    }

    /// Removes and returns the entry with this key. Returns `None` if another call has taken the entry out.
    pub fn cancel(&self, key: Key) -> Option<T> {
        let mut state = self.lock();
        let entry = state.entries.remove(&key);
        let is_empty = state.entries.is_empty();
        drop(state);
        if is_empty && entry.is_some() {
            // The timer's thread waits for the time of the cancelled entry. Now the thread must wait for a further entry, and
            // end if none comes.
            self.changed.notify_one();
        }
        entry
    }

    /// Returns a copy of the entry with this key, if it is armed.
    pub fn get(&self, key: Key) -> Option<T>
    where
        T: Copy,
    {
        self.lock().entries.get(&key).copied()
    }

    /// Takes out the entry with the earliest time, if that time is `now` or before.
    pub fn take_due(&self, now: Instant) -> Option<(Key, T)> {
        let mut state = self.lock();
        let due = state.entries.first_entry().filter(|entry| entry.key().0 <= now);
        due.map(|entry| entry.remove_entry())
    }

    /// Returns true if `which` returns true for any entry. `which` runs under the timer's lock.
    pub fn any(&self, which: impl FnMut(&T) -> bool) -> bool {
        self.lock().entries.values().any(which)
    }

    /// Returns true if no entry is armed.
    pub fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// Waits until the earliest time of an entry has come, and returns true. Returns false if the calling thread, which serves
    /// the timer, must end.
    pub fn wait_until_due(&self, now: impl Fn() -> Instant) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                break;
            }
            let first = state.entries.first_key_value().map(|((when, _), _)| *when);
            let most = match first {
                Some(when) => when.saturating_duration_since(now()),
                None => KEPT,
            };
            if most.is_zero() {
                return true;
            }
            let (next, timed_out) = wait_timeout(&self.changed, &self.state, state, most);
            state = next;
            if timed_out && first.is_none() && state.entries.is_empty() {
                break;
            }
        }
        state.has_thread = false;
        false
    }

    /// Closes the timer, and returns all its entries. The timer's thread then ends.
    pub fn close(&self) -> BTreeMap<Key, T> {
        let mut state = self.lock();
        state.closed = true;
        let entries = std::mem::take(&mut state.entries);
        drop(state);
        self.changed.notify_one();
        entries
    }
}

#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
impl<T> Timer<T> {
    /// Waits until the timer's thread has ended. The timer must be closed. If the calling thread is the timer's thread, does
    /// nothing.
    pub fn join(&self) {
        let thread = self.lock().thread.take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // The result needs no check, because no panic ends the timer's thread.
            let _ = thread.join();
        }
    }
}

#[cfg(any(tollgate_loom, tollgate_shuttle))]
impl<T> Timer<T> {
    /// Does nothing: in a model the timer has no thread.
    pub fn join(&self) {
        debug_assert!(self.lock().thread.is_none(), "a model plays the timer's thread");
    }
}
