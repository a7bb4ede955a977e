//! `TaskSet`: tasks of one job whose results are taken together.
//!
//! Each task of a set carries a guard. The guard is dropped with the task's closure or future, whether the task ran,
//! panicked or was cancelled, and adds the task's number to the set's list:
//!
//! - `set-1`: the guard locks the list, adds the number, and takes the mark *waited*.
//! - `set-2`: if the mark was set, it wakes the set's owner.
//! - `set-3`: before the owner waits, it locks the list, and sets the mark if the list is still empty. Otherwise it does not
//!   wait. It does so under the lock of its bucket in the parking lot.
//!
//! The list's lock orders `set-1` and `set-3`: the owner sees the number, or the guard sees the mark and wakes the owner.
//!
//! A task's outcome becomes final shortly after its guard was dropped. The owner then joins the task by its handle.

use crate::error::JoinError;
use crate::job::Job;
use crate::sync::{Arc, Mutex, MutexGuard, shrunk, thread};
use crate::task::handle::TaskHandle;
use crate::task::handle::awaiting::Wait;
use crate::task::parking::{ONLY, parking_lot};
use crate::unwind;
use crate::worker::waiting;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How often the owner looks for an outcome that is about to be final before it waits for it.
const LOOKS: usize = shrunk(100, 1);

/// The number of a task in a [`TaskSet`], in the order of the pushes, from 0.
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
pub struct TaskId(u64);

/// Tasks of one job whose results are taken together, made by [`Job::set`].
///
/// Results come as tasks end ([`join_next`](Self::join_next)), or in the order of the pushes
/// ([`join_all`](Self::join_all)). A set that is dropped cancels its tasks that have not started; a closure that runs can
/// ask [`is_cancelled`](crate::is_cancelled). With the feature `futures` a set is also a stream.
///
/// The limit is that of the job, which other sets and tasks may share.
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
    tasks: BTreeMap<TaskId, TaskHandle<T>>,
    next: u64,
    ended: Arc<Ended>,
    /// A task whose number was taken from the list, and whose outcome was awaited before it was final.
    last: Option<TaskId>,
    /// The wait of the future that awaits the set.
    wait: Wait,
}

/// The tasks of a set that have ended, and whose results were not taken.
#[derive(Debug)]
struct Ended(Mutex<List>);

#[derive(Debug)]
struct List {
    numbers: VecDeque<TaskId>,
    /// The owner waits, or is about to.
    waited: bool,
}

/// Tells the set that its task has ended.
struct Guard {
    ended: Arc<Ended>,
    id: TaskId,
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, List> {
        // No foreign code runs under the lock.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn take(&self) -> Option<TaskId> {
        self.lock().numbers.pop_front()
    }

    /// Sets the mark, unless a task has ended. Returns true if the owner must wait (`set-3`).
    fn set_waited(&self) -> bool {
        let mut list = self.lock();
        list.waited = list.numbers.is_empty();
        list.waited
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
    pub fn set<T>(&self) -> TaskSet<T> {
        let list = List { numbers: VecDeque::new(), waited: false };
        TaskSet {
            job: self.clone(),
            tasks: BTreeMap::new(),
            next: 0,
            ended: Arc::new(Ended(Mutex::new(list))),
            last: None,
            wait: Wait::default(),
        }
    }
}

impl<T: Send + 'static> TaskSet<T> {
    /// Pushes a task into the job, as [`Job::spawn`] does, and keeps its handle.
    ///
    /// # Blocking
    ///
    /// As [`Job::spawn`].
    ///
    /// # Panics
    ///
    /// As [`Job::spawn`].
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
    pub fn spawn<F>(&mut self, task: F) -> TaskId
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let guard = self.guard();
        let id = guard.id;
        let handle = self.job.spawn(move || {
            let _guard = guard;
            task()
        });
        self.tasks.insert(id, handle);
        id
    }

    /// Pushes a future into the job, as [`Job::spawn_future`] does, and keeps its handle.
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
    pub fn spawn_future<F>(&mut self, future: F) -> TaskId
    where
        F: Future<Output = T> + Send + 'static,
    {
        let guard = self.guard();
        let id = guard.id;
        let handle = self.job.spawn_future(async move {
            let _guard = guard;
            future.await
        });
        self.tasks.insert(id, handle);
        id
    }
}

impl<T> TaskSet<T> {
    fn guard(&mut self) -> Guard {
        let id = TaskId(self.next);
        self.next += 1;
        Guard { ended: self.ended.clone(), id }
    }

