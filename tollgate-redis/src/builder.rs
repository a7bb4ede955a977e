//! Configures and opens a gate.

use std::time::Duration;

use crate::book::Micros;
use crate::error::OpenError;
use crate::gate::Gate;
use crate::redis_store::RedisBackend;
use tollgate_lease::BootClock;

/// Opens a gate.
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// use std::time::Duration;
///
/// let gate = tollgate_redis::Gate::open(client, "erp")
///     .limit(50)
///     .lease(Duration::from_secs(30))
///     .holder("crawler-7")
///     .build()?;
/// assert_eq!(gate.limit()?, 50);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct GateBuilder {
    client: redis::Client,
    name: String,
    limit: Option<u32>,
    lease: Duration,
    holder: Option<String>,
}

impl GateBuilder {
    pub(crate) fn new(client: redis::Client, name: String) -> Self {
        Self { client, name, limit: None, lease: Duration::from_secs(30), holder: None }
    }

    /// Sets the limit with which the gate is made if it does not exist. It must be 1 or more.
    ///
    /// A gate that exists keeps its limit: it may have been changed by [`Gate::set_limit`] since it was made.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let first = tollgate_redis::Gate::open(client.clone(), "erp").limit(5).build()?;
    /// let second = tollgate_redis::Gate::open(client, "erp").limit(9).build()?;
    /// assert_eq!(second.limit()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the length of this process's leases: 100 ms to 24 h, 30 s by default.
    ///
    /// A process that dies gives its permits back after at most one lease. A task that has lost its lease has a third of this
    /// time to stop. Choose it well above the longest pause of a machine or a network. Processes may differ.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// use std::time::Duration;
    ///
    /// let gate = tollgate_redis::Gate::open(client.clone(), "erp").limit(5).lease(Duration::from_secs(9)).build()?;
    /// assert!(gate.acquire()?.time_left() <= Duration::from_secs(6));
    /// let short = tollgate_redis::Gate::open(client, "erp").lease(Duration::from_millis(1)).build();
    /// assert!(matches!(short, Err(tollgate_redis::OpenError::Lease(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the name under which [`Gate::explain`] shows this process. By default: the host's name and the process id.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(5).holder("crawler-7").build()?;
    /// let lease = gate.acquire()?;
    /// assert_eq!(gate.explain()?.held[0].holder, "crawler-7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// Connects, checks the server, makes the gate if it does not exist, and starts its threads.
    ///
    /// The server must be a master of Redis 6.2 or later. It must write an append-only file and never evict leases.
    ///
    /// # Errors
    ///
    /// Each [`OpenError`] says what to do.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// use tollgate_redis::{Gate, OpenError};
    ///
    /// assert!(matches!(Gate::open(client.clone(), "erp").build(), Err(OpenError::NoLimit)));
    /// assert!(matches!(Gate::open(client.clone(), "erp").limit(0).build(), Err(OpenError::ZeroLimit)));
    /// assert!(Gate::open(client.clone(), "erp").limit(1).build().is_ok());
    /// assert!(Gate::open(client, "erp").build().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build(self) -> Result<Gate, OpenError> {
        let bad = |c: char| c.is_control() || matches!(c, '{' | '}');
        if self.name.is_empty() || self.name.len() > 200 || self.name.contains(bad) {
            return Err(OpenError::Name(self.name));
        }
        if self.limit == Some(0) {
            return Err(OpenError::ZeroLimit);
        }
        if self.lease < Duration::from_millis(100) || self.lease > Duration::from_secs(86_400) {
            return Err(OpenError::Lease(self.lease));
        }
        let backend = RedisBackend::new(self.client, &self.name);
        backend.prepare(self.limit, Duration::from_secs(5))?;
        let holder = self.holder.unwrap_or_else(this_process);
        let length = self.lease.as_micros() as Micros;
        Gate::start(self.name, holder, length, Box::new(backend), Box::new(BootClock))
            .map_err(OpenError::Thread)
    }
}

/// Returns a name of this process that people can read.
fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{}", if host.is_empty() { "?" } else { host }, std::process::id())
}
