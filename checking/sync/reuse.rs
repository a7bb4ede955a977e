//! The allocator's stand-in for scenarios: freed memory is overwritten, and the next allocation of its size gets it.
//!
//! So a pointer that is kept too long meets another record or another task at its address, as it may in production, and not
//! memory that nothing uses. The order of all steps decides which address is given out, and nothing else does.

pub use std::alloc::{Layout, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// What freed memory is overwritten with: no address of anything.
const FREED: u8 = 0xDD;

thread_local! {
    /// Freed memory by size and alignment, the last freed on top. One thread of the system runs all of a scenario's threads.
    static FREED_PIECES: RefCell<BTreeMap<(usize, usize), Vec<*mut u8>>> = const { RefCell::new(BTreeMap::new()) };
    /// How many pieces are allocated.
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Returns how many pieces are allocated.
pub fn live() -> usize {
    LIVE.get()
}

/// Forgets what is allocated: a schedule that has failed leaks it.
pub fn forget() {
    LIVE.set(0);
}

/// Allocates memory, of what was freed last if that has this layout.
///
/// # Safety
/// As `std::alloc::alloc`.
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    let key = (layout.size(), layout.align());
    LIVE.set(LIVE.get() + 1);
    let freed = FREED_PIECES.try_with(|pieces| pieces.borrow_mut().get_mut(&key)?.pop());
    // SAFETY: by this function's contract.
    freed.ok().flatten().unwrap_or_else(|| unsafe { std::alloc::alloc(layout) })
}

/// Frees memory from `alloc`, for the next allocation of this layout.
///
/// # Safety
/// As `std::alloc::dealloc`.
pub unsafe fn dealloc(memory: *mut u8, layout: Layout) {
    let key = (layout.size(), layout.align());
    LIVE.set(LIVE.get() - 1);
    // SAFETY: by this function's contract the memory is of this layout and unused.
    unsafe { memory.write_bytes(FREED, layout.size()) };
    if FREED_PIECES
        .try_with(|pieces| pieces.borrow_mut().entry(key).or_default().push(memory))
        .is_err()
    {
        // SAFETY: by this function's contract; the thread of the system ends.
        unsafe { std::alloc::dealloc(memory, layout) };
    }
}
