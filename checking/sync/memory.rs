//! A stand-in for the allocator in models. A leak fails the model. A free is a checked write: each access of an atomic or a
//! cell in the memory must be ordered before the free. Freed memory is overwritten and kept back for a while, so that the model
//! notices a later use.

use super::watched;
use loom::alloc::Track;
pub use std::alloc::{Layout, handle_alloc_error};
use std::cell::RefCell;
use std::collections::VecDeque;

/// The byte that overwrites freed memory. Such bytes are neither an index of a loom object nor an address.
const FREED: u8 = 0xDD;
/// The number of freed pieces of memory that are kept back.
const KEPT: usize = 64;

type Piece = (*mut u8, Layout);

thread_local! {
    /// The freed pieces that are kept back. A thread-local suffices, because one thread of the system runs all threads of a
    /// model.
    static FREED_PIECES: RefCell<VecDeque<Piece>> = const { RefCell::new(VecDeque::new()) };
}

/// Returns the layout with space in front for the tracker, and the size of that space.
fn tracked(layout: Layout) -> (Layout, usize) {
    let (whole, offset) =
        Layout::new::<Track<()>>().extend(layout).expect("a model's memory is small");
    (whole, offset)
}

/// Allocates memory. A model fails unless it frees the memory.
///
/// # Safety
/// The conditions are those of `std::alloc::alloc`.
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    let (whole, offset) = tracked(layout);
    // SAFETY: the layout has the tracker's size at least.
    let memory = unsafe { std::alloc::alloc(whole) };
    if memory.is_null() {
        return memory;
    }
    watched::begin(memory, whole.size());
    // SAFETY: the memory is new and begins with room for the tracker.
    unsafe { memory.cast::<Track<()>>().write(Track::new(())) };
    // SAFETY: the offset is within the piece.
    unsafe { memory.add(offset) }
}

/// Frees memory that came from `alloc`.
///
/// # Safety
/// The conditions are those of `std::alloc::dealloc`.
pub unsafe fn dealloc(memory: *mut u8, layout: Layout) {
    let (whole, offset) = tracked(layout);
    // SAFETY: by this function's contract it is `offset` bytes inside a piece.
    let start = unsafe { memory.sub(offset) };
    // SAFETY: the piece is still allocated, and what lies in it was dropped or moved out, but not overwritten.
    unsafe { watched::end(start, whole.size()) };
    // SAFETY: the piece begins with its tracker, which is dropped once.
    drop(unsafe { start.cast::<Track<()>>().read() });
    // SAFETY: the piece is `whole` and nobody's any more.
    unsafe { start.write_bytes(FREED, whole.size()) };
    FREED_PIECES.with_borrow_mut(|pieces| {
        pieces.push_back((start, whole));
        if pieces.len() > KEPT {
            let (start, whole) = pieces.pop_front().expect("it is longer than none");
            // SAFETY: it came from `std::alloc::alloc` with this layout.
            unsafe { std::alloc::dealloc(start, whole) };
        }
    });
}
