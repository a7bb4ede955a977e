//! `TaskHandle`: joins, cancels or detaches a task.
//!
//! The module `awaiting` counts the waits of a future for handles. The module `closure` has the cell of a task with a handle.
//! The module `scoped` has a scope's reference to a task.

use crate::base::parking::{ONLY, parking_lot};
use crate::base::task::{CellPtr, OpaqueJob};
use crate::error::JoinError;
use crate::job::record::JobPtr;
use crate::sync::time::Instant;
use crate::task::awaiting::Wait;
use crate::task::circle::{self, Noted};
use crate::task::closure::{Face, Joint, Owner};
use crate::task::id::TaskId;
use crate::task::inline;
use crate::task::pointer::TaskPtr;
use crate::task::state::{
    CLAIMED, DELAYED, DONE, Leave, POLLING, Reference, SCHEDULED, State, TAKEN, WAITED,
};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::keeping::refuse_if_hopeless;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

/// The handle of a task, which joins or cancels the task. Returned by [`Job::spawn`](crate::Job::spawn) and by other calls that
/// push tasks.
///
/// Dropping the handle detaches the task: the task still runs, and its result is dropped. The handle is also a future, for any
/// executor.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let answer = pool.job(1).spawn(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a dropped handle detaches its task: say so by `drop`, or push a closure by `execute`, which makes no handle"]
pub struct TaskHandle<T> {
    task: TaskPtr,
    /// The wait of a pool's future that awaits this handle. Empty if no such future awaits the handle.
    wait: Wait,
    result: PhantomData<T>,
}

// SAFETY: the cell's state is atomic. The outcome is moved to the thread that has the handle by value.
unsafe impl<T: Send> Send for TaskHandle<T> {}
// SAFETY: through a shared handle nothing of `T` can be reached.
unsafe impl<T: Send> Sync for TaskHandle<T> {}

/// Makes the cell and the handle of a closure.
pub fn joint<F, T>(job: JobPtr, task: F) -> (CellPtr, TaskHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: the closure and its result are `'static`, so they borrow nothing.
    let cell = unsafe { Joint::<F, T>::closure(job, State::of_closure(), (), task) };
    let handle = TaskHandle::new(TaskPtr { cell, table: &Joint::<F, T>::HANDLE });
    (handle.task.cell(), handle)
}

