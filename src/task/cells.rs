//! The pool of cells: memory for tasks and for job records, recycled between threads.
//!
//! A thread keeps up to two *magazines* of free cells and exchanges them whole with the *depot*,
//! so that a cell costs a few nanoseconds even where one thread makes and another frees. What the
//! depot holds beyond a small reserve goes home to its block, and a block that is whole again goes
//! back to the allocator: a burst gives its memory back.
//!
//! | step             | when                            | waits for whom                        |
//! |------------------|---------------------------------|---------------------------------------|
//! | own magazine     | nearly always                   | nobody                                |
//! | depot            | once per magazine               | nobody                                |
//! | blocks           | the depot is empty, or too full | the thread inside, 64 cells at a time |
//!
//! There are two sizes; what is larger or needs more alignment has an allocation of its own.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::deque::{Injector, Steal};
use crate::sync::memory::{Layout, alloc, dealloc, handle_alloc_error};
use crate::sync::{Mutex, fault, global, shrunk, thread_static};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The size of a small cell: header, state and 24 bytes of captures.
pub const SMALL: usize = 56;
/// The size of a large cell; a job record is one, too.
pub const LARGE: usize = 112;

const ALIGN: usize = 8;
const MAGAZINE: usize = shrunk(64, 2);
/// Full magazines that the depot keeps before cells go home.
const RESERVE: usize = shrunk(64, 1);
const BLOCK: usize = shrunk(64 << 10, 512);

