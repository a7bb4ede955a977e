//! `Lease`: the right to run one task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::book::Id;
use crate::gate::Owner;
use crate::redis_store::text;

/// The right to run one task of a gate, over all machines. Dropping it gives the permit back.
///
/// The gate renews the lease in the background, every third of its length. The lease is lost when two thirds have passed on
/// this machine's clock since the last renewal that succeeded. It is also lost when the server does not know it any more. **A task must
/// stop when its lease is lost**: a third of a lease later, the server may grant the permit to another machine. The
/// loss is final.
///
/// Dropping a lease does not block: the gate's thread sends the release. A lost lease is not released; it ends by itself.
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// use std::time::Duration;
///
/// let gate = tollgate_redis::Gate::open(client, "reports").limit(2).lease(Duration::from_secs(3)).build()?;
/// let lease = gate.acquire()?;
/// for _part in 0..10 {
///     if lease.is_lost() {
///         break; // another machine may have the permit soon
///     }
///     // a part of the work, much shorter than a third of the lease
/// }
/// assert!(!lease.is_lost());
/// drop(lease);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a lease that is dropped gives its permit back at once"]
pub struct Lease {
    owner: Arc<Owner>,
    id: Id,
    fence: u64,
}

impl Lease {
    pub(crate) fn new(owner: Arc<Owner>, id: Id, fence: u64) -> Self {
        Self { owner, id, fence }
    }

    /// Returns true if the task must stop. Never returns false again after that.
    ///
    /// The call takes a lock of the gate and reads a clock; it never talks to the server.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "reports").limit(2).build()?;
    /// assert!(!gate.acquire()?.is_lost());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.owner.shared().is_lost(self.id)
    }

    /// Returns the time until the lease is lost, if no renewal succeeds before. Returns zero if the lease is lost.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// use std::time::Duration;
    ///
    /// let gate = tollgate_redis::Gate::open(client, "reports").limit(2).lease(Duration::from_secs(30)).build()?;
    /// let left = gate.acquire()?.time_left();
    /// assert!(left > Duration::from_secs(15) && left <= Duration::from_secs(20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn time_left(&self) -> Duration {
        Duration::from_micros(self.owner.shared().time_left(self.id))
    }

    /// Returns the fencing number: greater than that of each lease that this gate granted before.
    ///
    /// Under a limit of 1, a resource that remembers the greatest number can refuse a task that has lost its lease. The numbers start at 1.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "reports").limit(2).build()?;
    /// let (first, second) = (gate.acquire()?, gate.acquire()?);
    /// assert!(first.fence() < second.fence());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Returns the name of the lease at the server, as [`Held::id`](crate::Held::id) shows it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "reports").limit(2).build()?;
    /// let lease = gate.acquire()?;
    /// assert_eq!(gate.explain()?.held[0].id, lease.id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> String {
        text(self.id)
    }

    /// Makes [`tollgate::is_cancelled`] true in the tasks of `job` when the lease is lost.
    pub(crate) fn cancel_on_loss(&self, job: tollgate::Job) {
        self.owner.shared().cancel_on_loss(self.id, job);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.owner.shared().finish(self.id);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id())
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}
