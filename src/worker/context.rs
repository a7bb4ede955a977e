//! What a worker's thread knows while it works: its pool, its place, and the job it runs.
//!
//! It is found through a thread-local, for the calls that closures make from inside a task.

use crate::job::admission;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::shared::{PoolPtr, Shared};
use crate::sync::atomic::Ordering;
use crate::sync::time::Instant;
use crate::sync::{shrunk, thread_static};
use crate::task::{CellPtr, Mark};
use crate::worker::seat::Seat;
use std::cell::Cell;
use std::ptr;

/// Tokens that a worker takes at once for tasks it pushes from inside.
const CREDIT: u64 = shrunk(16, 2) as u64;
/// Tasks in a local queue above which pushes from inside go to the backlog.
pub const LOCAL_MOST: usize = shrunk(256, 4);

thread_static! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}

/// Tasks that run inside one another, by joins, before a further one is left to a spare worker.
const DEPTH_MOST: u32 = 32;

/// A task that runs on this thread.
#[derive(Debug)]
struct Frame {
    /// The address that tells the task from others.
    key: usize,
    /// The cell of a task with a handle.
    cell: Option<CellPtr>,
    outer: *const Frame,
}

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
    pool: PoolPtr,
    seat: Cell<*const Seat>,
    /// A task of another job that came out of the deque while a permit was held, or the sweep that this worker runs.
    pub next_task: Cell<Option<CellPtr>>,
    /// Whether the thread is at a task that it has found: runs it, drops it, or hands on what it had.
    pub serves: Cell<bool>,
    lease: Lease,
    /// The task that runs, and those that wait for it on this thread.
    running: Cell<*const Frame>,
    freed_records: Cell<u64>,
    /// How many joins deep tasks run here inside one another.
    pub depth: Cell<u32>,
}

/// The permit a thread holds, and what it has done under it.
#[derive(Debug)]
pub struct Lease {
    /// The job whose permit it is.
    pub job: Cell<Option<JobPtr>>,
    /// That job's parent. Noted here because the record has it on the line that pushers write at each push.
    pub parent: Cell<Option<JobPtr>>,
    /// Tokens of the job in this thread's hands; at least one while the permit is held.
    pub tokens: Cell<u64>,
    /// Tasks at the top of the thread's own deque that are known to be of the job: pushed from inside, or stolen
    /// with it. Thieves may have taken some.
    pub left: Cell<u64>,
    /// Whether this hold has set `BatchOut` and not cleared it. Another may have: then pushers promote for
    /// themselves.
    pub batch_out: Cell<bool>,
    /// Tasks run under the permit, in this turn.
    pub turn: Cell<u32>,
    /// When the turn began, if the job has a parent at whose gate, or further out, tasks waited then.
    pub began: Cell<Option<Instant>>,
    /// The pool's epoch when the job's word was last looked at.
    pub epoch: Cell<u64>,
    /// Tasks that ran to their end and are not in the job's tally yet.
    pub completed: Cell<u64>,
}

impl Context {
    /// A thread that sits in no place.
    pub fn new(pool: PoolPtr) -> Self {
        Self {
            pool,
            seat: Cell::new(ptr::null()),
            next_task: Cell::new(None),
            serves: Cell::new(false),
            lease: Lease {
                job: Cell::new(None),
                parent: Cell::new(None),
                tokens: Cell::new(0),
                left: Cell::new(0),
                batch_out: Cell::new(false),
                turn: Cell::new(0),
                began: Cell::new(None),
                epoch: Cell::new(0),
                completed: Cell::new(0),
            },
            running: Cell::new(ptr::null()),
            freed_records: Cell::new(0),
            depth: Cell::new(0),
        }
    }