/// Makes the cell and the handle of a closure with an [`Owner`].
pub fn owned<F, T, O>(job: JobPtr, state: State, owner: O, task: F) -> (CellPtr, TaskHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    O: Owner,
{
    // SAFETY: the closure and its result are `'static`, so they borrow nothing.
    let cell = unsafe { Joint::<F, T, O>::closure(job, state, owner, task) };
    let handle = TaskHandle::new(TaskPtr { cell, table: &Joint::<F, T, O>::HANDLE });
    (handle.task.cell(), handle)
}

impl<T> TaskHandle<T> {
    /// Makes the handle of a task. The new handle owns the reference `Handle` of the task's cell.
    pub(super) fn new(task: TaskPtr) -> Self {
        Self { task, wait: Wait::default(), result: PhantomData }
    }

    fn state(&self) -> &State {
        self.task.state()
    }

    fn key(&self) -> usize {
        self.task.key()
    }

    /// Returns the id of the task.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let task = pool.job(1).spawn(tollgate::current_task_id);
    /// let id = task.id();
    /// assert_eq!(task.join().unwrap(), Some(id));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn id(&self) -> TaskId {
        TaskId::of(self.key())
    }

    /// Returns the name that was given to [`Job::spawn_named`](crate::Job::spawn_named), or `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(1);
    /// assert_eq!(job.spawn_named("index", || ()).name(), Some("index"));
    /// assert_eq!(job.spawn(|| ()).name(), None);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.task.name()
    }

    /// Returns true if the task has ended: it returned, panicked or was cancelled. Never blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// let task = job.spawn(|| ());
    /// job.wait();
    /// assert!(task.is_finished());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the task and returns the task's result.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the task has ended. Inside a task of a pool the call never deadlocks. The joining task
    /// holds no permit while it waits, and a spare worker runs other tasks meanwhile. After the wait the joining task
    /// re-acquires its permit ahead of the queue.
    ///
    /// If the joined task is a closure that has not started, the call can run that closure inline, on this thread. Inline tasks
    /// run inside one another at most 32 levels deep. A closure of the same job runs inline ahead of the queue, under the
    /// permit of the joining task. A closure of another job runs inline only if no other task goes first, and if that job and
    /// its ancestors have free permits for it.
    ///
    /// Two kinds of tasks never run inline: delayed tasks, and tasks of a job with a rate, an adaptive limit or weights. While
    /// a task runs inline, locks and borrows of the joining task stay held on the same thread.
    ///
    /// # Panics
    ///
    /// Panics in these cases:
    /// - A task joins itself.
    /// - Tasks join each other in a circle. The join that closes the circle panics, and names the tasks' jobs.
    /// - The caller is a task, and its wait would block the pool's [last thread](crate::PoolBuilder::max_spare_workers).
    /// - The caller is a task, and the joined task needs the one permit that the caller
    ///   [keeps](crate::JobBuilder::keep_permits).
    /// - The result was taken before, by an await of `&mut handle`.
    ///
    /// # Errors
    ///
    /// Returns [`JoinError::Panicked`] with the payload if the task panicked. Returns [`JoinError::Cancelled`] if a closure was
    /// dropped before it started, or a future before it ended. Returns [`JoinError::Expired`] if a closure had not started by
    /// its deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let length = pool.job(1).spawn(|| "tollgate".len());
    /// assert_eq!(length.join().unwrap(), 8);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        self.wait_or_run();
        self.take()
    }

    /// Waits for the task for at most `timeout`. Returns the handle if the task has not ended by then.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until the task has ended or the time `timeout` has passed. A task of a pool that calls this
    /// method holds no permit while it waits, as in [`join`](Self::join). After the wait the calling task re-acquires its
    /// permit, so the call can take longer than `timeout`. The joined task never runs inline.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// Returns the handle as an error if the task has not ended in time. Otherwise returns the result that [`join`](Self::join)
    /// would return.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let (go, wait_for_go) = mpsc::channel();
    /// let task = pool.job(1).spawn(move || wait_for_go.recv().unwrap());
    /// let task = task.join_timeout(Duration::from_millis(1)).unwrap_err(); // still running
    /// go.send(5).unwrap();
    /// assert_eq!(task.join().unwrap(), 5);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        // If the clock cannot represent the end of the timeout, the call waits without a timeout.
        self.wait(Instant::now().checked_add(timeout));
        if self.is_finished() { Ok(self.take()) } else { Err(self) }
    }

    /// Cancels the task. Returns true if this call has cancelled the task.
    ///
    /// If the task has not started, its closure or future is dropped now, on this thread. A join then returns
    /// [`JoinError::Cancelled`].
    ///
    /// If the task is a closure that has started, the closure runs to its end, and its result is kept. From now on
    /// [`is_cancelled`](crate::is_cancelled) returns true in this closure, and the closure is not tried again.
    ///
    /// If the task is a future that has started, it is never polled again. A worker drops the future at once, or at the end of
    /// the poll that is running. A join then returns `Cancelled`. If the future waits in its job's queue for a permit, the future
    /// is dropped when a worker takes it from the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(0); // held
    /// let task = job.spawn(|| unreachable!());
    /// assert!(task.cancel());
    /// assert!(!task.cancel());
    /// assert!(matches!(task.join(), Err(tollgate::JoinError::Cancelled)));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Waits for the task or runs it inline, as [`join`](Self::join) does.
    #[track_caller]
    pub(crate) fn wait_or_run(&self) {
        if self.is_finished() {
            return;
        }
        Context::with(|context| {
            let Some(context) = context else { return };
            // If the task already runs on this thread, neither `run_inside` nor `inline::run` runs it, and `wait` refuses the
            // join.
            if !self.task.run_inside(context) {
                inline::run(context, self.task);
            }
        });
        self.wait(None);
    }

    /// Waits for the task as [`join_timeout`](Self::join_timeout) does, until the time `until`. If `until` is `None`, waits
    /// until the task has ended.
    #[track_caller]
    fn wait(&self, until: Option<Instant>) {
        if self.is_finished() {
            return;
        }
        let itself =
            Context::with(|context| context.is_some_and(|here| here.is_running(self.key())));
        if itself {
            self.refuse_circle();
        }
        unwind::at_caller(|| {
            if until.is_none()
                && let Some(job) = self.unbegun()
            {
                refuse_if_hopeless(job);
            }
            let noted = Context::with(|context| {
                let context = context.filter(|_| until.is_none())?;
                let waits = !self.state().set(WAITED).has(DONE); // join-1
                waits.then(|| Noted::enter(context, self.key())).flatten()
            });
            self.task.wait(until);
            drop(noted);
        });
    }

    /// Returns the job of the task if the task has not begun.
    pub(crate) fn unbegun(&self) -> Option<OpaqueJob> {
        (!self.state().load().has(CLAIMED)).then(|| self.task.job().opaque())
    }

    /// Moves the outcome of a finished task out of its cell. The caller must be the only user of the handle, and must make sure
    /// that the outcome is not moved out again.
    ///
    /// # Panics
    /// Panics if the outcome was moved out before.
    #[track_caller]
    fn move_out(&self) -> Result<T, JoinError> {
        let taken = self.state().load().has(TAKEN);
        if taken {
            self.refuse_taken();
        }
        let mut outcome = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: the task has ended, so the handle owns the outcome. `T` is the result type of the cell.
        unsafe { (self.task.table.outcome)(self.task.cell, outcome.as_mut_ptr().cast()) };
        // SAFETY: the outcome was written just now.
        unsafe { outcome.assume_init() }
    }

    /// Takes the outcome of the finished task, and gives the handle up.
    #[track_caller]
    fn take(self) -> Result<T, JoinError> {
        let outcome = self.move_out();
        let mut this = ManuallyDrop::new(self);
        this.wait.end();
        // SAFETY: this is the handle's reference, and the handle is not used again. The outcome was taken.
        unsafe { Face::release(this.task.cell, Reference::Handle) };
        outcome
    }
}

