//! `Lease`: the right to run one task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::leases::{Id, Leases};

/// The right to run one task of a job, over all machines. A task of [`FleetJob::serve`](crate::FleetJob::serve) gets it.
///
/// The fleet renews the lease every third of its length, and acknowledges the task when it has ended. The lease is lost
/// when two thirds have passed on this machine's clock since the last renewal that succeeded. **A task must stop when its lease
/// is lost**: a third of a lease later, another machine may run it. The task's future is then dropped at its next `await`.
/// Code between two awaits asks [`is_lost`](Self::is_lost) or [`tollgate::is_cancelled`].
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// # block_on(async {
/// let fleet = tollgate_nats::Fleet::connect(address).await?;
/// let reports = fleet.job("reports").limit(2).open().await?;
/// reports.push(&7).await?;
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let stop = reports.clone();
/// reports
///     .serve(&pool.job(1), move |number: u32, lease| {
///         let stop = stop.clone();
///         async move {
///             assert_eq!((number, lease.attempt()), (7, 1));
///             for _part in 0..10 {
///                 if lease.is_lost() {
///                     return; // another machine may run the task soon
///                 }
///                 // a part of the work, much shorter than a third of the lease
///             }
///             stop.stop();
///         }
///     })
///     .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Lease {
    leases: Arc<Leases>,
    id: Id,
    attempt: u64,
    sequence: u64,
}

impl Lease {
    pub(crate) fn new(leases: Arc<Leases>, id: Id, attempt: u64, sequence: u64) -> Self {
        Self { leases, id, attempt, sequence }
    }

    /// Returns true if the task must stop. Never returns false again after that.
    ///
    /// The call takes a lock of the job and reads a clock; it never talks to the server. See [`Lease`] for an example.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.leases.is_lost(self.id)
    }

    /// Waits until the lease is lost or the task has ended. See [`Lease`].
    pub async fn lost(&self) {
        self.leases.lost(self.id).await;
    }

    /// Returns the time until the lease is lost, if no renewal succeeds. See [`Lease`].
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.leases.time_left(self.id)
    }

    /// Returns how often the task was tried, this time included. See [`Lease`] for an example.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Returns the number of the task's message in the job's stream. A task that is tried again after a failure has a new one.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("sequence", &self.sequence)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