    /// Makes this the thread's context while `f` runs.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        CURRENT.with(|current| current.set(self));
        let out = f();
        CURRENT.with(|current| current.set(ptr::null()));
        out
    }

    /// Runs `f` with the thread's context, if it is a worker's.
    #[inline]
    pub fn with<R>(f: impl FnOnce(Option<&Self>) -> R) -> R {
        let current = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: `enter` keeps the context alive while the pointer is set, on this thread.
        f(unsafe { current.as_ref() })
    }

    /// Runs `f`, code of the pool's owner that is called on a thread of the pool and is no task: it must not wait.
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

    /// Runs `f` if the thread is a worker of `pool`; tells whether it is.
    #[inline]
    pub fn of_pool(pool: PoolPtr, f: impl FnOnce(&Self)) -> bool {
        Self::with(|context| match context {
            Some(context) if context.pool == pool => {
                f(context);
                true
            }
            _ => false,
        })
    }

    /// The pool.
    pub fn pool(&self) -> &Shared {
        self.pool.shared()
    }

    /// A pointer to the pool.
    pub fn pool_ptr(&self) -> PoolPtr {
        self.pool
    }

    /// The place the thread sits in.
    #[inline]
    pub fn seat(&self) -> Option<&Seat> {
        // SAFETY: places live as long as their pool, which the thread owns a share of.
        unsafe { self.seat.get().as_ref() }
    }

    /// Takes a seat, or gives it up.
    pub fn sit(&self, seat: Option<&Seat>) {
        self.seat.set(seat.map_or(ptr::null(), ptr::from_ref));
    }

    /// The permit held.
    #[inline]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Runs `f` as the task with this key. `cell` is the cell of a task with a handle. It must last until `f` has ended.
    #[inline]
    pub fn as_task<R>(&self, key: usize, cell: Option<CellPtr>, f: impl FnOnce() -> R) -> R {
        let frame = Frame { key, cell, outer: self.running.get() };
        self.running.set(&frame);
        // Put back on every way out, so that the frame is not looked at when it is gone.
        let restore = Restore { context: self, outer: frame.outer };
        let out = f();
        drop(restore);
        out
    }

    /// Returns true if the task with this key runs on this thread, or waits here for one that does.
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

    /// Returns the cell of the innermost task that runs here, if that task has a handle. The cell lasts until the task ends.
    pub fn running_cell(&self) -> Option<CellPtr> {
        // SAFETY: as in `is_running`.
        unsafe { self.running.get().as_ref() }?.cell
    }

    /// Takes a token of the job that runs here for the thread itself: the task is a future that will, if it
    /// is pending, keep the task's own token and may use it up on another thread at once.
    #[cfg(feature = "futures")]
    pub fn keep_job(&self) {
        let job = self.lease.job.get().expect("a future is polled under its permit");
        job.tokens.add_tasks(1);
        self.lease.take_token();
    }

    /// Whether a task of the job that runs here may be run by the task that waits for it, under that
    /// task's permit: the limit still allows it, and there is stack left.
    pub fn may_run_inside(&self, job: JobPtr) -> bool {
        self.lease.job.get() == Some(job)
            && self.depth.get() < DEPTH_MOST
            && crate::worker::turn::may_go_on(job)
    }

    /// Whether tasks wait here that are not of the job that runs, or the thread has no place to run
    /// more of them in.
    #[inline]
    pub fn others_wait(&self) -> bool {
        self.seat().is_none_or(|seat| {
            !self.pool().injector_is_empty() || seat.deque.len() as u64 > self.lease.left.get()
        })
    }

    /// Counts a record that was freed on this thread.
    #[inline]
    pub fn count_freed_record(&self) {
        self.freed_records.set(self.freed_records.get() + 1);
    }

    /// The owners of the pool this thread gives up when it ends: itself and the records it freed.
    pub fn owners(&self) -> u64 {
        self.freed_records.replace(0) + 1
    }

    /// Pushes a task of the job that runs here into the thread's own deque, if the job is such
    /// that permits are free for all workers. Gives the cell back if not.
    #[inline]
    pub fn push_inside(&self, job: JobPtr, cell: CellPtr) -> Result<(), CellPtr> {
        if self.lease.job.get() != Some(job) {
            return Err(cell);
        }
        let Some(seat) = self.seat() else {
            return Err(cell);
        };
        let word = job.permits.load();
        // At a limit that equals the workers all permits may be held: the task then runs under one of
        // them, and nobody is idle who could take it for nothing.
        let held = word.held_back() || word.has(Flag::Cancelled);
        if held || !job.is_unlimited(word) || seat.deque.len() >= LOCAL_MOST {
            return Err(cell);
        }
        self.lease.spend_tokens(job, 1, CREDIT);
        seat.publish(job.idle_key(), self.lease.tokens.get() - 1);
        cell.set_mark(Mark::Loose);
        seat.deque.push(cell);
        self.lease.left.set(self.lease.left.get() + 1);
        self.pool().notify();
        Ok(())
    }
}

