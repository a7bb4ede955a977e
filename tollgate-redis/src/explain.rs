//! The state of a gate, as `Gate::explain` returns it.

use std::fmt;
use std::time::Duration;

use crate::store::HeldRow;

/// The state of a gate at one instant, over all machines. From [`Gate::explain`](crate::Gate::explain).
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// let gate = tollgate_redis::Gate::open(client, "erp").limit(2).holder("crawler-7").build()?;
/// let lease = gate.acquire()?;
/// let text = gate.explain()?.to_string();
/// assert!(text.starts_with("erp: 1 of 2 held, 0 waiting\n"));
/// assert!(text.contains("crawler-7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the gate.
    pub name: String,
    /// The limit.
    pub limit: u32,
    /// The number of processes that wait for a lease. A process that died counts for up to 3 s.
    pub waiting: usize,
    /// The live leases. The lease that ends first comes first.
    pub held: Vec<Held>,
}

/// One live lease, as the server knows it.
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// use std::time::Duration;
///
/// let gate = tollgate_redis::Gate::open(client, "erp").limit(2).lease(Duration::from_secs(30)).build()?;
/// let lease = gate.acquire()?;
/// let held = &gate.explain()?.held[0];
/// assert_eq!((held.id.clone(), held.fence), (lease.id(), lease.fence()));
/// assert!(held.left <= Duration::from_secs(30) && held.since < Duration::from_secs(30));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The name of the lease, as [`Lease::id`](crate::Lease::id) returns it.
    pub id: String,
    /// The fencing number.
    pub fence: u64,
    /// The name of the process that holds the lease.
    pub holder: String,
    /// For how long the lease has been held.
    pub since: Duration,
    /// How long the lease lasts if it is not renewed.
    pub left: Duration,
}

impl Explanation {
    pub(crate) fn new(name: String, limit: u32, waiting: usize, rows: Vec<HeldRow>) -> Self {
        let held = rows.into_iter().map(|HeldRow { id, fence, holder, since, left }| Held {
            id,
            fence,
            holder,
            since,
            left,
        });
        Self { name, limit, waiting, held: held.collect() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} of {} held, {} waiting",
            self.name,
            self.held.len(),
            self.limit,
            self.waiting
        )?;
        for Held { id, fence, holder, since, left } in &self.held {
            writeln!(
                f,
                "  {holder}: lease {id}, fence {fence}, held for {since:.1?}, lasts another {left:.1?}"
            )?;
        }
        Ok(())
    }
}