/// The progress of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The closure has not started, and waits in the timer for its time.
    Delayed,
    /// The closure has not started, or the future has not been polled.
    Waiting,
    /// The closure or a poll of the future has started, and has not ended.
    Running,
    /// The future is pending, and was not woken.
    Pending,
    /// The future was pending and was woken, so it will be polled again.
    Woken,
    /// The task has ended, and its outcome is final.
    Ended,
}

impl<T> TaskHandle<T> {
    /// Returns the progress of the task, the task's job, and the task's cell. The caller must keep the job alive while it uses
    /// the returned job.
    pub(crate) fn look(&self) -> (Stage, JobPtr, CellPtr) {
        let word = self.state().load();
        let is_future = self.task.table.is_future;
        let stage = match () {
            () if word.has(DONE) => Stage::Ended,
            () if !word.has(CLAIMED) && word.has(DELAYED) => Stage::Delayed,
            () if !word.has(CLAIMED) => Stage::Waiting,
            () if !is_future || word.has(POLLING) => Stage::Running,
            () if word.has(SCHEDULED) => Stage::Woken,
            () => Stage::Pending,
        };
        (stage, self.task.job(), self.task.cell())
    }

    /// Drops the handle. Returns the outcome if the task has ended and the outcome was not taken.
    pub(crate) fn detach(self) -> Option<Result<T, JoinError>> {
        let mut this = ManuallyDrop::new(self);
        this.wait.end();
        this.leave()
    }

