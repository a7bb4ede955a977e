//! The tasks of a scope, and the wait for all of them.
//!
//! A scoped task borrows values, but the lifetime of these values is not in the task's type. Three steps keep the values alive
//! until the task has ended:
//!
//! - `scope-1`: the thread that makes a scoped task counts the task in `pending`, the number of tasks that have not ended. It
//!   pushes the task afterwards.
//! - `scope-2`: the thread that ends the task drops the task's closure. This thread drops the task's outcome, or stores the
//!   outcome for the [`ScopedHandle`], which cannot outlive the scope. Then the thread lowers `pending`.
//! - `scope-3`: the thread that runs the scope returns only when `pending` is 0. Then `pending` stays 0: the scope's closure
//!   has returned, and a task pushes further tasks only before its own `scope-2`.
//!
//! A scope keeps a list with a reference to each task that has not started. The thread that waits for the scope can run such a
//! task inline, or drop it.
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

/// A thread that waits for a scope runs at most this number of tasks inline while other tasks wait for the thread's worker.
const HELPED_MOST: u32 = shrunk(16, 2) as u32;
/// Started tasks are removed from a scope's list of tasks only if the list has at least this length.
const LONG: usize = shrunk(64, 2);

const WAITED: u64 = 1;
const TASK: u64 = 1 << 1;

/// The payload of a task's panic.
type Payload = Box<dyn Any + Send>;

/// The tasks of one scope that have not ended, and the scope's first panic.
pub struct Tasks {
    list: Mutex<List>,
    /// Bit 0 is the bit *waited*: set while a thread waits in the parking lot or is about to wait. The higher bits are the
    /// number of tasks that have not ended.
    pending: AtomicU64,
    /// The first panic of a task or of the scope's closure.
    panic: Mutex<Option<Payload>>,
}

struct List {
    /// The scope's tasks that have not started, the oldest first. The list also has tasks that have started since the last
    /// removal of started tasks.
    tasks: Vec<ScopedTask>,
    /// The length of `tasks` at which the started tasks are removed from `tasks`.
    long: usize,
}

/// Reports the end and the panic of one task to the task's scope. If `COUNTED` is false, the job's statistics do not count the
/// task.
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
        // SAFETY: as in `take_panic`. The read-modify-write below is the last access to the scope.
        let pending = unsafe { &(*self.0.as_ptr()).pending };
        // Ordering: AcqRel; pairs with `must_wait`. All uses of the values that the task borrows come before this change
        // (scope-2, unpark-1).
        if pending.fetch_sub(TASK, Ordering::AcqRel) == TASK | WAITED {
            parking_lot().wake(key);
        }
    }
}

impl Tasks {
    /// Makes the empty list of tasks of a new scope.
    pub fn new() -> Self {
        Self {
            list: Mutex::new(List { tasks: Vec::new(), long: LONG }),
            pending: AtomicU64::new(0),
            panic: Mutex::new(None),
        }
    }

    /// Makes a task of this scope, and counts the task in `pending` (`scope-1`). The caller must add the task to the
    /// scope's list by [`list`](Self::list), then push the task's cell.
    ///
    /// # Safety
    /// The caller must not move this value before [`enter`](Self::enter) returns. Values that `task` and its result borrow
    /// must last until `enter` has returned and the task's handle was dropped. Only the closure passed to `enter`, or a
    /// task of the scope, may make this call.
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
        // Ordering: Relaxed; the caller is a counted task or runs inside `enter`, which orders this change before the wait.
        self.pending.fetch_add(TASK, Ordering::Relaxed);
        // SAFETY: by this function's contract, and because `enter` returns only after the task has ended.
        unsafe { ScopedTask::make(job, handle, InScope::<COUNTED>(self.into()), task) }
    }

    /// Makes the task of a puller, counts the task in `pending` (`scope-1`), and adds the task to the scope's list. No
    /// statistics count the task. The caller must push the task's cell.
    ///
    /// # Safety
    /// The caller must meet the conditions of [`make`](Self::make).
    pub unsafe fn make_puller(&self, job: JobPtr, run: impl FnOnce() + Send) -> ScopedTask {
        // SAFETY: by this function's contract.
        let puller = unsafe { self.make::<false, _, _>(job, false, run) };
        self.list(puller.clone());
        puller
    }

    /// Adds `task`, which was not pushed yet, to the scope's list. If the list has doubled since started tasks were last
    /// removed from it, removes the started tasks first.
    pub fn list(&self, task: ScopedTask) {
        let mut list = self.lock();
        if list.tasks.len() >= list.long {
            list.tasks.retain(|task| !task.has_started());
            list.long = LONG.max(2 * list.tasks.len());
        }
        list.tasks.push(task);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // Code under this lock never panics, so the lock is never poisoned.
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the number of the scope's tasks that have not ended.
    pub fn pending(&self) -> u64 {
        // Ordering: Relaxed; a figure for the debug output.
        self.pending.load(Ordering::Relaxed) / TASK
    }

    /// Stores the payload of a panic, which [`enter`](Self::enter) returns at the end of the scope. Drops the payload if an
    /// earlier one is stored already.
    pub fn note_panic(&self, payload: Payload) {
        let mut first = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if first.is_none() {
            *first = Some(payload);
        } else {
            drop(first);
            unwind::drop_quietly(payload);
        }
    }

    /// Runs `f`, which can make tasks of this scope, and then waits for all tasks of the scope.
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
                // The drop of the closure's result might panic, and a second panic would abort the process.
                unwind::drop_quietly(result);
                Err(payload)
            }
            (None, None) => unreachable!("the closure's panic was kept"),
        }
    }

    /// Runs tasks of the scope inline as [`help`](Self::help) says, then waits until all tasks of the scope have ended
    /// (`scope-3`).
    ///
    /// If the wait panics, this function stores the panic as a panic of the scope, drops all tasks that have not started, and
    /// waits for the tasks that have started. The wait panics if no spare worker is left, or if a task needs the one permit
    /// that the caller keeps.
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

    /// If the caller is a task of the same job, runs inline the tasks of the scope that have not started, the oldest first.
    /// Runs at most `HELPED_MOST` tasks if other tasks wait for the caller's worker and the caller keeps no permit. Returns the
    /// tasks of the scope that have not started when this call ends.
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

/// Aborts the process if this value is dropped during an unwind. Tasks might still use the stack frames that the unwind
/// removes.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
