//! One plan over many machines, by NATS.
//!
//! The *coordinator* runs the plan as on one machine: it has the jobs, limits, rates, stages, back-off, sessions, cookies and the
//! report. But the coordinator sends no request itself. When a request has its permits, the coordinator pushes the request into a queue
//! of `tollgate-nats`, and waits for the answer. The *workers* serve the queues. A worker sends a request, and pushes its answer, or the
//! failure, into the queue of the run's answers.
//!
//! The plan's limits are enforced in two places. The coordinator never waits for more answers than a limit allows. And each host that has
//! a limit in the plan has a queue with that limit over all machines. The queue enforces the limit in three cases where the coordinator
//! cannot: after a push whose confirmation was lost, for requests that a killed coordinator has left behind, and over several coordinators.
//!
//! A request is sent under a lease. If its worker dies, another worker sends the request again. So each request is sent at least once,
//! and the first answer counts.

mod coordinator;
mod worker;

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tollgate_nats::async_nats::{ConnectOptions, ServerAddr};
use tollgate_nats::{Fleet, OpenError};

pub(crate) use self::coordinator::{Coordinator, check_plan};
pub(crate) use self::worker::work;
use crate::client::{Answer, Failure, Template};
use crate::plan::{Host, HttpVersion};

/// What the names of all queues begin with. The number is the version of the format of their messages.
const QUEUES: &str = "gentle-1-";

/// The queue of requests to hosts without a queue of their own. The coordinator alone enforces their limits.
const OTHERS: &str = "gentle-1-others";

/// What the names of the queues of answers begin with.
const ANSWERS: &str = "gentle-1-answers-";

/// The longest name of a queue.
const LONGEST_NAME: usize = 100;

/// How long a worker may be unreachable before another worker sends its requests.
const LEASE: Duration = Duration::from_secs(15);

/// The pause between two requests to a NATS server that does not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Returns the name of the queue of a host, or `None` if the name would be too long.
fn queue_of(host: &Host) -> Option<String> {
    let mut name = format!("{QUEUES}host-");
    for byte in host.to_string().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name += &format!("_{byte:02x}");
        }
    }
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Checks how the address of the NATS server begins. Without that, a plan without an address before it is taken for a host.
///
/// # Errors
///
/// One line, which does not show the address: it may have a password.
fn check_address(address: &str) -> Result<(), String> {
    let after = |scheme| address.strip_prefix(scheme);
    match after("nats://").or_else(|| after("tls://")) {
        Some(host) if !host.is_empty() => Ok(()),
        _ => Err("--fleet: the URL must be like nats://127.0.0.1:4222 or tls://HOST".to_owned()),
    }
}

/// Connects to the NATS server.
///
/// # Errors
///
/// One line, which does not show the address.
async fn connect(address: &str) -> Result<Fleet, String> {
    let options = credentials(address).map_or_else(ConnectOptions::new, |(user, password)| {
        ConnectOptions::with_user_and_password(user, password)
    });
    Fleet::connect_with(options, address).await.map_err(|error| match error {
        OpenError::Unreachable(_) => {
            format!("{}: start nats-server -js there, or change the URL", of_fleet(error))
        }
        _ => of_fleet(error),
    })
}

/// Returns the user and the password of an address that has them. The client of NATS itself takes no notice of them.
fn credentials(address: &str) -> Option<(String, String)> {
    let address: ServerAddr = address.parse().ok()?;
    let decoded = |text: &str| String::from_utf8(decoded(text.as_bytes())).ok();
    Some((decoded(address.username()?)?, decoded(address.password()?)?))
}

/// Returns the bytes that percent-encoded text stands for.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, _) = match (first, byte) {
            (b'%', Some(byte)) => (&behind[2..], bytes.push(byte)),
            _ => (behind, bytes.push(*first)),
        };
    }
    bytes
}

fn of_fleet(error: impl std::fmt::Display) -> String {
    format!("--fleet: {error}")
}

