//! The pool of cells: memory for tasks and for job records, recycled between threads.
//!
//! A thread has two *magazines* of each size, one that it takes free cells from and one that it gives them to, and
//! exchanges them whole with the *depot*, so that a cell costs a few nanoseconds even where one thread makes and
//! another frees. What the depot holds beyond a small reserve goes home to its block, and a block that is whole again goes
//! back to the allocator: a burst gives its memory back.
//!
//! | step             | when                            | waits for whom                        |
//! |------------------|---------------------------------|---------------------------------------|
//! | own magazine     | nearly always                   | nobody                                |
//! | depot            | once per magazine               | nobody                                |
//! | blocks           | the depot is empty, or too full | the thread inside, 64 cells at a time |
//!
//! There are two sizes; what is larger or needs more alignment has an allocation of its own.

mod blocks;
mod depot;
mod magazine;

use crate::sync::memory::{Layout, alloc, dealloc, handle_alloc_error};
use crate::sync::{CHECKED, fault, thread_static};
use depot::depot;
pub use depot::tidy;
use magazine::Magazine;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The size of a small cell: header, state and 24 bytes of captures.
pub const SMALL: usize = 56;
/// The size of a large cell; a job record is one, too.
pub const LARGE: usize = 112;

const ALIGN: usize = 8;

/// Which size a type is kept in; `None` is neither.
const fn class_of<T>() -> Option<usize> {
    if CHECKED || cfg!(tollgate_plain_cells) {
        // A model of something else need not be one of this, too; it and the sanitizers see leaks and use after free.
        None
    } else if align_of::<T>() > ALIGN {
        None
    } else if size_of::<T>() <= SMALL {
        Some(0)
    } else if size_of::<T>() <= LARGE {
        Some(1)
    } else {
        None
    }
}

/// Moves `value` into a cell.
#[inline]
pub fn make<T>(value: T) -> NonNull<T> {
    let cell = match const { class_of::<T>() } {
        Some(class) => take(class).cast::<T>(),
        None => take_own(Layout::new::<T>()).cast(),
    };
    // SAFETY: the cell is free, large enough and aligned, by `class_of` or as its own allocation.
    unsafe { cell.write(value) };
    cell
}

/// Frees a cell whose contents were moved out or dropped.
///
/// # Safety
/// `cell` came from `make::<T>`, and nobody uses it again.
#[inline]
pub unsafe fn free<T>(cell: *mut T) {
    match const { class_of::<T>() } {
        Some(class) => give(class, cell.cast()),
        None => {
            // SAFETY: by this function's contract it is such an allocation, and nobody's.
            unsafe { dealloc(cell.cast(), Layout::new::<T>()) };
        }
    }
}

/// A cell of its own; every type that is kept has a header, so its size is not zero.
#[cold]
fn take_own(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a cell holds something");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A thread's magazines of one size; null until they are needed.
struct Rack {
    /// The one that cells are taken from.
    serving: Cell<*mut Magazine>,
    /// The one that they are given to.
    loading: Cell<*mut Magazine>,
}

struct Racks([Rack; 2]);

impl Rack {
    const fn new() -> Self {
        Self { serving: Cell::new(ptr::null_mut()), loading: Cell::new(ptr::null_mut()) }
    }

    #[inline]
    fn take(&self, class: usize) -> NonNull<u8> {
        // SAFETY: it is null or a magazine that only this thread has, and this is the only reference to it.
        let serving = unsafe { self.serving.get().as_mut() };
        serving.and_then(Magazine::take).unwrap_or_else(|| self.reload(class))
    }

    #[inline]
    fn give(&self, class: usize, cell: *mut u8) {
        // SAFETY: as in `take`.
        let loading = unsafe { self.loading.get().as_mut() };
        if !loading.is_some_and(|loading| loading.give(cell)) {
            self.unload(class, cell);
        }
    }

    /// Takes a cell when the magazine that serves is empty: from what was given here, or else from the depot.
    #[cold]
    fn reload(&self, class: usize) -> NonNull<u8> {
        let empty = unpack(&self.serving).unwrap_or_default();
        let loaded = unpack(&self.loading).unwrap_or_default();
        let (mut serving, loading) = if loaded.is_empty() {
            (depot(class).exchange_empty(empty), loaded)
        } else {
            (loaded, empty)
        };
        let cell = serving.take().expect("it was exchanged for one with cells");
        pack(&self.serving, serving);
        pack(&self.loading, loading);
        cell
    }

    /// Gives a cell when the magazine that loads is full: it serves from now on, or goes to the depot.
    #[cold]
    fn unload(&self, class: usize, cell: *mut u8) {
        let loaded = unpack(&self.loading).unwrap_or_default();
        let serving = unpack(&self.serving).unwrap_or_default();
        let kept = loaded.peek().filter(|_| fault("magazine-given-and-kept"));
        let (serving, mut loading) = if serving.is_empty() {
            (loaded, serving)
        } else {
            (serving, depot(class).exchange_full(loaded))
        };
        for cell in kept.into_iter().chain([cell]) {
            assert!(loading.give(cell), "it is empty");
        }
        pack(&self.serving, serving);
        pack(&self.loading, loading);
    }
}

fn pack(slot: &Cell<*mut Magazine>, magazine: Box<Magazine>) {
    slot.set(Box::into_raw(magazine));
}

fn unpack(slot: &Cell<*mut Magazine>) -> Option<Box<Magazine>> {
    let magazine = slot.replace(ptr::null_mut());
    if magazine.is_null() {
        return None;
    }
    // SAFETY: what lies in a slot came from `pack`, and the slot has given it up.
    let mut magazine = unsafe { Box::from_raw(magazine) };
    if magazine.is_empty() {
        magazine.rewind();
    }
    Some(magazine)
}

impl Racks {
    /// Brings all cells home.
    fn clear(&self) {
        for (class, rack) in self.0.iter().enumerate() {
            for slot in [&rack.serving, &rack.loading] {
                if let Some(mut magazine) = unpack(slot) {
                    depot(class).blocks().take_home(&mut magazine);
                }
            }
        }
    }
}

impl Drop for Racks {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Brings home what this thread keeps. A model's thread must do it itself: loom ends the statics of a
/// model before the last threads' own.
#[cfg(tollgate_loom)]
pub fn clear() {
    RACKS.with(Racks::clear);
}

thread_static! {
    static RACKS: Racks = Racks([Rack::new(), Rack::new()]);
}

/// A free cell of this size.
#[inline]
pub fn take(class: usize) -> NonNull<u8> {
    RACKS.try_with(|racks| racks.0[class].take(class)).unwrap_or_else(|_| {
        // The thread is ending and its magazines are gone.
        depot(class).blocks().cell()
    })
}

/// Takes a cell back that nobody uses any more.
#[inline]
pub fn give(class: usize, cell: *mut u8) {
    if RACKS.try_with(|racks| racks.0[class].give(class, cell)).is_err() {
        depot(class).blocks().bring(cell);
    }
}
