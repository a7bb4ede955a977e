//! Slabs: blocks of 64 KiB of memory, in which cells lie. All cells in a slab have the same size. A freed cell returns to its
//! slab, or to a magazine.
//!
//! The allocator provides slabs in *groups* of one to four neighbours; the more slabs exist, the larger is a new group. Groups
//! keep system calls rare: a call that maps or unmaps memory interrupts each processor that runs a thread of the process. A
//! group goes back to the allocator when no cell of its slabs is in use or in a magazine.

use super::ALIGN;
use super::magazine::Magazine;
use crate::sync::memory::{Layout, alloc, dealloc, handle_alloc_error};
use crate::sync::shrunk;
use std::ptr::NonNull;

/// The size of a slab in bytes, and its alignment.
pub const SLAB: usize = shrunk(64 << 10, 512);
/// The greatest number of slabs in a group.
const GROUP: usize = shrunk(4, 2);
/// A new group has one slab for each `SHARE` slabs that exist, but at least one slab and at most `GROUP` slabs.
const SHARE: usize = shrunk(8, 1);

/// The head of a slab. The slab's list of free cells lies behind the head, and the cells lie behind that list.
///
/// The list of a slab's free cells is an array of indices, not a chain through the cells. So a thread that takes a free cell
/// touches no other cell's cache line. A slab is aligned to its size, so the address of a cell shows which slab the cell lies
/// in.
#[repr(C)]
struct Slab {
    /// The number of this slab's cells that were taken at least once, and are free in the slab now.
    free: usize,
    /// The number of this slab's cells that were taken at least once.
    carved: usize,
    /// The index of this slab in `Slabs::partial`, or `UNLISTED` if it is not in that list.
    listed_at: usize,
    /// The first slab of this slab's group.
    first: NonNull<Slab>,
    /// The state of this slab's group. Only the first slab of a group keeps this field up to date.
    group: SlabGroup,
}

/// The state of a group: slabs that came from the allocator in one allocation.
struct SlabGroup {
    /// The number of slabs in the group.
    len: usize,
    /// How many of the group's slabs have a head that was written. Cells can be taken only from these slabs.
    started: usize,
    /// The number of slabs of the group that have a cell in use or in a magazine.
    in_use: usize,
}

const UNLISTED: usize = usize::MAX;

/// The offset of a cell in its slab, in units of `ALIGN`.
type Index = u16;
/// The size of a cache line in bytes.
const LINE: usize = shrunk(64, 8);
const _: () = assert!(SLAB / ALIGN <= Index::MAX as usize + 1);

impl Slab {
    /// Returns the slab that this cell lies in.
    fn of(cell: *mut u8) -> NonNull<Self> {
        let start = cell.map_addr(|address| address & !(SLAB - 1));
        // SAFETY: a slab is not at address zero.
        unsafe { NonNull::new_unchecked(start.cast()) }
    }

    /// Returns the number of cells of `size` bytes that fit in a slab.
    const fn capacity(size: usize) -> usize {
        (SLAB - size_of::<Self>() - LINE) / (size + size_of::<Index>())
    }

    /// Returns the offset of a slab's first cell in bytes. The first cell starts a cache line.
    const fn cells(size: usize) -> usize {
        (size_of::<Self>() + Self::capacity(size) * size_of::<Index>()).next_multiple_of(LINE)
    }

    /// Returns a pointer to the element at `position` of the list of the slab's free cells.
    fn free_index(slab: NonNull<Self>, position: usize) -> NonNull<Index> {
        // SAFETY: the list lies right after the head, and has room for the index of each cell.
        unsafe { slab.add(1).cast::<Index>().add(position) }
    }

    /// Adds a cell to the slab's list of free cells.
    #[inline]
    fn push_free(slab: NonNull<Self>, cell: *mut u8) {
        let offset = cell.addr() & (SLAB - 1);
        // SAFETY: the slab is allocated, and the depot's lock makes this the only reference.
        let head = unsafe { &mut *slab.as_ptr() };
        let at = Self::free_index(slab, head.free);
        head.free += 1;
        // SAFETY: the index is in this slab, and the depot's lock makes this the only access.
        unsafe { at.write((offset / ALIGN) as Index) };
    }

