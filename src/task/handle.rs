//! A task with a handle: its state, its result, and who may touch which when.
//!
//! The cell has two sides, the queue's and the handle's, and each holds a share of it. One packed
//! word says who is where:
//!
//! | bit | name       | meaning                                                    |
//! |-----|------------|------------------------------------------------------------|
//! | 0   | CLAIMED    | somebody runs, ran, or cancelled it; the closure is theirs |
//! | 1   | DONE       | the outcome is in the slot                                 |
//! | 2   | QUEUE      | the queue's side still has its share                       |
//! | 3   | HANDLE     | the handle still has its share                             |
//! | 4   | WAITED     | the handle's side waits in the room                        |
//! | 5   | TAKEN      | the handle has moved the outcome out                       |
//! | 6   | INSIDE     | the claimer is the task that joins it                      |
//! | 7   | SEALED     | of a future: it is settled whether it ends or is cancelled |
//! | 8   | ASKED      | the handle has asked the task that runs to end soon        |
//!
//! - The closure belongs to whoever sets CLAIMED: the worker that runs it, the handle that cancels.
//! - The slot is written by the claimer before DONE, and read by the handle after DONE.
//! - Whoever gives up the second share frees the cell, and drops an outcome that nobody took.
//! - After the change that sets DONE, the claimer touches the cell no more unless it has a share.

pub mod awaiting;
#[cfg(feature = "futures")]
pub mod flight;

use crate::error::JoinError;
use crate::job::record::JobPtr;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::time::Instant;
use crate::sync::{fault, global};
use crate::task::handle::awaiting::Wait;
use crate::task::room::{ONLY, room};
use crate::task::{CellPtr, Header, Ran, VTable, cells};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::waiting;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::time::Duration;

const CLAIMED: u64 = 1;
const DONE: u64 = 1 << 1;
const QUEUE: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
const WAITED: u64 = 1 << 4;
const TAKEN: u64 = 1 << 5;
const INSIDE: u64 = 1 << 6;
const SEALED: u64 = 1 << 7;
const ASKED: u64 = 1 << 8;

/// A cell with a handle. The slot is a closure until CLAIMED, an outcome from DONE on.
#[repr(C)]
struct Joint<F, T> {
    header: Header,
    state: AtomicU64,
    slot: UnsafeCell<Slot<F, T>>,
}

union Slot<F, T> {
    task: ManuallyDrop<F>,
    outcome: ManuallyDrop<Result<T, JoinError>>,
}

/// What the handle sees of the cell, whatever its closure's type: the state, and the slot behind it.
#[repr(C)]
struct Face {
    header: Header,
    state: AtomicU64,
}

impl<F, T> Joint<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const VTABLE: VTable =
        VTable { run: Self::run, cancel: Self::cancel_queued, is_gone: is_claimed };
    const SIDE: SideTable = SideTable {
        run: Some(Self::run_claimed),
        cancel: Self::cancel_claimed,
        abort: None,
        outcome: Self::outcome,
        free: Self::free,
    };

    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn run(cell: CellPtr) -> Ran {
        // SAFETY: by this function's contract; the queue's share keeps it alive.
        let whole = unsafe { &*cell.as_ptr().cast::<Self>() };
        let before = claim(&whole.state, CLAIMED);
        if before & CLAIMED == 0 {
            Context::with(|context| {
                // SAFETY: the claim and the queue's share are this thread's.
                let run = || unsafe { Self::run_to_outcome(cell.as_ptr().cast(), QUEUE) };
                match context {
                    Some(context) => context.as_task(cell.as_ptr().addr(), Some(&whole.state), run),
                    None => run(),
                }
            });
            return Ran::Counted;
        }
        // Its handle was faster.
        // SAFETY: the caller's share is the queue's.
        unsafe { Self::give_up(cell.as_ptr().cast(), QUEUE) };
        if before & INSIDE == 0 { Ran::Cancelled } else { Ran::Counted }
    }

    /// Runs the task for the handle that has claimed it.
    ///
    /// # Safety
    /// The cell is of this type, the caller claimed it, and has the handle's share.
    unsafe fn run_claimed(cell: *mut Face) {
        // SAFETY: by this function's contract.
        unsafe { Self::run_to_outcome(cell.cast(), 0) };
    }

    /// Runs the task, counts it, and reports its outcome.
    ///
    /// # Safety
    /// The caller claimed the cell, and has `share`, or the handle's.
    unsafe fn run_to_outcome(cell: *mut Self, share: u64) {
        // SAFETY: by this function's contract some share keeps it alive.
        let whole = unsafe { &*cell };
        // SAFETY: it is claimed, so the slot is the closure and this thread's.
        let task = unsafe { Self::take_task(whole) };
        let outcome = unwind::halt(task).map_err(JoinError::Panicked);
        let tally = &whole.header.job.tally;
        // Ordering: Relaxed both; published to the joiner by DONE.
        match &outcome {
            Ok(_) => drop(tally.completed.fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(tally.panicked.fetch_add(1, Ordering::Relaxed)),
        }
        // SAFETY: by this function's contract; the closure was moved out.
        unsafe { Self::finish(cell, outcome, share) };
    }
}

