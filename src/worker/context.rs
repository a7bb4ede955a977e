//! The state of a worker's thread: its pool, its seat, its lease, and the tasks that run on it.
//!
//! A thread-local variable points to the state of the thread, so that calls of the library from inside a task find this state.

use crate::base::queues::{LOCAL_MOST, Seat};
use crate::base::task::{CellPtr, Mark};
use crate::job::events;
use crate::job::gate;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::samples::Sample;
use crate::pool::core::{PoolPtr, Shared};
use crate::pool::here::Here;
use crate::sync::{shrunk, thread_static};
use crate::worker::lease::Lease;
use std::cell::Cell;
use std::ptr;

/// The number of busy counts that a worker adds for later pushes. The worker adds them when a push from inside a task finds no
/// spare busy count in the lease.
const CREDIT: u64 = shrunk(16, 2) as u64;
thread_static! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}

/// The greatest number of tasks that run inline inside one another. A join inside the innermost of these tasks waits until
/// another worker has run the joined task.
pub const DEPTH_MOST: u32 = 32;

/// An element of the chain of tasks that run or wait on this thread.
#[derive(Debug)]
struct Frame {
    /// The address that identifies the frame's task.
    key: usize,
    /// The cell of the frame's task, or `None` if the task has no handle.
    cell: Option<CellPtr>,
    /// The frame of the outer task on this thread, which waits for this task. Null if there is none.
    outer: *const Frame,
}

/// When this value is dropped, removes the innermost task's frame from the chain of tasks that run or wait on the thread.
struct Restore<'a> {
    context: &'a Context,
    outer: *const Frame,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.context.running.set(self.outer);
    }
}

/// The state of one worker's thread.
#[derive(Debug)]
pub struct Context {
    here: Here,
    /// The task that this worker serves next: it came out of the deque, and could not run in the present turn. During a sweep,
    /// the cell of the sweep.
    pub next_task: Cell<Option<CellPtr>>,
    /// True while the thread serves a cell that it has found: while it runs or drops tasks, and releases their permits.
    pub serves: Cell<bool>,
    lease: Lease,
    /// The frame of the innermost task that runs on this thread, or null.
    running: Cell<*const Frame>,
    /// The number of tasks that run inline inside one another on this thread.
    pub depth: Cell<u32>,
    /// True if the pool counts this thread as blocked. Prevents that a wait inside a wait is counted twice.
    pub blocked: Cell<bool>,
    /// The sample of the task that runs on this thread. `None` if no gate of the task has an adaptive limit.
    pub sample: Cell<Option<Sample>>,
}

impl Context {
    /// Makes the context of a thread of `pool` that has no seat yet.
    pub fn new(pool: PoolPtr) -> Self {
        Self {
            here: Here::new(pool),
            next_task: Cell::new(None),
            serves: Cell::new(false),
            lease: Lease::new(),
            running: Cell::new(ptr::null()),
            depth: Cell::new(0),
            blocked: Cell::new(false),
            sample: Cell::new(None),
        }
    }

