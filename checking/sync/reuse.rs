//! A stand-in for the allocator in scenarios. Freed memory is overwritten, and the next allocation of the same size gets it.
//!
//! So a pointer that is kept too long meets another record or task at its address, as it may in production. Only the order of
//! all steps decides which address an allocation gets, so a schedule can be replayed.

pub use std::alloc::{Layout, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// The byte that overwrites freed memory. Such bytes are no address.
const FREED: u8 = 0xDD;

thread_local! {
    /// The freed memory by size and alignment, the piece freed last on top. One thread of the system runs all threads of a
    /// scenario.
    static FREED_PIECES: RefCell<BTreeMap<(usize, usize), Vec<*mut u8>>> = const { RefCell::new(BTreeMap::new()) };
    /// The number of pieces that are allocated.
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Returns the number of pieces that are allocated.
pub fn live() -> usize {
    LIVE.get()
}

/// Sets the number of allocated pieces to 0. Call it after a schedule that has failed, because such a schedule leaks memory.
pub fn forget() {
    LIVE.set(0);
}

/// Allocates memory: the piece freed last of this layout, if there is one.
///
/// # Safety
/// The conditions are those of `std::alloc::alloc`.
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    let key = (layout.size(), layout.align());
    LIVE.set(LIVE.get() + 1);
    let freed = FREED_PIECES.try_with(|pieces| pieces.borrow_mut().get_mut(&key)?.pop());
    // SAFETY: by this function's contract.
    freed.ok().flatten().unwrap_or_else(|| unsafe { std::alloc::alloc(layout) })
}

/// Frees memory that came from `alloc`, for the next allocation of this layout.
///
/// # Safety
/// The conditions are those of `std::alloc::dealloc`.
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
