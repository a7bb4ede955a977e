//! The deadline of a task: the time by which it must have started.
//!
//! A task with a deadline is in the queue like any other task, and has an entry in the pool's timer. The entry has a reference
//! to the task's cell. The thread that takes the entry out of the timer gives up that reference.
//!
//! - `start-1`: A thread that claims the closure of a task with a deadline, to run or to drop it, takes the deadline's entry out
//!   of the timer.
//! - `start-2`: A thread that has claimed the closure to run it reads the clock. If the deadline has come, the thread drops the
//!   closure instead.
//! - `expire-1`: The thread that fires the deadline's entry (the *firing thread*) tries to claim the closure. If another thread
//!   has claimed the closure before, that thread runs or drops it.
//! - `expire-2`: If the firing thread has claimed the closure, it drops the closure, and then wakes the waiters of the job. The
//!   empty cell might be the last in the job's queue, so these waiters might have nothing left to wait for.
//!
//! The claim of a closure is one change of the state word, so exactly one thread owns the closure. The timer entry of the
//! task's deadline is armed before the task is pushed. So a thread that claims the closure finds the entry in the timer,
//! unless another thread has taken the entry out (`start-1`).
//!
//! The cell of a task with a deadline counts as an owner of the pool, because the task's handle can use the timer after the job
//! was freed.

use crate::base::task::CellPtr;
use crate::base::timer::{Key, NotArmed};
use crate::error::JoinError;
use crate::job::cancels::note_gone;
use crate::job::gate::drop_task;
use crate::pool::core::PoolPtr;
use crate::pool::due::{Act, Due, Timed};
use crate::sync::time::Instant;
use crate::task::closure::{Face, Joint, Owner};
use crate::task::state::{Claim, Reference};
use std::ptr::NonNull;

/// The timer entry of a task with a deadline. The entry's key contains the deadline.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pool: PoolPtr,
    key: Key,
}

impl Deadline {
    /// Makes the timer entry for a cell. The cell becomes an owner of the pool.
    pub fn new(pool: PoolPtr, deadline: Instant) -> Self {
        pool.own();
        Self { pool, key: pool.shared().timer.key(deadline) }
    }

    /// Puts the deadline of the task in `cell`, which has a handle, into the timer. If the call returns true, the caller must
    /// push the task. If the call returns false, the task was dropped, because the deadline has come or the pool has ended. The
    /// caller must keep the job alive.
    ///
    /// # Errors
    /// Returns an error if the timer's thread could not be started. In this case the call has dropped the task.
    pub fn arm<F, T>(self, cell: CellPtr) -> std::io::Result<bool>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let whole = cell.cast::<Joint<F, T, Self>>();
        // SAFETY: the caller passes a cell of the type `Joint<F, T, Self>`, and the handle keeps the cell alive.
        let state = unsafe { &whole.as_ref().state };
        if self.is_late() {
            if state.claim(false) == Claim::Granted {
                cell.job().count_cancelled();
                // SAFETY: this thread claimed the closure just now, and no queue has the cell.
                unsafe {
                    Joint::drop_claimed(whole, JoinError::Expired, Some(Reference::Queue));
                }
            }
            return Ok(false);
        }
        state.add(Reference::Waker);
        let due = Due { waits: Timed::Task(cell), act: &Joint::<F, T, Self>::EXPIRE };
        let Err(error) = self.pool.arm_as(self.key, due) else { return Ok(true) };
        // SAFETY: the reference was added just now, and the handle has another one.
        unsafe { Face::release(cell.cast(), Reference::Waker) };
        cell.job().busy.add_tasks(1);
        drop_task(cell);
        match error {
            NotArmed::Closed => Ok(false),
            NotArmed::NoThread(error) => Err(error),
        }
    }
}

impl Owner for Deadline {
    fn claimed(self, cell: NonNull<Face>) {
        // The task starts or is dropped, so the timer must not fire the deadline's entry (start-1).
        if self.pool.shared().timer.cancel(self.key).is_some() {
            // SAFETY: the entry had the reference that is given up here. The caller has another reference.
            unsafe { Face::release(cell, Reference::Waker) };
        }
    }

    // Returns true if the deadline has come: the task must be dropped instead of run (start-2).
    fn is_late(self) -> bool {
        self.key.0 <= self.pool.shared().now()
    }

    fn freed(self) {
        self.pool.disown(1);
    }
}

impl<F, T> Joint<F, T, Deadline>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    /// The functions of a deadline's entry. A drain waits for the task itself, so the drain need not wait for the entry.
    const EXPIRE: Act = Act { fire: Self::expire, is_waited_for: |_| false };

    /// Drops the task if its deadline has come and the task has not started. In each case gives up the timer entry's reference to
    /// the cell.
    fn expire(due: Due, key: Key) {
        let cell = due.cell();
        let whole = cell.cast::<Self>();
        // SAFETY: the cell is of the type `Self`, and this thread has the entry's reference.
        let this = unsafe { whole.as_ref() };
        let job = this.header.job();
        if key.0 <= this.owner().pool.shared().now() && this.state.claim(false) == Claim::Granted {
            // The deadline has come, and the task has not started (expire-1).
            // SAFETY: this thread claimed the closure just now, and the entry's reference keeps the cell alive.
            unsafe { Self::drop_claimed(whole, JoinError::Expired, None) };
            note_gone(job); // expire-2
        }
        // SAFETY: the entry had this reference. If it is the last, the task has ended, and its outcome was taken or dropped.
        unsafe { Face::release(cell.cast(), Reference::Waker) };
    }
}
