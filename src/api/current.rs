//! Functions that a task calls to learn about itself.

use crate::api::job::Job;
use crate::job::permits::Flag;
use crate::job::samples::Sample;
use crate::task::closure::Face;
use crate::task::id::TaskId;
use crate::task::state::CANCELLED;
use crate::worker::context::Context;

/// Returns the job whose task runs on this thread. Returns `None` if the thread runs no task of a pool.
///
/// In a panic hook, and in [`on_panic`](crate::PoolBuilder::on_panic), `current_job` returns the job of the task that panicked.
///
/// # Panics
///
/// Panics if the job already has 67,108,864 handles and children.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let search = pool.job_builder().name("search").build();
/// let name = search.spawn(|| tollgate::current_job()?.name().map(str::to_owned));
/// assert_eq!(name.join().unwrap().as_deref(), Some("search"));
/// assert!(tollgate::current_job().is_none());
/// # Ok::<(), tollgate::BuildError>(())
/// ```
///
/// A panic hook that prints the name of the job whose task panicked:
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # let printed = Arc::new(Mutex::new(String::new()));
/// # let print = printed.clone();
/// # let print = move |line: String| print.lock().unwrap().push_str(&line);
/// std::panic::set_hook(Box::new(move |panic| {
///     let job = tollgate::current_job();
///     let name = job.as_ref().and_then(|job| job.name()).unwrap_or("no job");
///     print(format!("{name}: {}", panic.payload_as_str().unwrap_or("panicked")));
/// }));
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let search = pool.job_builder().name("search").build();
/// assert!(search.spawn(|| panic!("no such page")).join().is_err());
/// assert_eq!(*printed.lock().unwrap(), "search: no such page");
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use]
#[track_caller]
pub fn current_job() -> Option<Job> {
    let job = Context::with(|context| context?.lease().job.get())?;
    // The task that runs on this thread has a busy count, which keeps the job's record during this call.
    Some(Job::of(job))
}

/// Returns the id of the task that runs on this thread, if that task has or had a handle.
///
/// The id of a task equals [`TaskHandle::id`](crate::TaskHandle::id) of its handle, even if that handle was dropped. In a task
/// of a scope, and in an item of [`map`](crate::Job::map) or [`for_each`](crate::Job::for_each), `current_task_id` returns an
/// id that no handle has. In a task of [`Job::execute`](crate::Job::execute), and on a thread that runs no task of a pool, it
/// returns `None`.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let task = pool.job(1).spawn(|| format!("task {} is here", tollgate::current_task_id().unwrap()));
/// let id = task.id();
/// assert_eq!(task.join().unwrap(), format!("task {id} is here"));
/// assert_eq!(tollgate::current_task_id(), None);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use]
pub fn current_task_id() -> Option<TaskId> {
    let (cell, _) = Face::of_running()?;
    Some(TaskId::of(cell.addr().get()))
}

/// Returns true if the task that runs on this thread was cancelled. A cancelled task should return soon.
///
/// A task is cancelled by its [handle](crate::TaskHandle::cancel), by [`Job::cancel`] of its job or of an ancestor, or by
/// [`Pool::shutdown_now`](crate::Pool::shutdown_now). On a thread that runs no task of a pool, `is_cancelled` returns false. A
/// call costs a few loads, so a loop can make the call in each iteration.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(1);
/// let (tell, told) = mpsc::channel();
/// let rounds = job.spawn(move || {
///     tell.send("started").unwrap();
///     let mut rounds = 0_u64;
///     while !tollgate::is_cancelled() {
///         rounds += 1; // a bit of the work
///     }
///     rounds
/// });
/// told.recv().unwrap();
/// assert!(!tollgate::is_cancelled());
/// job.cancel();
/// assert!(rounds.join().is_ok()); // it was running, so it has a result
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    Context::with(|context| {
        let Some(context) = context else { return false };
        let Some(mut gate) = context.lease().job.get() else { return false };
        if gate.pool().drops() || Face::of_running().is_some_and(|(_, word)| word.has(CANCELLED)) {
            return true;
        }
        loop {
            if gate.permits.load().has(Flag::Cancelled) {
                return true;
            }
            match gate.parent() {
                Some(outer) => gate = outer,
                None => return false,
            }
        }
    })
}

/// Reports that the task that runs on this thread has met an overload: a server that refuses, or a time-out.
///
/// The report of an overload counts for the [adaptive](crate::Adaptive) limits of the task's job and of its ancestors. Further
/// reports of the same task have no effect. A future can call this function in any of its polls. On a thread that runs no task
/// of a pool, the function does nothing. For a [`Permit`](crate::Permit), call
/// [`Permit::overloaded`](crate::Permit::overloaded) instead.
///
/// # Examples
///
/// ```
/// use tollgate::Adaptive;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let api = pool.job_builder().limit(10).adaptive(Adaptive::new(1..=64)).build();
/// let status = |_: &str| 503; // too busy
/// while api.limit() > 1 {
///     let answer = api.spawn(move || {
///         let answer = status("/search");
///         if answer == 429 || answer == 503 {
///             tollgate::overloaded();
///         }
///         answer
///     });
///     assert_eq!(answer.join().unwrap(), 503);
/// }
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub fn overloaded() {
    Context::with(|context| {
        let Some(context) = context else { return };
        if let Some(sample) = context.sample.get() {
            context.sample.set(Some(Sample { overloaded: true, ..sample }));
        }
    });
}
