//! The cell of a task without a handle: its header and its closure.

use crate::base::cache;
use crate::base::task::{CellPtr, Header, Ran, VTable};
use crate::job::record::JobPtr;
use crate::unwind;
use std::mem::ManuallyDrop;

/// A cell without a handle: the header and the closure.
#[repr(C)]
struct Plain<F> {
    header: Header,
    task: ManuallyDrop<F>,
}

impl<F: FnOnce() + Send + 'static> Plain<F> {
    const VTABLE: VTable = VTable::of::<Self>(Self::run, Self::cancel);

    /// # Safety
    /// The cell must be a `Plain<F>` that the caller took from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract.
        let task = unsafe { Self::take(cell) };
        match unwind::halt(task) {
            Ok(()) => Ran::Completed,
            Err(payload) => Ran::Panicked(payload),
        }
    }

    /// # Safety
    /// As `run`.
    unsafe fn cancel(cell: CellPtr) {
        cell.job().count_cancelled();
        // SAFETY: by this function's contract.
        let task = unsafe { Self::take(cell) };
        unwind::drop_quietly(task);
    }

    /// Moves the closure out and frees the cell.
    ///
    /// # Safety
    /// As `run`.
    #[inline]
    unsafe fn take(cell: CellPtr) -> F {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract the cell is whole, and no other thread has it.
        let Plain { header: _, task } = unsafe { whole.read() };
        // SAFETY: its contents were moved out just now.
        unsafe { cache::free(whole) };
        ManuallyDrop::into_inner(task)
    }
}

/// The greatest size in bytes of a closure that lies in its cell. A larger closure is boxed. The worker calls the closure in
/// the box, so the captures are not copied to the worker's stack first.
const MOST_IN_CELL: usize = 4 << 10;

/// Returns true if a closure of the type `F` must be boxed.
pub const fn is_large<F>() -> bool {
    size_of::<F>() > MOST_IN_CELL
}

/// Makes the cell of a task without a handle.
#[inline]
pub fn plain<F: FnOnce() + Send + 'static>(job: JobPtr, task: F) -> CellPtr {
    if const { is_large::<F>() } {
        let task = Box::new(task);
        return plain_in_cell(job, task);
    }
    plain_in_cell(job, task)
}

#[inline]
fn plain_in_cell<F: FnOnce() + Send + 'static>(job: JobPtr, task: F) -> CellPtr {
    CellPtr::new(
        cache::make(Plain {
            header: Header::new(&Plain::<F>::VTABLE, job.opaque()),
            task: ManuallyDrop::new(task),
        })
        .cast(),
    )
}
