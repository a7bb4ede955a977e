//! Counts the *rests* of a job: the moments at which no task of the job was queued or running. A waiter that checks the job too
//! late, when the job is busy again, learns from this count that the job was idle.
//!
//! A waiter that finds its job idle can push a task at once. A second waiter, woken at the same time, then finds the job busy
//! again. So the second waiter could miss for ever each moment at which the job is idle. To prevent this, the first waiter adds
//! one to the job's count of such moments (*rests*). A waiter that finds the job busy compares this count with the count at the
//! start of its own wait. If the two counts differ, the job was idle meanwhile.
//!
//! A job has a count of its rests, the moments at which it was idle, only while a waiter waits for the job.

use crate::base::parking::parking_lot;
use crate::sync::{Mutex, MutexGuard, global};
use std::collections::BTreeMap;
use std::sync::PoisonError;

global! {
    /// Returns the process's table of the jobs that a waiter waits for. The key of an entry is the job's key in the parking lot. The
    /// entry counts the waiters, and how often the job has come to rest. At first the table is empty.
    fn rests() -> Mutex<BTreeMap<usize, Rest>> { Mutex::new(BTreeMap::new()) }
}

#[derive(Debug, Default)]
struct Rest {
    waiters: usize,
    count: u64,
}

/// A waiter that waits until a job is idle. The caller must keep the job's record alive until this value is dropped.
#[derive(Debug)]
pub struct Resting {
    key: usize,
    began: u64,
}

impl Resting {
    /// Counts one more waiter that waits until a job is idle. `key` is the job's key in the parking lot.
    pub fn enter(key: usize) -> Self {
        let began = with_rest(key, |rest| {
            rest.waiters += 1;
            rest.count
        });
        Self { key, began }
    }

    /// Returns true if another waiter has seen the job idle since this waiter was counted.
    pub fn has_come(&self) -> bool {
        with_rest(self.key, |rest| rest.count != self.began)
    }

    /// Notes that this waiter has seen the job idle, and wakes the other waiters of the job.
    ///
    /// A waiter for a job parks for the job itself, or for one of its children that is busy. This call does not wake a waiter
    /// that is parked for a child. When the child is idle, that waiter itself calls [`has_come`](Self::has_come).
    pub fn note(&self) {
        let others = with_rest(self.key, |rest| {
            let others = rest.waiters > 1;
            rest.count += u64::from(others);
            others
        });
        if others {
            parking_lot().wake(self.key);
        }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        let mut rests = locked();
        let rest = rests.get_mut(&self.key).expect("this waiter is entered");
        rest.waiters -= 1;
        if rest.waiters == 0 {
            rests.remove(&self.key);
        }
    }
}

fn with_rest<R>(key: usize, f: impl FnOnce(&mut Rest) -> R) -> R {
    f(locked().entry(key).or_default())
}

fn locked() -> MutexGuard<'static, BTreeMap<usize, Rest>> {
    rests().lock().unwrap_or_else(PoisonError::into_inner)
}
