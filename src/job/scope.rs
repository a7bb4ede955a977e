//! `Job::scope`: tasks that borrow from the stack.

use crate::error::JoinError;
use crate::job::Job;
use crate::sync::{Arc, Mutex};
use crate::task::Ran;
use crate::task::room::room;
use crate::task::scoped::Shared;
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::waiting;
use std::fmt;
use std::marker::PhantomData;
use std::panic::resume_unwind;
// The result's side is a trait object, which loom's `Arc` cannot be.
use std::sync::Arc as ResultArc;

impl Job {
    /// Runs `f`, which may push tasks that borrow from the stack, and waits for all of them.
    ///
    /// The tasks are tasks of this job, under its limit. They may push further ones into the scope.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until all tasks of the scope have ended. Inside a task of a pool it never
    /// deadlocks: tasks of the same job that have not started are run here, in order, in the stead of the one
    /// that waits; then that one holds no permit while it waits, a spare worker takes its place, and it
    /// takes its permit back ahead of the backlog before it goes on.
    ///
    /// # Cancellation
    ///
    /// Tasks pushed after the job was closed, or not started when it is [cancelled](Self::cancel), are
    /// dropped, and counted as cancelled; their handles say so.
    ///
    /// # Panics
    ///
    /// Passes on the first panic, of `f` or of a task, once all tasks have ended; a panic that
    /// [`ScopedHandle::join`] has given to somebody is not passed on again. Panics inside a task if
    /// all [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use; what has not started
    /// is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// let words = ["gate", "toll", "keeper"];
    /// let mut lengths = [0; 3];
    /// job.scope(|s| {
    ///     for (word, length) in words.iter().zip(&mut lengths) {
    ///         s.execute(move || *length = word.len());
    ///     }
    /// });
    /// assert_eq!(lengths, [4, 4, 6]);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    ///
    /// What does not outlive the scope cannot be borrowed by its tasks:
    ///
    /// ```compile_fail,E0597
    /// let pool = tollgate::Pool::new().unwrap();
    /// let job = pool.job(2);
    /// job.scope(|s| {
    ///     let local = 5;
    ///     s.execute(|| println!("{local}")); // `local` ends with the closure, the task later
    /// });
    /// ```
    ///
    /// Nor can the scope or a handle leave it:
    ///
    /// ```compile_fail
    /// let pool = tollgate::Pool::new().unwrap();
    /// let job = pool.job(2);
    /// let mut escaped = None;
    /// job.scope(|s| {
    ///     escaped = Some(s.spawn(|| 1));
    /// });
    /// ```
    ///
    /// Nor may two tasks change the same value:
    ///
    /// ```compile_fail,E0499
    /// let pool = tollgate::Pool::new().unwrap();
    /// let job = pool.job(2);
    /// let mut count = 0;
    /// job.scope(|s| {
    ///     s.execute(|| count += 1);
    ///     s.execute(|| count += 1);
    /// });
    /// ```
    pub fn scope<'env, F, T>(&self, f: F) -> T
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
    {
        Scope::enter(self.clone(), true, f)
    }
}

