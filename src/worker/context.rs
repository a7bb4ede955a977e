//! The state of a worker's thread: its pool, its seat, its lease, and the tasks that run on it.
//!
//! A thread-local points to this state, so that calls of the library from inside a task find it.

use crate::base::queues::{LOCAL_MOST, Seat};
use crate::base::task::{CellPtr, Mark};
use crate::job::events;
use crate::job::gate;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::samples::Sample;
use crate::job::turns::Turns;
use crate::pool::core::{PoolPtr, Shared};
use crate::pool::here::Here;
use crate::sync::atomic::Ordering;
use crate::sync::time::Instant;
use crate::sync::{shrunk, thread_static};
use std::cell::Cell;
use std::ptr;

/// The number of spare busy counts that a worker takes at once for tasks that it pushes from inside a task.
const CREDIT: u64 = shrunk(16, 2) as u64;
thread_static! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}

/// The most tasks that run inline inside one another. The join of a further one waits for another worker.
const DEPTH_MOST: u32 = 32;

/// A task that runs on this thread.
#[derive(Debug)]
struct Frame {
    /// The address that identifies the task.
    key: usize,
    /// The cell of the task, or `None` if the task has no handle.
    cell: Option<CellPtr>,
    /// The frame of the task that waits for this one on this thread, or null.
    outer: *const Frame,
}

/// Removes a frame when it is dropped.
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
    /// A task of another job that came out of the deque while a permit was held, or the sweep that this worker runs.
    pub next_task: Cell<Option<CellPtr>>,
    /// True while the thread serves a task that it has found: runs it, drops it, or passes its permit on.
    pub serves: Cell<bool>,
    lease: Lease,
    /// The frame of the innermost task that runs on this thread, or null.
    running: Cell<*const Frame>,
    /// The number of tasks that run inline inside one another on this thread.
    pub depth: Cell<u32>,
    /// The sample of the task that runs here. `None` if no limit of its gates adapts.
    pub sample: Cell<Option<Sample>>,
}

/// The permit that a thread holds over several tasks, and what the thread has done under it.
#[derive(Debug)]
pub struct Lease {
    /// The job of the permit. `None`: the thread holds no permit.
    pub job: Cell<Option<JobPtr>>,
    /// The parent of that job. It is noted here because in the record it lies on a cache line that each push writes.
    pub parent: Cell<Option<JobPtr>>,
    /// The number of the job's busy counts that this thread has. At least one while the permit is held.
    pub busy: Cell<u64>,
    /// The number of tasks at the top of the thread's deque that are of the job. They were pushed from inside a task, or stolen
    /// with the first task. Other workers may have stolen some of them since.
    pub left: Cell<u64>,
    /// True if this lease has set `BatchOut` and not cleared it. Another lease may have cleared the flag: then pushers admit
    /// tasks themselves.
    pub batch_out: Cell<bool>,
    /// The number of tasks run in this turn.
    pub turn: Cell<u32>,
    /// The turns of the job.
    pub turns: Cell<Turns>,
    /// The time at which the turn began. `None` if no task waited in the queue of an ancestor at that time, and the job has no
    /// turn time.
    pub began: Cell<Option<Instant>>,
    /// The value of `turn` at that time.
    pub since: Cell<u32>,
    /// Before the next task, the worker checks whether the turn ends if `turn` has none of these bits.
    pub mask: Cell<u32>,
    /// The pool's epoch at the last check of the job's word.
    pub epoch: Cell<u64>,
    /// The number of tasks that have returned and are not in the job's tally yet.
    pub completed: Cell<u64>,
}

