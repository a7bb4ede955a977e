//! Production: `std` and crossbeam.

pub use crossbeam_deque as deque;
pub use std::hash::RandomState;
pub use std::hint::spin_loop;
pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};
// A lock for what only figures and explanations read. Models do not see it.
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

/// A full fence for a thread whose last atomic access was a read-modify-write.
///
/// On x86 that instruction is the fence already, as the Linux kernel's `smp_mb__after_atomic`
/// has it; only the compiler must be held back.
#[inline]
pub fn fence_after_rmw() {
    #[cfg(target_arch = "x86_64")]
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// A full fence.
///
/// On x86 a locked instruction on a line that the thread owns, its stack's, is one, at a seventh of the price of the
/// `mfence` that the standard one becomes.
#[inline]
pub fn full_fence() {
    #[cfg(tollgate_count)]
    crate::sync::count::count_fence();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it leaves the word on top of the stack as it is, and for the compiler it may touch any memory.
    unsafe {
        std::arch::asm!("lock or dword ptr [rsp], 0", options(nostack));
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// Fetches the line at this address, for it is about to be written; it need not be an address of anything.
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

/// A thread's own value, with a constant to begin with.
macro_rules! thread_static {
    ($(#[$doc:meta])* static $name:ident: $ty:ty = $init:expr;) => {
        std::thread_local! {
            $(#[$doc])*
            static $name: $ty = const { $init };
        }
    };
}
pub(crate) use thread_static;

/// A static that is made at its first use; in models, anew in each iteration.
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
