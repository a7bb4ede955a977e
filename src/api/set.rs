//! `TaskSet`: keeps the handles of several tasks, and yields their results.
//!
//! The *owner* of a set is the thread or future that takes the results. Module [`ended`] keeps the list of the set's
//! ended tasks, and wakes the owner.

mod ended;
mod poll;

pub use ended::SetTaskId;

use crate::api::job::Job;
use crate::api::set::ended::{EndedList, Guard, Guarded};
use crate::base::parking::{ONLY, parking_lot};
use crate::error::JoinError;
use crate::sync::{Arc, shrunk, thread};
use crate::task::awaiting::Wait;
use crate::task::handle::TaskHandle;
use crate::unwind;
use crate::worker::blocking;
use crate::worker::keeping::refuse_if_all_hopeless;

use std::collections::BTreeMap;
use std::fmt;

/// How often [`TaskSet::try_join_next_with_id`] checks whether the outcome of an ended task is final. After this many checks, the
/// call joins the task, which can block.
const LOOKS: usize = shrunk(100, 1);

/// A set of tasks that keeps their handles and yields their results. Made by [`Job::set`].
///
/// The set yields results as tasks end ([`join_next`](Self::join_next)), or in the order of the pushes
/// ([`join_all`](Self::join_all)). Dropping the set cancels all its tasks. A closure that runs is not stopped, but can ask
/// [`is_cancelled`](crate::is_cancelled). With the feature `futures` a set is also a stream.
///
/// The set's tasks share the job's limit with all other tasks of the job.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(4).build()?;
/// let mut set = pool.job(2).set(); // at most 2 at once
/// for page in 1..=10 {
///     set.spawn(move || page * page);
/// }
/// let mut sum = 0;
/// while let Some(square) = set.join_next() {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 385);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a set that is dropped cancels its tasks"]
pub struct TaskSet<T> {
    job: Job,
    tasks: BTreeMap<SetTaskId, TaskHandle<T>>,
    next: u64,
    ended: Arc<EndedList>,
    /// The number of an ended task that the last poll took from the list, but whose outcome was not final then. The next poll
    /// begins with this task.
    last: Option<SetTaskId>,
    /// The wait for this set, if the set is polled by a future that is a task of a pool.
    wait: Wait,
}

impl Job {
    /// Makes an empty set of tasks of this job. See [`TaskSet`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(1).set();
    /// set.spawn(|| 6 * 7);
    /// assert_eq!(set.join_next().unwrap().unwrap(), 42);
    /// assert!(set.join_next().is_none());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn set<T>(&self) -> TaskSet<T> {
        TaskSet {
            job: self.clone(),
            tasks: BTreeMap::new(),
            next: 0,
            ended: Arc::new(EndedList::new()),
            last: None,
            wait: Wait::default(),
        }
    }
}

