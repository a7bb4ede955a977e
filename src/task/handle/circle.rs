//! Joins that wait for each other in a circle: none of them could ever end.
//!
//! A task with a handle that joins another one is noted while it waits. The join that closes a circle finds it. A thread first
//! sets WAITED at the task that it joins. Then, under the lock, it notes its own task and, if that task has WAITED, follows the
//! notes, from the joined task on.
//!
//! Of the joins in a circle, the last one to be noted sees all notes, and WAITED at its own task. Each noted task is blocked until
//! the one that it joins has ended, so a circle of notes is final. A note whose join has just ended leads to a task that has
//! ended, which is in no circle.
//!
//! Not noted are joins with a timeout, waits for jobs and scopes, and futures that await. No part of another protocol, and of
//! no model: `tests/hopeless.rs` has joins that close a circle at the same time.

use crate::job::record::JobPtr;
use crate::task::CellPtr;
use crate::task::handle::joint::Face;
use crate::unwind;
use crate::worker::context::Context;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By the address of a task that waits in a join: what it joins.
static JOINS: Mutex<BTreeMap<usize, Join>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Debug)]
struct Join {
    /// The address of the task that is joined.
    joined: usize,
    /// The job of the task that waits, which keeps it.
    job: JobPtr,
}

/// The note of a join. Dropping it removes the note.
#[derive(Debug)]
pub struct Noted {
    /// The tasks that wait: the one that joins, and those that it runs inside of.
    tasks: Vec<CellPtr>,
}

fn joins() -> MutexGuard<'static, BTreeMap<usize, Join>> {
    JOINS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(task: CellPtr) -> usize {
    task.as_ptr().addr()
}

impl Noted {
    /// Notes that the tasks of this thread join the task at this address, which has not ended. The caller has set WAITED
    /// there. Outside of tasks with handles there is nothing to note.
    ///
    /// # Panics
    /// By [`unwind::refuse`], if the join closes a circle.
    pub fn enter(context: &Context, joined: usize) -> Option<Self> {
        let job = context.lease().job.get()?;
        let tasks = context.running_cells();
        if tasks.is_empty() {
            return None;
        }
        // SAFETY: the cells have a face, and last until their tasks end on this thread.
        let is_waited_for =
            |task: &CellPtr| unsafe { task.cast::<Face>().as_ref() }.is_waited_for();
        let noted = Self { tasks };
        // One lock for the note and the check: of the joins in a circle only the last one finds it.
        let mut joins = joins();
        joins.extend(noted.tasks.iter().map(|task| (key(*task), Join { joined, job })));
        let closes = noted.tasks.iter().any(is_waited_for);
        let circle = closes.then(|| noted.circle(&joins, joined)).flatten();
        drop(joins);
        if let Some(jobs) = circle {
            unwind::refuse(message(&jobs));
        }
        Some(noted)
    }

    /// Returns the names of the jobs whose tasks join each other in a circle, if the notes lead from the task at `joined` to
    /// one of these tasks.
    fn circle(&self, joins: &BTreeMap<usize, Join>, joined: usize) -> Option<Vec<Option<String>>> {
        let (mut at, mut jobs) = (joined, Vec::new());
        // The steps are bounded: a circle that does not lead here is another join's to find.
        for _ in 0..joins.len() {
            let join = joins.get(&at)?;
            // A noted task keeps its job, and its note is removed under the lock.
            jobs.push(join.job.extra().and_then(|extra| extra.name.clone()));
            if self.tasks.iter().any(|task| key(*task) == at) {
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

fn message(jobs: &[Option<String>]) -> String {
    let name = |job: &Option<String>| match job {
        Some(name) => format!("`{name}`"),
        None => "a job without a name".to_owned(),
    };
    let names: Vec<_> = jobs.iter().map(name).collect();
    format!(
        "tasks join each other in a circle, which could never end: join one of them from elsewhere. They are of {}",
        names.join(", ")
    )
}
