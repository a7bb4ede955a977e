//! The header of a cell. A cell is a block of memory with a header and the task's closure. The cell of a task with a handle
//! also has the task's state and its result.
//!
//! Queues hold pointers to headers. The header's vtable knows the type of the whole cell.

use crate::base::cache;
use crate::sync;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// The first fields of each cell, whatever the type of its closure.
#[repr(C)]
#[derive(Debug)]
pub struct Header {
    pub(crate) vtable: &'static VTable,
    /// The job that the task belongs to.
    pub job: OpaqueJob,
    /// The next cell of the queue or list that this cell is in. While this cell is in a deque, the field holds its [`Mark`].
    pub next: AtomicPtr<Header>,
}

/// A pointer to a job's record. Modules below `job` only compare the pointer. The second field makes each type that contains an
/// `OpaqueJob` not unwind safe, because a record can change behind a shared reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpaqueJob(NonNull<()>, PhantomData<UnsafeCell<()>>);

// SAFETY: this type only has the address, and the module `job` may use a record on any thread.
unsafe impl Send for OpaqueJob {}
// SAFETY: as for `Send`.
unsafe impl Sync for OpaqueJob {}

impl OpaqueJob {
    /// Makes the opaque pointer of a job.
    ///
    /// # Safety
    /// `record` must point to the record of a job.
    #[inline]
    pub unsafe fn new(record: NonNull<()>) -> Self {
        Self(record, PhantomData)
    }

    /// Returns the pointer to the record.
    #[inline]
    pub fn record(self) -> NonNull<()> {
        self.0
    }
}

/// The functions of a cell, for the type of its closure.
#[derive(Debug)]
pub struct VTable {
    /// Runs the task, and gives up the queue's reference to the cell.
    pub(crate) run: unsafe fn(CellPtr) -> Ran,
    /// If the task has not run, drops the task, and counts and reports it as cancelled. In each case gives up the queue's
    /// reference to the cell.
    pub(crate) cancel: unsafe fn(CellPtr),
    /// Returns true if the task's handle has cancelled or run the task while the cell was in a queue.
    pub(crate) is_gone: unsafe fn(CellPtr) -> bool,
    /// Returns true if the task has begun, was cancelled by its handle, or runs inside the task that joins it.
    pub(crate) is_claimed: unsafe fn(CellPtr) -> bool,
    /// Frees the memory of an empty cell.
    pub(crate) free: unsafe fn(CellPtr),
    /// Returns the task's name. The field is `None` if tasks of this type have no name.
    pub(crate) name: Option<unsafe fn(CellPtr) -> NonNull<str>>,
    /// Notes that [`Job::clear`](crate::Job::clear) drops the task, so that no join runs the task inline any more. The field is
    /// `None` if a clear does not drop tasks of this type.
    pub(crate) clear: Option<unsafe fn(CellPtr)>,
    /// The further functions of a waiter's cell. A waiter is a thread or future that waits for a permit.
    pub(crate) waiter: Option<&'static WaiterTable>,
    /// The further functions of a future's cell.
    #[cfg(feature = "futures")]
    pub(crate) future: Option<&'static FutureTable>,
}

/// The functions for the thread that takes a waiter's cell from a queue, and decides the waiter's outcome.
#[derive(Debug)]
pub struct WaiterTable {
    /// Grants the waiter the caller's permits, one busy count and one flight. Returns false if the waiter was dropped before:
    /// then the caller keeps all of these.
    pub(crate) grant: unsafe fn(CellPtr) -> bool,
    /// Wakes the waiter. The waiter's outcome must be decided.
    pub(crate) notify: unsafe fn(CellPtr),
}

/// The functions of a pending future's cell, for the thread that cancels the future.
#[cfg(feature = "futures")]
#[derive(Debug)]
pub struct FutureTable {
    /// Cancels the future. Returns `None` if the caller must do nothing more: the future has ended, or a worker will drop it. If
    /// the function returns a flag, no queue has the cell, and the caller must call `queue` with that flag.
    pub(crate) cancel: unsafe fn(CellPtr) -> Option<bool>,
    /// Puts a cancelled future into a deque or the injector, so that a worker drops it. The flag must be true if the future
    /// waits without a permit.
    pub(crate) queue: unsafe fn(CellPtr, bool),
    /// Returns true if the future waits without a permit, and was not woken.
    pub(crate) waits_without_permit: unsafe fn(CellPtr) -> bool,
}

