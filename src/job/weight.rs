//! The weight of a job's tasks: how many permits each task takes at a gate.
//!
//! The weight of a job's tasks is set when the job is made, and never changes. All tasks of a job weigh the same, and so all
//! tasks under one lease weigh the same. A job for which no weight was set has the weight of its parent. If it has no parent,
//! the weight is 1.

use crate::job::record::JobPtr;

impl JobPtr {
    /// Returns true if the job counts weights.
    #[inline]
    pub fn counts_weights(self) -> bool {
        self.extra().is_some_and(|extra| extra.counts_weights)
    }

    /// Returns the weight of the job's tasks.
    pub fn weight(self) -> u64 {
        let own = self.gates().find_map(|gate| gate.extra()?.weight);
        own.map_or(1, |weight| u64::from(weight.get()))
    }

    /// Returns how many permits of this gate a task of `job` takes: the task's weight if this gate counts weights, otherwise 1.
    #[inline]
    pub fn permits_for(self, job: Self) -> u64 {
        if self.counts_weights() { job.weight() } else { 1 }
    }
}
