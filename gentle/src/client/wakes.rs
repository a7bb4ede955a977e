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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread::{self, Thread};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_task_is_woken_only_while_it_waits() {
        let (wakes, count) = (Arc::<Wakes>::default(), Arc::<Count>::default());
        let (connection, task) = (Waker::from(Arc::clone(&wakes)), Waker::from(Arc::clone(&count)));
        let woken = || count.0.load(Ordering::SeqCst);
        wakes.keep_from(&task);
        wakes.clear();
        connection.wake_by_ref();
        assert_eq!((wakes.is_woken(), woken()), (true, 0));
        // The wake-up came before the task waits, and is not lost.
        wakes.pass_on();
        assert_eq!(woken(), 1);
        connection.wake_by_ref();
        assert_eq!(woken(), 2);
        wakes.keep_from(&task);
        wakes.clear();
        assert_eq!((wakes.is_woken(), woken()), (false, 2));
        wakes.pass_on();
        assert_eq!(woken(), 2);
    }

    #[test]
    fn another_task_is_woken_in_place_of_the_one_before() {
        let (wakes, first, second) =
            (Arc::<Wakes>::default(), Arc::<Count>::default(), Arc::<Count>::default());
        wakes.keep_from(&Waker::from(Arc::clone(&first)));
        wakes.keep_from(&Waker::from(Arc::clone(&second)));
        wakes.pass_on();
        Waker::from(wakes).wake();
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn no_wake_up_of_another_thread_is_lost() {
        const ROUNDS: usize = 20_000;
        let (wakes, sent) = (Arc::<Wakes>::default(), Arc::<AtomicUsize>::default());
        let (connection, seen) = (Waker::from(Arc::clone(&wakes)), Arc::clone(&sent));
        let task = Waker::from(Arc::new(Unpark(thread::current())));
        let taken = Arc::<AtomicUsize>::default();
        let read = Arc::clone(&taken);
        let other = thread::spawn(move || {
            for round in 1..=ROUNDS {
                seen.store(round, Ordering::Relaxed);
                connection.wake_by_ref();
                while read.load(Ordering::Relaxed) < round {
                    thread::yield_now();
                }
            }
        });
        for round in 1..=ROUNDS {
            loop {
                wakes.keep_from(&task);
                wakes.clear();
                if sent.load(Ordering::Relaxed) == round {
                    break;
                }
                wakes.pass_on();
                thread::park();
            }
            taken.store(round, Ordering::Relaxed);
        }
        other.join().unwrap();
    }
}
