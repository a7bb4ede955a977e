//! Memory for tasks and job records, recycled between threads.
//!
//! A *cell* is the memory of one task or record. Each thread caches free cells of each size in two *magazines*: it takes cells
//! from one magazine, and puts freed cells into the other. Most calls use only these two magazines, and take a few nanoseconds.
//! All threads share a *depot*, where a thread exchanges an empty magazine for a full one, or a full magazine for an empty one.
//!
//! The depot, at which threads exchange magazines of free cells, keeps a small reserve of full magazines. The cells of further
//! full magazines go back to their *slabs*, the blocks of memory in which the cells lie. A slab whose cells are all free goes
//! back to the allocator. So the memory of a burst of tasks is released.
//!
//! | source of a cell      | used                               | the thread waits for                  |
//! |-----------------------|------------------------------------|---------------------------------------|
//! | the thread's magazine | nearly always                      | nothing                               |
//! | the depot             | at most once in 64 calls           | nothing                               |
//! | the slabs             | if the depot is empty or over-full | a lock, held for at most 64 cells     |
//!
//! There are two sizes of cells. A type that is larger than both, or more strictly aligned than a cell, gets an allocation of
//! its own.

mod depot;
mod magazine;
pub mod slabs;

use crate::sync::memory::{Layout, alloc, dealloc, handle_alloc_error};
use crate::sync::{CHECKED, thread_static};
use depot::depot;
#[cfg(tollgate_loom)]
pub use depot::empty_reserve;
pub use depot::tidy;
use magazine::Magazine;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The size of a small cell in bytes: a header, a state and 24 bytes of captures.
pub const SMALL: usize = 56;
/// The size of a large cell in bytes: exactly that of a job record.
pub const LARGE: usize = 112;

const ALIGN: usize = 8;

/// Returns the size class of `T`'s cell: 0 for small, 1 for large, and `None` if `T` needs an allocation of its own.
const fn class_of<T>() -> Option<usize> {
    if CHECKED || cfg!(tollgate_plain_cells) {
        // In models and under sanitizers each cell is an allocation of its own, so that leaks and uses after free are found.
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

/// Allocates a cell and moves `value` into it.
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

/// Frees a cell. The caller must have moved out or dropped the contents of the cell.
///
/// # Safety
/// `cell` must come from `make::<T>`, and no thread may use it again.
#[inline]
pub unsafe fn free<T>(cell: *mut T) {
    match const { class_of::<T>() } {
        Some(class) => give(class, cell.cast()),
        None => {
            // SAFETY: a cell of this size came from `take_own` with this layout, and no thread uses it again.
            unsafe { dealloc(cell.cast(), Layout::new::<T>()) };
        }
    }
}

/// Allocates a cell that belongs to no size class. The size must not be zero.
#[cold]
fn take_own(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a cell holds something");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// One thread's cache of free cells of one size. Both fields are null until the thread takes or frees a cell of this size.
struct ThreadCache {
    /// The magazine that cells are taken from.
    serving: Cell<*mut Magazine>,
    /// The magazine into which freed cells are put.
    loading: Cell<*mut Magazine>,
}

/// One thread's caches, by size class.
struct ThreadCaches([ThreadCache; 2]);

impl ThreadCache {
    const fn new() -> Self {
        Self { serving: Cell::new(ptr::null_mut()), loading: Cell::new(ptr::null_mut()) }
    }

    /// Takes a free cell from the serving magazine.
    #[inline]
    fn take(&self, class: usize) -> NonNull<u8> {
        // SAFETY: the pointer is null or leads to a magazine that only this thread has, and this is the only reference to it.
        let serving = unsafe { self.serving.get().as_mut() };
        serving.and_then(Magazine::take).unwrap_or_else(|| self.reload(class))
    }

    /// Puts a freed cell into the loading magazine.
    #[inline]
    fn give(&self, class: usize, cell: *mut u8) {
        // SAFETY: the pointer is null or leads to a magazine that only this thread has, and this is the only reference to it.
        let loading = unsafe { self.loading.get().as_mut() };
        if !loading.is_some_and(|loading| loading.give(cell)) {
            self.unload(class, cell);
        }
    }

    /// Takes a free cell when the serving magazine, from which this thread takes cells, is empty. If the loading magazine, into
    /// which this thread puts freed cells, is not empty, swaps the two magazines. Otherwise exchanges the serving magazine at the
    /// depot for a magazine with cells.
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

    /// Puts a freed cell away when the loading magazine, into which this thread puts freed cells, is full. If the serving
    /// magazine, from which this thread takes cells, is empty, swaps the two magazines. Otherwise exchanges the loading magazine
    /// at the depot for an empty magazine.
    #[cold]
    fn unload(&self, class: usize, cell: *mut u8) {
        let loaded = unpack(&self.loading).unwrap_or_default();
        let serving = unpack(&self.serving).unwrap_or_default();
        let (serving, mut loading) = if serving.is_empty() {
            (loaded, serving)
        } else {
            (serving, depot(class).exchange_full(loaded))
        };
        assert!(loading.give(cell), "it is empty");
        pack(&self.serving, serving);
        pack(&self.loading, loading);
    }
}

/// Stores a magazine in a field of the thread cache. The field must be null.
fn pack(field: &Cell<*mut Magazine>, magazine: Box<Magazine>) {
    field.set(Box::into_raw(magazine));
}

/// Takes the magazine out of a field of the thread cache, and sets the field to null. Returns `None` if the field was null
/// before.
fn unpack(field: &Cell<*mut Magazine>) -> Option<Box<Magazine>> {
    let magazine = field.replace(ptr::null_mut());
    if magazine.is_null() {
        return None;
    }
    // SAFETY: a pointer in a field came from `pack`, and the field is null now.
    let mut magazine = unsafe { Box::from_raw(magazine) };
    if magazine.is_empty() {
        magazine.rewind();
    }
    Some(magazine)
}

impl ThreadCaches {
    /// Returns all cached cells to their slabs.
    fn clear(&self) {
        for (class, cache) in self.0.iter().enumerate() {
            for field in [&cache.serving, &cache.loading] {
                if let Some(mut magazine) = unpack(field) {
                    depot(class).slabs().take_back_all(&mut magazine);
                }
            }
        }
    }
}

impl Drop for ThreadCaches {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Returns this thread's cached cells to their slabs.
///
/// A thread of a loom model must call this function before it ends. At the end of a model loom destroys the depot first. A
/// destructor of a thread-local that ran later would use the destroyed depot.
#[cfg(tollgate_loom)]
pub fn clear() {
    CACHES.with(ThreadCaches::clear);
}

thread_static! {
    static CACHES: ThreadCaches = ThreadCaches([ThreadCache::new(), ThreadCache::new()]);
}

/// Takes a free cell of this size class.
#[inline]
pub fn take(class: usize) -> NonNull<u8> {
    CACHES.try_with(|caches| caches.0[class].take(class)).unwrap_or_else(|_| {
        // The thread is ending, and its cache is destroyed already, so the cell comes from the slabs.
        depot(class).slabs().take()
    })
}

/// Frees a cell of this size class. No thread may use the cell again.
#[inline]
pub fn give(class: usize, cell: *mut u8) {
    if CACHES.try_with(|caches| caches.0[class].give(class, cell)).is_err() {
        depot(class).slabs().take_back(cell);
    }
}
