//! The packed word of a task with a handle: who is where, and who may touch what when.
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

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::fault;

pub const CLAIMED: u64 = 1;
pub const DONE: u64 = 1 << 1;
pub const QUEUE: u64 = 1 << 2;
pub const HANDLE: u64 = 1 << 3;
pub const WAITED: u64 = 1 << 4;
pub const TAKEN: u64 = 1 << 5;
pub const INSIDE: u64 = 1 << 6;
pub const SEALED: u64 = 1 << 7;
pub const ASKED: u64 = 1 << 8;

/// Claims a task, unless somebody has claimed it already; returns the state before.
pub fn claim(state: &AtomicU64, by: u64) -> u64 {
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
    // Ordering: Relaxed; a hint: the task may end sooner if it sees the bit.
    state.load(Ordering::Relaxed) & (ASKED | SEALED) != 0
}