/// A request on its way to a worker.
#[derive(Debug, Deserialize, Serialize)]
struct Task {
    /// The queue of the answer.
    answers: String,
    /// The number of the request in its run.
    number: u64,
    http: HttpVersion,
    insecure: bool,
    url: String,
    method: String,
    headers: Vec<(String, Text)>,
    body: Text,
    timeout: Duration,
    keeps_body: bool,
}

/// The answer to a request, or why there is none.
#[derive(Debug, Deserialize, Serialize)]
struct Reply {
    number: u64,
    took: Duration,
    answer: Result<Whole, Failure>,
}

/// A whole answer.
#[derive(Debug, Deserialize, Serialize)]
struct Whole {
    status: u16,
    headers: Vec<(String, Text)>,
    body: Option<Text>,
}

/// Bytes as text, for JSON: one character for each byte.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Text(String);

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Text(bytes.iter().map(|byte| char::from(*byte)).collect())
    }
}

impl Text {
    /// Returns the bytes, or `None` if a character is none of a byte.
    fn bytes(&self) -> Option<Vec<u8>> {
        self.0.chars().map(|character| u8::try_from(character).ok()).collect()
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, Text)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), Text::from(value.as_bytes()))
    };
    headers.iter().map(text).collect()
}

fn headers(texts: &[(String, Text)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(texts.len());
    for (name, value) in texts {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(&value.bytes()?).ok()?);
    }
    Some(headers)
}

impl Task {
    /// Returns the request without its URL, or `None` if the task is not one that a coordinator writes.
    fn template(&self) -> Option<Template> {
        let method = Method::from_bytes(self.method.as_bytes()).ok()?;
        let body = Bytes::from(self.body.bytes()?);
        let headers = headers(&self.headers)?;
        Some(Template::new(&method, headers, body, self.timeout, self.keeps_body))
    }
}

impl Whole {
    fn of(answer: Answer) -> Self {
        let body = answer.body.as_deref().map(Text::from);
        Whole { status: answer.status.as_u16(), headers: texts(&answer.headers), body }
    }

    fn answer(&self) -> Option<Answer> {
        let body = match &self.body {
            Some(body) => Some(body.bytes()?),
            None => None,
        };
        let status = StatusCode::from_u16(self.status).ok()?;
        Some(Answer { status, headers: headers(&self.headers)?, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_after_its_way_through_json() {
        let every: Vec<u8> = (0..=255).collect();
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_bytes(b"b=\xe4\xff").unwrap());
        let whole = Whole::of(Answer {
            status: StatusCode::IM_A_TEAPOT,
            headers: headers.clone(),
            body: Some(every.clone()),
        });
        let json = serde_json::to_string(&whole).unwrap();
        let answer = serde_json::from_str::<Whole>(&json).unwrap().answer().unwrap();
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        assert_eq!((answer.headers, answer.body), (headers, Some(every)));
    }

    #[test]
    fn the_readme_has_the_lease_and_the_requests_of_a_worker() {
        let at_once = format!("at most {} requests to a host at once", worker::AT_ONCE);
        let lease = format!("under a lease of {} s", LEASE.as_secs());
        for says in [at_once, lease] {
            assert!(include_str!("../../README.md").contains(&says), "{says}");
        }
    }

    #[test]
    fn hosts_have_queues_of_different_names() {
        let hosts = ["a.b", "a_2eb", "a-b", "a.b:80", "[::1]:80"];
        let plan = |host| {
            let job = "[[job]]\nname = \"a\"\nlimit = 1\nbase = \"http://a.b\"\npaths = [\"/\"]\n";
            let plan = crate::plan::parse("plan", &format!("{job}[host.{host:?}]\nlimit = 1\n"));
            plan.ok().map(|plan| plan.hosts[0].host.clone())
        };
        let mut names: Vec<_> =
            hosts.iter().filter_map(plan).map(|host| queue_of(&host).unwrap()).collect();
        assert!(names.contains(&"gentle-1-host-a_2eb".to_owned()), "{names:?}");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
