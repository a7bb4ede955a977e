//! The tasks of a set that have ended, and the wake-up of the set's owner.
//!
//! Each task of a set carries a guard. The guard is dropped with the task's closure or future, whether the task ran, panicked
//! or was cancelled. The drop adds the task's number to the set's list:
//!
//! - `set-1`: the guard locks the list, adds the number, and reads and clears the mark *waited*.
//! - `set-2`: if the mark was set, the guard wakes the set's owner.
//! - `set-3`: before the owner waits, it locks the list, and sets the mark if the list is still empty. Otherwise the owner does
//!   not wait. During this step the owner holds the lock of its bucket in the parking lot.
//!
//! No wake-up is lost, because the guard and the owner take the list's lock (`set-1`, `set-3`). The owner sees the task's
//! number in the list, or the guard sees the mark and wakes the owner.
//!
//! A task may be in the list before its outcome is final, because the guard is dropped shortly before that. So the set's owner
//! joins each task of the list by the task's handle.

use crate::base::parking::parking_lot;
use crate::sync::{Arc, Mutex, MutexGuard};
use std::collections::VecDeque;

/// The number of a task in a [`TaskSet`](crate::TaskSet), in the order of the pushes, from 0. The set uses no number twice.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let mut set = pool.job(1).set();
/// let (one, two) = (set.spawn(|| "one"), set.spawn(|| "two"));
/// assert!(one < two);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetTaskId(pub(super) u64);

/// The ended tasks of a set whose results the set's owner has not taken yet.
#[derive(Debug)]
pub struct EndedList(Mutex<List>);

#[derive(Debug)]
struct List {
    numbers: VecDeque<SetTaskId>,
    /// True while the set's owner waits, or is about to wait.
    waited: bool,
}

/// Adds the task's number to the set's list of ended tasks when it is dropped.
pub struct Guard {
    ended: Arc<EndedList>,
    id: SetTaskId,
}

impl EndedList {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self(Mutex::new(List { numbers: VecDeque::new(), waited: false }))
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // A poisoned lock may be used, because no code of the user runs under the lock.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the parking lot's key for the set's owner.
    pub fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Removes the number of the task that ended first from the list, and returns it.
    pub fn take(&self) -> Option<SetTaskId> {
        self.lock().numbers.pop_front()
    }

    /// Returns the number of tasks on the list.
    pub fn len(&self) -> usize {
        self.lock().numbers.len()
    }

    /// Sets the mark *waited* and returns true if no ended task is on the list. The set's owner must then wait (`set-3`).
    pub fn set_waited(&self) -> bool {
        let mut list = self.lock();
        list.waited = list.numbers.is_empty();
        list.waited
    }
}

impl Guard {
    /// Makes the guard that adds the task number `id` to the list when it is dropped.
    pub fn new(ended: &Arc<EndedList>, id: SetTaskId) -> Self {
        Self { ended: ended.clone(), id }
    }
}

/// A closure or future of a set, and the guard that notes its end. If the task is dropped before it starts, its captures are
/// dropped first. So a task is in the list only when its end needs none of the user's code any more.
pub struct Guarded<F> {
    /// Must be dropped before `guard`.
    task: F,
    guard: Guard,
}

impl<F> Guarded<F> {
    /// Puts a closure or future together with its guard.
    pub fn new(task: F, guard: Guard) -> Self {
        Self { task, guard }
    }

    /// Runs the closure, and then drops the guard.
    pub fn run<T>(self) -> T
    where
        F: FnOnce() -> T,
    {
        let Self { task, guard: _guard } = self;
        task()
    }

    /// Awaits the future, and then drops the guard.
    #[cfg(feature = "futures")]
    pub async fn result(self) -> F::Output
    where
        F: Future,
    {
        let Self { task, guard: _guard } = self;
        task.await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let waited = {
            let mut list = self.ended.lock(); // set-1
            list.numbers.push_back(self.id);
            std::mem::take(&mut list.waited)
        };
        if waited {
            parking_lot().wake(self.ended.key()); // set-2
        }
    }
}
