//! Models: loom's types, and stand-ins for what loom cannot see into: crossbeam's deque, the
//! parking of threads, and memory that must show its misuse.

pub use loom::cell::UnsafeCell;
pub use loom::hint::spin_loop;
pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
pub use loom::thread_local;

#[path = "deque.rs"]
pub mod deque;
#[path = "memory.rs"]
pub mod memory;

/// Atomic integers, pointers and fences.
pub mod atomic {
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// Threads: start, park, yield.
pub mod thread {
    pub use loom::thread::{Builder, JoinHandle, yield_now};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A thread that can be unparked.
    ///
    /// loom's own `unpark` also wakes a thread that waits for a mutex meanwhile, which then fails. So
    /// this one calls it only for a thread inside `park`, and leaves a mark otherwise. The flags
    /// are no atomics of the model: loom runs one thread at a time and switches at its own operations,
    /// of which there is none between a flag and the act that goes with it. They synchronise
    /// nothing, which is less than the real `unpark` does.
    #[derive(Clone, Debug)]
    pub struct Thread {
        thread: loom::thread::Thread,
        flags: Arc<Flags>,
    }

    #[derive(Debug, Default)]
    struct Flags {
        parked: AtomicBool,
        marked: AtomicBool,
    }

    loom::thread_local! {
        static CURRENT: Thread =
            Thread { thread: loom::thread::current(), flags: Arc::default() };
    }

    /// The thread that calls.
    pub fn current() -> Thread {
        CURRENT.with(Clone::clone)
    }

    /// Blocks until `unpark`, or not at all if that came first.
    pub fn park() {
        let flags = current().flags;
        if !flags.marked.swap(false, Ordering::Relaxed) {
            flags.parked.store(true, Ordering::Relaxed);
            loom::thread::park();
        }
    }

    /// loom has no time: waits without an end.
    pub fn park_timeout(_: std::time::Duration) {
        park();
    }

    impl Thread {
        /// Ends the thread's `park`, or its next one.
        pub fn unpark(&self) {
            if self.flags.parked.swap(false, Ordering::Relaxed) {
                self.thread.unpark();
            } else {
                self.flags.marked.store(true, Ordering::Relaxed);
            }
        }
    }
}

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
