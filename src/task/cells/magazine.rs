//! A magazine: free cells by their addresses, handed between threads as a whole.
//!
//! An array and not a list through the cells, for two reasons. Who takes a cell knows those that follow, and fetches
//! their lines, which another thread has written, while it fills this one. And cells are taken in the order in which they were
//! given, so that cells that lay side by side go on doing so, which is what the hardware's prefetchers look for.

use crate::sync::{prefetch_write, shrunk};
use std::ptr::{self, NonNull};

/// How many cells a magazine holds.
pub const MAGAZINE: usize = shrunk(64, 2);
/// How many cells ahead their lines are fetched.
const AHEAD: usize = shrunk(8, 1);

/// Up to [`MAGAZINE`] free cells.
#[derive(Debug)]
pub struct Magazine {
    /// Those from `taken` to `given` are there.
    cells: [*mut u8; MAGAZINE],
    taken: usize,
    given: usize,
}

// SAFETY: the cells of a magazine belong to whoever holds it.
unsafe impl Send for Magazine {}

impl Default for Magazine {
    fn default() -> Self {
        Self { cells: [ptr::null_mut(); MAGAZINE], taken: 0, given: 0 }
    }
}

impl Magazine {
    /// Whether there is nothing to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taken == self.given
    }

    /// Whether there is no room to give.
    pub fn is_full(&self) -> bool {
        self.given == MAGAZINE
    }

    /// An empty one has room for all again.
    pub fn rewind(&mut self) {
        debug_assert!(self.is_empty(), "what is there would be lost");
        (self.taken, self.given) = (0, 0);
    }

    /// The next cell, left where it is.
    pub fn peek(&self) -> Option<*mut u8> {
        (!self.is_empty()).then(|| self.cells[self.taken])
    }

    /// Takes the cell that was given first.
    #[inline]
    pub fn take(&mut self) -> Option<NonNull<u8>> {
        if self.is_empty() {
            return None;
        }
        // The remainder changes nothing and spares a look at the bound.
        let cell = self.cells[self.taken % MAGAZINE];
        let ahead = self.taken + AHEAD;
        self.taken += 1;
        if ahead < self.given {
            fetch(self.cells[ahead % MAGAZINE]);
        }
        NonNull::new(cell)
    }

    /// Adds a cell; false if there is no room.
    #[inline]
    pub fn give(&mut self, cell: *mut u8) -> bool {
        let Some(slot) = self.cells.get_mut(self.given) else { return false };
        *slot = cell;
        self.given += 1;
        true
    }

    /// Takes all.
    pub fn empty(&mut self, mut each: impl FnMut(*mut u8)) {
        self.cells[self.taken..self.given].iter().for_each(|cell| each(*cell));
        (self.taken, self.given) = (0, 0);
    }

    /// Fetches the first cells' lines: the magazine has come from another thread.
    pub fn fetch_first(&self) {
        self.cells[self.taken..self.given].iter().take(AHEAD).for_each(|cell| fetch(*cell));
    }
}

/// A small cell lies on one line or on two.
#[inline]
fn fetch(cell: *const u8) {
    prefetch_write(cell);
    prefetch_write(cell.wrapping_add(super::SMALL - 1));
}