impl<F, T> Joint<F, T> {
    /// # Safety
    /// The cell is of this type, and the caller took it from its queue.
    unsafe fn cancel_queued(cell: CellPtr) {
        let whole = cell.as_ptr().cast::<Self>();
        // SAFETY: by this function's contract; the queue's share keeps it alive.
        let before = claim(unsafe { &(*whole).state }, CLAIMED);
        if before & CLAIMED == 0 {
            // SAFETY: it is claimed, so the slot is the closure and this thread's.
            let task = unsafe { Self::take_task(&*whole) };
            unwind::drop_quietly(task);
            // SAFETY: the claim and the queue's share are this thread's.
            unsafe { Self::finish(whole, Err(JoinError::Cancelled), QUEUE) };
        } else {
            if before & INSIDE != 0 {
                // It ran inside the one that joined it, and was counted there.
                cell.job().uncount_cancelled();
            }
            // SAFETY: the caller's share is the queue's.
            unsafe { Self::give_up(whole, QUEUE) };
        }
    }

    /// Drops the closure and reports the task cancelled, for the handle that has claimed it.
    ///
    /// # Safety
    /// The cell is of this type, the caller claimed it, and has a share.
    unsafe fn cancel_claimed(cell: *mut Face) {
        let whole = cell.cast::<Self>();
        // SAFETY: by this function's contract the slot is the closure and this thread's.
        let task = unsafe { Self::take_task(&*whole) };
        unwind::drop_quietly(task);
        // SAFETY: by this function's contract.
        unsafe { Self::finish(whole, Err(JoinError::Cancelled), 0) };
    }

    /// # Safety
    /// The cell is claimed by the caller.
    unsafe fn take_task(whole: &Self) -> F {
        whole.slot.with_mut(|slot| {
            // SAFETY: by this function's contract the slot is the closure, and moved out once.
            unsafe { ManuallyDrop::take(&mut (*slot).task) }
        })
    }

    /// Puts the outcome into the slot, says so, and gives up `share`.
    ///
    /// # Safety
    /// The caller claimed the cell, has moved the closure out, and has `share`.
    unsafe fn finish(whole: *mut Self, outcome: Result<T, JoinError>, share: u64) {
        // SAFETY: the claim makes the slot this thread's until DONE.
        unsafe {
            (*whole).slot.with_mut(|slot| (*slot).outcome = ManuallyDrop::new(outcome));
        }
        let key = whole.addr();
        let ordering = if fault("relaxed-done") { Ordering::Relaxed } else { Ordering::AcqRel };
        // Ordering: AcqRel; Release publishes the slot to the handle, Acquire orders its end of
        // use before this one. E1 of the room.
        // SAFETY: the share keeps the cell alive.
        let state = unsafe { &(*whole).state };
        let before = if fault("done-load-then-store") {
            let before = state.load(Ordering::Acquire);
            state.store(before & !share | DONE, Ordering::Release);
            before
        } else {
            // One change for both: DONE is not set yet, and the share is.
            state.fetch_sub(share.wrapping_sub(DONE), ordering)
        };
        if before & WAITED != 0 {
            room().wake(key);
        }
        if before & (QUEUE | HANDLE) & !share == 0 {
            // SAFETY: both shares are gone, and with them everyone else.
            unsafe { Self::free(whole.cast(), true) };
        }
    }

