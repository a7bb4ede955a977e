//! A magazine: an array of free cells that threads exchange as a whole.
//!
//! A magazine is an array of addresses, and not a list that links the free cells through their own memory. A thread that takes
//! a cell can read the addresses of the next cells in the array, and prefetch these cells. Cells leave the array in the order
//! in which they were added. So cells that are neighbours in memory are taken one after the other, as hardware prefetchers
//! expect.

use crate::sync::{prefetch_write, shrunk};
use std::ptr::{self, NonNull};

/// The number of cells that a magazine holds.
pub const MAGAZINE: usize = shrunk(64, 2);
/// A call that takes a cell prefetches the cell that will be taken this many calls later.
const AHEAD: usize = shrunk(8, 1);

/// Up to [`MAGAZINE`] free cells, first in, first out.
#[derive(Debug)]
pub struct Magazine {
    /// The array of cells. The cells at the indices from `taken` up to `given` are free cells; the other elements are unused.
    cells: [*mut u8; MAGAZINE],
    taken: usize,
    given: usize,
}

// SAFETY: the cells of a magazine are free, and belong to the thread that owns the magazine.
unsafe impl Send for Magazine {}

impl Default for Magazine {
    fn default() -> Self {
        Self { cells: [ptr::null_mut(); MAGAZINE], taken: 0, given: 0 }
    }
}

impl Magazine {
    /// Returns true if the magazine has no cell to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taken == self.given
    }

    /// Returns true if the magazine has no room for a further cell.
    pub fn is_full(&self) -> bool {
        self.given == MAGAZINE
    }

    /// Resets the counts of the magazine, which must be empty. Each place of a magazine holds one cell between two resets, so an
    /// empty magazine can be without room. After a reset it has room for [`MAGAZINE`] cells.
    pub fn rewind(&mut self) {
        debug_assert!(self.is_empty(), "what is there would be lost");
        (self.taken, self.given) = (0, 0);
    }

    /// Takes the cell that was added first. Returns `None` if the magazine is empty.
    #[inline]
    pub fn take(&mut self) -> Option<NonNull<u8>> {
        if self.is_empty() {
            return None;
        }
        // The index is always less than `MAGAZINE`. With the remainder the compiler sees this, and leaves out the bounds check.
        let cell = self.cells[self.taken % MAGAZINE];
        let ahead = self.taken + AHEAD;
        self.taken += 1;
        if ahead < self.given {
            prefetch(self.cells[ahead % MAGAZINE]);
        }
        NonNull::new(cell)
    }

    /// Adds a cell, and returns true. Returns false if the magazine has no room.
    #[inline]
    pub fn give(&mut self, cell: *mut u8) -> bool {
        let Some(slot) = self.cells.get_mut(self.given) else { return false };
        *slot = cell;
        self.given += 1;
        true
    }

    /// Removes all cells, and calls `each` with each of them.
    pub fn empty(&mut self, mut each: impl FnMut(*mut u8)) {
        self.cells[self.taken..self.given].iter().for_each(|cell| each(*cell));
        (self.taken, self.given) = (0, 0);
    }

    /// Prefetches the cells that will be taken first. Call this on a magazine that another thread has filled.
    pub fn fetch_first(&self) {
        self.cells[self.taken..self.given].iter().take(AHEAD).for_each(|cell| prefetch(*cell));
    }
}

/// Prefetches the first [`SMALL`](super::SMALL) bytes of a cell, which lie on one cache line or on two.
#[inline]
fn prefetch(cell: *const u8) {
    prefetch_write(cell);
    prefetch_write(cell.wrapping_add(super::SMALL - 1));
}