impl Lease {
    /// Opens the hold with the one token of a task that has just got its permits. So many tasks of the job lie at
    /// the top of the thread's deque.
    #[inline]
    pub fn open(&self, job: JobPtr, epoch: u64, left: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.tokens.set(1);
        self.left.set(left);
        self.batch_out.set(false);
        self.turn.set(0);
        self.began.set(None);
        self.epoch.set(epoch);
    }

    /// Leaves the permits, and one token, to a future that waits to be woken.
    pub fn detach(&self) {
        let job = self.job.take().expect("a hold is closed once");
        let tokens = self.tokens.replace(0) - 1;
        self.settle(job);
        job.drop_tasks(tokens);
    }

    /// Goes on with the permits and tokens of a task that waited.
    pub fn resume(&self, job: JobPtr, tokens: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.tokens.set(tokens);
        self.left.set(0);
    }

    /// Takes `count` tokens out, for tasks that are pushed. One token stays. If there are too few tokens, adds the missing
    /// ones and `credit` more.
    #[inline]
    pub fn spend_tokens(&self, job: JobPtr, count: u64, credit: u64) {
        let mut tokens = self.tokens.get();
        if tokens <= count {
            let missing = count + 1 - tokens + credit;
            job.tokens.add_tasks(missing);
            tokens += missing;
        }
        self.tokens.set(tokens - count);
    }

    /// Leaves one token to a future that waits without a permit.
    #[cfg(feature = "futures")]
    pub fn give_token(&self) {
        self.tokens.set(self.tokens.get() - 1);
    }

    /// Gives back all tokens but one.
    pub fn give_spare_tokens(&self) {
        let Some(job) = self.job.get() else { return };
        let spare = self.tokens.replace(1) - 1;
        if spare > 0 {
            job.drop_tasks(spare);
        }
    }

    /// Takes the token of a task in that is run under this hold.
    #[inline]
    pub fn take_token(&self) {
        self.tokens.set(self.tokens.get() + 1);
    }

    /// Writes what was counted here into the job's tally.
    #[inline]
    pub fn settle(&self, job: JobPtr) {
        let completed = self.completed.replace(0);
        if completed > 0 {
            // Ordering: Relaxed; ordered by the permit that is given back after it.
            job.tally.completed.fetch_add(completed, Ordering::Relaxed);
        }
    }

    /// Closes the hold: the permits go back and on to whoever waits.
    #[inline]
    pub fn close(&self) {
        let job = self.job.take().expect("a hold is closed once");
        let tokens = self.tokens.replace(0);
        let left = job.tokens.load();
        if left.handles() == 0
            && left.tasks() == tokens
            && job.parent().is_none()
            && job.queue().is_empty()
        {
            self.completed.set(0);
            // SAFETY: all tokens are in this thread's hands, and there is no handle to push by.
            unsafe { job.free(1) };
            return;
        }
        self.settle(job);
        admission::release(job);
        job.drop_tasks(tokens);
    }
}
