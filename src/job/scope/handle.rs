//! The handle of a task in a scope, and the packet that closure and result lie in.

use crate::error::JoinError;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::task::parking::parking_lot;
use crate::task::scoped::Shared;
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::waiting;
use std::fmt;
// The handle's side is a trait object, which loom's `Arc` cannot be.
use std::sync::Arc as PacketArc;

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
    fn lock(&self) -> MutexGuard<'_, State<F, T>> {
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
            Some(context) => context.as_task(self.key(), None, || unwind::halt(task)),
            None => unwind::halt(task),
        });
        self.scope.count(outcome.is_ok());
        self.finish(outcome.map_err(JoinError::panicked));
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
            parking_lot().wake(self.key());
        }
    }

    /// Drops an outcome that nobody takes; a panic is the scope's to pass on.
    fn discard(&self, outcome: Result<T, JoinError>) {
        match outcome {
            Err(JoinError::Panicked(payload)) => self.scope.note_panic(payload.into_inner()),
            outcome => unwind::drop_quietly(outcome),
        }
    }
}

/// Makes both sides of a task with a handle.
pub fn make<'scope, F, T>(scope: Arc<Shared>, task: F) -> (Queued<F, T>, ScopedHandle<'scope, T>)
where
    F: FnOnce() -> T + Send + 'scope,
    T: Send + 'scope,
{
    let state = State { stage: Stage::Waiting(task), waited: false, detached: false };
    let packet = PacketArc::new(Packet { scope, state: Mutex::new(state) });
    (Queued(packet.clone()), ScopedHandle { packet })
}

/// The queue's side of a packet: a task that is dropped unrun is cancelled.
pub struct Queued<F: FnOnce() -> T, T>(PacketArc<Packet<F, T>>);

impl<F: FnOnce() -> T, T> Queued<F, T> {
    /// Runs the task, unless its handle has.
    pub fn run(self) {
        self.0.run();
    }
}

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
            if context.is_running(self.key()) {
                unwind::refuse(
                    "a task joins itself, which could never end: join it from elsewhere".into(),
                );
            }
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

/// The handle of a task in a scope; from [`Scope::spawn`](crate::Scope::spawn).
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
#[must_use = "a dropped handle detaches its task: say so by `drop`, or use `execute`, which makes no handle"]
pub struct ScopedHandle<'scope, T> {
    packet: PacketArc<dyn Outcome<T> + 'scope>,
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
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        unwind::at_caller(|| self.packet.wait());
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
