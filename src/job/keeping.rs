//! Jobs that keep their permits: a task of such a job holds its permit there also while it waits inside. So the limit bounds the
//! tasks that have begun.
//!
//! A task that waits for a task of its own job may then wait for a permit that it keeps itself. If the joined task has not
//! started, it runs inline, under the permit that is kept. Where it cannot, and the waiting task keeps the gate's one permit,
//! nothing could end the wait. `gate::hopeless` finds that.

use crate::job::record::JobPtr;

impl JobPtr {
    /// Returns true if a task of this job, or of a job below, keeps its permit here while it waits inside.
    #[inline]
    pub fn keeps_permits(self) -> bool {
        self.extra().is_some_and(|extra| extra.keeps_permits)
    }

    /// Returns true if a task of this job keeps a permit of this job or of an ancestor while it waits inside.
    pub fn keeps_any_permit(self) -> bool {
        self.gates().any(Self::keeps_permits)
    }
}