impl<T: Send + 'static> TaskSet<T> {
    /// Pushes a task into the set's job, as [`Job::spawn`] does, and adds the task's handle to the set. Returns the task's
    /// number in the set.
    ///
    /// # Blocking
    ///
    /// Blocks as [`Job::spawn`] does.
    ///
    /// # Panics
    ///
    /// Panics where [`Job::spawn`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(2).set();
    /// let id = set.spawn(|| "found");
    /// assert_eq!(set.join_next_with_id().map(|(id, result)| (id, result.unwrap())), Some((id, "found")));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn<F>(&mut self, task: F) -> SetTaskId
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let job = self.job.clone();
        self.spawn_in(&job, task)
    }

    /// Pushes a task into `job`, and adds the task's handle to this set. Returns the task's number in the set.
    ///
    /// `spawn_in` can push into any job, not only the set's job. So the tasks of one set can have different limits: make a job
    /// for each limited resource.
    ///
    /// # Blocking
    ///
    /// Blocks as [`Job::spawn`] does.
    ///
    /// # Panics
    ///
    /// Panics where [`Job::spawn`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let build = pool.job(4);
    /// let (compilers, linkers) = (build.job(3), build.job(1));
    /// let mut set = build.set();
    /// for unit in 0..3 {
    ///     set.spawn_in(&compilers, move || format!("compiled {unit}"));
    /// }
    /// set.spawn_in(&linkers, || "linked".to_owned());
    /// assert_eq!(set.join_all().pop().unwrap()?, "linked");
    /// assert_eq!((compilers.stats().completed, linkers.stats().completed), (3, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_in<F>(&mut self, job: &Job, task: F) -> SetTaskId
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let (id, guard) = self.guard();
        let task = Guarded::new(task, guard);
        let handle = job.spawn(move || task.run());
        self.tasks.insert(id, handle);
        id
    }

    /// Pushes a future into the set's job, as [`Job::spawn_future`] does, and adds the task's handle to the set. Returns
    /// the task's number in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(100).set();
    /// for page in 0..3 {
    ///     set.spawn_future(async move { page });
    /// }
    /// let pages: Vec<_> = set.join_all().into_iter().map(Result::unwrap).collect();
    /// assert_eq!(pages, [0, 1, 2]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[cfg(feature = "futures")]
    pub fn spawn_future<F>(&mut self, future: F) -> SetTaskId
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (id, guard) = self.guard();
        let handle = self.job.spawn_future(Guarded::new(future, guard).result());
        self.tasks.insert(id, handle);
        id
    }
}

impl<T> TaskSet<T> {
    /// Makes the number of the set's next task, and the task's guard. The drop of the guard adds the number to the set's list
    /// of ended tasks.
    fn guard(&mut self) -> (SetTaskId, Guard) {
        let id = SetTaskId(self.next);
        self.next += 1;
        (id, Guard::new(&self.ended, id))
    }

    /// Takes the number of a task that has ended out of the list of ended tasks. Skips a task whose push has panicked, because
    /// the set has no handle of it.
    fn next_ended(&mut self) -> Option<SetTaskId> {
        loop {
            let id = self.last.take().or_else(|| self.ended.take())?;
            if self.tasks.contains_key(&id) {
                return Some(id);
            }
        }
    }