    /// Takes a cell from the slab's list of free cells. Returns `None` if the list is empty.
    #[inline]
    fn pop_free(slab: NonNull<Self>) -> Option<NonNull<u8>> {
        // SAFETY: the slab is allocated, and the depot's lock makes this the only reference.
        let head = unsafe { &mut *slab.as_ptr() };
        head.free = head.free.checked_sub(1)?;
        // SAFETY: the index is in this slab, and `push_free` has written it.
        let index = unsafe { Self::free_index(slab, head.free).read() };
        // SAFETY: `push_free` took the index from a cell of this slab.
        Some(unsafe { slab.cast::<u8>().add(usize::from(index) * ALIGN) })
    }

    /// Returns true if no cell of this slab is in use or in a magazine.
    fn is_unused(&self) -> bool {
        self.free == self.carved
    }
}

impl SlabGroup {
    /// Returns the layout of a group of `len` slabs.
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len * SLAB, SLAB).expect("a group is a few slabs")
    }
}

/// The slabs of one size class.
pub struct Slabs {
    /// The size of a cell in bytes.
    size: usize,
    /// The number of cells that a slab has room for.
    capacity: usize,
    /// The offset of a slab's first cell in bytes.
    start: usize,
    /// The slabs from which a cell can be taken now.
    partial: Vec<NonNull<Slab>>,
    /// The number of slabs that the allocator has provided.
    len: usize,
    /// The first slab of the newest group, if that group has a slab whose head was not written yet. Otherwise `None`.
    fresh: Option<NonNull<Slab>>,
}

// SAFETY: the heads of the slabs are accessed only through this value, under the depot's lock.
unsafe impl Send for Slabs {}

impl Slabs {
    /// Makes an empty list of slabs for cells of `size` bytes.
    pub fn new(size: usize) -> Self {
        let (capacity, start) = (Slab::capacity(size), Slab::cells(size));
        Self { size, capacity, start, partial: Vec::new(), len: 0, fresh: None }
    }

    /// Fills an empty magazine with free cells.
    pub fn fill(&mut self, magazine: &mut Magazine) {
        while !magazine.is_full() {
            self.take_from_slab(|cell| {
                let given = magazine.give(cell.as_ptr());
                debug_assert!(given, "it was not full");
                !magazine.is_full()
            });
        }
    }

    /// Takes a free cell.
    pub fn take(&mut self) -> NonNull<u8> {
        loop {
            let mut one = None;
            self.take_from_slab(|cell| {
                one = Some(cell);
                false
            });
            if let Some(cell) = one {
                return cell;
            }
        }
    }

    /// Takes free cells from one slab and passes each to `more`, until `more` returns false or the slab has no further cell.
    fn take_from_slab(&mut self, mut more: impl FnMut(NonNull<u8>) -> bool) {
        let slab = self.partial.last().copied().unwrap_or_else(|| self.start_slab());
        // SAFETY: slabs in the list are allocated, and the depot's lock makes this the only reference.
        let head = unsafe { &mut *slab.as_ptr() };
        if head.is_unused() {
            let mut first = head.first;
            // SAFETY: the group of a slab is allocated. If `first` is this slab, `head` is not used meanwhile.
            unsafe { first.as_mut() }.group.in_use += 1;
        }
        while let Some(cell) = Slab::pop_free(slab) {
            if !more(cell) {
                return;
            }
        }
        // SAFETY: the slab is allocated, and the depot's lock makes this the only reference.
        let head = unsafe { &mut *slab.as_ptr() };
        // SAFETY: by `capacity` the offset is at most the slab's size.
        let mut next = unsafe { slab.cast::<u8>().add(self.start + head.carved * self.size) };
        for carved in head.carved..self.capacity {
            let cell = next;
            // SAFETY: by `capacity` the offset is at most the slab's size.
            next = unsafe { next.add(self.size) };
            if !more(cell) {
                head.carved = carved + 1;
                return;
            }
        }
        head.carved = self.capacity;
        head.listed_at = UNLISTED;
        self.partial.pop();
    }

    /// Writes the head of the next slab of the newest group, and returns that slab. If the heads of all slabs of the newest
    /// group were written, first allocates a new group.
    fn start_slab(&mut self) -> NonNull<Slab> {
        let first = self.fresh.unwrap_or_else(|| self.add_group());
        let group = {
            // SAFETY: the group is allocated, and the depot's lock makes this the only reference.
            let group = unsafe { &mut (*first.as_ptr()).group };
            group.started += 1;
            SlabGroup { ..*group }
        };
        self.fresh = (group.started < group.len).then_some(first);
        // SAFETY: the group has `len` slabs, and `started` is at most that.
        let slab = unsafe { first.byte_add((group.started - 1) * SLAB) };
        let listed_at = self.partial.len();
        self.partial.push(slab);
        // SAFETY: the memory belongs to the group, is aligned, and is larger than a head.
        unsafe { slab.write(Slab { free: 0, carved: 0, listed_at, first, group }) };
        slab
    }

