//! Configures and opens a job.

use std::time::Duration;

use tollgate_lease::BootClock;

use crate::engine::Engine;
use crate::error::{FleetError, OpenError};
use crate::fleet::Fleet;
use crate::job::FleetJob;
use crate::leases::Leases;

/// Opens a job. From [`Fleet::job`].
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// # block_on(async {
/// use std::time::Duration;
/// use tollgate_nats::OpenError;
///
/// let fleet = tollgate_nats::Fleet::connect(address).await?;
/// let first = fleet.job("search").limit(4).lease(Duration::from_secs(9)).open().await?;
/// let second = fleet.job("search").limit(8).open().await?; // a job that exists keeps its limit
/// assert_eq!(second.limit().await?, 4);
/// let other = fleet.job("search").lease(Duration::from_secs(5)).open().await;
/// assert!(matches!(other, Err(OpenError::OtherLease(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `open` is called"]
pub struct FleetJobBuilder {
    fleet: Fleet,
    name: String,
    limit: Option<u32>,
    lease: Option<Duration>,
    holder: Option<String>,
    attempts: Option<u64>,
}

impl FleetJobBuilder {
    pub(crate) fn new(fleet: Fleet, name: String) -> Self {
        Self { fleet, name, limit: None, lease: None, holder: None, attempts: None }
    }

    /// Sets the limit with which the job is made if it does not exist. It must be 1 or more.
    ///
    /// A job that exists keeps its limit: it may have been changed by [`FleetJob::set_limit`] since it was made.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the length of the leases with which the job is made: 1 s to 24 h, 30 s by default. All processes of a job have the
    /// same.
    ///
    /// A machine that dies gives its permits back after at most one lease. A task that has lost its lease has a third of this
    /// time to stop. Choose it well above the longest pause of a machine or a network.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the name under which [`FleetJob::explain`] shows this process. By default: the host's name and the process id.
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// Sets aside a task that was tried this often without success, in this process. By default a task is tried without end.
    ///
    /// An attempt whose machine died counts, too.
    pub fn attempts(mut self, attempts: u64) -> Self {
        self.attempts = Some(attempts.max(1));
        self
    }

    /// Checks the server, and makes the job's stream and consumer if they do not exist.
    ///
    /// # Errors
    ///
    /// Each [`OpenError`] says what to do.
    pub async fn open(self) -> Result<FleetJob, OpenError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 100 || !self.name.chars().all(good) {
            return Err(OpenError::Name(self.name));
        }
        if self.limit == Some(0) {
            return Err(OpenError::ZeroLimit);
        }
        let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
        if let Some(lease) = self.lease
            && !range.contains(&lease)
        {
            return Err(OpenError::Lease(lease));
        }
        let Self { fleet, name, limit, lease, holder, attempts } = self;
        let link = fleet.link.clone();
        let leases = link
            .run(async move {
                let engine = Engine::new(fleet.link, &name);
                let length = engine.prepare(limit, lease).await?;
                let overview = engine.overview().await.map_err(FleetError::from)?;
                engine.free_orphans().await.map_err(FleetError::from)?; // js-6
                let clock = Box::new(BootClock);
                Ok::<_, OpenError>(Leases::new(engine, length, clock, overview.delivered))
            })
            .await?;
        Ok(FleetJob::start(leases, holder.unwrap_or_else(this_process), attempts))
    }
}

/// Returns a name of this process that people can read.
fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{}", if host.is_empty() { "?" } else { host }, std::process::id())
}
