//! Tells which jobs keep permits. A task of such a job holds its permit of the job also while the task waits inside. So the
//! job's limit bounds the tasks that have begun.
//!
//! In a job that keeps permits, a task that joins another task of the job keeps a permit that the joined task might need. If
//! the joined task has not started, it runs inline, under that permit. If the joined task cannot run inline, and the joining
//! task keeps the one permit of the job, the wait would never end. `gate::hopeless` detects this case.

use crate::job::record::JobPtr;

impl JobPtr {
    /// Returns true if a task of this job, or of a job below, keeps its permit of this job while it waits inside.
    #[inline]
    pub fn keeps_permits(self) -> bool {
        self.extra().is_some_and(|extra| extra.keeps_permits)
    }

    /// Returns true if a task of this job keeps a permit of this job or of an ancestor while it waits inside.
    pub fn keeps_any_permit(self) -> bool {
        self.gates().any(Self::keeps_permits)
    }
}
