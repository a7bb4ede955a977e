//! What to check: the plan, read from TOML.
//!
//! [`parse`] is pure and answers any text with a [`Plan`] whose every value can be used as it
//! stands, or with one line that names the source, the line and the mend. What the keys look like
//! in TOML is in `raw`, how they become a plan in `read` and `steps`, what their values may be in `values`, `expect`,
//! `threshold` and `urls`. Values of the environment are put in by `phrase`.

mod error;
mod expect;
mod limits;
mod phrase;
mod raw;
mod read;
mod spelling;
mod steps;
mod threshold;
mod urls;
mod values;

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Uri};

pub use self::expect::{Expect, Statuses, Wanted};
pub use self::phrase::{Captured, Phrase, Values, is_name};
pub use self::read::{parse, parse_bytes};
pub use self::threshold::{Measure, Threshold};
pub use self::urls::{Host, listed, port_of};

/// Everything one run checks.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many threads send, if the plan says so.
    pub workers: Option<usize>,
    /// At least one, each with a name of its own.
    pub jobs: Vec<JobPlan>,
    /// The limits over all jobs that send to a host.
    pub hosts: Vec<HostPlan>,
    /// The limits of each host that `hosts` does not have.
    pub other_hosts: Option<HostPlan>,
    /// Whether names that have the same address are one host.
    pub by_address: bool,
    /// How many requests may be sent a second, all jobs together.
    pub rate: Option<Rate>,
    /// What the results of all jobs together must be.
    pub thresholds: Vec<Threshold>,
}

/// A limit over everything that is sent to a host.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// The host.
    pub host: Host,
    /// How many requests may be in flight to it at once. The greatest number, if the limit finds itself.
    pub limit: Option<usize>,
    /// Where the limit stays, if it finds itself.
    pub auto: Option<AutoLimit>,
    /// How many requests may be sent to it a second.
    pub rate: Option<Rate>,
}

/// The range of a limit that finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoLimit {
    /// The least limit, at least 1, with which it starts.
    pub min: usize,
    /// The greatest limit.
    pub max: usize,
}

/// How many requests may be sent a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// A request each so often; more than 0.
    pub per_second: f64,
    /// How many may be sent at once after a pause; at least 1.
    pub burst: u32,
}

impl Rate {
    /// The time from one request to the next; more than 0.
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }
}

/// One job: the requests to send, how many at once, and what to expect of the answers.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// What the table calls it.
    pub name: String,
    /// The limits to step through, evenly over the requests; a single one where there is no ramp. The greatest, if the limit finds
    /// itself.
    pub limits: Vec<usize>,
    /// Where the limit stays, if it finds itself.
    pub auto: Option<AutoLimit>,
    /// How long each limit is in force, and at which rate; `None` if the job is over when its requests are.
    pub times: Option<Vec<StageTime>>,
    /// Where the requests go.
    pub targets: Targets,
    /// The method of each request.
    pub method: Method,
    /// The headers of each request.
    pub headers: HeaderMap,
    /// The body of each request.
    pub body: Option<String>,
    /// What an answer must be.
    pub expect: Expect,
    /// How many requests may be sent a second.
    pub rate: Option<Rate>,
    /// Whether nothing is sent for a time to a server that has refused.
    pub backoff: bool,
    /// What the results must be.
    pub thresholds: Vec<Threshold>,
    /// Whether cookies that answers set are sent with later requests.
    pub cookies: bool,
    /// How many redirects are followed for a request.
    pub redirects: usize,
    /// How long a request may take, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// What becomes of the permit of a request that timed out.
    pub after_timeout: AfterTimeout,
    /// The version of HTTP that requests are sent with.
    pub http: HttpVersion,
    /// What TLS trusts and shows.
    pub tls: TlsPlan,
}

/// What becomes of the permit of a request that timed out. Its connection is closed at once, but the server may not notice, and
/// may work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTimeout {
    /// The permit is kept for this time.
    Hold(Duration),
    /// The permit is free at once.
    Release,
}

/// A stage of a job: the limit of the same place in `limits` is in force for a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// How long.
    pub lasts: Duration,
    /// How many requests may be sent a second.
    pub rate: Option<Rate>,
}

/// The version of HTTP of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "fleet", derive(serde::Serialize, serde::Deserialize))]
pub enum HttpVersion {
    /// Over TLS what the server prefers, else 1.1.
    Any,
    /// HTTP/1.1.
    One,
    /// HTTP/2; without TLS, too.
    Two,
}