impl VTable {
    /// Makes the table for cells of the type `C`, with the fields of a task without a handle. `run` and `cancel` must be the
    /// functions for cells of that type.
    pub(crate) const fn of<C>(run: unsafe fn(CellPtr) -> Ran, cancel: unsafe fn(CellPtr)) -> Self {
        Self {
            run,
            cancel,
            is_gone: |_| false,
            is_claimed: |_| false,
            // SAFETY: by the caller's contract the cell is a `C` that nothing uses any more.
            free: |cell| unsafe { cache::free(cell.cast::<C>().as_ptr()) },
            name: None,
            clear: Some(|_| ()),
            waiter: None,
            #[cfg(feature = "futures")]
            future: None,
        }
    }
}

/// How the run of a cell ended.
#[must_use]
#[derive(Debug)]
pub enum Ran {
    /// The task returned, and the worker must count it.
    Completed,
    /// The worker must count nothing: the run has counted the task already, or the task will be tried again.
    Counted,
    /// The task panicked with this payload, and has no handle.
    Panicked(Box<dyn Any + Send>),
    /// The task did not run, because its handle had cancelled it or its deadline had come. The run has counted the task already.
    Cancelled,
    /// The task is a pending future, or a waiter that was granted its permits. The future or waiter keeps the permits and one
    /// busy count of its job. The worker has a further busy count, from
    /// [`Context::keep_job`](crate::worker::context::Context::keep_job).
    Pending,
    /// The task is a pending future that waits for a task or a job of this library. The future keeps one busy count of its job,
    /// and no permit.
    #[cfg(feature = "futures")]
    Waits,
}

/// What the task of a cell in a deque has: a reservation, its permits, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Mark {
    /// The task holds neither a reservation nor a permit. The task must acquire a permit, or run under a permit that the worker
    /// holds for the task's job.
    Loose = 0,
    /// The task has a reservation at each gate: the words of its job and of each ancestor count it as ready.
    Ready = 1,
    /// The task is a future that was pending, and has its permits.
    Admitted = 2,
    /// The cell is a sweep, which is no task. The worker that takes the sweep drops the tasks in the queue of a cancelled job.
    Sweep = 3,
    /// The task was cancelled and has one busy count of its job. The worker that takes the task drops it.
    ToDrop = 4,
    /// The task has its permits, and has not started. The worker that takes the task must check whether the task is allowed to
    /// begin.
    Handed = 5,
}

/// A pointer to a cell. The owner of the cell is the queue in which it lies, or the thread that took it out of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellPtr(NonNull<Header>);

// SAFETY: a cell's closure is Send, and a cell has one owner at a time: a queue or a thread.
unsafe impl Send for CellPtr {}

impl CellPtr {
    /// Makes the pointer to a new cell.
    #[inline]
    pub fn new(cell: NonNull<Header>) -> Self {
        Self(cell)
    }

    /// Makes the pointer to a cell, or returns `None` if `cell` is null.
    #[inline]
    pub fn from_ptr(cell: *mut Header) -> Option<Self> {
        NonNull::new(cell).map(Self)
    }

    /// Returns the raw pointer to the cell's header.
    #[inline]
    pub fn as_ptr(self) -> *mut Header {
        self.0.as_ptr()
    }

    /// Returns the cell's header. The cell must not be freed meanwhile: it lies in a queue, or the caller has a reference to
    /// it.
    #[inline]
    pub fn header(&self) -> &Header {
        // SAFETY: the queue that has the cell, or the thread that took it out, keeps it alive.
        unsafe { self.0.as_ref() }
    }