    /// Allocates a group and writes the head of its first slab.
    fn add_group(&mut self) -> NonNull<Slab> {
        let len = (self.len / SHARE).clamp(1, GROUP);
        // SAFETY: the size of the layout is not zero.
        let memory = unsafe { alloc(SlabGroup::layout(len)) };
        let Some(first) = NonNull::new(memory.cast::<Slab>()) else {
            handle_alloc_error(SlabGroup::layout(len))
        };
        self.len += len;
        let group = SlabGroup { len, started: 0, in_use: 0 };
        let (free, carved, listed_at) = (0, 0, UNLISTED);
        // SAFETY: the memory is new, aligned, and larger than a head.
        unsafe { first.write(Slab { free, carved, listed_at, first, group }) };
        first
    }

    /// Returns the cells of a magazine to their slabs. The magazine is empty afterwards.
    pub fn take_back_all(&mut self, magazine: &mut Magazine) {
        magazine.empty(|cell| self.take_back(cell));
    }

    /// Returns a cell to its slab. If all cells of the slab's group are then free in their slabs, frees the group.
    #[inline]
    pub fn take_back(&mut self, cell: *mut u8) {
        let slab = Slab::of(cell);
        Slab::push_free(slab, cell);
        // SAFETY: the cell was in use, so its slab is allocated; the depot's lock makes this the only reference.
        let head = unsafe { &mut *slab.as_ptr() };
        if head.listed_at == UNLISTED {
            head.listed_at = self.partial.len();
            self.partial.push(slab);
        }
        if head.is_unused() {
            self.slab_is_unused(head.first);
        }
    }

    /// Returns true if no cell of any slab is in use. Only models call this function.
    #[cfg(tollgate_loom)]
    pub fn none_in_use(&self) -> bool {
        match self.partial[..] {
            [] => self.len == 0,
            // SAFETY: the slab is in the list, so it is allocated, and the depot's lock makes this the only reference.
            [slab] => self.len == 1 && unsafe { slab.as_ref() }.is_unused(),
            _ => false,
        }
    }

    /// Notes that all cells of a slab are free in the slab now. `first` is the first slab of that slab's group. If this is so for
    /// each slab of the group, frees the group, unless the group is the only slab of this cell size.
    #[cold]
    fn slab_is_unused(&mut self, first: NonNull<Slab>) {
        let (started, len) = {
            // SAFETY: the group is allocated, and the depot's lock makes this the only reference.
            let group = unsafe { &mut (*first.as_ptr()).group };
            group.in_use -= 1;
            if group.in_use > 0 {
                return;
            }
            (group.started, group.len)
        };
        if self.len == 1 {
            // The process's only slab for cells of this size is not freed, because the next task will need it.
            return;
        }
        for index in 0..started {
            // SAFETY: `index` is less than the number of slabs that the group has started.
            self.remove(unsafe { first.byte_add(index * SLAB) });
        }
        self.fresh = self.fresh.filter(|fresh| *fresh != first);
        self.len -= len;
        // SAFETY: the group came from `alloc` with this layout, and all its cells are free.
        unsafe { dealloc(first.as_ptr().cast(), SlabGroup::layout(len)) };
    }

    /// Removes a slab from the list `partial`. The slab must be in that list.
    fn remove(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the slab is in the list, so it is allocated, and the depot's lock makes this the only reference.
        let listed_at = unsafe { slab.as_ref() }.listed_at;
        self.partial.swap_remove(listed_at);
        if let Some(moved) = self.partial.get(listed_at) {
            // SAFETY: the slab is in the list, so it is allocated, and the depot's lock makes this the only reference.
            unsafe { (*moved.as_ptr()).listed_at = listed_at };
        }
    }
}

impl Drop for Slabs {
    fn drop(&mut self) {
        // Only models drop the slabs: the depots of a process are never dropped. At the end of a model all cells are free, so
        // at most one group is left.
        let left = self.partial.pop().or(self.fresh);
        if let Some(slab) = left {
            // SAFETY: the slabs in `partial` are allocated, and so is the slab in `fresh`.
            let first = unsafe { slab.as_ref() }.first;
            // SAFETY: the first slab of a group is allocated as long as the group.
            let len = unsafe { first.as_ref() }.group.len;
            // SAFETY: the group came from `alloc` with this layout, and all its cells are free.
            unsafe { dealloc(first.as_ptr().cast(), SlabGroup::layout(len)) };
        }
    }
}
