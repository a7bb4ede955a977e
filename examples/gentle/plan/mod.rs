//! What to check: the plan, read from TOML.
//!
//! [`parse`] is pure and answers any text with a [`Plan`] whose every value can be used as it
//! stands, or with one line that names the source, the line and the mend. What the keys look like
//! in TOML is in `raw`, how they become a plan in `read`, what their values may be in `values` and
//! `urls`.

mod error;
mod raw;
mod read;
mod urls;
mod values;

use std::fmt;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, StatusCode, Uri};

pub(crate) use self::read::{parse, parse_bytes};
pub(crate) use self::urls::{Host, listed};

/// Everything one run checks.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The pool's workers; one per available core where the plan does not say.
    pub(crate) workers: Option<usize>,
    /// At least one, each with a name of its own.
    pub(crate) jobs: Vec<JobPlan>,
    /// The limits over all jobs that send to a host.
    pub(crate) hosts: Vec<HostPlan>,
}

/// A limit over everything that is sent to a host.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) host: Host,
    pub(crate) limit: usize,
}

/// One job: the requests to send, how many at once, and what to expect of the answers.
#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    /// What the table calls it.
    pub(crate) name: String,
    /// The limits to step through, evenly over the requests; a single one where there is no ramp.
    pub(crate) limits: Vec<usize>,
    /// Where the requests go.
    pub(crate) targets: Targets,
    /// The method of each request.
    pub(crate) method: Method,
    /// The headers of each request.
    pub(crate) headers: HeaderMap,
    /// The body of each request.
    pub(crate) body: Option<String>,
    /// The statuses that pass the check.
    pub(crate) expect: Vec<StatusCode>,
    /// How long a request may take, from the connection to the last byte of the answer.
    pub(crate) timeout: Duration,
}

/// Where a job's requests go.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    /// To each of `urls` in turn, `repeat` times over.
    Paths { urls: Vec<Uri>, repeat: u64 },
    /// To each line of a list, which is read as the requests are sent.
    List(ListPlan),
}

/// A list of URLs, one a line.
#[derive(Clone, Debug)]
pub(crate) struct ListPlan {
    /// A file, or `-` for standard input.
    pub(crate) file: String,
    /// The line of the plan that names the file.
    pub(crate) line: usize,
    /// What the list's URLs start with; all of them may be paths behind it.
    pub(crate) base: Option<String>,
}

impl Plan {
    /// How many requests the limits let run at once, all jobs together.
    pub(crate) fn most_at_once(&self) -> usize {
        self.jobs.iter().map(JobPlan::greatest_limit).fold(0, usize::saturating_add)
    }
}

impl JobPlan {
    /// How many requests the job sends, if that can be told without reading a list.
    pub(crate) fn requests(&self) -> Option<u64> {
        match &self.targets {
            Targets::Paths { urls, repeat } => Some(urls.len() as u64 * repeat),
            Targets::List(_) => None,
        }
    }

    /// A URL on the server that all requests are sent to, if there is such a one.
    pub(crate) fn origin(&self) -> Option<Uri> {
        match &self.targets {
            Targets::Paths { urls, .. } => urls.first().cloned(),
            Targets::List(list) => list.base.as_ref().and_then(|base| base.parse().ok()),
        }
    }

    /// The greatest limit that is in force at any time.
    pub(crate) fn greatest_limit(&self) -> usize {
        self.limits.iter().copied().max().unwrap_or(0)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for JobPlan { name, limits, targets, method, .. } in &self.jobs {
            write!(f, "{name}: limit {limits:?}, {method} ")?;
            match targets {
                Targets::Paths { urls, repeat } => {
                    let (first, more) = (&urls[0], urls.len() - 1);
                    writeln!(f, "{first} and {more} more, {repeat} times each")?;
                }
                Targets::List(ListPlan { file, .. }) => writeln!(f, "the URLs in {file}")?,
            }
        }
        for HostPlan { host, limit } in &self.hosts {
            writeln!(f, "{host}: limit {limit} for all jobs together")?;
        }
        Ok(())
    }
}
