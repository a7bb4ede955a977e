//! `TaskId`: the identity of a task.

use std::fmt;

/// Identifies a task. Returned by [`TaskHandle::id`](crate::TaskHandle::id) and [`current_task_id`](crate::current_task_id).
///
/// Two tasks that have not ended have different ids. While a task's handle exists, no other task gets the task's id. When the
/// task has ended and its handle was dropped, a later task can get the same id. An id says nothing about the order of tasks.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(2);
/// let (one, two) = (job.spawn(tollgate::current_task_id), job.spawn(|| ()));
/// assert_ne!(one.id(), two.id());
/// let id = one.id();
/// assert_eq!(one.join().unwrap(), Some(id));
/// println!("task {id}"); // as `task 0x7f2a5c001a80`
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(usize);

impl TaskId {
    /// Makes the id of the task whose cell has the address `address`.
    pub(crate) fn of(address: usize) -> Self {
        Self(address)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}
