//! The tasks of a pool that wait in `join`, `wait` or `scope`, and the jobs that they wait for.
//!
//! Only statistics and `Job::explain` read the list of waits. No protocol of the pool depends on the list, so no model checks
//! it.

use crate::base::task::{CellPtr, OpaqueJob};
use crate::sync::{FiguresGuard, FiguresMutex};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// All tasks of a pool that wait in `join`, `wait` or `scope`. Such a task is not ready, and is running only if its job keeps
/// permits.
#[derive(Debug, Default)]
pub struct Waits(FiguresMutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The waits that have not ended. The key of a wait is the job of the waiting task, and a number that no other wait has.
    waits: BTreeMap<(OpaqueJob, u64), Wait>,
    /// The number of waits that have begun so far.
    begun: u64,
}

/// The wait of one task.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// The cell of the waiting task, if that task has a handle.
    pub task: Option<CellPtr>,
    /// The job that the task waits for in `Job::wait`. `None` if the task waits for anything else, such as another task.
    pub awaited: Option<OpaqueJob>,
}

/// The number that [`Waits::enter`] has given to a wait. Pass it to [`Waits::leave`] when the wait ends.
#[derive(Debug)]
pub struct Begun(u64);

impl Waits {
    fn state(&self) -> FiguresGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a task of `job` waits, as `wait` describes. Returns the number of this wait. Until the call of
    /// [`leave`](Self::leave) the caller must keep `job` alive, and the job `wait.awaited` if there is one.
    pub fn enter(&self, job: OpaqueJob, wait: Wait) -> Begun {
        let mut state = self.state();
        state.begun += 1;
        let begun = state.begun;
        state.waits.insert((job, begun), wait);
        Begun(begun)
    }

    /// Removes the wait with the number `begun`, which has ended. `job` is the job of the task that has waited.
    pub fn leave(&self, job: OpaqueJob, begun: Begun) {
        self.state().waits.remove(&(job, begun.0));
    }

    /// Returns true if no task of the pool waits.
    pub fn is_empty(&self) -> bool {
        self.state().waits.is_empty()
    }

    /// Calls `see` with each wait of the job's tasks. No wait begins or ends during the call, so each awaited job stays alive.
    pub fn each(&self, job: OpaqueJob, mut see: impl FnMut(&Wait)) {
        let state = self.state();
        state.waits.range((job, 0)..=(job, u64::MAX)).for_each(|(_, wait)| see(wait));
    }

    /// Returns the number of the job's tasks that have begun and now wait inside.
    pub fn count(&self, job: OpaqueJob) -> u64 {
        self.state().waits.range((job, 0)..=(job, u64::MAX)).count() as u64
    }
}
