//! The arm for scenarios: shuttle's types, and stand-ins for what shuttle cannot check: crossbeam's deque, and time.

pub use shuttle::hint::spin_loop;
pub(crate) use shuttle::lazy_static;
pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
// A mutex of shuttle, because scenarios explain jobs, and an explanation takes further steps under this lock.
pub use shuttle::sync::{Mutex as FiguresMutex, MutexGuard as FiguresGuard};
pub use shuttle::thread_local as thread_static;

#[path = "../../src/sync/cell.rs"]
mod cell;
pub use cell::UnsafeCell;
#[path = "checked.rs"]
mod checked;
#[path = "deque.rs"]
pub mod deque;
#[path = "reuse.rs"]
pub mod memory;
#[path = "time.rs"]
pub mod time;
pub(crate) use checked::global;
pub use checked::{
    RandomState, fault, fence_after_rmw, full_fence, let_time_pass, prefetch_write, wait_timeout,
};

/// Atomic integers and pointers. Under shuttle all accesses are sequentially consistent.
pub mod atomic {
    pub use shuttle::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// Threads: start, park, yield.
pub mod thread {
    pub use shuttle::thread::{
        Builder, JoinHandle, Thread, current, park, park_timeout, yield_now,
    };

    /// Returns the same number on every machine, so that a schedule can be replayed on another machine.
    pub fn available_parallelism() -> std::io::Result<std::num::NonZero<usize>> {
        Ok(std::num::NonZero::<usize>::MIN.saturating_add(3))
    }
}
