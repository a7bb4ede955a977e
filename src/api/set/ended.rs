//! The list of a set's ended tasks. A task that ends wakes the set's *owner*, which is the thread or future that takes the
//! results.
//!
//! The closure or future of each task of a set owns a value called its *guard*, which is dropped at the end of the closure or
//! future, whether the task ran, panicked or was cancelled. In three steps the set's owner learns that a task has ended:
//!
//! - `set-1`: the thread that drops the guard of a task locks the list of ended tasks, adds the number that the task has in the
//!   set, and reads and clears the flag `waited` of the list.
//! - `set-2`: if the flag was set, that thread wakes the set's owner.
//! - `set-3`: before the set's owner waits, it locks its bucket in the parking lot, and then the list. If the list is empty,
//!   the owner sets the flag `waited` and waits. If the list is not empty, the owner does not wait.
//!
//! Claim: no wake-up of the set's owner is lost. Both the thread that drops the guard of a task (`set-1`) and the owner (`set-3`)
//! lock the list of ended tasks. If the thread has the lock first, the owner finds the task's number in the list, and does not
//! wait. If the owner has the lock first, the thread sees that the owner has set the flag `waited`, and wakes the owner.
//!
//! The guard of a task is dropped shortly before the outcome of the task is final. So the set's owner takes the outcome by a
//! join, which waits until the outcome is final.

use crate::base::parking::parking_lot;
use crate::sync::{Arc, Mutex, MutexGuard};
use std::collections::VecDeque;

/// The number of a task in a [`TaskSet`](crate::TaskSet). A set numbers its tasks from 0, in the order of the pushes, and
/// uses no number twice.
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

/// The list of a set's ended tasks whose results the set's owner has not taken yet.
#[derive(Debug)]
pub struct EndedList(Mutex<List>);

#[derive(Debug)]
struct List {
    numbers: VecDeque<SetTaskId>,
    /// True while the set's owner waits in the parking lot, or is about to wait.
    waited: bool,
}

/// The guard of one task: its drop adds the task's number to the set's list of ended tasks.
pub struct Guard {
    ended: Arc<EndedList>,
    id: SetTaskId,
}

impl EndedList {
    /// Makes an empty list of ended tasks.
    pub fn new() -> Self {
        Self(Mutex::new(List { numbers: VecDeque::new(), waited: false }))
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // No user code runs under the lock, so a panic cannot leave the list half changed. So a poisoned lock can be used.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the key under which the set's owner waits in the parking lot.
    pub fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Takes the first number out of this list: the number of the task that ended first.
    pub fn take(&self) -> Option<SetTaskId> {
        self.lock().numbers.pop_front()
    }

    /// Returns the number of tasks in this list.
    pub fn len(&self) -> usize {
        self.lock().numbers.len()
    }

    /// Returns true if this list of ended tasks is empty: the set's owner must wait. In this case the call sets the flag
    /// `waited`, so that the next task that ends wakes the owner (`set-3`).
    pub fn set_waited(&self) -> bool {
        let mut list = self.lock();
        list.waited = list.numbers.is_empty();
        list.waited
    }
}

impl Guard {
    /// Makes the guard of the task with the number `id`.
    pub fn new(ended: &Arc<EndedList>, id: SetTaskId) -> Self {
        Self { ended: ended.clone(), id }
    }
}

/// A closure or future of a set, and its guard. If the task is dropped before it starts, its captures are dropped before the
/// guard. The drop of the guard adds the task's number to the set's list of ended tasks. So when the number is in this list, all
/// captures have been dropped.
pub struct Guarded<F> {
    /// The closure or future. Must be dropped before the field `guard`, because the drop of the guard tells the set that the
    /// task has ended.
    task: F,
    guard: Guard,
}

impl<F> Guarded<F> {
    /// Makes the value that owns a closure or future and its guard.
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
