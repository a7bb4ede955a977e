//! The tasks of a scope, and the wait for all of them.
//!
//! A scoped task is a task with a handle whose lifetime is erased. The values that the task borrows outlive the task:
//!
//! - `scope-1`: `pending` counts the task before the task is in a queue.
//! - `scope-2`: the count goes down when the task's closure is gone, and its outcome is gone or owned by a [`ScopedHandle`].
//!   The handle borrows the scope.
//! - `scope-3`: the scope ends when `pending` is 0. A task may push further tasks only before its own `scope-2`.
//!
//! The scope's list has a reference to each task that has not started. So the scope can run such a task inline, or drop it.
//!
//! [`ScopedHandle`]: crate::ScopedHandle

use crate::base::parking::parking_lot;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, shrunk};
use crate::task::closure::Owner;
use crate::task::scoped::ScopedTask;
use crate::unwind;
use crate::worker::blocking;
use crate::worker::context::Context;
use crate::worker::keeping::refuse_if_hopeless;
use std::any::Any;
use std::ptr::NonNull;

/// The greatest number of tasks that a scope runs inline while other tasks wait for its worker.
const HELPED_MOST: u32 = shrunk(16, 2) as u32;
/// If the list is shorter than this, started tasks are not searched for and removed.
const LONG: usize = shrunk(64, 2);

const WAITED: u64 = 1;
const TASK: u64 = 1 << 1;

/// The payload of a task's panic.
type Payload = Box<dyn Any + Send>;

/// The tasks of one scope that have not ended, and the scope's first panic.
pub struct Tasks {
    list: Mutex<List>,
    /// Bit 0: a waiter may be in the parking lot. The bits above: the number of tasks that have not ended.
    pending: AtomicU64,
    /// The first panic of a task or of the scope's closure.
    panic: Mutex<Option<Payload>>,
}

struct List {
    /// The tasks that may not have started yet, the oldest first.
    tasks: Vec<ScopedTask>,
    /// The length of `tasks` at which started tasks are removed from it.
    long: usize,
}

/// The owner of a scope's tasks. If `COUNTED` is false, the job's statistics do not count the tasks.
#[derive(Clone, Copy)]
struct InScope<const COUNTED: bool>(NonNull<Tasks>);

// SAFETY: the fields of `Tasks` are atomics, and locks of values that are Send.
unsafe impl<const COUNTED: bool> Send for InScope<COUNTED> {}

impl<const COUNTED: bool> Owner for InScope<COUNTED> {
    const COUNTED: bool = COUNTED;

    fn take_panic(self, payload: Payload) {
        // SAFETY: the task is counted in `pending`, so the scope has not ended.
        unsafe { self.0.as_ref() }.note_panic(payload);
    }

    fn task_ended(self) {
        let key = self.0.addr().get();
        // SAFETY: as in `take_panic`. The count goes down in the last access.
        let pending = unsafe { &(*self.0.as_ptr()).pending };
        // Ordering: AcqRel; pairs with `must_wait`. All uses of the task's borrows come before (scope-2, unpark-1).
        if pending.fetch_sub(TASK, Ordering::AcqRel) == TASK | WAITED {
            parking_lot().wake(key);
        }
    }
}

impl Tasks {
    /// Makes the list of a new scope's tasks.
    pub fn new() -> Self {
        Self {
            list: Mutex::new(List { tasks: Vec::new(), long: LONG }),
            pending: AtomicU64::new(0),
            panic: Mutex::new(None),
        }
    }