/// Which size a type is kept in; `None` is neither.
const fn class_of<T>() -> Option<usize> {
    if cfg!(any(tollgate_loom, tollgate_plain_cells)) {
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

/// A free cell: its first word links it to the next.
#[repr(C)]
struct Free {
    next: *mut Free,
}

/// A list of free cells.
#[derive(Clone, Copy)]
struct Magazine {
    top: *mut Free,
    len: usize,
}

// SAFETY: the cells of a magazine belong to whoever holds it.
unsafe impl Send for Magazine {}

impl Magazine {
    const EMPTY: Self = Self { top: ptr::null_mut(), len: 0 };

    #[inline]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        let cell = NonNull::new(self.top)?;
        // SAFETY: a cell in a magazine is free and linked.
        self.top = unsafe { cell.as_ref() }.next;
        self.len -= 1;
        Some(cell.cast())
    }

    #[inline]
    fn push(&mut self, cell: *mut u8) {
        let cell = cell.cast::<Free>();
        // SAFETY: the cell is free, at least a word long, and aligned.
        unsafe { cell.write(Free { next: self.top }) };
        self.top = cell;
        self.len += 1;
    }
}

/// A thread's magazines of one size.
struct Rack {
    active: Cell<Magazine>,
    full: Cell<Magazine>,
}

struct Racks([Rack; 2]);

impl Rack {
    const fn new() -> Self {
        Self { active: Cell::new(Magazine::EMPTY), full: Cell::new(Magazine::EMPTY) }
    }
}

impl Racks {
    /// Brings all cells home.
    fn clear(&self) {
        for (class, rack) in self.0.iter().enumerate() {
            for magazine in [&rack.active, &rack.full] {
                let magazine = magazine.replace(Magazine::EMPTY);
                if magazine.len > 0 {
                    depots()[class].blocks().take_home(magazine);
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
    RACKS
        .try_with(|racks| {
            let rack = &racks.0[class];
            let mut active = rack.active.get();
            let cell = active.pop().unwrap_or_else(|| {
                active = rack.full.replace(Magazine::EMPTY);
                active.pop().unwrap_or_else(|| {
                    active = depots()[class].exchange_empty();
                    active.pop().expect("a magazine from the depot has cells")
                })
            });
            rack.active.set(active);
            cell
        })
        .unwrap_or_else(|_| {
            // The thread is ending and its magazines are gone.
            let mut magazine = depots()[class].blocks().fill(1);
            magazine.pop().expect("a filled magazine has cells")
        })
}

/// Takes a cell back that nobody uses any more.
#[inline]
pub fn give(class: usize, cell: *mut u8) {
    let given = RACKS.try_with(|racks| {
        let rack = &racks.0[class];
        let mut active = rack.active.get();
        active.push(cell);
        if active.len >= MAGAZINE {
            let full = rack.full.replace(active);
            if !fault("magazine-given-and-kept") {
                active = Magazine::EMPTY;
            }
            if full.len > 0 {
                depots()[class].exchange_full(full);
            }
        }
        rack.active.set(active);
    });
    if given.is_err() {
        let mut magazine = Magazine::EMPTY;
        magazine.push(cell);
        depots()[class].blocks().take_home(magazine);
    }
}

/// Where threads exchange magazines of one size.
struct Depot {
    full: Injector<Magazine>,
    /// About how many magazines `full` holds.
    len: AtomicUsize,
    blocks: Mutex<Blocks>,
}

global! {
    /// A depot per size.
    fn depots() -> [Depot; 2] { [Depot::new(SMALL), Depot::new(LARGE)] }
}

impl Depot {
    fn new(size: usize) -> Self {
        Self {
            full: Injector::new(),
            len: AtomicUsize::new(0),
            blocks: Mutex::new(Blocks { size, partial: Vec::new() }),
        }
    }

    fn blocks(&self) -> crate::sync::MutexGuard<'_, Blocks> {
        // Nothing under the lock can panic but an allocation, before anything was changed.
        self.blocks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cold]
    fn exchange_empty(&self) -> Magazine {
        loop {
            match self.full.steal() {
                Steal::Success(magazine) => {
                    // Ordering: Relaxed; an estimate.
                    self.len.fetch_sub(1, Ordering::Relaxed);
                    return magazine;
                }
                Steal::Empty => return self.blocks().fill(MAGAZINE),
                Steal::Retry => crate::sync::spin_loop(),
            }
        }
    }

    #[cold]
    fn exchange_full(&self, magazine: Magazine) {
        // Ordering: Relaxed; an estimate.
        if self.len.fetch_add(1, Ordering::Relaxed) < RESERVE {
            self.full.push(magazine);
        } else {
            self.len.fetch_sub(1, Ordering::Relaxed);
            self.blocks().take_home(magazine);
        }
    }
}

/// The blocks that cells of one size are cut from.
struct Blocks {
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
    home: Magazine,
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

    fn of(cell: NonNull<u8>) -> NonNull<Self> {
        let start = cell.as_ptr().map_addr(|address| address & !(BLOCK - 1));
        // SAFETY: a block is not at address zero.
        unsafe { NonNull::new_unchecked(start.cast()) }
    }

    const fn capacity(size: usize) -> usize {
        (BLOCK - size_of::<Self>()) / size
    }
}

impl Blocks {
    /// A magazine of `count` cells.
    fn fill(&mut self, count: usize) -> Magazine {
        let mut magazine = Magazine::EMPTY;
        while magazine.len < count {
            let block = self.partial.last().copied().unwrap_or_else(|| self.add_block());
            // SAFETY: blocks in the list are alive, and the lock makes this the only reference.
            let head = unsafe { &mut *block.as_ptr() };
            while magazine.len < count {
                if let Some(cell) = head.home.pop() {
                    magazine.push(cell.as_ptr());
                } else if head.cut < Block::capacity(self.size) {
                    let offset = size_of::<Block>() + head.cut * self.size;
                    head.cut += 1;
                    // SAFETY: the offset is within the block, by `capacity`.
                    magazine.push(unsafe { block.as_ptr().cast::<u8>().add(offset) });
                } else {
                    head.place = NOWHERE;
                    self.partial.pop();
                    break;
                }
            }
        }
        magazine
    }

    fn add_block(&mut self) -> NonNull<Block> {
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc(Block::LAYOUT) };
        let Some(block) = NonNull::new(memory.cast::<Block>()) else {
            handle_alloc_error(Block::LAYOUT)
        };
        // SAFETY: the memory is new, aligned, and larger than a head.
        unsafe {
            block.write(Block { home: Magazine::EMPTY, cut: 0, place: self.partial.len() });
        }
        self.partial.push(block);
        block
    }

    /// Puts the cells of a magazine back into their blocks; a block that is whole is freed, but
    /// for one.
    fn take_home(&mut self, mut magazine: Magazine) {
        while let Some(cell) = magazine.pop() {
            let block = Block::of(cell);
            // SAFETY: a block lives while a cell of it is out, and the lock makes this the only
            // reference.
            let head = unsafe { &mut *block.as_ptr() };
            head.home.push(cell.as_ptr());
            if head.place == NOWHERE {
                head.place = self.partial.len();
                self.partial.push(block);
            }
            if head.home.len == head.cut && self.partial.len() > 1 {
                self.remove(block);
            }
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
