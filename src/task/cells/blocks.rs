//! Where cells come from: blocks of memory that one size is cut from, and that cells come home to.
//!
//! The allocator is asked for *regions* of one block or, as more are in use, of several side by side, up to four: to map
//! memory and to give it back costs a process with several threads an interrupt on each of its processors. A region
//! goes back when all its blocks are whole.

use super::ALIGN;
use super::magazine::Magazine;
use crate::sync::memory::{Layout, alloc, dealloc, handle_alloc_error};
use crate::sync::shrunk;
use std::ptr::NonNull;

const BLOCK: usize = shrunk(64 << 10, 512);
/// The most blocks of a region.
const REGION: usize = shrunk(4, 2);
/// A region is at most this part of the blocks in use.
const SHARE: usize = shrunk(8, 1);

/// A block's head. The places of the free cells follow, and then the cells: who takes cells out need not touch them, for they are
/// in no cache, and each would be waited for. A block is aligned to its size, so that a cell's address tells its block.
#[repr(C)]
struct Block {
    /// How many cells are at home.
    home: usize,
    /// How many were ever out.
    cut: usize,
    /// Where `Blocks::partial` has it, `NOWHERE` if it does not.
    place: usize,
    /// The first block of its region.
    first: NonNull<Block>,
    /// Of the first block alone: the region's.
    region: Region,
}

/// Blocks that came from the allocator together.
struct Region {
    len: usize,
    /// Those that cells were cut from.
    begun: usize,
    /// Those of them that have a cell out.
    out: usize,
}

const NOWHERE: usize = usize::MAX;

/// Where a cell lies in its block, in units of the alignment.
type Spot = u16;
/// A cache line.
const LINE: usize = shrunk(64, 8);
const _: () = assert!(BLOCK / ALIGN <= Spot::MAX as usize + 1);

impl Block {
    fn of(cell: *mut u8) -> NonNull<Self> {
        let start = cell.map_addr(|address| address & !(BLOCK - 1));
        // SAFETY: a block is not at address zero.
        unsafe { NonNull::new_unchecked(start.cast()) }
    }

    /// How many cells it has room for.
    const fn capacity(size: usize) -> usize {
        (BLOCK - size_of::<Self>() - LINE) / (size + size_of::<Spot>())
    }

    /// Where they begin: on a line of its own.
    const fn cells(size: usize) -> usize {
        (size_of::<Self>() + Self::capacity(size) * size_of::<Spot>()).next_multiple_of(LINE)
    }

    /// The entry of the list of free cells with this index.
    fn entry(block: NonNull<Self>, index: usize) -> NonNull<Spot> {
        // SAFETY: the list lies behind the head, and has room for all cells that a block has.
        unsafe { block.add(1).cast::<Spot>().add(index) }
    }

    #[inline]
    fn push_home(block: NonNull<Self>, cell: *mut u8) {
        let offset = cell.addr() & (BLOCK - 1);
        // SAFETY: as in `Blocks::cut`.
        let head = unsafe { &mut *block.as_ptr() };
        let entry = Self::entry(block, head.home);
        head.home += 1;
        // SAFETY: the entry is this block's, and its lock makes this the only access.
        unsafe { entry.write((offset / ALIGN) as Spot) };
    }

    #[inline]
    fn pop_home(block: NonNull<Self>) -> Option<NonNull<u8>> {
        // SAFETY: as in `Blocks::cut`.
        let head = unsafe { &mut *block.as_ptr() };
        head.home = head.home.checked_sub(1)?;
        // SAFETY: as in `push_home`, which has written it.
        let spot = unsafe { Self::entry(block, head.home).read() };
        // SAFETY: a cell of this block lies there.
        Some(unsafe { block.cast::<u8>().add(usize::from(spot) * ALIGN) })
    }

    /// All cells that were cut from it are at home.
    fn is_whole(&self) -> bool {
        self.home == self.cut
    }
}

impl Region {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len * BLOCK, BLOCK).expect("a region is a few blocks")
    }
}

/// The blocks that cells of one size are cut from.
pub struct Blocks {
    /// A cell's, in bytes.
    size: usize,
    /// How many a block has room for, and where they begin.
    capacity: usize,
    start: usize,
    /// The blocks with cells at home or uncut.
    partial: Vec<NonNull<Block>>,
    /// How many the allocator has given.
    len: usize,
    /// The first block of the region that is not begun to its end.
    fresh: Option<NonNull<Block>>,
}

// SAFETY: the blocks' heads are touched only through this list, under the depot's lock.
unsafe impl Send for Blocks {}

impl Blocks {
    /// None yet.
    pub fn new(size: usize) -> Self {
        let (capacity, start) = (Block::capacity(size), Block::cells(size));
        Self { size, capacity, start, partial: Vec::new(), len: 0, fresh: None }
    }

    /// Fills an empty magazine.
    pub fn fill(&mut self, magazine: &mut Magazine) {
        while !magazine.is_full() {
            self.cut(|cell| {
                let given = magazine.give(cell.as_ptr());
                debug_assert!(given, "it was not full");
                !magazine.is_full()
            });
        }
    }

    /// A free cell.
    pub fn cell(&mut self) -> NonNull<u8> {
        loop {
            let mut one = None;
            self.cut(|cell| {
                one = Some(cell);
                false
            });
            if let Some(cell) = one {
                return cell;
            }
        }
    }

