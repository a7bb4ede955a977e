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

/// The number of spare busy counts that a worker takes at once, for tasks that it pushes from inside a task.
const CREDIT: u64 = shrunk(16, 2) as u64;
thread_static! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}

/// The greatest number of tasks that run inline inside one another. A join inside the last of them waits for another worker.
pub const DEPTH_MOST: u32 = 32;

/// The frame of a task that runs on this thread.
#[derive(Debug)]
struct Frame {
    /// The address that identifies the frame's task.
    key: usize,
    /// The cell of the frame's task, or `None` if the task has no handle.
    cell: Option<CellPtr>,
    /// The frame of the outer task on this thread, which waits for this task. Null if there is none.
    outer: *const Frame,
}

/// Removes the frame of a task that has ended, when this value is dropped.
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
    /// A task of another job that came out of the deque while a permit was held. Or the sweep that this worker runs.
    pub next_task: Cell<Option<CellPtr>>,
    /// True while the thread serves a cell that it has found: it runs or drops the task, or passes the task's permit on.
    pub serves: Cell<bool>,
    lease: Lease,
    /// The frame of the innermost task that runs on this thread, or null.
    running: Cell<*const Frame>,
    /// The number of tasks that run inline inside one another on this thread.
    pub depth: Cell<u32>,
    /// True if the pool counts this thread as blocked.
    pub blocked: Cell<bool>,
    /// The sample of the task that runs here. `None` if no limit of its gates adapts.
    pub sample: Cell<Option<Sample>>,
}

/// The permits that a thread holds over several tasks of one job, and what the thread has done under them.
#[derive(Debug)]
pub struct Lease {
    /// The job of the lease. `None` if the thread holds no permit.
    pub job: Cell<Option<JobPtr>>,
    /// The parent of the lease's job. The lease has a copy because each push writes the cache line of the record's own field.
    pub parent: Cell<Option<JobPtr>>,
    /// The number of the job's busy counts that this thread has. At least one while the permit is held.
    pub busy: Cell<u64>,
    /// The number of the job's tasks at the top of the thread's deque. These tasks were pushed from inside a task, or stolen
    /// with the first task. Other workers may have stolen some of them since.
    pub left: Cell<u64>,
    /// True if this lease has set `BatchOut` and not cleared it. If another lease has cleared the flag, pushers admit tasks
    /// themselves.
    pub batch_out: Cell<bool>,
    /// The number of tasks that have run in this turn.
    pub turn: Cell<u32>,
    /// The share, turn time and class of the lease's job.
    pub turns: Cell<Turns>,
    /// The time at which the turn began. `None` if no task waited in the queue of an ancestor at that time, and the job has no
    /// turn time.
    pub began: Cell<Option<Instant>>,
    /// The value of `turn` at the time in `began`.
    pub since: Cell<u32>,
    /// If `turn` has none of the bits of this mask, the worker checks before the next task whether the turn ends.
    pub mask: Cell<u32>,
    /// The pool's epoch when this thread last checked the job's word.
    pub epoch: Cell<u64>,
    /// The number of tasks that have returned under this lease and are not in the job's tally yet.
    pub completed: Cell<u64>,
}

/// The part of a lease that belongs to the worker's turn. See the fields of the same names in [`Lease`].
#[derive(Clone, Copy, Debug)]
pub struct TurnSoFar {
    batch_out: bool,
    turn: u32,
    turns: Turns,
    began: Option<Instant>,
    since: u32,
    epoch: u64,
}

impl Context {
    /// Makes the context of a thread of `pool` that has no seat yet.
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

    /// Runs `f`, which is user code but no task. If `f` waits on a thread of a pool, that wait panics.
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

    /// Returns the pointer to the thread's pool.
    pub fn pool_ptr(&self) -> PoolPtr {
        self.here.pool_ptr()
    }

    /// Returns the thread's seat, or `None` if the thread has lent it.
    #[inline]
    pub fn seat(&self) -> Option<&Seat> {
        self.here.seat()
    }

