//! Awaiting a task, and the waits of a pool's future while it awaits.
//!
//! The parking lot keeps a handle's waker, under the cell's address. The cell has one bit for it, WAITED, and not the 24 bytes
//! of a waker with its lock, because few handles are awaited before their task has ended. The bit is set and DONE is checked
//! in one change, under the bucket's lock (`park-2`). The thread that ends the task reads the bit in the change that sets DONE
//! (`unpark-1`). A handle has one entry there, so the waker of the last poll is woken.
//!
//! # Without a permit
//!
//! A future that awaits something of this library (a task, an idle job or a settled job) must not keep its permit meanwhile:
//! the awaited task may need it. So each such wait is counted, from the poll that finds it pending until it is ready or
//! dropped.
//!
//! - `await-1`: the poll of a future ends, and waits are counted. The future is marked NO_PERMIT.
//! - `await-2`: its worker goes on with the next task under the permit, or gives the permit back. The future keeps one
//!   token, so the job is not idle.
//! - `await-3`: a thread that wakes the future pushes it to the front of its job's queue, and gives its token back. From there
//!   the future starts as any task does, ahead of all that have not started.
//!
//! `await-1` is part of the change that ends the poll. A thread may queue the future only after that change, so `await-3`
//! always finds the mark of the last poll.

use crate::process;
use crate::task::closure::Face;
use crate::task::state::{POLLING, Reference};
use std::ptr::NonNull;

/// The wait of a future for a task or a job of this library, counted in the future's state while it lasts.
#[derive(Debug, Default)]
pub struct Wait(Option<NonNull<Face>>);

// SAFETY: of the cell only the state is used, which is atomic, and the reference, which any thread may give up.
unsafe impl Send for Wait {}
// SAFETY: as above.
unsafe impl Sync for Wait {}

impl Wait {
    /// Begins a wait of the future that polls here, if a future of a pool does.
    ///
    /// # Panics
    /// In a forked child, where no worker is left to end the wait.
    #[track_caller]
    pub fn begin(&mut self) {
        assert!(!process::is_child(), "{}", process::NO_WORKERS);
        let running = Face::of_running();
        let polled = running.and_then(|(face, word)| word.has(POLLING).then_some(face));
        if self.0 == polled {
            return;
        }
        self.end();
        if let Some(face) = polled {
            // SAFETY: its poller keeps it alive while it is polled.
            unsafe { face.as_ref() }.state.add(Reference::Wait);
            self.0 = polled;
        }
    }

    /// Ends the wait.
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
