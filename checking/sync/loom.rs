//! Models: loom's types, and stand-ins for what loom cannot see into: crossbeam's deque, the
//! parking of threads, and memory that must show its misuse.

pub use loom::hint::spin_loop;
pub(crate) use loom::lazy_static;
pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
// No model reads figures that a lock guards. A lock of loom would make the models of waits longer for nothing.
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
    /// loom's own `unpark` also wakes a thread that waits for a mutex meanwhile, which then fails. So
    /// this one calls it only for a thread inside `park`.
    #[derive(Clone, Debug)]
    pub struct Thread(Rc<Bed>);

    #[derive(Debug)]
    struct Bed {
        thread: loom::thread::Thread,
        /// The thread may go on, or need not park: what comes before `unpark` comes before that.
        called: AtomicBool,
        /// The thread is inside `park`. No part of the model: loom switches threads at its own operations,
        /// of which there is none between this flag and the act that goes with it.
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

    /// The thread that calls.
    pub fn current() -> Thread {
        CURRENT.with(Clone::clone)
    }

    /// Blocks until `unpark`, or not at all if that came first.
    pub fn park() {
        let Thread(bed) = current();
        // Ordering: Acquire; pairs with the Release in `unpark`.
        while !bed.called.swap(false, Ordering::AcqRel) {
            bed.asleep.set(true);
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
            // Ordering: Release; pairs with the Acquire in `park`. A swap, for loom lets a later swap
            // overlook a plain store.
            self.0.called.swap(true, Ordering::AcqRel);
            if self.0.asleep.replace(false) {
                self.0.thread.unpark();
            }
        }
    }
}