impl Context {
    /// Makes the context of a thread without a seat.
    pub fn new(pool: PoolPtr) -> Self {
        Self {
            here: Here::new(pool),
            next_task: Cell::new(None),
            serves: Cell::new(false),
            lease: Lease {
                job: Cell::new(None),
                parent: Cell::new(None),
                busy: Cell::new(0),
                left: Cell::new(0),
                batch_out: Cell::new(false),
                turn: Cell::new(0),
                turns: Cell::new(Turns::USUAL),
                began: Cell::new(None),
                since: Cell::new(0),
                mask: Cell::new(0),
                epoch: Cell::new(0),
                completed: Cell::new(0),
            },
            running: Cell::new(ptr::null()),
            depth: Cell::new(0),
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

    /// Runs `f`, which is user code but no task. If `f` waits on a thread of a pool, the wait panics.
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

    /// Returns what all threads of the pool share.
    pub fn pool(&self) -> &Shared {
        self.here.pool()
    }

    /// Returns the pointer to the pool.
    pub fn pool_ptr(&self) -> PoolPtr {
        self.here.pool_ptr()
    }

    /// Returns the thread's seat, unless it has lent its seat.
    #[inline]
    pub fn seat(&self) -> Option<&Seat> {
        self.here.seat()
    }

    /// Takes a seat, or gives it up.
    pub fn sit(&self, seat: Option<&Seat>) {
        events::sits(seat.map(|seat| seat.index));
        self.here.sit(seat);
    }

    /// Returns the lease.
    #[inline]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Runs `f` as the task with this key. `cell` is the cell of a task with a handle. It must last until `f` has ended.
    #[inline]
    pub fn as_task<R>(&self, key: usize, cell: Option<CellPtr>, f: impl FnOnce() -> R) -> R {
        let frame = Frame { key, cell, outer: self.running.get() };
        self.running.set(&frame);
        // The frame is removed also if `f` unwinds, because it lies on this stack.
        let restore = Restore { context: self, outer: frame.outer };
        let out = f();
        drop(restore);
        out
    }

    /// Returns true if the task with this key runs on this thread, or waits for a task that runs inline.
    pub fn is_running(&self, key: usize) -> bool {
        let mut frame = self.running.get();
        // SAFETY: frames are on this thread's stack, further up, until `as_task` takes them back.
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
        // SAFETY: frames are on this thread's stack, further up, until `as_task` takes them back.
        let frames = std::iter::successors(unsafe { first.as_ref() }, |frame| unsafe {
            frame.outer.as_ref()
        });
        frames.filter_map(|frame| frame.cell).collect()
    }

    /// Returns the cell of the innermost task that runs here, if that task has a handle. The cell lasts until the task ends.
    pub fn running_cell(&self) -> Option<CellPtr> {
        // SAFETY: frames are on this thread's stack, further up, until `as_task` takes them back.
        unsafe { self.running.get().as_ref() }?.cell
    }

    /// Adds a busy count of the running job for this thread. The task's own busy count stays with the pending future or the
    /// waiter. Another thread may give that busy count back at once.
    pub fn keep_job(&self) {
        let job = self.lease.job.get().expect("a task runs under its permit");
        job.busy.add_tasks(1);
        self.lease.take_busy_count();
    }

    /// Drops the sample of the task that this thread serves, because the task has not run to its end, or has found nothing to
    /// do.
    #[cold]
    pub fn forget_sample() {
        Self::with(|context| _ = context.and_then(|context| context.sample.take()));
    }

    /// Returns true if a task of `job` may run inline under the permit that this thread holds: the running task is of the same
    /// job, the job's gates still allow it, and there is stack left.
    pub fn may_run_inside(&self, job: JobPtr) -> bool {
        self.lease.job.get() == Some(job) && self.depth.get() < DEPTH_MOST && gate::may_go_on(job)
    }

    /// Returns true if tasks wait for this worker that may be of other jobs. Also returns true if the thread has no seat.
    #[inline]
    pub fn others_wait(&self) -> bool {
        self.seat().is_none_or(|seat| {
            !self.pool().injector_is_empty() || seat.deque.len() as u64 > self.lease.left.get()
        })
    }

    /// Returns the number of owners of the pool that end with this thread: the thread, and the records that it freed.
    pub fn owners(&self) -> u64 {
        self.here.owners()
    }

    /// Pushes a task of the running job into the thread's deque, if the job is unlimited. Otherwise returns the cell.
    #[inline]
    pub fn push_inside(&self, job: JobPtr, cell: CellPtr) -> Result<(), CellPtr> {
        if self.lease.job.get() != Some(job) {
            return Err(cell);
        }
        let Some(seat) = self.seat() else {
            return Err(cell);
        };
        let word = job.permits.load();
        // If the limit equals the number of workers, all permits may be held. Then no worker is idle, and the task runs under
        // one of these permits.
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

impl Lease {
    /// Opens the lease of a task that has its permits and one busy count. `left`: the number of the job's tasks at the top of
    /// the thread's deque.
    #[inline]
    pub fn open(&self, job: JobPtr, epoch: u64, left: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.busy.set(1);
        self.left.set(left);
        self.batch_out.set(false);
        self.turn.set(0);
        self.turns.set(job.turns());
        self.began.set(None);
        self.since.set(0);
        self.epoch.set(epoch);
    }

    /// Closes the lease, and leaves the permits and one busy count to a pending future or to a waiter.
    pub fn detach(&self) {
        let job = self.job.take().expect("a lease is closed once");
        let busy = self.busy.replace(0) - 1;
        self.settle(job);
        job.drop_tasks(busy);
    }

    /// Opens the lease again for a task that waited, and has its permits again.
    pub fn resume(&self, job: JobPtr, busy: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.busy.set(busy);
        self.left.set(0);
    }

    /// Takes `count` busy counts out, for tasks that are pushed. One busy count stays. If there are too few busy counts, adds
    /// the missing ones and `credit` more.
    #[inline]
    pub fn use_up_busy_counts(&self, job: JobPtr, count: u64, credit: u64) {
        let mut busy = self.busy.get();
        if busy <= count {
            let missing = count + 1 - busy + credit;
            job.busy.add_tasks(missing);
            busy += missing;
        }
        self.busy.set(busy - count);
    }

    /// Leaves one busy count to a future that is pending without a permit.
    #[cfg(feature = "futures")]
    pub fn give_back_busy_count(&self) {
        self.busy.set(self.busy.get() - 1);
    }

    /// Gives back all busy counts but one.
    pub fn give_back_spare_busy_counts(&self) {
        let Some(job) = self.job.get() else { return };
        let spare = self.busy.replace(1) - 1;
        if spare > 0 {
            job.drop_tasks(spare);
        }
    }

    /// Adds the busy count of a task that runs under this lease.
    #[inline]
    pub fn take_busy_count(&self) {
        self.busy.set(self.busy.get() + 1);
    }

    /// Adds the number of tasks that have returned to the job's tally.
    #[inline]
    pub fn settle(&self, job: JobPtr) {
        let completed = self.completed.replace(0);
        if completed > 0 {
            // Ordering: Relaxed; ordered by the permit that is released after it.
            job.tally.completed.fetch_add(completed, Ordering::Relaxed);
        }
    }

    /// Closes the lease: releases the permits, so that other tasks get them, and gives the busy counts back.
    #[inline]
    pub fn close(&self) {
        let job = self.job.take().expect("a lease is closed once");
        let busy = self.busy.replace(0);
        let left = job.busy.load();
        if left.handles() == 0
            && left.tasks() == busy
            && job.parent().is_none()
            && job.queue().is_empty()
            // A reader of the list of named jobs may add a handle (root-3).
            && !job.is_named_root()
        {
            self.completed.set(0);
            // SAFETY: all busy counts are in this thread's hands, and there is no handle to push by.
            unsafe { job.free(1) };
            return;
        }
        self.settle(job);
        gate::release(job);
        job.drop_tasks(busy);
    }
}