    /// Makes a task of this scope (`scope-1`). The caller must [`list`](Self::list) the task, then push the task's cell.
    ///
    /// # Safety
    /// The scope must not be moved before [`enter`](Self::enter) returns. Values that `task` and its result borrow must last
    /// until then, and until the task's handle is dropped. Only `f` of `enter`, or a task of the scope, may make this call.
    pub unsafe fn make<const COUNTED: bool, F, T>(
        &self,
        job: JobPtr,
        handle: bool,
        task: F,
    ) -> ScopedTask
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        // Ordering: Relaxed; the caller's own count, or its call by `enter`, orders it before the wait.
        self.pending.fetch_add(TASK, Ordering::Relaxed);
        // SAFETY: by this function's contract, and `enter` returns after the end of the task.
        unsafe { ScopedTask::make(job, handle, InScope::<COUNTED>(self.into()), task) }
    }

    /// Makes the task of a puller, and lists it (`scope-1`). No statistics count the task. The caller must push the task's
    /// cell.
    ///
    /// # Safety
    /// As [`make`](Self::make).
    pub unsafe fn make_puller(&self, job: JobPtr, run: impl FnOnce() + Send) -> ScopedTask {
        // SAFETY: by this function's contract.
        let puller = unsafe { self.make::<false, _, _>(job, false, run) };
        self.list(puller.clone());
        puller
    }

    /// Adds a task that is in no queue yet to the list. If the list has doubled since the last removal, removes started tasks.
    pub fn list(&self, task: ScopedTask) {
        let mut list = self.lock();
        if list.tasks.len() >= list.long {
            list.tasks.retain(|task| !task.has_started());
            list.long = LONG.max(2 * list.tasks.len());
        }
        list.tasks.push(task);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // No code under the lock panics, so a poisoned lock may be used.
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the number of the scope's tasks that have not ended.
    pub fn pending(&self) -> u64 {
        // Ordering: Relaxed; a figure.
        self.pending.load(Ordering::Relaxed) / TASK
    }

    /// Keeps a panic for the end of the scope. Drops the panic if an earlier one is kept already.
    pub fn note_panic(&self, payload: Payload) {
        let mut first = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if first.is_none() {
            *first = Some(payload);
        } else {
            drop(first);
            unwind::drop_quietly(payload);
        }
    }

    /// Runs `f`, which may make tasks of this scope, and then waits for all these tasks.
    ///
    /// # Errors
    /// Returns the payload of the first panic of `f` or of a task.
    pub fn enter<T>(&self, f: impl FnOnce() -> T) -> Result<T, Payload> {
        let abort = AbortOnUnwind;
        let result = unwind::halt(f).map_err(|payload| self.note_panic(payload)).ok();
        self.wait();
        std::mem::forget(abort);
        let panic = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match (panic, result) {
            (None, Some(result)) => Ok(result),
            (Some(payload), result) => {
                // The drop of the result may panic. A second panic would abort the process.
                unwind::drop_quietly(result);
                Err(payload)
            }
            (None, None) => unreachable!("the closure's panic was kept"),
        }
    }

    /// Waits until all tasks of the scope have ended (`scope-3`).
    ///
    /// If no spare worker is left for the wait, drops all tasks that have not started. Keeps the panic of that wait for the end
    /// of the scope.
    fn wait(&self) {
        let unstarted = self.help();
        let key = (&raw const *self).addr();
        // Ordering: AcqRel; pairs with `task_ended` (park-2). Acquire shows this thread what the tasks did.
        let must_wait = || self.pending.fetch_or(WAITED, Ordering::AcqRel) >= TASK;
        let waited = unwind::halt(|| {
            if Context::with(|context| context.is_some_and(Context::keeps_a_permit))
                && let Some(task) = unstarted.iter().find(|task| !task.has_started())
            {
                refuse_if_hopeless(task.job());
            }
            blocking::wait(key, None, must_wait);
        });
        if let Err(payload) = waited {
            self.note_panic(payload);
            let listed = std::mem::take(&mut self.lock().tasks);
            unstarted.iter().chain(&listed).for_each(ScopedTask::cancel_unstarted);
            blocking::wait_in_any_case(key, must_wait);
        }
    }

    /// Runs tasks of the scope inline that have not started, the oldest first. Does so if the task that waits here belongs to
    /// the same job. Stops early if other tasks wait for the worker, unless the task keeps a permit that the tasks of the scope
    /// need. Returns the tasks that have not started.
    fn help(&self) -> Vec<ScopedTask> {
        let (mut unstarted, mut helped) = (Vec::new(), 0);
        Context::with(|context| {
            let Some(context) = context else { return };
            loop {
                let before = helped;
                let mut tasks = std::mem::take(&mut self.lock().tasks);
                tasks.retain(|task| {
                    if helped < HELPED_MOST || !context.others_wait() || context.keeps_a_permit() {
                        helped += u32::from(task.run_inside(context));
                    }
                    !task.has_started()
                });
                unstarted.append(&mut tasks);
                if helped == before {
                    return;
                }
            }
        });
        unstarted
    }
}

/// Ends the process when it is dropped in an unwind, because tasks may still use the stack frames that the panic removes.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