    /// Runs `f` while `self` is the context of this thread.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        CURRENT.with(|current| current.set(self));
        let out = self.here.enter(f);
        CURRENT.with(|current| current.set(ptr::null()));
        out
    }

    /// Runs `f` with the context of this thread, or with `None` if the thread belongs to no pool.
    #[inline]
    pub fn with<R>(f: impl FnOnce(Option<&Self>) -> R) -> R {
        let current = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: `enter` keeps the context alive while the pointer is set, on this thread.
        f(unsafe { current.as_ref() })
    }

    /// Runs `f`, which is user code but no task. If this thread belongs to a pool and `f` waits, that wait panics.
    pub fn outside_of_tasks<R>(f: impl FnOnce() -> R) -> R {
        struct Back<'a>(&'a Context, bool);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.serves.set(self.1);
            }
        }
        Self::with(|context| {
            let _back = context.map(|context| Back(context, context.serves.replace(false)));
            f()
        })
    }

    /// Runs `f` with this thread's context and returns true, if the thread belongs to `pool`. Otherwise returns false.
    #[inline]
    pub fn of_pool(pool: PoolPtr, f: impl FnOnce(&Self)) -> bool {
        Self::with(|context| match context {
            Some(context) if context.pool_ptr() == pool => {
                f(context);
                true
            }
            _ => false,
        })
    }

    /// Returns the state that all threads of the pool share.
    pub fn pool(&self) -> &Shared {
        self.here.pool()
    }

    /// Returns the pointer to the thread's pool.
    pub fn pool_ptr(&self) -> PoolPtr {
        self.here.pool_ptr()
    }

    /// Returns the thread's seat, or `None` if the thread has lent it.
    #[inline]
    pub fn seat(&self) -> Option<&Seat> {
        self.here.seat()
    }

    /// Sets the thread's seat. If `seat` is `None`, the thread has no seat from now on.
    pub fn sit(&self, seat: Option<&Seat>) {
        events::sits(seat.map(|seat| seat.index));
        self.here.sit(seat);
    }

    /// Returns the lease of this thread.
    #[inline]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Runs `f`, which runs the task that the address `key` identifies. `cell` is the task's cell if the task has a handle.
    /// The cell must last until `f` has ended.
    #[inline]
    pub fn as_task<R>(&self, key: usize, cell: Option<CellPtr>, f: impl FnOnce() -> R) -> R {
        let frame = Frame { key, cell, outer: self.running.get() };
        self.running.set(&frame);
        // The frame lies on this thread's stack, so the context must forget the frame even if `f` unwinds.
        let restore = Restore { context: self, outer: frame.outer };
        let out = f();
        drop(restore);
        out
    }

    /// Returns true if the task that the address `key` identifies runs on this thread, or waits on this thread for a task
    /// that runs inline.
    pub fn is_running(&self, key: usize) -> bool {
        let mut frame = self.running.get();
        // SAFETY: each frame in the chain lies on this thread's stack: `as_task` removes a frame before it returns.
        while let Some(this) = unsafe { frame.as_ref() } {
            if this.key == key {
                return true;
            }
            frame = this.outer;
        }
        false
    }

    /// Returns the cells of the tasks with handles that run or wait on this thread, the innermost first.
    pub fn running_cells(&self) -> Vec<CellPtr> {
        let first = self.running.get();
        // SAFETY: each frame in the chain lies on this thread's stack: `as_task` removes a frame before it returns.
        let frames = std::iter::successors(unsafe { first.as_ref() }, |frame| unsafe {
            frame.outer.as_ref()
        });
        frames.filter_map(|frame| frame.cell).collect()
    }

    /// Returns the cell of the innermost task on this thread, if that task has a handle. The cell lasts until the task ends.
    pub fn running_cell(&self) -> Option<CellPtr> {
        // SAFETY: each frame in the chain lies on this thread's stack: `as_task` removes a frame before it returns.
        unsafe { self.running.get().as_ref() }?.cell
    }

    /// Adds a busy count of the running job for this thread. Call this before a poll ends with a pending future, and before a
    /// waiter is granted a permit. From then on another thread can give back the busy count of the future or waiter at any time.
    /// This thread still uses the job, so it needs a busy count of its own.
    pub fn keep_job(&self) {
        let job = self.lease.job.get().expect("a task runs under its permit");
        job.busy.add_tasks(1);
        self.lease.take_busy_count();
    }

    /// Drops the sample of the task that this thread runs, so that the rule does not see the task's time. Call this if the
    /// task has not run to its end, or has found nothing to do.
    #[cold]
    pub fn forget_sample() {
        Self::with(|context| _ = context.and_then(|context| context.sample.take()));
    }

    /// Returns true if a task of `job` is allowed to run inline under the permits of the task that this thread runs. Both
    /// tasks must be of the same job, and fewer than [`DEPTH_MOST`] tasks must run inline inside one another. No gate of the
    /// job may be held or over its limit, unless the job keeps its permits.
    pub fn may_run_inside(&self, job: JobPtr) -> bool {
        self.lease.job.get() == Some(job)
            && self.depth.get() < DEPTH_MOST
            && (gate::may_go_on(job) || gate::may_run_as_a_part(job))
    }

    /// Opens the lease of a task of `job` that runs inline in a task of another job. The task has its permits and one busy count.
    pub fn open_inside(&self, job: JobPtr) {
        self.depth.set(self.depth.get() + 1);
        self.lease.open(job, self.pool().epoch(), 0);
        self.publish(job);
    }

    /// Closes the lease of a task of `job` that has run inline in a task of `joining`. The caller must release the permits of
    /// the task of `job`, and then give back the returned number of busy counts of `job`.
    pub fn close_inside(&self, job: JobPtr, joining: JobPtr) -> u64 {
        self.publish(joining);
        self.lease.settle(job);
        self.lease.job.set(None);
        self.depth.set(self.depth.get() - 1);
        self.lease.busy.replace(0)
    }

    /// Publishes that this thread's seat, if there is one, runs a task of `job`.
    fn publish(&self, job: JobPtr) {
        if let Some(seat) = self.seat() {
            seat.publish(job.idle_key(), 0);
        }
    }

    /// Returns true if the task on this thread keeps a permit of any gate while it waits.
    pub fn keeps_a_permit(&self) -> bool {
        self.lease.job.get().is_some_and(JobPtr::keeps_any_permit)
    }

    /// Returns true if tasks that might belong to other jobs wait for this worker. Also returns true if the thread has no seat.
    #[inline]
    pub fn others_wait(&self) -> bool {
        self.seat().is_none_or(|seat| {
            !self.pool().injector_is_empty() || seat.deque.len() as u64 > self.lease.left.get()
        })
    }

    /// Returns the number of owners of the pool that this thread must give up at its end. One is the thread itself. The others
    /// belonged to the records that this thread has freed.
    pub fn owners(&self) -> u64 {
        self.here.owners()
    }

    /// Pushes a task of the running job into the thread's deque, if the job is unlimited. Otherwise returns the cell as an
    /// error.
    #[inline]
    pub fn push_inside(&self, job: JobPtr, cell: CellPtr) -> Result<(), CellPtr> {
        if self.lease.job.get() != Some(job) {
            return Err(cell);
        }
        let Some(seat) = self.seat() else {
            return Err(cell);
        };
        let word = job.permits.load();
        // The push does not check for a free permit, because an unlimited job has a permit for each worker. If all
        // these permits are held, all workers are busy, and the pushed task runs later under one of these permits.
        let held = word.held_back() || word.has(Flag::Cancelled);
        if held || !job.is_unlimited(word) || seat.deque.len() >= LOCAL_MOST {
            return Err(cell);
        }
        self.lease.use_up_busy_counts(job, 1, CREDIT);
        seat.publish(job.idle_key(), self.lease.busy.get() - 1);
        cell.set_mark(Mark::Loose);
        seat.deque.push(cell);
        self.lease.left.set(self.lease.left.get() + 1);
        self.pool().notify();
        Ok(())
    }
}
