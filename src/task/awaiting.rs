//! Polls a handle as a future. Counts the tasks and jobs that a future of a pool awaits.
//!
//! The poll of a handle puts the waker into the parking lot, under the address of the task's cell. The cell has only the bit
//! WAITED, and no place for the waker. A waker and its lock would take 24 bytes of each cell, and few handles are awaited before
//! their task has ended.
//!
//! The poll of a handle sets the bit WAITED in the task's state word. In the same change the poll reads the bit DONE, which says
//! that the task has ended. The poll makes this change under the lock of the parking lot's bucket (`park-2`). The thread that
//! ends the task reads WAITED in the change that sets DONE (`unpark-1`). Each handle has at most one entry in the parking lot, so
//! only the waker of the handle's last poll is woken.
//!
//! # Without a permit
//!
//! A future can await the end of a task of this library, or that a job is idle or settled. Meanwhile the future must not keep
//! its permit, because an awaited task might need that permit. So the state word of the future counts each such wait. A wait is
//! counted from the poll that returns `Pending` because of the task or job, until the wait is over or dropped.
//!
//! - `await-1`: a worker ends the poll of a future whose count of waits is not 0. In the same change the worker sets the bit
//!   NO_PERMIT in the future's state word.
//! - `await-2`: the worker runs the next task under the future's permit, or releases the permit. The future keeps one busy
//!   count, so the job is not idle.
//! - `await-3`: the waker pushes the future to the front of its job's queue, and gives the future's busy count back. From that
//!   queue the future is admitted as any task is, ahead of all tasks that have not started.
//!
//! If the job of a future or an ancestor of that job keeps permits, the state word does not count the future's waits. So no
//! worker sets NO_PERMIT for that future, and the future keeps all its permits.
//!
//! The bit NO_PERMIT says that a pending future waits without its permit. The change of the state word that ends a poll also sets
//! this bit. A waker queues the future only after that change. So the waker (`await-3`) always sees whether the last poll has set
//! NO_PERMIT.

use crate::process;
use crate::task::closure::Face;
use crate::task::state::{POLLING, Reference};
use std::ptr::NonNull;

/// A wait of a pool's future for a task or a job. While the wait lasts, the state word of the future counts it.
#[derive(Debug, Default)]
pub struct Wait(Option<NonNull<Face>>);

// SAFETY: only the state of the cell is used, which is atomic. Any thread may give up the reference.
unsafe impl Send for Wait {}
// SAFETY: only the state of the cell is used, which is atomic.
unsafe impl Sync for Wait {}

impl Wait {
    /// Notes that the future which this thread is polling awaits a task or a job of this library. Does nothing if this thread
    /// polls no future of a pool, or if the future's job or an ancestor keeps permits.
    ///
    /// # Panics
    /// Panics in a child process of `fork`, where no worker is left to end the wait.
    #[track_caller]
    pub fn begin(&mut self) {
        assert!(!process::is_child(), "{}", process::NO_WORKERS);
        let running = Face::of_running();
        let polled = running.and_then(|(face, word)| word.has(POLLING).then_some(face));
        // SAFETY: the poller keeps the cell alive while the future is polled.
        let keeps = |face: &NonNull<Face>| unsafe { face.as_ref() }.header.job().keeps_any_permit();
        let polled = polled.filter(|face| !keeps(face));
        if self.0 == polled {
            return;
        }
        self.end();
        if let Some(face) = polled {
            // SAFETY: the poller keeps the cell alive while the future is polled.
            unsafe { face.as_ref() }.state.add(Reference::Wait);
            self.0 = polled;
        }
    }

    /// Ends the wait: from now on the state word of the future does not count it.
    pub fn end(&mut self) {
        if let Some(face) = self.0.take() {
            // SAFETY: the reference was added by `begin`. If it is the last, the future has ended.
            unsafe { Face::release(face, Reference::Wait) };
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}
