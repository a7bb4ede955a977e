//! The errors of this crate.

use std::error::Error;
use std::fmt;
use std::time::Duration;

type Source = Box<dyn Error + Send + Sync>;

/// Why a fleet or a job of it could not be opened. After an error nothing is left half made.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is empty, longer than 100 bytes, or has a character that is no ASCII letter, digit, `-` or `_`.
    Name(String),
    /// The limit is 0. Open the job with a limit of at least 1.
    ZeroLimit,
    /// The job does not exist at the server, and the builder has no limit.
    NoLimit,
    /// The lease is shorter than 1 s or longer than a day.
    Lease(Duration),
    /// The job exists, and has another lease. Holds the lease that the job has.
    OtherLease(Duration),
    /// The server is older than 2.9. Holds the server's version.
    OldServer(String),
    /// The server has no JetStream, or not for this account.
    NoJetStream,
    /// A stream or consumer of this name exists with other settings. Says which settings differ.
    OtherSettings(String),
    /// The server could not be reached, or did not answer in time.
    Unreachable(Source),
    /// The server refused a request. Holds the server's words.
    Refused(String),
    /// The thread that talks to the server could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} cannot name a job: take 1 to 100 ASCII letters, digits, `-` and `_`"
            ),
            Self::ZeroLimit => {
                f.write_str("a job cannot be opened with a limit of 0: take 1 or more")
            }
            Self::NoLimit => f.write_str("the job does not exist yet: open it with a limit"),
            Self::Lease(lease) => {
                write!(f, "a lease of {lease:?} is out of range: take 1 s to 24 h")
            }
            Self::OtherLease(lease) => write!(
                f,
                "the job has a lease of {lease:?}: open it with that lease, or without one"
            ),
            Self::OldServer(version) => {
                write!(f, "the server is NATS {version}: take 2.9 or later")
            }
            Self::NoJetStream => f.write_str(
                "the server has no JetStream for this account: start it with `-js -sd FOLDER`",
            ),
            Self::OtherSettings(what) => write!(
                f,
                "the job's stream or consumer exists with other settings ({what}): take another name, or remove it"
            ),
            Self::Unreachable(error) => write!(f, "the server cannot be reached: {error}"),
            Self::Refused(words) => write!(f, "the server refused a request: {words}"),
            Self::Thread(error) => write!(f, "the fleet's thread cannot be started: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error.as_ref()),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a call of an open job failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum FleetError {
    /// The message is larger than the server takes. Nothing was stored. Push a smaller task: the place where the data is,
    /// instead of the data.
    TooLarge {
        /// The size of the message in bytes, with its headers.
        size: usize,
        /// The greatest size that the server takes.
        most: usize,
    },
    /// The task cannot be written as JSON. Nothing was stored.
    Encode(serde_json::Error),
    /// The limit is 0. Set a limit of at least 1.
    ZeroLimit,
    /// The job's stream or consumer is not at the server any more. Open the job again when no task of it runs.
    Gone,
    /// The server did not answer. A request may still have reached the server.
    Unreachable(Source),
    /// The server refused a request. Holds the server's words.
    Refused(String),
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, most } => write!(
                f,
                "a message of {size} bytes is too large, the server takes {most}: push the place of the data instead, or raise `max_payload`"
            ),
            Self::Encode(error) => write!(f, "the task cannot be written as JSON: {error}"),
            Self::ZeroLimit => f.write_str("the limit of a job cannot be 0: take 1 or more"),
            Self::Gone => f.write_str(
                "the job is gone from the server: open it again when its tasks have ended",
            ),
            Self::Unreachable(error) => write!(f, "the server does not answer: {error}"),
            Self::Refused(words) => write!(f, "the server refused a request: {words}"),
        }
    }
}

impl Error for FleetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Unreachable(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<FleetError> for OpenError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Unreachable(error) => Self::Unreachable(error),
            FleetError::Gone => Self::NoJetStream,
            FleetError::ZeroLimit => Self::ZeroLimit,
            other => Self::Refused(other.to_string()),
        }
    }
}
