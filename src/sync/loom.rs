//! Models: loom's types, and stand-ins for the crossbeam parts that loom cannot see into.

pub use loom::hint::spin_loop;
pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use loom::thread_local;

/// Atomic integers, pointers and fences.
pub mod atomic {
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// Threads: start, park, yield.
pub mod thread {
    pub use loom::thread::{Builder, JoinHandle, Thread, current, park, yield_now};

    /// loom has no time: waits without an end.
    pub fn park_timeout(_: std::time::Duration) {
        park();
    }
}

pub use loom::cell::UnsafeCell;

/// A full fence for a thread whose last atomic access was a read-modify-write.
pub fn fence_after_rmw() {
    atomic::fence(atomic::Ordering::SeqCst);
}

/// Whether the named fault is seeded in this process, by `TOLLGATE_FAULT`.
pub fn fault(name: &str) -> bool {
    static SEEDED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOLLGATE_FAULT").ok());
    SEEDED.as_deref() == Some(name)
}

/// A static that is made at its first use; under loom, anew in each iteration.
macro_rules! global {
    ($(#[$doc:meta])* $vis:vis fn $name:ident() -> $ty:ty { $init:expr }) => {
        $(#[$doc])*
        $vis fn $name() -> &'static $ty {
            loom::lazy_static! { static ref CELL: $ty = $init; }
            &CELL
        }
    };
}
pub(crate) use global;

/// The deque's stand-in: contents under a mutex, emptiness on a relaxed atomic of its own, so that
/// looking at it synchronises no more than the real one does.
pub mod deque {
    use super::atomic::{AtomicUsize, Ordering};
    use super::{Arc, Mutex};
    use std::collections::VecDeque;

    /// What a steal came to.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Steal<T> {
        /// Nothing was there.
        Empty,
        /// The oldest element.
        Success(T),
        /// Another thread was faster; try again.
        Retry,
    }

    #[derive(Debug)]
    struct Queue<T> {
        items: Mutex<VecDeque<T>>,
        len: AtomicUsize,
    }

    impl<T> Queue<T> {
        fn new() -> Self {
            Self { items: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0) }
        }

        fn with<R>(&self, f: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
            let mut items = self.items.lock().unwrap();
            let out = f(&mut items);
            // Ordering: Relaxed on purpose; the fences of the callers must carry it.
            self.len.store(items.len(), Ordering::Relaxed);
            out
        }

        fn len(&self) -> usize {
            // Ordering: as in `with`.
            self.len.load(Ordering::Relaxed)
        }

        fn steal(&self) -> Steal<T> {
            self.with(|items| items.pop_front().map_or(Steal::Empty, Steal::Success))
        }
    }

    /// The owner's end.
    #[derive(Debug)]
    pub struct Worker<T>(Arc<Queue<T>>);

    impl<T> Worker<T> {
        /// A last-in first-out deque.
        pub fn new_lifo() -> Self {
            Self(Arc::new(Queue::new()))
        }

        /// A thief's end.
        pub fn stealer(&self) -> Stealer<T> {
            Stealer(self.0.clone())
        }

        /// Adds an element.
        pub fn push(&self, item: T) {
            self.0.with(|items| items.push_back(item));
        }

        /// Takes the newest element.
        pub fn pop(&self) -> Option<T> {
            self.0.with(VecDeque::pop_back)
        }

        /// Whether it looked empty.
        pub fn is_empty(&self) -> bool {
            self.0.len() == 0
        }

        /// How many elements it seemed to hold.
        pub fn len(&self) -> usize {
            self.0.len()
        }
    }

    /// A thief's end.
    #[derive(Debug)]
    pub struct Stealer<T>(Arc<Queue<T>>);

    impl<T> Stealer<T> {
        /// Whether it looked empty.
        pub fn is_empty(&self) -> bool {
            self.0.len() == 0
        }

        /// Takes the oldest element.
        pub fn steal(&self) -> Steal<T> {
            self.0.steal()
        }

        /// Takes the oldest element; the stand-in moves no batch.
        pub fn steal_batch_and_pop(&self, _: &Worker<T>) -> Steal<T> {
            self.0.steal()
        }
    }

    /// A queue that many threads push to and steal from.
    #[derive(Debug)]
    pub struct Injector<T>(Queue<T>);

    impl<T> Injector<T> {
        /// An empty queue.
        pub fn new() -> Self {
            Self(Queue::new())
        }

        /// Adds an element.
        pub fn push(&self, item: T) {
            self.0.with(|items| items.push_back(item));
        }

        /// Takes the oldest element.
        pub fn steal(&self) -> Steal<T> {
            self.0.steal()
        }

        /// Takes the oldest element; the stand-in moves no batch.
        pub fn steal_batch_and_pop(&self, _: &Worker<T>) -> Steal<T> {
            self.0.steal()
        }

        /// Whether it looked empty.
        pub fn is_empty(&self) -> bool {
            self.0.len() == 0
        }
    }
}