    /// Returns a pointer to the whole cell, which must be of the type `C`.
    #[inline]
    pub fn cast<C>(self) -> NonNull<C> {
        self.0.cast()
    }

    /// Sets the mark of a cell before it goes into a deque.
    #[inline]
    pub fn set_mark(self, mark: Mark) {
        // Ordering: Relaxed; the deque publishes the mark with the pointer.
        self.header().next.store(ptr::without_provenance_mut(mark as usize), Ordering::Relaxed);
    }

    /// Returns the mark of a cell that came out of a deque.
    #[inline]
    pub fn mark(self) -> Mark {
        // Ordering: Relaxed; the deque publishes the mark with the pointer.
        match self.header().next.load(Ordering::Relaxed).addr() {
            0 => Mark::Loose,
            1 => Mark::Ready,
            2 => Mark::Admitted,
            3 => Mark::Sweep,
            4 => Mark::ToDrop,
            _ => Mark::Handed,
        }
    }

    /// Runs the task in the cell. The caller must not use the cell afterwards.
    #[inline]
    pub fn run(self) -> Ran {
        // SAFETY: the vtable is of the cell's type, and the caller took the cell from its queue.
        unsafe { (self.header().vtable.run)(self) }
    }

    /// Returns true if the task's handle has cancelled or run the task, so that this cell is empty. The cell must be in a
    /// queue.
    pub fn is_gone(self) -> bool {
        // SAFETY: the vtable is of the cell's type, and the cell is alive.
        unsafe { (self.header().vtable.is_gone)(self) }
    }

    /// Returns true if a worker that runs this cell would start no task. The cell's task has begun, was cancelled by its handle,
    /// or runs inside the task that joins it.
    pub fn is_claimed(self) -> bool {
        // SAFETY: the vtable is of the cell's type, and the cell is alive.
        unsafe { (self.header().vtable.is_claimed)(self) }
    }

    /// Returns the task's name, if the task has one. The name lasts as long as the cell.
    pub fn name(self) -> Option<NonNull<str>> {
        // SAFETY: the vtable is of the cell's type, and the cell is alive.
        self.header().vtable.name.map(|name| unsafe { name(self) })
    }

    /// Returns true if [`Job::clear`](crate::Job::clear) drops this cell, because its task has not started or because the cell is
    /// empty. Returns false for the cell of a waiter that still waits, and for the cell of a puller. The cell must be in a queue.
    pub fn clears(self) -> bool {
        self.is_gone() || (self.header().vtable.clear.is_some() && !self.is_claimed())
    }

    /// Notes that [`Job::clear`](crate::Job::clear) drops this cell. The cell must be in a queue.
    pub fn note_cleared(self) {
        if let Some(note) = self.header().vtable.clear {
            // SAFETY: the vtable is of the cell's type, and the queue's reference keeps the cell alive.
            unsafe { note(self) };
        }
    }

    /// Returns true if this is the cell of a waiter: a thread or future that waits for a permit.
    #[inline]
    pub fn is_waiter(self) -> bool {
        self.header().vtable.waiter.is_some()
    }

