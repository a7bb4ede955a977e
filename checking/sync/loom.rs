//! The arm for models: loom's types, and stand-ins for what loom cannot check: crossbeam's deque, the parking of threads, and
//! memory, whose misuse must fail a model.

pub use loom::hint::spin_loop;
pub(crate) use loom::lazy_static;
pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
// A lock of `std`, because no model reads the figures under such a lock. A lock of loom would make the models of waits longer.
pub use loom::thread_local as thread_static;
pub use std::sync::{Mutex as FiguresMutex, MutexGuard as FiguresGuard};

#[path = "watched.rs"]
mod watched;
pub use watched::UnsafeCell;
#[path = "checked.rs"]
mod checked;
#[path = "deque.rs"]
pub mod deque;
#[path = "memory.rs"]
pub mod memory;
#[path = "time.rs"]
pub mod time;
pub(crate) use checked::global;
pub use checked::{
    RandomState, fault, fence_after_rmw, full_fence, let_time_pass, prefetch_write, wait_timeout,
};

/// Atomic integers and pointers.
pub mod atomic {
    pub use super::watched::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
    pub use loom::sync::atomic::{Ordering, fence};
}

/// Threads: start, park, yield.
pub mod thread {
    use super::atomic::{AtomicBool, Ordering};
    pub use loom::thread::{Builder, JoinHandle, yield_now};
    use std::cell::Cell;
    use std::rc::Rc;
    pub use std::thread::available_parallelism;

    /// A thread that can be unparked.
    ///
    /// loom's own `unpark` also wakes a thread that waits for a mutex, and that thread then fails. So this `unpark` calls it
    /// only for a thread inside `park`.
    #[derive(Clone, Debug)]
    pub struct Thread(Rc<Bed>);

    #[derive(Debug)]
    struct Bed {
        thread: loom::thread::Thread,
        /// True if `unpark` was called: the thread need not park, or may go on. What comes before `unpark` comes before that.
        called: AtomicBool,
        /// True while the thread is inside `park`. Not part of the model, because loom switches threads only at its own
        /// operations, and none lies between this flag and the operation that belongs to it.
        asleep: Cell<bool>,
    }

    // SAFETY: loom runs all of a model's threads on one thread of the system.
    unsafe impl Send for Thread {}
    // SAFETY: as above.
    unsafe impl Sync for Thread {}

    loom::thread_local! {
        static CURRENT: Thread = Thread(Rc::new(Bed {
            thread: loom::thread::current(),
            called: AtomicBool::new(false),
            asleep: Cell::new(false),
        }));
    }

    /// Returns the calling thread.
    pub fn current() -> Thread {
        CURRENT.with(Clone::clone)
    }

    /// Blocks the thread until `unpark` is called. Returns at once if `unpark` was called before.
    pub fn park() {
        let Thread(bed) = current();
        // Ordering: Acquire; pairs with the Release in `unpark`.
        while !bed.called.swap(false, Ordering::AcqRel) {
            bed.asleep.set(true);
            loom::thread::park();
        }
    }

    /// Blocks the thread until `unpark` is called, because loom has no time.
    pub fn park_timeout(_: std::time::Duration) {
        park();
    }

    impl Thread {
        /// Ends the present or the next `park` of the thread.
        pub fn unpark(&self) {
            // Ordering: Release; pairs with the Acquire in `park`. A swap, for loom lets a later swap
            // overlook a plain store.
            self.0.called.swap(true, Ordering::AcqRel);
            if self.0.asleep.replace(false) {
                self.0.thread.unpark();
            }
        }
    }
}
