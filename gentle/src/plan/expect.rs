//! What a plan expects of an answer.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use regex_lite::Regex;

use super::phrase::Phrase;
use super::values::{self, quoted};

/// What an answer must be to pass the check.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The statuses that pass; at least one.
    pub statuses: Vec<Statuses>,
    /// Headers, and what the value of each must contain.
    pub headers: Vec<(HeaderName, Phrase)>,
    /// What the body must contain.
    pub contains: Option<Phrase>,
    /// What the body must match.
    pub matches: Option<Regex>,
    /// JSON pointers into the body, and the value at each.
    pub json: Vec<(String, Wanted)>,
    /// The time that the answer must take less than.
    pub latency: Option<Duration>,
}

/// A value of JSON.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A text.
    Text(Phrase),
    /// A number, a truth value, a list or a table.
    Other(toml::Value),
}

/// A status, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Expect {
    /// Returns true if the check reads the body.
    pub fn needs_body(&self) -> bool {
        self.contains.is_some() || self.matches.is_some() || !self.json.is_empty()
    }
}

impl Statuses {
    /// A single status.
    pub fn one(status: StatusCode) -> Self {
        Statuses { first: status.as_u16(), last: status.as_u16() }
    }

    /// Returns true if the status is one of these.
    pub fn contain(&self, status: StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }
}

impl PartialEq<u16> for Statuses {
    fn eq(&self, status: &u16) -> bool {
        self.first == *status && self.last == *status
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}xx", self.first / 100)
        }
    }
}

/// A class of statuses, such as "2xx".
pub(super) fn class(text: &str) -> Result<Statuses, String> {
    let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
    match class.filter(|class| (2..=9).contains(class)) {
        Some(class) => Ok(Statuses { first: class * 100, last: class * 100 + 99 }),
        None => Err(format!("{} is no class of statuses: write it like \"2xx\"", quoted(text))),
    }
}

/// A regular expression.
pub(super) fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        format!("{} is no regular expression: {error}: use . or \\w or [a-z]", quoted(text))
    })
}

/// A pointer into JSON, as RFC 6901 writes it.
pub(super) fn pointer(text: &str) -> Result<String, String> {
    let escapes_are_right = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (text.is_empty() || text.starts_with('/')) && escapes_are_right {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no JSON pointer: write it like \"/items/0/name\"", quoted(text)))
    }
}

/// An upper bound of a time, such as "< 200ms".
pub(super) fn latency(text: &str) -> Result<Duration, String> {
    match text.strip_prefix('<') {
        Some(time) => values::timeout(time.trim_start()),
        None => Err(format!("latency is {}: write it like \"< 200ms\"", quoted(text))),
    }
}