/// A job's keys about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// The authorities to trust instead of the system's.
    pub cacert: Option<NamedFile>,
    /// What to show to servers that ask for a certificate.
    pub certificate: Option<Certificate>,
    /// Whether any certificate of a server is good enough.
    pub insecure: bool,
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and those that vouch for it, as PEM.
    pub chain: NamedFile,
    /// Its private key, as PEM.
    pub key: NamedFile,
}

/// A file and the line of the plan that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The path, from the plan's directory.
    pub file: String,
    /// The line of the plan.
    pub line: usize,
}

/// Where a job's requests go.
#[derive(Clone, Debug)]
pub enum Targets {
    /// To each of `urls` in turn, `repeat` times over.
    Paths {
        /// Where to.
        urls: Vec<Uri>,
        /// What each is called where it is shown. A value that may be a secret is not in it.
        shown: Vec<String>,
        /// How often to each.
        repeat: u64,
    },
    /// Through the steps of a session, one after the other, `repeat` times over.
    Session {
        /// The server.
        origin: Uri,
        /// At least one.
        steps: Vec<StepPlan>,
        /// How many sessions.
        repeat: u64,
    },
    /// To each line of a list, which is read as the requests are sent.
    List(ListPlan),
}

/// A request of a session.
#[derive(Clone, Debug)]
pub struct StepPlan {
    /// The method.
    pub method: Method,
    /// What the path is put behind.
    pub base: String,
    /// The path.
    pub path: Phrase,
    /// What the URL is called where it is shown. A value that may be a secret is not in it.
    pub shown: String,
    /// The headers.
    pub headers: Vec<(HeaderName, Phrase)>,
    /// The body.
    pub body: Option<Phrase>,
    /// What the answer must be.
    pub expect: Expect,
    /// What later steps need of the answer: the names, and where their values are.
    pub captures: Vec<(String, Capture)>,
}

/// A place in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// A JSON pointer into the body.
    Json(String),
    /// A header.
    Header(HeaderName),
}

/// A list of URLs, one a line.
#[derive(Clone, Debug)]
pub struct ListPlan {
    /// A file, or `-` for standard input.
    pub file: String,
    /// The line of the plan that names the file.
    pub line: usize,
    /// What the list's URLs start with; all of them may be paths behind it.
    pub base: Option<String>,
}

impl Plan {
    /// How many requests the limits let run at once, all jobs together.
    pub fn most_at_once(&self) -> usize {
        self.jobs.iter().map(JobPlan::greatest_limit).fold(0, usize::saturating_add)
    }
}

impl JobPlan {
    /// How many requests the job sends, if that can be told without reading a list.
    pub fn requests(&self) -> Option<u64> {
        match &self.targets {
            Targets::Paths { urls, repeat, .. } if self.times.is_none() => {
                Some(urls.len() as u64 * repeat)
            }
            Targets::Session { steps, repeat, .. } if self.times.is_none() => {
                Some(steps.len() as u64 * repeat)
            }
            _ => None,
        }
    }

    /// The stage that the job's request of this number is in, if stages are told by numbers.
    pub fn stage_of(&self, number: u64) -> Option<usize> {
        let stages = self.limits.len() as u64;
        self.requests().filter(|_| stages > 1).map(|requests| (number * stages / requests) as usize)
    }

    /// How many requests may be sent a second in a stage.
    pub fn rate_of(&self, stage: usize) -> Option<Rate> {
        let own = self.times.as_ref().and_then(|times| times.get(stage)).and_then(|time| time.rate);
        own.or(self.rate)
    }

    /// How long the job lasts, if the plan says so.
    pub fn lasts(&self) -> Option<Duration> {
        let times = self.times.as_ref()?;
        Some(times.iter().map(|time| time.lasts).sum())
    }

