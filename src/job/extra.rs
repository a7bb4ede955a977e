//! The fields that few jobs have: a name, a capacity, samples, histograms, a share, weights, times.

#[cfg(feature = "timeline")]
use crate::base::log::Track;
use crate::job::capacity::Capacity;
use crate::job::samples::Samples;
use crate::job::timed::Timed;
use crate::job::times::Times;
use crate::job::turns::Turns;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};
use std::num::NonZeroU32;

/// The fields that few jobs have. The job's builder makes them, or `Record::extra_or_make` when the job first needs one of
/// them. They are freed together with the job's record.
#[derive(Debug, Default)]
pub struct Extra {
    /// The job's name.
    pub name: Option<String>,
    /// True if a task keeps its permit of this job while it waits inside.
    pub keeps_permits: bool,
    /// The slots of the job, if the job has a capacity.
    pub capacity: Option<Arc<Capacity>>,
    /// The samples of the job's tasks, if the job has an adaptive limit.
    pub samples: Option<Samples>,
    /// The histograms of the job, if the job is timed.
    pub timed: Option<Box<Timed>>,
    /// The job's share, turn time and class.
    pub turns: Turns,
    /// True if each task of the job has a span.
    #[cfg(feature = "tracing")]
    pub traced: bool,
    /// The job's track in the timeline of its pool.
    #[cfg(feature = "timeline")]
    pub track: Track,
    /// True if the job counts weights: a task takes as many permits of this job as the task weighs.
    pub counts_weights: bool,
    /// The weight of the job's tasks, if it was set.
    pub weight: Option<NonZeroU32>,
    /// The job's hold-off, its rates and its delayed tasks.
    times: Mutex<Times>,
    /// True if one of the job's rates counts the ends of tasks, as `Rate::gap_after_end` does. Changed only under the lock of
    /// `times`.
    has_gap: AtomicBool,
}

impl Extra {
    /// Makes the fields of a job with this name and these slots. All other fields are as for a job that sets none of them.
    pub fn new(name: Option<String>, capacity: Option<Arc<Capacity>>) -> Self {
        Self { name, capacity, ..Self::default() }
    }

    /// Sets where an adaptive job collects its samples. `None` for a job that is not adaptive.
    pub fn with_samples(self, samples: Option<Samples>) -> Self {
        Self { samples, ..self }
    }

    /// Sets whether tasks keep their permits of the job while they wait inside.
    pub fn with_kept_permits(self, keeps_permits: bool) -> Self {
        Self { keeps_permits, ..self }
    }

    /// Adds the histograms of a timed job.
    pub fn with_timed(self, timed: Option<Box<Timed>>) -> Self {
        Self { timed, ..self }
    }

    /// Sets the job's share, turn time and class.
    pub fn with_turns(self, turns: Turns) -> Self {
        Self { turns, ..self }
    }

    /// Sets whether the job counts weights, and the weight of its tasks.
    pub fn with_weights(self, counts_weights: bool, weight: Option<NonZeroU32>) -> Self {
        Self { counts_weights, weight, ..self }
    }

    /// Notes whether each task of the job has a span.
    #[cfg(feature = "tracing")]
    pub fn with_traced(self, traced: bool) -> Self {
        Self { traced, ..self }
    }

    /// Returns true if each task of the job needs a ticket.
    #[inline]
    pub fn needs_ticket(&self) -> bool {
        #[cfg(feature = "tracing")]
        if self.traced {
            return true;
        }
        self.capacity.is_some() || self.timed.is_some()
    }

    /// Locks and returns the job's hold-off, its rates and its delayed tasks.
    pub fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns true if one of the job's rates counts the ends of tasks, as `Rate::gap_after_end` does.
    pub fn has_gap(&self) -> bool {
        // Ordering: Relaxed; the field is changed only under the lock of `times`, which each start at a rate takes.
        self.has_gap.load(Ordering::Relaxed)
    }

    /// Sets whether one of the job's rates counts the ends of tasks, as `Rate::gap_after_end` does. The caller must have the
    /// lock of `times`.
    pub fn set_gap(&self, has_gap: bool) {
        // Ordering: Relaxed; as in `has_gap`.
        self.has_gap.store(has_gap, Ordering::Relaxed);
    }
}
