//! The source of atomics, threads and time in production builds: exports the names of `std` and crossbeam.

pub use crossbeam_deque as deque;
pub use std::hash::RandomState;
pub use std::hint::spin_loop;
pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};
// A mutex for data from which only figures and explanations are made. Models do not check such data.
pub use std::sync::{Mutex as FiguresMutex, MutexGuard as FiguresGuard};
pub use std::time;

#[path = "cell.rs"]
mod cell;
pub use cell::UnsafeCell;

/// Atomic integers and pointers.
pub mod atomic {
    #[cfg(tollgate_count)]
    pub use crate::sync::count::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
    pub use std::sync::atomic::Ordering;
    #[cfg(not(tollgate_count))]
    pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
}

/// Threads: start, park, yield.
pub mod thread {
    pub use std::thread::{
        Builder, JoinHandle, Thread, available_parallelism, current, park, park_timeout, yield_now,
    };
}

/// The allocator.
pub mod memory {
    pub use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
}

/// Waits for a notification of `changed`, for at most the time `most`. The returned flag is true if that time has passed.
/// `guard` must belong to `_mutex`.
pub fn wait_timeout<'a, T>(
    changed: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    most: std::time::Duration,
) -> (MutexGuard<'a, T>, bool) {
    let waited = changed.wait_timeout(guard, most);
    let (guard, result) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
    (guard, result.timed_out())
}

/// Executes a full fence. The last atomic access of the calling thread must be a read-modify-write.
///
/// On x86-64 a read-modify-write is already a full fence, so this function only keeps the compiler from reordering. The Linux
/// kernel's `smp_mb__after_atomic` does the same.
#[inline]
pub fn fence_after_rmw() {
    #[cfg(target_arch = "x86_64")]
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// Executes a full fence.
///
/// On x86-64 this function executes a locked instruction on the thread's own stack, because each locked instruction is a full
/// fence. The standard fence compiles to `mfence`, which takes seven times as long.
#[inline]
pub fn full_fence() {
    #[cfg(tollgate_count)]
    crate::sync::count::count_fence();
    #[cfg(target_arch = "x86_64")]
    // A locked instruction on the word on top of the stack would be slower: the end of the function often reads that word at once,
    // and waits.
    // SAFETY: the instruction does not change the word, which is below the top of this thread's stack. The option `nostack` is left
    // out, because it forbids a write there. The compiler assumes that the instruction may touch any memory.
    unsafe {
        std::arch::asm!("lock or dword ptr [rsp - 64], 0");
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// Prefetches the cache line at `address` for a write. The address may be invalid.
#[inline(always)]
pub fn prefetch_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing that a program can see, and does not fault.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address.addr(), options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Declares a thread-local whose first value is a constant.
macro_rules! thread_static {
    ($(#[$doc:meta])* static $name:ident: $ty:ty = $init:expr;) => {
        std::thread_local! {
            $(#[$doc])*
            static $name: $ty = const { $init };
        }
    };
}
pub(crate) use thread_static;

/// Declares a function that returns a static, which the first call makes. In a model, the first call of each iteration makes a
/// new static.
macro_rules! global {
    ($(#[$doc:meta])* $vis:vis fn $name:ident() -> $ty:ty { $init:expr }) => {
        $(#[$doc])*
        #[inline]
        $vis fn $name() -> &'static $ty {
            static CELL: std::sync::LazyLock<$ty> = std::sync::LazyLock::new(|| $init);
            &CELL
        }
    };
}
pub(crate) use global;
