//! The program's allocator, chosen when the process starts: the system's, mimalloc, or the system's with a count of live bytes.
//!
//! One binary holds all three, so that one command prints the whole table: the summary runs each workload in a process of its own
//! and names the allocator in [`VARIABLE`]. The choice costs one load and a predictable branch a call, for every contender alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use mimalloc::MiMalloc;

/// The environment variable that names the allocator.
pub(crate) const VARIABLE: &str = "TOLLGATE_BENCH_ALLOCATOR";

/// An allocator for the whole program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocator {
    System,
    Mimalloc,
    Counting,
}

impl Allocator {
    /// The value of [`VARIABLE`] that chooses it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Allocator::System => "system",
            Allocator::Mimalloc => "mimalloc",
            Allocator::Counting => "counting",
        }
    }
}

const UNDECIDED: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;
const COUNTING: u8 = 3;

static CHOICE: AtomicU8 = AtomicU8::new(UNDECIDED);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Bytes allocated and not freed; only the counting allocator knows.
pub(crate) fn live_bytes() -> i64 {
    assert_eq!(choice(), COUNTING, "set {VARIABLE}=counting to count live bytes");
    LIVE.load(Ordering::Relaxed)
}

#[inline]
fn choice() -> u8 {
    // Ordering: Relaxed, the choice is made by the first allocation of the process, before there is a second thread.
    match CHOICE.load(Ordering::Relaxed) {
        UNDECIDED => choose(),
        chosen => chosen,
    }
}

/// Reads the variable without allocating.
#[cold]
fn choose() -> u8 {
    // SAFETY: the name is a C string, and nobody writes the environment before the first allocation.
    let value = unsafe { libc::getenv(c"TOLLGATE_BENCH_ALLOCATOR".as_ptr()) };
    let first = if value.is_null() {
        b's'
    } else {
        // SAFETY: not null, so it is a C string, which has at least its end.
        unsafe { *value.cast::<u8>() }
    };
    let chosen = match first {
        b'm' => MIMALLOC,
        b'c' => COUNTING,
        _ => SYSTEM,
    };
    CHOICE.store(chosen, Ordering::Relaxed);
    chosen
}

/// Counts bytes that come or go.
fn count(bytes: usize, sign: i64) {
    // Ordering: Relaxed, read when the counted threads are at rest.
    LIVE.fetch_add(sign * bytes as i64, Ordering::Relaxed);
}

/// Passes each call to the chosen allocator.
pub(crate) struct Chosen;

// SAFETY: every call goes unchanged to one allocator, the same for the whole life of the process.
unsafe impl GlobalAlloc for Chosen {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match choice() {
            // SAFETY: the caller's promise.
            MIMALLOC => return unsafe { MiMalloc.alloc(layout) },
            COUNTING => count(layout.size(), 1),
            _ => {}
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match choice() {
            // SAFETY: the caller's promise.
            MIMALLOC => return unsafe { MiMalloc.alloc_zeroed(layout) },
            COUNTING => count(layout.size(), 1),
            _ => {}
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match choice() {
            // SAFETY: the caller's promise; the block came from the same allocator.
            MIMALLOC => return unsafe { MiMalloc.dealloc(block, layout) },
            COUNTING => count(layout.size(), -1),
            _ => {}
        }
        // SAFETY: the caller's promise; the block came from the same allocator.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match choice() {
            // SAFETY: the caller's promise; the block came from the same allocator.
            MIMALLOC => return unsafe { MiMalloc.realloc(block, layout, size) },
            COUNTING => {
                count(layout.size(), -1);
                count(size, 1);
            }
            _ => {}
        }
        // SAFETY: the caller's promise; the block came from the same allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}
