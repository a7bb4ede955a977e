//! Finds tasks that join each other in a circle: each task waits for the end of the next one, and the last waits for the first.
//! No join of such a circle could ever end.
//!
//! While a task with a handle waits to join another task, its thread notes the join:
//! - `join-1`: The thread sets the bit WAITED in the state word of the task that it joins: the task is waited for.
//! - `join-2`: Under the lock of all notes, the thread adds the note that its own task joins the other task.
//! - `join-3`: The thread checks whether WAITED is set in the state word of its own task. If so, the thread follows the notes
//!   under the lock: from the joined task to the task that the joined task joins, and so on. If the notes lead back to the
//!   thread's own task, the thread removes its own note under the same lock, and the join panics.
//!
//! Each circle of joins is found. The thread that notes the last join of a circle sees the notes of the circle's other joins.
//! That thread also sees the bit WAITED set in the state word of its own task.
//!
//! Each circle of notes is a circle of joins that never end. A task with a note is blocked until the task that it joins has
//! ended. A note can still exist just after its join has ended. Such a note leads to an ended task, which has no note, so the
//! note is in no circle.
//!
//! Only joins without a timeout are noted. Waits for a job or a scope, and awaits of futures, are not noted. The notes serve only
//! to find circles.

use crate::base::task::CellPtr;
use crate::job::record::JobPtr;
use crate::sync::{Mutex, MutexGuard, global};
use crate::task::closure::Face;
use crate::unwind;
use crate::worker::context::Context;
use std::collections::BTreeMap;
use std::sync::PoisonError;

global! {
    /// Returns the notes of all joins that wait, by the address of the task that waits.
    fn all_joins() -> Mutex<BTreeMap<usize, Join>> { Mutex::new(BTreeMap::new()) }
}

#[derive(Clone, Copy, Debug)]
struct Join {
    /// The address of the task that the waiting task joins.
    joined: usize,
    /// The job of the task that waits. That task keeps the job alive.
    job: JobPtr,
}

/// The notes of one join, one for each task in `tasks`. When this value is dropped, the notes are removed.
#[derive(Debug)]
pub struct Noted {
    /// The tasks on this thread: the task that joins, and each task that waits until a task inside it has run inline.
    tasks: Vec<CellPtr>,
}

fn joins() -> MutexGuard<'static, BTreeMap<usize, Join>> {
    all_joins().lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(task: CellPtr) -> usize {
    task.as_ptr().addr()
}

impl Noted {
    /// Notes that the tasks of this thread join the task at the address `joined`, which has not ended. The caller must have set
    /// WAITED in that task's state word. Returns `None` if no task with a handle runs on this thread.
    ///
    /// # Panics
    /// Panics by [`unwind::refuse`] if the join closes a circle.
    pub fn enter(context: &Context, joined: usize) -> Option<Self> {
        context.lease().job.get()?;
        let tasks = context.running_cells();
        if tasks.is_empty() {
            return None;
        }
        joins().extend(tasks.iter().map(|task| (key(*task), Join { joined, job: task.job() }))); // join-2
        let noted = Self { tasks };
        // SAFETY: the cells have a face, and last until their tasks end on this thread.
        let is_waited_for =
            |task: &CellPtr| unsafe { task.cast::<Face>().as_ref() }.is_waited_for();
        if noted.tasks.iter().any(is_waited_for)
            && let Some(jobs) = noted.take_out_of_circle(joined)
        {
            // The other tasks of the circle are blocked in their joins until this join panics. So the jobs of these tasks are
            // alive here (join-3).
            let message = message(&jobs);
            drop(noted);
            unwind::refuse(message);
        }
        Some(noted)
    }

    /// Follows the notes from the task at `joined`. If the notes lead to a task of this thread, removes the notes of this
    /// thread's tasks, and returns the jobs of the circle's tasks. Otherwise returns `None`.
    ///
    /// The search and the removal happen under one lock, so exactly one join of a circle finds the circle.
    fn take_out_of_circle(&self, joined: usize) -> Option<Vec<JobPtr>> {
        let mut joins = joins();
        let (mut at, mut jobs) = (joined, Vec::new());
        // The search follows at most as many notes as there are. Without this bound the search would not end if the notes lead
        // into a circle that does not contain this join. Another join finds that circle.
        for _ in 0..joins.len() {
            let join = joins.get(&at)?;
            jobs.push(join.job);
            if self.tasks.iter().any(|task| key(*task) == at) {
                self.tasks.iter().for_each(|task| _ = joins.remove(&key(*task)));
                return Some(jobs);
            }
            at = join.joined;
        }
        None
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let mut joins = joins();
        for task in &self.tasks {
            joins.remove(&key(*task));
        }
    }
}

/// Returns a panic message if the innermost task on this thread joins an outer task on the same thread: the task at the address
/// `joined`. The outer task waits until the inner task has run inline, so the join could never end. All joins of such a circle
/// are on this thread's stack, and have no notes.
///
/// Returns `None` if the joined task is the innermost task on this thread, or does not run on this thread.
pub fn on_this_thread(context: &Context, joined: usize) -> Option<String> {
    let tasks = context.running_cells();
    let last = tasks.iter().position(|task| key(*task) == joined).filter(|&last| last > 0)?;
    let jobs: Vec<_> = tasks[..=last].iter().map(|task| task.job()).collect();
    Some(message(&jobs))
}

fn message(jobs: &[JobPtr]) -> String {
    let name = |job: &JobPtr| match job.extra().and_then(|extra| extra.name.as_deref()) {
        Some(name) => format!("`{name}`"),
        None => "a job without a name".to_owned(),
    };
    let names: Vec<_> = jobs.iter().map(name).collect();
    format!(
        "tasks join each other in a circle, which could never end: join one of them from elsewhere. They are of {}",
        names.join(", ")
    )
}
