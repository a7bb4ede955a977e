//! The wake-ups of a connection.
//!
//! A request and its connection are polled by one task, in turn, so most wake-ups ask for a poll that is about to come anyway.
//! Passed on, each of them would make the runtime poll the task once more, for nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

/// Keeps the wake-ups of a connection from the task that polls it, except while the task waits.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// Whether the connection was woken since it was polled.
    woken: AtomicBool,
    /// Whether a task waits for the next wake-up.
    waits: AtomicBool,
    /// The task that waits, or waited last.
    task: Mutex<Option<Waker>>,
}

impl Wakes {
    /// Keeps wake-ups from `task`, which polls the connection from now on.
    pub(crate) fn keep_from(&self, task: &Waker) {
        // Ordering: Relaxed; a wake-up that still sees the flag is passed on for nothing.
        self.waits.store(false, Ordering::Relaxed);
        let mut known = self.task();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// Forgets wake-ups, because the connection is polled next.
    pub(crate) fn clear(&self) {
        // Ordering: SeqCst; a waker's store before this one comes before the poll, too.
        self.woken.swap(false, Ordering::SeqCst);
    }

    /// Returns true if the connection was woken since it was polled.
    pub(crate) fn is_woken(&self) -> bool {
        // Ordering: SeqCst, with the stores of `wake_by_ref`.
        self.woken.load(Ordering::SeqCst)
    }

    /// Passes wake-ups on from now on, and one that has come already: the task is about to wait.
    pub(crate) fn pass_on(&self) {
        // Ordering: SeqCst, as in `wake_by_ref`: at least one of the two threads sees what the other one has stored.
        self.waits.store(true, Ordering::SeqCst);
        if self.is_woken() {
            self.wake_task();
        }
    }

    fn wake_task(&self) {
        if let Some(task) = &*self.task() {
            task.wake_by_ref();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().expect("nothing panics under this lock")
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Ordering: SeqCst, as in `pass_on`.
        self.woken.store(true, Ordering::SeqCst);
        if self.waits.load(Ordering::SeqCst) {
            self.wake_task();
        }
    }
}
