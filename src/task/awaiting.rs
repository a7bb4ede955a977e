//! Polls a handle as a future, and counts the waits of a pool's future for tasks and jobs.
//!
//! The parking lot keeps a handle's waker, under the address of the task's cell. The cell has only one bit for the waker,
//! WAITED. A waker with its lock would take 24 bytes of the cell, and few handles are awaited before their task has ended. One
//! change sets the bit and checks DONE, under the bucket's lock (`park-2`). The thread that ends the task reads the bit in the
//! change that sets DONE (`unpark-1`). A handle has one entry in the parking lot, so the waker of the last poll is woken.
//!
//! # Without a permit
//!
//! A future may await a task, an idle job or a settled job of this library. Meanwhile the future must not keep its permit,
//! because the awaited task may need the permit. So each such wait is counted, from the poll that finds it pending until the
//! wait is ready or dropped.
//!
//! - `await-1`: the poll of a future ends, and waits are counted. The future is marked NO_PERMIT.
//! - `await-2`: the worker runs the next task under the permit, or gives the permit back. The future keeps one busy count, so
//!   the job is not idle.
//! - `await-3`: the waker pushes the future to the front of its job's queue, and gives the future's busy count back. Then the
//!   future starts as any task does, ahead of all tasks that have not started.
//!
//! A future whose job or one of its ancestors keeps its permits is not marked: its waits are not counted.
//!
//! `await-1` is part of the change that ends the poll. A thread may queue the future only after that change. So `await-3`
//! always sees whether the last poll has set NO_PERMIT.

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
    /// Notes that the future which this thread polls now awaits a task or a job of this library. Does nothing if this thread
    /// polls no future of a pool.
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

    /// Ends the wait of the future.
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
