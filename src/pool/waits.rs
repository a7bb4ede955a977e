//! The tasks of a pool that wait in `join`, `wait` or `scope`, and the jobs that they wait for.
//!
//! Only statistics and explanations read these waits. No protocol of the pool depends on them, so no model checks them.

use crate::base::task::{CellPtr, OpaqueJob};
use crate::sync::{FiguresGuard, FiguresMutex};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// All tasks of a pool that wait in `join`, `wait` or `scope`. They are neither running nor ready.
#[derive(Debug, Default)]
pub struct Waits(FiguresMutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The waits. The key is the job of the waiting task, and the unique number of the wait.
    waits: BTreeMap<(OpaqueJob, u64), Wait>,
    /// The number of waits so far.
    begun: u64,
}

/// A wait of one task.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// The cell of the task, if the task has a handle.
    pub task: Option<CellPtr>,
    /// The job that the task waits for to become idle. `None` if it waits for anything else, such as another task.
    pub awaited: Option<OpaqueJob>,
}

/// The number of a wait that has begun. [`Waits::leave`] takes it.
#[derive(Debug)]
pub struct Begun(u64);

impl Waits {
    fn state(&self) -> FiguresGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a task of `job` waits. The caller keeps both jobs until it has left.
    pub fn enter(&self, job: OpaqueJob, wait: Wait) -> Begun {
        let mut state = self.state();
        state.begun += 1;
        let begun = state.begun;
        state.waits.insert((job, begun), wait);
        Begun(begun)
    }

    /// Removes the note of a wait.
    pub fn leave(&self, job: OpaqueJob, begun: Begun) {
        self.state().waits.remove(&(job, begun.0));
    }

    /// Returns true if no task waits.
    pub fn is_empty(&self) -> bool {
        self.state().waits.is_empty()
    }

    /// Calls `see` with each wait of the job's tasks. No wait begins or ends meanwhile, so a job that is awaited is kept.
    pub fn each(&self, job: OpaqueJob, mut see: impl FnMut(&Wait)) {
        let state = self.state();
        state.waits.range((job, 0)..=(job, u64::MAX)).for_each(|(_, wait)| see(wait));
    }

    /// Returns the number of waiting tasks of the job.
    pub fn count(&self, job: OpaqueJob) -> u64 {
        self.state().waits.range((job, 0)..=(job, u64::MAX)).count() as u64
    }
}