    /// Returns the further functions of a waiter's cell. The cell must be a waiter's.
    fn waiter(self) -> &'static WaiterTable {
        self.header().vtable.waiter.expect("it is a waiter's cell")
    }

    /// Gives a waiter the caller's permits, one busy count and one flight. If the waiter was dropped before, returns false, and
    /// the caller keeps all of these. The caller must not use the cell afterwards.
    pub fn grant(self) -> bool {
        // SAFETY: the table is of the cell's type, and the caller took the cell from its queue.
        unsafe { (self.waiter().grant)(self) }
    }

    /// Wakes a waiter. The waiter's outcome must be decided. The caller must not use the cell afterwards.
    pub(super) fn notify(self) {
        // SAFETY: as in `run`; `later` received the cell from the thread that decided the outcome.
        unsafe { (self.waiter().notify)(self) }
    }

    /// Cancels a pending future. Returns `None` if the caller must do nothing more: a worker will drop the future. If the call
    /// returns a flag, the caller must pass it to [`queue_cancelled`](Self::queue_cancelled). The caller must make sure that the
    /// future does not end meanwhile.
    #[cfg(feature = "futures")]
    #[must_use]
    pub fn cancel_pending(self) -> Option<bool> {
        // SAFETY: as in `run`; the future does not end meanwhile, so its cell is alive.
        unsafe { (self.future().cancel)(self) }
    }

    /// Puts a future that the caller has cancelled into a deque or the injector, so that a worker drops it. `without_permit` is
    /// the result of [`cancel_pending`](Self::cancel_pending). The caller must not use the cell afterwards.
    #[cfg(feature = "futures")]
    pub fn queue_cancelled(self, without_permit: bool) {
        // SAFETY: as in `run`; the caller's cancel has given the cell to the caller.
        unsafe { (self.future().queue)(self, without_permit) }
    }

    /// Returns true if a pending future waits without a permit, and was not woken. The caller must make sure that the future
    /// does not end meanwhile.
    #[cfg(feature = "futures")]
    pub fn waits_without_permit(self) -> bool {
        // SAFETY: as in `cancel_pending`.
        unsafe { (self.future().waits_without_permit)(self) }
    }

    /// Returns the further functions of a future's cell. The cell must be a future's.
    #[cfg(feature = "futures")]
    fn future(self) -> &'static FutureTable {
        self.header().vtable.future.expect("it is a future's cell")
    }

    /// Drops the task without running it, counts it, and reports it as cancelled. The caller must not use the cell afterwards.
    #[inline]
    pub fn cancel(self) {
        // SAFETY: the vtable is of the cell's type, and the caller took the cell from its queue.
        unsafe { (self.header().vtable.cancel)(self) }
    }
}

/// The cell of a sweep.
#[repr(C)]
struct Sweep {
    header: Header,
    /// The tasks that a clear drops. The last element is dropped first. Only the thread that took the sweep from its queue may
    /// use this field.
    cleared: sync::UnsafeCell<Vec<CellPtr>>,
}

impl Sweep {
    const VTABLE: VTable = VTable::of::<Self>(Self::run, Self::cancel);

    /// # Safety
    /// No condition: the function only panics.
    unsafe fn run(_: CellPtr) -> Ran {
        unreachable!("a sweep is no task")
    }

    /// # Safety
    /// The cell is a `Sweep` that the caller took from its queue.
    unsafe fn cancel(cell: CellPtr) {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: the cell is a `Sweep` that no other thread has, and its contents are not used again.
        unsafe { whole.drop_in_place() };
        // SAFETY: its contents were dropped just now.
        unsafe { cache::free(whole) };
    }
}

/// Makes a sweep: a cell that is no task. The worker that takes the sweep drops the tasks in `cleared`, the last element first.
/// If the job is cancelled, the worker then drops the tasks in the job's queue.
pub fn sweep(job: OpaqueJob, cleared: Vec<CellPtr>) -> CellPtr {
    let cleared = sync::UnsafeCell::new(cleared);
    let sweep = Sweep { header: Header::new(&Sweep::VTABLE, job), cleared };
    let cell = CellPtr(cache::make(sweep).cast());
    cell.set_mark(Mark::Sweep);
    cell
}

/// Takes the next cleared task out of a sweep. The caller must have taken the sweep from its queue.
pub fn next_cleared(sweep: CellPtr) -> Option<CellPtr> {
    assert_eq!(sweep.mark(), Mark::Sweep, "the cell is a sweep");
    // SAFETY: the mark says that the cell is a `Sweep`. The thread that took it from its queue keeps it alive.
    let cleared = unsafe { &sweep.cast::<Sweep>().as_ref().cleared };
    cleared.with_mut(|cleared| {
        // SAFETY: only the thread that took the sweep from its queue uses the tasks.
        unsafe { &mut *cleared }.pop()
    })
}

impl Header {
    #[inline]
    pub(crate) fn new(vtable: &'static VTable, job: OpaqueJob) -> Self {
        Self { vtable, job, next: AtomicPtr::new(ptr::null_mut()) }
    }
}