/// Where tasks that borrow are pushed; from [`Job::scope`].
///
/// `'scope` is how long the tasks may run, `'env` what they may borrow from, as with
/// [`std::thread::scope`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let numbers = [1, 2, 3, 4];
/// let (left, right) = numbers.split_at(2);
/// let sum = pool.job(2).scope(|s| {
///     let left = s.spawn(|| left.iter().sum::<i32>());
///     let right = s.spawn(|| right.iter().sum::<i32>());
///     left.join().unwrap() + right.join().unwrap()
/// });
/// assert_eq!(sum, 10);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    job: Job,
    shared: Arc<Shared>,
    // As in std: both invariant, so that neither can be made to seem shorter or longer.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Runs `f` with a new scope, waits for all parts, passes on the first panic. The parts are
    /// counted as tasks, or count for themselves what they do.
    pub(crate) fn enter<F, T>(job: Job, counted: bool, f: F) -> T
    where
        F: for<'s> FnOnce(&'s Scope<'s, 'env>) -> T,
    {
        let shared = Arc::new(Shared::new(job.ptr(), counted));
        let scope = Scope { job, shared, scope: PhantomData, env: PhantomData };
        let result = match unwind::halt(|| f(&scope)) {
            Ok(result) => Some(result),
            Err(payload) => {
                scope.shared.note_panic(payload);
                None
            }
        };
        scope.shared.wait();
        match (scope.shared.take_panic(), result) {
            (None, Some(result)) => result,
            (Some(payload), _) => resume_unwind(payload),
            (None, None) => unreachable!("the closure's panic was kept"),
        }
    }

    /// Pushes a task that may borrow from outside the scope, and returns its handle.
    ///
    /// # Cancellation
    ///
    /// If the job is closed or its pool shut down, the closure is dropped and the handle says
    /// [`Cancelled`](JoinError::Cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let name = String::from("tollgate");
    /// let length = pool.job(1).scope(|s| s.spawn(|| name.len()).join().unwrap());
    /// assert_eq!(length, 8);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn spawn<F, T>(&'scope self, task: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let packet = ResultArc::new(Packet {
            scope: self.shared.clone(),
            state: Mutex::new(State {
                stage: Stage::Waiting(task),
                waited: false,
                detached: false,
            }),
        });
        let queued = Queued(packet.clone());
        self.push(move || {
            queued.0.run();
            Ran::Counted
        });
        ScopedHandle { packet }
    }

    /// Pushes a task that may borrow from outside the scope, and has no handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let count = AtomicU32::new(0);
    /// pool.job(2).scope(|s| {
    ///     for _ in 0..10 {
    ///         s.execute(|| {
    ///             count.fetch_add(1, Ordering::Relaxed);
    ///         });
    ///     }
    /// });
    /// assert_eq!(count.into_inner(), 10);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn execute<F>(&'scope self, task: F)
    where
        F: FnOnce() + Send + 'scope,
    {
        self.push(move || {
            task();
            Ran::Completed
        });
    }

    fn push(&'scope self, part: impl FnOnce() -> Ran + Send + 'scope) {
        if !self.job.accepts() {
            self.job.ptr().count_cancelled();
            unwind::drop_quietly(part);
            return;
        }
        // SAFETY: what it borrows lives for all of 'scope, which ends after the wait in `enter`.
        let turn = unsafe { Shared::enter(&self.shared, part) };
        self.job.push(turn);
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("job", &self.job)
            .field("pending", &self.shared.pending())
            .finish()
    }
}

/// A scoped task: its closure, then its result.
struct Packet<F, T> {
    scope: Arc<Shared>,
    state: Mutex<State<F, T>>,
}

struct State<F, T> {
    stage: Stage<F, T>,
    /// Somebody waits in the room.
    waited: bool,
    /// There is no handle any more.
    detached: bool,
}

enum Stage<F, T> {
    Waiting(F),
    Running,
    Finished(Result<T, JoinError>),
    Taken,
}

impl<F: FnOnce() -> T, T> Packet<F, T> {
    fn lock(&self) -> crate::sync::MutexGuard<'_, State<F, T>> {
        // Closures and results are moved under the lock, never run or dropped.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Takes the closure out, for whoever runs or drops it.
    fn claim(&self) -> Option<F> {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Waiting(_)) {
            return None;
        }
        match std::mem::replace(&mut state.stage, Stage::Running) {
            Stage::Waiting(task) => Some(task),
            _ => None,
        }
    }

    /// Runs the task unless somebody else has it, and counts it.
    fn run(&self) {
        let Some(task) = self.claim() else { return };
        let outcome = Context::with(|context| match context {
            Some(context) => context.as_task(self.key(), || unwind::halt(task)),
            None => unwind::halt(task),
        });
        self.scope.count(outcome.is_ok());
        self.finish(outcome.map_err(JoinError::Panicked));
    }

    fn finish(&self, outcome: Result<T, JoinError>) {
        let mut state = self.lock();
        if state.detached {
            drop(state);
            self.discard(outcome);
            return;
        }
        state.stage = Stage::Finished(outcome);
        let waited = state.waited;
        drop(state);
        if waited {
            room().wake(self.key());
        }
    }

    /// Drops an outcome that nobody takes; a panic is the scope's to pass on.
    fn discard(&self, outcome: Result<T, JoinError>) {
        match outcome {
            Err(JoinError::Panicked(payload)) => self.scope.note_panic(payload),
            outcome => unwind::drop_quietly(outcome),
        }
    }
}