    /// Gives up a share of a cell that somebody else has claimed.
    ///
    /// # Safety
    /// The caller has `share`.
    unsafe fn give_up(whole: *mut Self, share: u64) {
        // Ordering: AcqRel; all use of the cell comes before its end.
        // SAFETY: the share keeps the cell alive.
        let left = unsafe { &(*whole).state }.fetch_and(!share, Ordering::AcqRel) & !share;
        if left & (QUEUE | HANDLE) == 0 && left & DONE != 0 {
            // SAFETY: both shares are gone; the claimer is past DONE.
            unsafe { Self::free(whole.cast(), left & TAKEN == 0) };
        }
    }

    /// Moves the outcome to `out`, a `Result<T, JoinError>`.
    ///
    /// # Safety
    /// DONE is set and seen, the caller has the handle's share, and takes the outcome once; `out` is
    /// to be written.
    unsafe fn outcome(cell: *mut Face, out: *mut ()) {
        // SAFETY: by this function's contract.
        let slot = unsafe { &(*cell.cast::<Self>()).slot };
        slot.with_mut(|slot| {
            // SAFETY: by this function's contract the slot is an outcome.
            let outcome = unsafe { ManuallyDrop::take(&mut (*slot).outcome) };
            // SAFETY: by this function's contract.
            unsafe { out.cast::<Result<T, JoinError>>().write(outcome) };
        });
    }

    /// Frees the cell; drops the outcome if nobody took it.
    ///
    /// # Safety
    /// Nobody has a share, and DONE is set.
    unsafe fn free(cell: *mut Face, with_outcome: bool) {
        let whole = cell.cast::<Self>();
        // SAFETY: by this function's contract the contents are the caller's.
        let mut contents = unsafe { whole.read() };
        // SAFETY: its contents were moved out just now.
        unsafe { cells::free(whole) };
        if with_outcome {
            contents.slot.with_mut(|slot| {
                // SAFETY: DONE is set and nobody has taken the outcome.
                unwind::drop_quietly(unsafe { ManuallyDrop::take(&mut (*slot).outcome) });
            });
        }
        let _ = &mut contents;
    }
}

global! {
    /// How many tasks handles have cancelled, in all pools: whoever waits for a job looks again when there are more. The
    /// job itself may be gone when its task's handle comes to tell it.
    fn cancel_count() -> AtomicU64 { AtomicU64::new(0) }
}

/// A number that changes when a handle has cancelled a task.
pub fn cancels() -> u64 {
    // Ordering: Acquire; who sees the number sees the claim.
    cancel_count().load(Ordering::Acquire)
}

/// Whether somebody has claimed the task.
///
/// # Safety
/// The cell has a [`Face`], and the caller took it from its queue.
unsafe fn is_claimed(cell: CellPtr) -> bool {
    // SAFETY: by this function's contract; the queue's share keeps it alive.
    let face = unsafe { &*cell.as_ptr().cast::<Face>() };
    // Ordering: Acquire; what the claimer did comes before the cell's end.
    face.state.load(Ordering::Acquire) & CLAIMED != 0
}

/// Claims a task, unless somebody has claimed it already; returns the state before.
fn claim(state: &AtomicU64, by: u64) -> u64 {
    if fault("claim-load-then-store") {
        let before = state.load(Ordering::Acquire);
        state.store(before | by, Ordering::Release);
        return before;
    }
    // Ordering: AcqRel; Acquire for the closure's contents, where the deque has not done it.
    state
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & CLAIMED == 0).then_some(state | by)
        })
        .unwrap_or_else(|state| state)
}

/// Whether the task with this state has been cancelled by its handle while it ran.
pub fn is_asked_to_end(state: &AtomicU64) -> bool {
    // Ordering: Relaxed; as where it is set.
    state.load(Ordering::Relaxed) & (ASKED | SEALED) != 0
}

/// What a handle can do to a cell whose closure's type it does not know.
struct SideTable {
    /// Runs it inside the task that joins it, if it is of the kind that can be.
    run: Option<unsafe fn(*mut Face)>,
    cancel: unsafe fn(*mut Face),
    /// Cancels it after it has started, if it is of the kind that can be; tells whether it did.
    abort: Option<unsafe fn(*mut Face) -> bool>,
    outcome: unsafe fn(*mut Face, *mut ()),
    free: unsafe fn(*mut Face, bool),
}

/// Makes the cell of a task with a handle.
pub fn joint<F, T>(job: JobPtr, task: F) -> (CellPtr, TaskHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let cell = cells::make(Joint {
        header: Header::new(&Joint::<F, T>::VTABLE, job),
        state: AtomicU64::new(QUEUE | HANDLE),
        slot: UnsafeCell::new(Slot::<F, T> { task: ManuallyDrop::new(task) }),
    });
    (CellPtr::new(cell.cast()), TaskHandle::new(cell.cast(), &Joint::<F, T>::SIDE))
}

