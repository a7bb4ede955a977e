//! Permits without tasks, in the user's hands. To the model each is a task that has started and runs until it is let go.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tollgate::{Permit, TryAcquireError};

use super::interpreter::User;
use super::known::KnownTask;
use super::ledger::Entry;
use super::task::Record;

/// A permit, and its entry in the books of its job.
pub struct HeldPermit {
    entry: Entry,
    permit: Permit,
}

impl HeldPermit {
    /// Gives the permit back. Until then the job counts it as running.
    pub fn give_back(self, record: &Record) {
        drop(self.entry);
        record.will_end();
        drop(self.permit);
    }
}

impl User {
    /// Acquires a permit, or finds that there is none.
    pub fn acquires(&mut self, id: usize, leaves: bool) {
        // A worker may take the room at any time, so a refusal is right. A permit is, if nothing forbids a start.
        let refused = self.over || self.jobs[id].closed;
        let ledger = Arc::clone(&self.jobs[id].ledger);
        let job = self.api(id);
        let acquired = if leaves {
            let polled =
                std::pin::pin!(job.acquire()).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Ready(Ok(permit)) => Some(permit),
                Poll::Ready(Err(_)) => {
                    assert!(refused, "an open job refuses a permit");
                    None
                }
                Poll::Pending => {
                    // It has left the queue, and counts as a task that its handle cancelled.
                    assert!(!refused, "a closed job takes a waiter");
                    drop(ledger.ticket());
                    ledger.count_cancelled_by_handle();
                    None
                }
            }
        } else {
            match job.try_acquire() {
                Ok(permit) => Some(permit),
                Err(error) => {
                    assert_eq!(matches!(error, TryAcquireError::Closed), refused, "{error}");
                    None
                }
            }
        };
        let Some(permit) = acquired else { return };
        let held = self.above(id).any(|above| {
            let known = &self.jobs[above];
            known.paused || known.held_until.is_some() || known.limit == 0
        });
        assert!(!refused && !held, "a permit of a job that takes no task: {}", self.says());
        let record = Record::new(id, true);
        record.has_started();
        self.tasks
            .push(KnownTask::held(record, HeldPermit { entry: ledger.ticket().enter(), permit }));
    }
}