/// The queue's side of a packet: a task that is dropped unrun is cancelled.
struct Queued<F: FnOnce() -> T, T>(ResultArc<Packet<F, T>>);

impl<F: FnOnce() -> T, T> Drop for Queued<F, T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.claim() {
            unwind::drop_quietly(task);
            self.0.finish(Err(JoinError::Cancelled));
        }
    }
}

/// What a handle sees of a packet, whatever its closure's type.
trait Outcome<T>: Send + Sync {
    fn is_finished(&self) -> bool;
    fn wait(&self);
    fn take(&self) -> Option<Result<T, JoinError>>;
    fn detach(&self);
}

impl<F: FnOnce() -> T + Send, T: Send> Outcome<T> for Packet<F, T> {
    fn is_finished(&self) -> bool {
        matches!(self.lock().stage, Stage::Finished(_))
    }

    fn wait(&self) {
        Context::with(|context| {
            let Some(context) = context else { return };
            assert!(
                !context.is_running(self.key()),
                "a task joins itself, which could never end: join it from elsewhere"
            );
            if context.may_run_inside(self.scope.job()) {
                context.depth.set(context.depth.get() + 1);
                self.run();
                context.depth.set(context.depth.get() - 1);
            }
        });
        waiting::wait(self.key(), None, || {
            let mut state = self.lock();
            state.waited = true;
            !matches!(state.stage, Stage::Finished(_))
        });
    }

    fn take(&self) -> Option<Result<T, JoinError>> {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Finished(_)) {
            return None;
        }
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn detach(&self) {
        self.lock().detached = true;
        if let Some(outcome) = self.take() {
            self.discard(outcome);
        }
    }
}

/// The handle of a task in a scope; from [`Scope::spawn`].
///
/// Dropping it detaches the task: the scope waits for it all the same, and passes its panic on.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let page = String::from("<html>");
/// let is_html = pool.job(1).scope(|s| {
///     let check = s.spawn(|| page.starts_with("<html"));
///     check.join().unwrap()
/// });
/// assert!(is_html);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "dropping the handle detaches the task; use `execute` for a task without a result"]
pub struct ScopedHandle<'scope, T> {
    packet: ResultArc<dyn Outcome<T> + 'scope>,
}

impl<T> ScopedHandle<'_, T> {
    /// Waits for the task and returns its result.
    ///
    /// # Blocking
    ///
    /// As [`TaskHandle::join`](crate::TaskHandle::join): it never deadlocks, and inside a task of the same job
    /// it runs the task here if it has not started.
    ///
    /// # Panics
    ///
    /// If a task joins itself, which could never end; inside a task, if all
    /// [`max_spare_workers`](crate::PoolBuilder::max_spare_workers) are in use.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] with the payload if the task panicked, which the scope then does not pass
    /// on; [`JoinError::Cancelled`] if it was dropped before it started.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let failed = pool.job(1).scope(|s| s.spawn(|| panic!("seen here")).join().is_err());
    /// assert!(failed);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn join(self) -> Result<T, JoinError> {
        self.packet.wait();
        self.packet.take().expect("a task that was waited for is finished")
    }

    /// Whether the task has ended: returned, panicked or been cancelled. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0); // held
    /// job.scope(|s| {
    ///     let task = s.spawn(|| 1);
    ///     assert!(!task.is_finished());
    ///     job.set_limit(1);
    ///     assert_eq!(task.join().unwrap(), 1);
    /// });
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.packet.is_finished()
    }
}

impl<T> Drop for ScopedHandle<'_, T> {
    fn drop(&mut self) {
        self.packet.detach();
    }
}

impl<T> fmt::Debug for ScopedHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedHandle").field("finished", &self.is_finished()).finish()
    }
}
