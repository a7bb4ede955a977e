//! The allocator's stand-in. A leak fails the model. A free is a checked write: every access of an atomic or a cell in the
//! memory must be ordered before it. Freed memory is overwritten and kept back for a while, so that its further use is seen.

use super::watched;
use loom::alloc::Track;
pub use std::alloc::{Layout, handle_alloc_error};
use std::cell::RefCell;
use std::collections::VecDeque;

/// What freed memory is overwritten with: no index of a loom object, no address.
const FREED: u8 = 0xDD;
/// How many freed pieces are kept back.
const KEPT: usize = 64;

type Piece = (*mut u8, Layout);

thread_local! {
    /// One thread of the system runs all of a model's threads.
    static FREED_PIECES: RefCell<VecDeque<Piece>> = const { RefCell::new(VecDeque::new()) };
}

/// The layout with room in front for the tracker, and how much that is.
fn tracked(layout: Layout) -> (Layout, usize) {
    let (whole, offset) =
        Layout::new::<Track<()>>().extend(layout).expect("a model's memory is small");
    (whole, offset)
}

/// Allocates memory that a model must free.
///
/// # Safety
/// As `std::alloc::alloc`.
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

/// Frees memory from `alloc`.
///
/// # Safety
/// As `std::alloc::dealloc`.
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