    /// Returns the number of the set's tasks whose results the caller has not taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(1).set();
    /// set.spawn(|| ());
    /// assert_eq!(set.len(), 1);
    /// # set.join_next().unwrap().unwrap();
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns true if the caller has taken the result of each task of the set.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert!(pool.job(1).set::<()>().is_empty());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits until a task of the set has ended, and returns the task's result. Returns `None` if the set is empty.
    ///
    /// # Blocking
    ///
    /// Blocks as [`TaskHandle::join`] does, also inside a task.
    ///
    /// # Panics
    ///
    /// Panics where [`TaskHandle::join`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`TaskHandle::join`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let (go, wait_for_go) = mpsc::channel::<()>();
    /// let mut set = pool.job(2).set();
    /// set.spawn(move || {
    ///     wait_for_go.recv().unwrap();
    ///     "slow"
    /// });
    /// set.spawn(|| "quick");
    /// assert_eq!(set.join_next().unwrap().unwrap(), "quick");
    /// go.send(()).unwrap();
    /// assert_eq!(set.join_next().unwrap().unwrap(), "slow");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        Some(self.join_next_with_id()?.1)
    }

    /// Waits as [`join_next`](Self::join_next) does, and returns the number and the result of the ended task.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(1).set();
    /// let ids = [set.spawn(|| ()), set.spawn(|| ())];
    /// assert_eq!(set.join_next_with_id().unwrap().0, ids[0]);
    /// assert_eq!(set.join_next_with_id().unwrap().0, ids[1]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join_next_with_id(&mut self) -> Option<(SetTaskId, Result<T, JoinError>)> {
        while !self.tasks.is_empty() {
            if let Some(ended) = self.try_join_next_with_id() {
                return Some(ended);
            }
            unwind::at_caller(|| {
                refuse_if_all_hopeless(self.tasks.values().map(TaskHandle::unbegun));
                blocking::wait(self.ended.key(), None, || self.ended.set_waited());
            });
        }
        None
    }

    /// Returns the number and the result of a task that has ended, or `None` if no task of the set has ended. Never waits
    /// for a task to end.
    ///
    /// # Blocking
    ///
    /// If a task of the set has ended but its result is not stored yet, blocks until the result is stored. Otherwise never
    /// blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// let mut set = job.set();
    /// assert!(set.try_join_next_with_id().is_none());
    /// set.spawn(|| ());
    /// job.wait();
    /// assert!(set.try_join_next_with_id().is_some());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn try_join_next_with_id(&mut self) -> Option<(SetTaskId, Result<T, JoinError>)> {
        let id = self.next_ended()?;
        let handle = self.tasks.remove(&id).expect("each task ends once");
        for _ in 0..LOOKS {
            if handle.is_finished() {
                break;
            }
            thread::yield_now();
        }
        Some((id, handle.join()))
    }

    /// Waits for all tasks of the set, and returns their results in the order of the pushes. Leaves out results that the
    /// caller has taken already.
    ///
    /// # Blocking
    ///
    /// Blocks as [`join_next`](Self::join_next) does. If the caller is a task of the same job, it runs inline those tasks
    /// of the set that have not started.
    ///
    /// # Panics
    ///
    /// Panics where [`TaskHandle::join`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(4).build()?;
    /// let mut set = pool.job(3).set();
    /// for i in 0..5 {
    ///     set.spawn(move || i);
    /// }
    /// let all: Vec<_> = set.join_all().into_iter().map(Result::unwrap).collect();
    /// assert_eq!(all, [0, 1, 2, 3, 4]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join_all(mut self) -> Vec<Result<T, JoinError>> {
        let mut results = Vec::with_capacity(self.tasks.len());
        while let Some((_, task)) = self.tasks.pop_first() {
            results.push(task.join());
        }
        results
    }

    /// Waits for all tasks of the set, and returns their values in the order of the pushes. The first task that fails ends
    /// the wait, and cancels the other tasks.
    ///
    /// A task of the set fails if it panics or is cancelled. After a failure, tasks that have not started are dropped, and
    /// `try_join_all` does not wait for running tasks.
    ///
    /// # Blocking
    ///
    /// Blocks as [`join_next`](Self::join_next) does.
    ///
    /// # Panics
    ///
    /// Panics where [`TaskHandle::join`] does.
    ///
    /// # Errors
    ///
    /// Returns the error of the failed task that ended first.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(1).set();
    /// set.spawn(|| 1);
    /// set.spawn(|| panic!("no such page"));
    /// let error = set.try_join_all().unwrap_err();
    /// assert_eq!(error.to_string(), "the task panicked: no such page");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn try_join_all(mut self) -> Result<Vec<T>, JoinError> {
        let mut values = BTreeMap::new();
        while let Some((id, result)) = self.join_next_with_id() {
            values.insert(id, result?);
        }
        Ok(values.into_values().collect())
    }

    /// Cancels all tasks of the set, as [`TaskHandle::cancel`] does, and returns the number of tasks that this call
    /// cancelled. The results of all tasks can still be taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::JoinError;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// let mut set = job.set();
    /// set.spawn(|| ());
    /// assert_eq!(set.cancel_all(), 1);
    /// assert!(matches!(set.join_next(), Some(Err(JoinError::Cancelled))));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel_all(&self) -> usize {
        self.tasks.values().filter(|task| task.cancel()).count()
    }
}

impl<T> Drop for TaskSet<T> {
    fn drop(&mut self) {
        parking_lot().leave(self.ended.key(), ONLY);
        self.cancel_all();
    }
}

impl<T> fmt::Debug for TaskSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet")
            .field("job", &self.job)
            .field("tasks", &self.len())
            .field("ended", &self.ended.len())
            .finish()
    }
}