    /// Hands out cells of one block while there are any and more are wanted.
    fn cut(&mut self, mut more: impl FnMut(NonNull<u8>) -> bool) {
        let block = self.partial.last().copied().unwrap_or_else(|| self.begin());
        // SAFETY: blocks in the list are alive, and the lock makes this the only reference.
        let head = unsafe { &mut *block.as_ptr() };
        if head.is_whole() {
            let mut first = head.first;
            // SAFETY: a block's region is alive; where the first block is this one, `head` is not used meanwhile.
            unsafe { first.as_mut() }.region.out += 1;
        }
        while let Some(cell) = Block::pop_home(block) {
            if !more(cell) {
                return;
            }
        }
        // SAFETY: as above.
        let head = unsafe { &mut *block.as_ptr() };
        // SAFETY: the offset is within the block, or its end, by `capacity`.
        let mut next = unsafe { block.cast::<u8>().add(self.start + head.cut * self.size) };
        for cut in head.cut..self.capacity {
            let cell = next;
            // SAFETY: as above.
            next = unsafe { next.add(self.size) };
            if !more(cell) {
                head.cut = cut + 1;
                return;
            }
        }
        head.cut = self.capacity;
        head.place = NOWHERE;
        self.partial.pop();
    }

    /// Begins a further block, of the region at hand or of a new one.
    fn begin(&mut self) -> NonNull<Block> {
        let first = self.fresh.unwrap_or_else(|| self.add_region());
        let region = {
            // SAFETY: the region is alive, and the lock makes this the only reference.
            let region = unsafe { &mut (*first.as_ptr()).region };
            region.begun += 1;
            Region { ..*region }
        };
        self.fresh = (region.begun < region.len).then_some(first);
        // SAFETY: the region has a block there.
        let block = unsafe { first.byte_add((region.begun - 1) * BLOCK) };
        let place = self.partial.len();
        self.partial.push(block);
        // SAFETY: the memory is the region's, aligned, and larger than a head.
        unsafe { block.write(Block { home: 0, cut: 0, place, first, region }) };
        block
    }

    fn add_region(&mut self) -> NonNull<Block> {
        let len = (self.len / SHARE).clamp(1, REGION);
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc(Region::layout(len)) };
        let Some(first) = NonNull::new(memory.cast::<Block>()) else {
            handle_alloc_error(Region::layout(len))
        };
        self.len += len;
        let region = Region { len, begun: 0, out: 0 };
        let (home, cut, place) = (0, 0, NOWHERE);
        // SAFETY: the memory is new, aligned, and larger than a head.
        unsafe { first.write(Block { home, cut, place, first, region }) };
        first
    }

    /// Puts the cells of a magazine back into their blocks.
    pub fn take_home(&mut self, magazine: &mut Magazine) {
        magazine.empty(|cell| self.bring(cell));
    }

    /// Puts a cell back into its block; a region whose blocks are whole is freed, unless there is no other.
    #[inline]
    pub fn bring(&mut self, cell: *mut u8) {
        let block = Block::of(cell);
        Block::push_home(block, cell);
        // SAFETY: a block lives while a cell of it is out, and the lock makes this the only reference.
        let head = unsafe { &mut *block.as_ptr() };
        if head.place == NOWHERE {
            head.place = self.partial.len();
            self.partial.push(block);
        }
        if head.is_whole() {
            self.made_whole(head.first);
        }
    }

    /// A further block of the region is whole.
    #[cold]
    fn made_whole(&mut self, first: NonNull<Block>) {
        let (begun, len) = {
            // SAFETY: as in `begin`.
            let region = unsafe { &mut (*first.as_ptr()).region };
            region.out -= 1;
            if region.out > 0 {
                return;
            }
            (region.begun, region.len)
        };
        if self.len == 1 {
            // The next task finds it.
            return;
        }
        for index in 0..begun {
            // SAFETY: the region has begun so many blocks.
            self.remove(unsafe { first.byte_add(index * BLOCK) });
        }
        self.fresh = self.fresh.filter(|fresh| *fresh != first);
        self.len -= len;
        // SAFETY: it came from `alloc` with this layout, and no cell of it is out.
        unsafe { dealloc(first.as_ptr().cast(), Region::layout(len)) };
    }

    /// Takes a block with cells at home off the list.
    fn remove(&mut self, block: NonNull<Block>) {
        // SAFETY: as in `cut`.
        let place = unsafe { block.as_ref() }.place;
        self.partial.swap_remove(place);
        if let Some(moved) = self.partial.get(place) {
            // SAFETY: as in `cut`.
            unsafe { (*moved.as_ptr()).place = place };
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // Only models come here: the depots of a process are never dropped. A model has given all cells back, so that
        // one region is left at most.
        let left = self.partial.pop().or(self.fresh);
        if let Some(block) = left {
            // SAFETY: the block is alive.
            let first = unsafe { block.as_ref() }.first;
            // SAFETY: as above.
            let len = unsafe { first.as_ref() }.region.len;
            // SAFETY: it came from `alloc` with this layout, and no cell of it is out.
            unsafe { dealloc(first.as_ptr().cast(), Region::layout(len)) };
        }
    }
}
