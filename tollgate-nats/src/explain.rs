//! The state of a job, as `FleetJob::explain` returns it.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// The state of a job over all machines. From [`FleetJob::explain`](crate::FleetJob::explain), which has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the job.
    pub name: String,
    /// The limit.
    pub limit: u32,
    /// The number of leases that the server counts.
    pub leases: usize,
    /// The number of tasks that were never handed out.
    pub queued: u64,
    /// The number of tasks that were set aside.
    pub set_aside: u64,
    /// The leases of the processes that have answered. The server counts leases, but does not know their holders. A lease that
    /// is missing here belongs to a process that is dead, stopped or slow, or is about to be acknowledged.
    pub held: Vec<Held>,
}

/// One lease, as its holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The name of the process that holds the lease.
    pub holder: String,
    /// The number of the task's message in the job's stream.
    pub sequence: u64,
    /// The number of this attempt: 1 for the first.
    pub attempt: u64,
    /// For how long the lease has been held.
    pub since: Duration,
    /// After what time its holder takes the lease for lost, unless it is renewed.
    pub left: Duration,
}

impl Held {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "holder": self.holder, "sequence": self.sequence, "attempt": self.attempt,
            "since": self.since.as_millis() as u64, "left": self.left.as_millis() as u64,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let time = |name: &str| value[name].as_u64().map(Duration::from_millis);
        Some(Self {
            holder: value["holder"].as_str()?.to_owned(),
            sequence: value["sequence"].as_u64()?,
            attempt: value["attempt"].as_u64()?,
            since: time("since")?,
            left: time("left")?,
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, limit, leases, queued, set_aside, held } = self;
        writeln!(f, "{name}: {leases} of {limit} held, {queued} queued, {set_aside} set aside")?;
        for Held { holder, sequence, attempt, since, left } in held {
            writeln!(
                f,
                "  {holder}: task {sequence}, attempt {attempt}, held for {since:.1?}, lasts another {left:.1?}"
            )?;
        }
        match leases.saturating_sub(held.len()) {
            0 => Ok(()),
            rest => writeln!(f, "  {rest} of processes that do not answer"),
        }
    }
}