    /// The files that the job reads, from the plan's directory; `-` is standard input.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let list = match &self.targets {
            Targets::List(list) => Some(list.file.as_str()),
            Targets::Paths { .. } | Targets::Session { .. } => None,
        };
        let shown = self.tls.certificate.iter().flat_map(|shown| [&shown.chain, &shown.key]);
        let named = self.tls.cacert.iter().chain(shown).map(|named| named.file.as_str());
        list.into_iter().chain(named)
    }

    /// A URL on the server that all requests are sent to, if there is such a one.
    pub fn origin(&self) -> Option<Uri> {
        match &self.targets {
            Targets::Paths { urls, .. } => urls.first().cloned(),
            Targets::List(list) => list.base.as_ref().and_then(|base| base.parse().ok()),
            Targets::Session { origin, .. } => Some(origin.clone()),
        }
    }

    /// Whether some request may be sent over TLS.
    pub fn may_speak_tls(&self) -> bool {
        let is_https = |origin: Uri| origin.scheme() == Some(&http::uri::Scheme::HTTPS);
        self.redirects > 0 || self.origin().is_none_or(is_https)
    }

    /// Whether some request may be sent to a host by its name.
    pub fn may_look_names_up(&self) -> bool {
        self.redirects > 0 || self.origin().is_none_or(|origin| !urls::has_address(&origin))
    }

    /// How many requests can be in flight at once.
    pub fn most_at_once(&self) -> usize {
        let most = self.greatest_limit();
        let requests = match &self.targets {
            // The steps of a session are sent one after the other.
            Targets::Session { repeat, .. } if self.times.is_none() => Some(*repeat),
            _ => self.requests(),
        };
        requests.map_or(most, |requests| most.min(requests as usize))
    }

    /// The greatest limit that is in force at any time.
    pub fn greatest_limit(&self) -> usize {
        self.limits.iter().copied().max().unwrap_or(0)
    }
}

impl StepPlan {
    /// Whether the body of an answer is looked at.
    pub fn needs_body(&self) -> bool {
        let is_json = |(_, capture): &(String, Capture)| matches!(capture, Capture::Json(_));
        self.expect.needs_body() || self.captures.iter().any(is_json)
    }

    /// The method and the path, as the plan spells them.
    pub fn label(&self) -> String {
        format!("{} {}", self.method, self.path.spelled())
    }
}

impl fmt::Display for Rate {
    /// Spells the rate by the smallest unit of time of which one has a request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |seconds: f64| (self.per_second * seconds * 1_000.0).round() / 1_000.0;
        let (number, unit) = match self.per_second {
            1.0.. => (by(1.0), "s"),
            per_second if per_second * 60.0 >= 1.0 => (by(60.0), "m"),
            _ => (by(3_600.0), "h"),
        };
        write!(f, "{number}/{unit}, burst {}", self.burst)
    }
}

impl fmt::Display for AutoLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AutoLimit { min, max } = self;
        write!(f, "auto, from {min} to {max}")
    }
}

impl fmt::Display for StepPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.shown)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rate) = self.rate {
            writeln!(f, "all jobs together: rate {rate}")?;
        }
        for JobPlan { name, limits, auto, times, targets, method, rate, .. } in &self.jobs {
            match auto {
                Some(auto) => write!(f, "{name}: limit {auto}, ")?,
                None => write!(f, "{name}: limit {limits:?}, ")?,
            }
            if let Some(rate) = rate {
                write!(f, "rate {rate}, ")?;
            }
            match targets {
                Targets::Paths { shown, repeat, .. } => {
                    let (first, more) = (&shown[0], shown.len() - 1);
                    write!(f, "{method} {first} and {more} more")?;
                    if times.is_none() {
                        write!(f, ", {repeat} times each")?;
                    }
                }
                Targets::Session { steps, repeat, .. } => {
                    let steps: Vec<_> = steps.iter().map(StepPlan::to_string).collect();
                    write!(f, "{}", steps.join(", then "))?;
                    if times.is_none() {
                        write!(f, ", {repeat} times")?;
                    }
                }
                Targets::List(ListPlan { file, .. }) => {
                    write!(f, "{method} the URLs in {file}")?;
                }
            }
            for time in times.iter().flatten() {
                write!(f, ", for {:?}", time.lasts)?;
                if let Some(rate) = time.rate {
                    write!(f, " at {rate}")?;
                }
            }
            writeln!(f)?;
        }
        for HostPlan { host, limit, auto, rate } in self.hosts.iter().chain(&self.other_hosts) {
            write!(f, "{host}:")?;
            match (auto, limit) {
                (Some(auto), _) => write!(f, " limit {auto}")?,
                (None, Some(limit)) => write!(f, " limit {limit}")?,
                (None, None) => {}
            }
            if let Some(rate) = rate {
                write!(f, " rate {rate}")?;
            }
            writeln!(f, " for all jobs together")?;
        }
        Ok(())
    }
}