/// The handle of a task: join it, ask for it, cancel it. Made by [`Job::spawn`](crate::Job::spawn).
///
/// Dropping the handle detaches the task: it runs all the same, and its result is dropped.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let answer = pool.job(1).spawn(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "dropping the handle detaches the task; use `execute` for a task without a result"]
pub struct TaskHandle<T> {
    cell: NonNull<Face>,
    side: &'static SideTable,
    /// Of the future that awaits this task.
    wait: Wait,
    result: PhantomData<T>,
}

// SAFETY: the cell's state is atomic; the outcome is moved to the one that has the handle by value.
unsafe impl<T: Send> Send for TaskHandle<T> {}
// SAFETY: through a shared handle nothing of `T` can be reached.
unsafe impl<T: Send> Sync for TaskHandle<T> {}

impl<T> TaskHandle<T> {
    fn new(cell: NonNull<Face>, side: &'static SideTable) -> Self {
        Self { cell, side, wait: Wait::default(), result: PhantomData }
    }

    fn state(&self) -> &AtomicU64 {
        // SAFETY: the handle's share keeps the cell alive.
        unsafe { &self.cell.as_ref().state }
    }

    fn key(&self) -> usize {
        self.cell.as_ptr().addr()
    }

    /// Whether the task has ended: returned, panicked or been cancelled. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// let task = job.spawn(|| ());
    /// job.wait();
    /// assert!(task.is_finished());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        // Ordering: Acquire; who sees it finished sees what the task did.
        self.state().load(Ordering::Acquire) & DONE != 0
    }

    /// Waits for the task and returns its result.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the task has ended. Inside a task of a pool it never deadlocks: if the
    /// task joined is of the same job and has not started, it is run here, in the stead of the one that
    /// joins, ahead of its turn; otherwise the one that joins holds no permit while it waits, a spare worker
    /// takes its place, and it takes its permit back ahead of the backlog before it goes on.
    ///
    /// # Panics
    ///
    /// If a task joins itself, which could never end; inside a task, if all
    /// [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] with the payload if the task panicked, [`JoinError::Cancelled`] if it
    /// was dropped before it started.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let length = pool.job(1).spawn(|| "tollgate".len());
    /// assert_eq!(length.join().unwrap(), 8);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn join(self) -> Result<T, JoinError> {
        self.wait(None);
        self.take()
    }

    /// Waits for the task for at most `timeout`; gives the handle back if that was too short.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the task has ended or the time is over. Inside a task of a pool, that one
    /// holds no permit while it waits, as in [`join`](Self::join); the task joined is not run in its stead.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// The handle, if the time is over. The inner result is as with [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let (go, wait_for_go) = mpsc::channel();
    /// let task = pool.job(1).spawn(move || wait_for_go.recv().unwrap());
    /// let task = task.join_timeout(Duration::from_millis(1)).unwrap_err(); // still running
    /// go.send(5).unwrap();
    /// assert_eq!(task.join().unwrap(), 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        // A time so far away that it cannot be said is never.
        self.wait(Instant::now().checked_add(timeout));
        if self.is_finished() { Ok(self.take()) } else { Err(self) }
    }

    /// Cancels the task if it has not started: its closure, or future, is dropped now, on this thread, and
    /// the handle says [`JoinError::Cancelled`]. True if it was this call that cancelled it.
    ///
    /// A closure that runs is not stopped, and has a result. It can ask: [`is_cancelled`](crate::is_cancelled) is
    /// true in it from now on.
    ///
    /// A future in flight is cancelled, too: it is not polled again, and a worker drops it at once, or at the
    /// end of the poll that is under way; then the handle says `Cancelled`. One that
    /// waits in line for its permit, having awaited another task, is dropped when its turn comes.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(0); // held
    /// let task = job.spawn(|| unreachable!());
    /// assert!(task.cancel());
    /// assert!(!task.cancel());
    /// assert!(matches!(task.join(), Err(tollgate::JoinError::Cancelled)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let claimed = claim(self.state(), CLAIMED) & CLAIMED == 0;
        if claimed {
            // SAFETY: it is claimed just now, and the handle has a share.
            unsafe { (self.side.cancel)(self.cell.as_ptr()) };
            // Ordering: AcqRel; before the wake, for `enter_while_busy`.
            cancel_count().fetch_add(1, Ordering::AcqRel);
            // Who waits for a held job looks whether this was its last task. Only the address is used.
            // SAFETY: the handle has a share.
            room().wake(unsafe { self.cell.as_ref() }.header.job.idle_key());
        }
        if claimed {
            return true;
        }
        // Ordering: Relaxed; a question that the task may ask, and nothing follows from the answer here.
        self.state().fetch_or(ASKED, Ordering::Relaxed);
        // SAFETY: the handle has a share.
        self.side.abort.is_some_and(|abort| unsafe { abort(self.cell.as_ptr()) })
    }

    fn wait(&self, until: Option<Instant>) {
        if self.is_finished() {
            return;
        }
        Context::with(|context| {
            let Some(context) = context else { return };
            assert!(
                !context.is_running(self.key()),
                "a task joins itself, which could never end: join it from elsewhere"
            );
            if until.is_none() {
                self.run_inside(context);
            }
        });
        waiting::wait(self.key(), until, || {
            // Ordering: AcqRel; W2 of the room against E1 in `finish`.
            self.state().fetch_or(WAITED, Ordering::AcqRel) & DONE == 0
        });
    }

    /// Runs the task, if it has not started, inside the one that joins it: in its stead, and under its
    /// permit. Only for a task of the same job, whose permit it is.
    fn run_inside(&self, context: &Context) {
        // SAFETY: the handle's share keeps the cell alive; the job is only compared.
        let job = unsafe { self.cell.as_ref() }.header.job;
        let Some(run) = self.side.run.filter(|_| context.may_run_inside(job)) else {
            return;
        };
        if claim(self.state(), CLAIMED | INSIDE) & CLAIMED != 0 {
            return;
        }
        context.depth.set(context.depth.get() + 1);
        context.as_task(self.key(), Some(self.state()), || {
            // SAFETY: it is claimed just now, and the handle has a share.
            unsafe { run(self.cell.as_ptr()) };
        });
        context.depth.set(context.depth.get() - 1);
    }

    /// Moves the outcome of a finished task out. The caller has the handle to itself, and notes TAKEN.
    ///
    /// # Panics
    /// If it was moved out before.
    fn move_out(&self) -> Result<T, JoinError> {
        // Ordering: Relaxed; this handle's side sets it.
        let taken = self.state().load(Ordering::Relaxed) & TAKEN != 0;
        assert!(!taken, "a task's result was taken from its handle before: await or join it once");
        let mut outcome = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: it is finished, nobody else has the handle, and the result type is the cell's.
        unsafe { (self.side.outcome)(self.cell.as_ptr(), outcome.as_mut_ptr().cast()) };
        // SAFETY: it was written just now.
        unsafe { outcome.assume_init() }
    }

    /// Takes the outcome of a finished task.
    fn take(mut self) -> Result<T, JoinError> {
        self.wait.end();
        let outcome = self.move_out();
        let this = ManuallyDrop::new(self);
        // Ordering: AcqRel; all use of the cell comes before its end.
        let left = this.state().fetch_xor(HANDLE | TAKEN, Ordering::AcqRel);
        if left & QUEUE == 0 {
            // SAFETY: both shares are gone, and the outcome is taken.
            unsafe { (this.side.free)(this.cell.as_ptr(), false) };
        }
        outcome
    }
}

impl<T> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        // Ordering: Relaxed; this handle's side sets it.
        if self.state().load(Ordering::Relaxed) & WAITED != 0 {
            // Before the share is given up, and the key may become another's.
            room().leave(self.key(), ONLY);
        }
        // Ordering: AcqRel; as in `take`.
        let left = self.state().fetch_and(!HANDLE, Ordering::AcqRel);
        if left & QUEUE == 0 && left & DONE != 0 {
            // SAFETY: both shares are gone.
            unsafe { (self.side.free)(self.cell.as_ptr(), left & TAKEN == 0) };
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for a person.
        let state = self.state().load(Ordering::Relaxed);
        let state = match (state & CLAIMED != 0, state & DONE != 0) {
            (_, true) => "finished",
            (true, false) => "running",
            (false, false) => "waiting",
        };
        f.debug_struct("TaskHandle").field("state", &state).finish()
    }
}
