//! Finds a job's share, turn time and class, and puts tasks into the injector of their job's class.

use crate::base::sleep::Notified;
use crate::base::task::CellPtr;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::turns::{AskedTurns, MOST_SHARE, Turns};
use crate::pool::core::Shared;
use crate::priority::Priority;

impl AskedTurns {
    /// Returns the share, turn time and class of a job whose builder asks for these settings, and whose parent is `parent`. A
    /// turn time or class that the builder does not set is that of the parent. The share is multiplied by the parent's share.
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
    /// Returns the job's share, turn time and class.
    #[inline]
    pub fn turns(self) -> Turns {
        self.extra().map_or(Turns::USUAL, |extra| extra.turns)
    }

    /// Makes the workers search the injectors of the classes `High` and `Low`, if the job is of one of these classes. Call it
    /// before the job has a task.
    ///
    /// A job of the class `High` or `Low` also gets the flag `Futures`, so that it never counts as unlimited. Tasks of an
    /// unlimited job can lie in deques, but ready tasks of these two classes must lie in the injector of their class.
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
