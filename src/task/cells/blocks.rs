//! Where cells come from: blocks of memory that one size is cut from, and that cells come home to.

use super::magazine::Magazine;
use crate::sync::memory::{Layout, alloc, dealloc, handle_alloc_error};
use crate::sync::shrunk;
use std::ptr::{self, NonNull};

const BLOCK: usize = shrunk(64 << 10, 512);

/// A free cell at home: its first word links it to the next.
#[repr(C)]
struct Free {
    next: *mut Free,
}

/// The free cells of one block.
struct Home {
    top: *mut Free,
    len: usize,
}

impl Home {
    const EMPTY: Self = Self { top: ptr::null_mut(), len: 0 };

    fn pop(&mut self) -> Option<NonNull<u8>> {
        let cell = NonNull::new(self.top)?;
        // SAFETY: a cell at home is free and linked.
        self.top = unsafe { cell.as_ref() }.next;
        self.len -= 1;
        Some(cell.cast())
    }

    fn push(&mut self, cell: *mut u8) {
        let cell = cell.cast::<Free>();
        // SAFETY: the cell is free, at least a word long, and aligned.
        unsafe { cell.write(Free { next: self.top }) };
        self.top = cell;
        self.len += 1;
    }
}

/// The blocks that cells of one size are cut from.
pub struct Blocks {
    size: usize,
    /// The blocks with cells at home or uncut.
    partial: Vec<NonNull<Block>>,
}

// SAFETY: the blocks' heads are touched only through this list, under the depot's lock.
unsafe impl Send for Blocks {}

/// A block's head; the cells follow. A block is aligned to its size, so that a cell's address
/// tells its block.
#[repr(C)]
struct Block {
    home: Home,
    cut: usize,
    /// Where `Blocks::partial` has it, `usize::MAX` if it does not.
    place: usize,
}

const NOWHERE: usize = usize::MAX;

impl Block {
    const LAYOUT: Layout = match Layout::from_size_align(BLOCK, BLOCK) {
        Ok(layout) => layout,
        Err(_) => panic!("a block's size is a power of two"),
    };

    fn of(cell: *mut u8) -> NonNull<Self> {
        let start = cell.map_addr(|address| address & !(BLOCK - 1));
        // SAFETY: a block is not at address zero.
        unsafe { NonNull::new_unchecked(start.cast()) }
    }

    const fn capacity(size: usize) -> usize {
        (BLOCK - size_of::<Self>()) / size
    }
}

impl Blocks {
    /// None yet.
    pub fn new(size: usize) -> Self {
        Self { size, partial: Vec::new() }
    }

    /// Fills an empty magazine.
    pub fn fill(&mut self, magazine: &mut Magazine) {
        while !magazine.is_full() {
            magazine.give(self.cell().as_ptr());
        }
    }

    /// A free cell.
    pub fn cell(&mut self) -> NonNull<u8> {
        loop {
            let block = self.partial.last().copied().unwrap_or_else(|| self.add_block());
            // SAFETY: blocks in the list are alive, and the lock makes this the only reference.
            let head = unsafe { &mut *block.as_ptr() };
            if let Some(cell) = head.home.pop() {
                return cell;
            }
            if head.cut < Block::capacity(self.size) {
                let offset = size_of::<Block>() + head.cut * self.size;
                head.cut += 1;
                let start = block.cast::<u8>();
                // SAFETY: the offset is within the block, by `capacity`.
                return unsafe { start.add(offset) };
            }
            head.place = NOWHERE;
            self.partial.pop();
        }
    }

    fn add_block(&mut self) -> NonNull<Block> {
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc(Block::LAYOUT) };
        let Some(block) = NonNull::new(memory.cast::<Block>()) else {
            handle_alloc_error(Block::LAYOUT)
        };
        // SAFETY: the memory is new, aligned, and larger than a head.
        unsafe {
            block.write(Block { home: Home::EMPTY, cut: 0, place: self.partial.len() });
        }
        self.partial.push(block);
        block
    }

    /// Puts the cells of a magazine back into their blocks.
    pub fn take_home(&mut self, magazine: &mut Magazine) {
        while let Some(cell) = magazine.take() {
            self.bring(cell.as_ptr());
        }
    }

    /// Puts a cell back into its block; a block that is whole is freed, but for one.
    pub fn bring(&mut self, cell: *mut u8) {
        let block = Block::of(cell);
        // SAFETY: a block lives while a cell of it is out, and the lock makes this the only reference.
        let head = unsafe { &mut *block.as_ptr() };
        head.home.push(cell);
        if head.place == NOWHERE {
            head.place = self.partial.len();
            self.partial.push(block);
        }
        if head.home.len == head.cut && self.partial.len() > 1 {
            self.remove(block);
        }
    }

    fn remove(&mut self, block: NonNull<Block>) {
        // SAFETY: as in `take_home`.
        let place = unsafe { block.as_ref() }.place;
        self.partial.swap_remove(place);
        if let Some(moved) = self.partial.get(place) {
            // SAFETY: as in `take_home`.
            unsafe { (*moved.as_ptr()).place = place };
        }
        // SAFETY: it came from `alloc` with this layout, and none of its cells is out.
        unsafe { dealloc(block.as_ptr().cast(), Block::LAYOUT) };
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // Only models come here: the depots of a process are never dropped.
        for block in self.partial.drain(..) {
            // SAFETY: it came from `alloc` with this layout; a model has given all cells back.
            unsafe { dealloc(block.as_ptr().cast(), Block::LAYOUT) };
        }
    }
}
