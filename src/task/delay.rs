//! Puts a delayed task into the pool's timer, and takes the task out.
//!
//! A delayed task has no permit, but one busy count, so that its job is not idle. The task's entry in the timer owns that busy
//! count, and the queue's reference to the cell. The thread that takes the entry out of the timer owns the count and the
//! reference from then on.
//!
//! The thread that delays a task:
//! - `delay-1`: The thread executes a full fence, locks the job's list of timer keys, and checks whether the job was cancelled.
//!   If so, the thread injects the task, so that a worker drops it.
//! - `delay-2`: Under the same lock the thread arms the timer, and adds the entry's key to the list. So if another thread sees
//!   a key in the list, the key's entry is armed, or a thread has taken the entry out.
//!
//! The thread that fires the timer's entry of a delayed task:
//! - `delay-3`: The thread pushes the task like any other task of the job, and then gives the entry's busy count back. So the job
//!   is never idle while the task moves from the timer to the queue.
//!
//! The thread that cancels a delayed task by its handle:
//! - `undelay-1`: The thread claims the closure, and takes the entry out. If another thread has taken the entry out before,
//!   that other thread has the cell, and finds the cell empty.
//! - `undelay-2`: While the thread takes the entry out (`undelay-1`), a drain waits for the thread, which counts as
//!   outstanding. Afterwards the thread checks whether the drain must end. So a drain that has waited only for this entry ends.
//!
//! A thread that cancels a job (the *canceller*) sets the flag `Cancelled`, executes a full fence, and reads the job's list of
//! timer keys under the list's lock. If the list has keys, a sweep takes their entries out of the timer. The canceller misses no
//! delayed task. The list and its lock are made with the job's first key. The canceller and the thread that delays a task (the
//! *delayer*) both execute a fence. So the canceller sees the list, or the delayer sees the flag. If the canceller sees the list,
//! both threads lock the list. So the canceller sees the task's key, or the delayer sees the flag (`delay-1`).
//!
//! A sweep or a clear can find a key in a job's list of timer keys for which the timer has no entry. Then another thread has
//! taken the entry out of the timer, and has the task (`delay-2`).
//!
//! The cell of a delayed task counts as an owner of the pool, because the task's handle can use the timer after the job was
//! freed.

use crate::base::task::CellPtr;
use crate::base::timer::{Key, NotArmed};
use crate::job::events;
use crate::job::gate::{self, drop_late, drop_task, inject_to_drop, is_dropped};
use crate::job::lifetime;
use crate::job::record::JobPtr;
use crate::pool::core::PoolPtr;
use crate::pool::due::{Act, Due, Timed};
use crate::sync::full_fence;
use crate::sync::time::Instant;
use crate::task::closure::{Face, Owner};
use crate::task::state::DELAYED;

/// The functions of a delayed task's entry in the timer. When the entry fires, `start` pushes the task. A drain waits for the
/// entry.
static START: Act = Act { fire: start, is_waited_for: |_| true };

/// The entry of a delayed task in the timer of the task's pool.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    pool: PoolPtr,
    key: Key,
}

impl Delay {
    /// Makes the timer entry for a cell. The cell becomes an owner of the pool.
    pub fn new(pool: PoolPtr, when: Instant) -> Self {
        pool.own();
        Self::again(pool, when)
    }

    /// Makes a further timer entry for a cell that already counts as an owner of the pool.
    pub fn again(pool: PoolPtr, when: Instant) -> Self {
        Self { pool, key: pool.shared().timer.key(when) }
    }

    /// Puts the task in `cell` into the timer, or pushes the task if its time has come. If the job was cancelled or the pool
    /// drops its tasks, the task is dropped instead. The caller must keep the job alive.
    ///
    /// # Errors
    /// Returns an error if the timer's thread could not be started. Then the task was dropped.
    pub fn arm(self, cell: CellPtr) -> std::io::Result<()> {
        let job = cell.job();
        job.busy.add_tasks(1);
        if self.key.0 <= self.pool.shared().now() {
            push(cell);
            return Ok(());
        }
        let extra = job.extra_or_make();
        full_fence();
        let mut times = extra.times();
        if is_dropped(job) {
            drop(times);
            inject_to_drop(cell, job); // delay-1
            drop_late(self.pool.shared());
            return Ok(());
        }
        let due = Due { waits: Timed::Task(cell), act: &START };
        let Err(error) = self.pool.arm_as(self.key, due) else {
            times.delayed.insert(self.key); // delay-2
            return Ok(());
        };
        drop(times);
        drop_task(cell);
        match error {
            // The pool has ended, or drops its tasks, so the task was dropped.
            NotArmed::Closed => Ok(()),
            NotArmed::NoThread(error) => Err(error),
        }
    }

    /// Takes this entry out of the timer. The caller must have claimed the closure, to cancel the task by its handle. Returns
    /// true if the caller now owns the entry's busy count and the queue's reference to the cell. Returns false if the entry was
    /// not in the timer.
    pub fn take_out(self) -> bool {
        let shared = self.pool.shared();
        let mut entry = None;
        // `defer_end` makes a drain wait for this thread while the thread takes the entry out (undelay-2).
        shared.defer_end(|| entry = shared.timer.cancel(self.key)); // undelay-1
        if let Some(due) = entry {
            forget(due.cell().job(), self.key);
        }
        entry.is_some()
    }

    /// Takes this entry, whose task was cancelled, out of the timer, and injects the task, so that a worker drops it. Does
    /// nothing if the entry is not in the timer.
    pub fn take_back(self) {
        self.pool.shared().defer_end(|| self.hand_to_worker());
        drop_late(self.pool.shared());
    }

    fn hand_to_worker(self) {
        if let Some(due) = self.pool.shared().timer.cancel(self.key) {
            let cell = due.cell();
            forget(cell.job(), self.key);
            inject_to_drop(cell, cell.job());
        }
    }
}

impl Owner for Delay {
    const DELAYED: bool = true;

    fn leaves_timer(self) -> bool {
        self.take_out()
    }

    fn left_timer(self, job: JobPtr) {
        give_back_busy_count(job);
    }

    fn freed(self) {
        self.pool.disown(1);
    }
}

/// Gives back the busy count that a timer entry owned. Call this after the entry was taken out of the timer.
pub fn give_back_busy_count(job: JobPtr) {
    job.busy.keep();
    job.drop_tasks(1);
    lifetime::drop_handle(job);
}

/// Removes a key from the job's list of timer keys. Call this after the key's entry was taken out of the timer.
fn forget(job: JobPtr, key: Key) {
    job.extra_or_make().times().delayed.remove(&key);
}

/// Pushes the task of a timer entry whose time has come.
fn start(due: Due, key: Key) {
    let cell = due.cell();
    forget(cell.job(), key);
    push(cell);
}

/// Pushes a task whose time has come. If the pool drops its tasks, injects the task instead, so that a worker drops it. The
/// caller must own the entry's busy count and the queue's reference to the cell, and owns neither afterwards.
fn push(cell: CellPtr) {
    let job = cell.job();
    job.busy.keep();
    // SAFETY: a delayed task has a face, and this thread has the entry's reference.
    unsafe { cell.cast::<Face>().as_ref() }.state.clear(DELAYED);
    events::pushed(job, cell);
    if job.pool().drops() {
        inject_to_drop(cell, job);
    } else {
        // The push gives the queue the reference to the cell. The busy count keeps the job busy until after the push (delay-3).
        gate::push(job, cell);
        job.drop_tasks(1);
    }
    drop_late(job.pool());
    lifetime::drop_handle(job);
}
