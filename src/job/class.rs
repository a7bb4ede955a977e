//! The turns and the class of a job: what it inherits from its parent, and where its ready tasks wait.

use crate::base::sleep::Notified;
use crate::base::task::CellPtr;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::turns::{AskedTurns, MOST_SHARE, Turns};
use crate::pool::core::Shared;
use crate::priority::Priority;

impl AskedTurns {
    /// Returns the turns of a job with the parent `parent`. A setting that is missing comes from the parent, and the share is
    /// multiplied by the parent's share.
    pub fn below(self, parent: Option<JobPtr>) -> Turns {
        let parent = parent.map_or(Turns::USUAL, JobPtr::turns);
        Turns {
            share: (self.share.unwrap_or(1) * parent.share).min(MOST_SHARE),
            time: self.time.or(parent.time),
            priority: self.priority.unwrap_or(parent.priority),
        }
    }
}

impl JobPtr {
    /// Returns the settings of turns of this job.
    #[inline]
    pub fn turns(self) -> Turns {
        self.extra().map_or(Turns::USUAL, |extra| extra.turns)
    }

    /// Makes the workers treat the job by its class. Call it before the job has a task.
    ///
    /// A job with a class other than `Normal` is never unlimited. So its tasks wait in the injector of the class, and in no
    /// deque.
    pub fn enter_class(self) {
        if self.turns().priority != Priority::Normal {
            self.permits.set(Flag::Futures);
            self.pool().use_classes();
        }
    }
}

/// Puts a task into the injector of its job's class, and wakes a worker if none is searching. Returns what `Shared::inject`
/// returns. The caller must keep the pool alive until the return.
#[inline]
pub fn inject(pool: &Shared, cell: CellPtr) -> Notified {
    if pool.has_classes() { inject_in_class(pool, cell) } else { pool.inject(cell) }
}

#[cold]
fn inject_in_class(pool: &Shared, cell: CellPtr) -> Notified {
    pool.inject_into(cell.job().turns().priority, cell)
}