    /// Gives up the handle's reference. Returns the outcome if the task has ended and the outcome was not taken. Call this only
    /// once.
    fn leave(&mut self) -> Option<Result<T, JoinError>> {
        if self.state().load().has(WAITED) {
            // Removes the handle's waker from the parking lot before the reference is given up. Without the reference,
            // the cell's memory might belong to another task, which then has the same key.
            parking_lot().leave(self.key(), ONLY);
        }
        match self.state().leave() {
            Leave::Nothing => None,
            Leave::Free => {
                // SAFETY: the handle's reference was the last, and the cell holds no outcome: it was taken or dropped.
                unsafe { Face::free(self.task.cell) };
                None
            }
            Leave::Take => {
                let outcome = self.move_out();
                // SAFETY: this is the handle's reference, and the handle is not used again. The outcome was taken.
                unsafe { Face::release(self.task.cell, Reference::Handle) };
                Some(outcome)
            }
        }
    }
}

impl<T> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if let Some(outcome) = self.leave() {
            unwind::drop_quietly(outcome);
        }
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state().load();
        let state = match (state.has(CLAIMED), state.has(DONE)) {
            (_, true) => "finished",
            (true, false) => "running",
            (false, false) => "waiting",
        };
        let mut task = f.debug_struct("TaskHandle");
        if let Some(name) = self.name() {
            task.field("name", &name);
        }
        task.field("state", &state).finish()
    }
}

impl<T> Unpin for TaskHandle<T> {}

/// Awaits the task, in a pool of this library or on any other executor. The output is the task's result, as
/// [`join`](TaskHandle::join) returns it.
///
/// A future of a pool holds no permit while it awaits a handle, unless its job keeps permits. After the wait the future
/// re-acquires its permit ahead of the queue. So a future can await tasks of its own job, even at a limit of 1.
///
/// # Cancellation
///
/// If the handle is dropped, its task is detached and continues. A future that is dropped while it awaits `handle` drops the
/// handle. A future that is dropped while it awaits `&mut handle` does not drop the handle.
///
/// # Panics
///
/// Panics if the handle is polled after it was ready, or if a task awaits itself.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let job = pool.job(1);
/// let sum = futures::executor::block_on(async {
///     let one = job.spawn(|| 1);
///     let two = job.spawn(|| 2);
///     one.await.unwrap() + two.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
impl<T> Future for TaskHandle<T> {
    type Output = Result<T, JoinError>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() {
            self.refuse_itself();
            let wait = || !self.state().set(WAITED).has(DONE);
            let entry = parking_lot().enter(self.key(), Some(ONLY), cx.waker(), wait);
            if entry.is_some() {
                self.wait.begin();
                return Poll::Pending;
            }
        }
        self.wait.end();
        let outcome = self.move_out();
        self.state().set(TAKEN);
        Poll::Ready(outcome)
    }
}

impl<T> TaskHandle<T> {
    #[track_caller]
    fn refuse_itself(&self) {
        let itself = Context::with(|context| context.is_some_and(|own| own.is_running(self.key())));
        if itself {
            self.refuse("awaits itself, which could never end: await it from elsewhere");
        }
    }

    /// Panics with the reason why this task cannot be joined: it runs on this thread, or waits on this thread for a task that
    /// runs inline.
    #[cold]
    #[track_caller]
    fn refuse_circle(&self) -> ! {
        let message = Context::with(|context| circle::on_this_thread(context?, self.key()));
        if let Some(message) = message {
            panic!("{message}");
        }
        self.refuse("joins itself, which could never end: join it from elsewhere");
    }

    #[cold]
    #[track_caller]
    fn refuse(&self, why: &str) -> ! {
        panic!("a task{} {why}", self.task.job().of_its_name())
    }

    #[cold]
    #[track_caller]
    fn refuse_taken(&self) -> ! {
        let name = self.name().map(|name| format!(" `{name}`")).unwrap_or_default();
        panic!(
            "the result of the task{name} was taken from its handle before: await or join it once"
        )
    }
}