    /// Sets the thread's seat. `None` means that the thread gives its seat up.
    pub fn sit(&self, seat: Option<&Seat>) {
        events::sits(seat.map(|seat| seat.index));
        self.here.sit(seat);
    }

    /// Returns the lease of this thread.
    #[inline]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Runs `f` as the task with the key `key`. `cell` is the cell of a task with a handle. The cell must last until `f` has
    /// ended.
    #[inline]
    pub fn as_task<R>(&self, key: usize, cell: Option<CellPtr>, f: impl FnOnce() -> R) -> R {
        let frame = Frame { key, cell, outer: self.running.get() };
        self.running.set(&frame);
        // The frame lies on this stack, so it must be removed even if `f` unwinds.
        let restore = Restore { context: self, outer: frame.outer };
        let out = f();
        drop(restore);
        out
    }

    /// Returns true if the task with the key `key` runs on this thread, or waits here for a task that runs inline.
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

    /// Returns the cell of the innermost task on this thread, if that task has a handle. The cell lasts until the task ends.
    pub fn running_cell(&self) -> Option<CellPtr> {
        // SAFETY: frames are on this thread's stack, further up, until `as_task` takes them back.
        unsafe { self.running.get().as_ref() }?.cell
    }

    /// Adds a busy count of the running job for this thread. The task's own busy count stays with the pending future or the
    /// waiter, and another thread may give that count back at once.
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
    /// job, the job's gates still allow it or keep its permits, and there is stack left.
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

    /// Closes the lease of a task of `job` that has run inline in a task of `joining`. The caller must release the permits, and give
    /// back the returned number of busy counts.
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

    /// Returns true if the task that runs here keeps a permit while it waits.
    pub fn keeps_a_permit(&self) -> bool {
        self.lease.job.get().is_some_and(JobPtr::keeps_any_permit)
    }

    /// Returns true if tasks that may belong to other jobs wait for this worker. Also returns true if the thread has no seat.
    #[inline]
    pub fn others_wait(&self) -> bool {
        self.seat().is_none_or(|seat| {
            !self.pool().injector_is_empty() || seat.deque.len() as u64 > self.lease.left.get()
        })
    }

    /// Returns the number of owners of the pool that this thread stands for: the thread itself, and the records that it freed.
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
    /// Opens the lease of a task that has its permits and one busy count. `left` is the number of the job's tasks at the top of
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

    /// Opens the lease again for a task that has waited and has re-acquired its permits.
    pub fn resume(&self, job: JobPtr, busy: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.busy.set(busy);
        self.left.set(0);
    }

    /// Returns what the lease must have again after a wait in which the thread has kept its seat.
    pub fn turn(&self) -> TurnSoFar {
        TurnSoFar {
            batch_out: self.batch_out.get(),
            turn: self.turn.get(),
            turns: self.turns.get(),
            began: self.began.get(),
            since: self.since.get(),
            epoch: self.epoch.get(),
        }
    }

    /// Goes on with a turn after a wait in which the thread has kept its seat.
    pub fn go_on_with(&self, turn: TurnSoFar) {
        let TurnSoFar { batch_out, turn, turns, began, since, epoch } = turn;
        self.batch_out.set(batch_out);
        self.turn.set(turn);
        self.turns.set(turns);
        self.began.set(began);
        self.since.set(since);
        self.epoch.set(epoch);
    }

    /// Takes `count` busy counts out of the lease, for tasks that are pushed. One busy count stays. If there are too few, adds
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

    /// Gives back all busy counts of the lease but one.
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

    /// Closes the lease: releases its permits, so that other tasks get them, and gives its busy counts back.
    #[inline]
    pub fn close(&self) {
        let job = self.job.take().expect("a lease is closed once");
        let busy = self.busy.replace(0);
        let left = job.busy.load();
        if left.handles() == 0
            && left.tasks() == busy
            && job.parent().is_none()
            && job.queue().is_empty()
            // The record must not be freed early: a reader of the list of named jobs may add a handle (root-3).
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