    /// Returns the number of tasks whose results were not taken.
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

    /// Returns true if the result of each task was taken.
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

    /// Waits for the next task that ends, and returns its result. `None` if no task is left.
    ///
    /// # Blocking
    ///
    /// As [`TaskHandle::join`]: inside a task of a pool it never deadlocks. The task that waits holds no permit meanwhile.
    ///
    /// # Panics
    ///
    /// As [`TaskHandle::join`].
    ///
    /// # Errors
    ///
    /// As [`TaskHandle::join`].
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

    /// Waits as [`join_next`](Self::join_next) does, and returns the task's number, too.
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
    pub fn join_next_with_id(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        while !self.tasks.is_empty() {
            if let Some(ended) = self.try_join_next_with_id() {
                return Some(ended);
            }
            unwind::at_caller(|| {
                waiting::wait(self.ended.key(), None, || self.ended.set_waited());
            });
        }
        None
    }

    /// Returns the number and the result of a task that has ended, if there is one.
    ///
    /// # Blocking
    ///
    /// Only for as long as a task that has ended needs to store its result.
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
    pub fn try_join_next_with_id(&mut self) -> Option<(TaskId, Result<T, JoinError>)> {
        let id = self.last.take().or_else(|| self.ended.take())?;
        let handle = self.tasks.remove(&id).expect("each task ends once");
        for _ in 0..LOOKS {
            if handle.is_finished() {
                break;
            }
            thread::yield_now();
        }
        Some((id, handle.join()))
    }

    /// Waits for all tasks, and returns their results in the order of the pushes, without those taken before.
    ///
    /// # Blocking
    ///
    /// As [`join_next`](Self::join_next). In a task of the same job, tasks that have not started run inline.
    ///
    /// # Panics
    ///
    /// As [`TaskHandle::join`].
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

    /// Waits for all tasks, and returns their values in the order of the pushes. The first error cancels the others.
    ///
    /// A task that panics or is cancelled is an error. What has not started by then is cancelled. What runs is not waited for.
    ///
    /// # Blocking
    ///
    /// As [`join_next`](Self::join_next).
    ///
    /// # Panics
    ///
    /// As [`TaskHandle::join`].
    ///
    /// # Errors
    ///
    /// That of the first task to fail, by the time of its end.
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

    /// Cancels all tasks, as [`TaskHandle::cancel`] does, and returns how many this call cancelled. Their results are still to
    /// be taken.
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

    /// Polls for the next task that ends: [`join_next_with_id`](Self::join_next_with_id) for a future of one's own.
    ///
    /// A future of a pool holds no permit while it waits here, as with an awaited handle. The waker of the last call is woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::executor::block_on;
    /// use std::future::poll_fn;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let mut set = pool.job(1).set();
    /// set.spawn(|| 5);
    /// let (_, five) = block_on(poll_fn(|cx| set.poll_join_next_with_id(cx))).unwrap();
    /// assert_eq!(five.unwrap(), 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(TaskId, Result<T, JoinError>)>> {
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        loop {
            if let Some(id) = self.last.take().or_else(|| self.ended.take()) {
                self.wait.end();
                let handle = self.tasks.get_mut(&id).expect("each task ends once");
                let Poll::Ready(result) = Pin::new(handle).poll(cx) else {
                    self.last = Some(id);
                    return Poll::Pending;
                };
                self.tasks.remove(&id);
                return Poll::Ready(Some((id, result)));
            }
            let key = self.ended.key();
            let wait = || self.ended.set_waited();
            if parking_lot().enter(key, Some(ONLY), cx.waker(), wait).is_some() {
                self.wait.begin();
                return Poll::Pending;
            }
        }
    }
}

/// Results as tasks end.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let mut set = pool.job(2).set();
/// for i in 0..10 {
///     set.spawn(move || i);
/// }
/// let sum = futures::executor::block_on(async {
///     let mut sum = 0;
///     while let Some(value) = set.next().await {
///         sum += value.unwrap();
///     }
///     sum
/// });
/// assert_eq!(sum, 45);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[cfg(feature = "futures")]
impl<T> futures_core::Stream for TaskSet<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_join_next_with_id(cx).map(|next| Some(next?.1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
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
        let ended = self.ended.lock().numbers.len();
        f.debug_struct("TaskSet")
            .field("job", &self.job)
            .field("tasks", &self.len())
            .field("ended", &ended)
            .finish()
    }
}
