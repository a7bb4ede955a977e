//! Joins that wait for each other in a circle: none of them could ever end.
//!
//! A task with a handle that joins another one is noted while it waits. The join that closes a circle finds it. A thread first
//! sets WAITED at the task that it joins, and then notes its own task under the lock. If its own task has WAITED, it follows
//! the notes, from the joined task on.
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
        joins().extend(tasks.iter().map(|task| (key(*task), Join { joined, job })));
        let noted = Self { tasks };
        // SAFETY: the cells have a face, and last until their tasks end on this thread.
        let is_waited_for =
            |task: &CellPtr| unsafe { task.cast::<Face>().as_ref() }.is_waited_for();
        if noted.tasks.iter().any(is_waited_for) {
            noted.refuse_circle(joined);
        }
        Some(noted)
    }

    fn refuse_circle(&self, joined: usize) {
        let joins = joins();
        let (mut at, mut jobs) = (joined, Vec::new());
        // The steps are bounded: a circle that does not lead here is another join's to find.
        for _ in 0..joins.len() {
            let Some(join) = joins.get(&at) else { return };
            // A noted task keeps its job, and its note is removed under the lock.
            jobs.push(join.job.extra().and_then(|extra| extra.name.clone()));
            if self.tasks.iter().any(|task| key(*task) == at) {
                drop(joins);
                unwind::refuse(message(&jobs));
            }
            at = join.joined;
        }
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
