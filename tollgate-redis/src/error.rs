//! The errors of this crate.

use std::fmt;
use std::time::Duration;

/// Why a gate could not be opened. After an error nothing is left half made, at the server or in the process.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is empty, longer than 200 bytes, or has a control character, `{` or `}`.
    Name(String),
    /// The limit is 0. Open the gate with a limit of at least 1.
    ZeroLimit,
    /// The gate does not exist at the server, and the builder has no limit.
    NoLimit,
    /// The lease is shorter than 100 ms or longer than a day.
    Lease(Duration),
    /// The server is older than 6.2. Holds the server's version.
    OldServer(String),
    /// The server is a replica. Holds the server's role.
    NotMaster(String),
    /// The server does not write an append-only file. A restart would forget all leases, and grant the same permits again.
    NoAppendOnlyFile,
    /// The server evicts keys when its memory is full, so it could evict leases. Holds the server's policy.
    Evicts(String),
    /// Another version of this crate has made the gate. Holds the version of the gate's keys.
    OtherVersion(String),
    /// The server could not be reached, or did not answer in time.
    Unreachable(redis::RedisError),
    /// The server refused a command.
    Refused(redis::RedisError),
    /// The thread that renews leases could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(
                    f,
                    "{name:?} cannot name a gate: take 1 to 200 bytes without `{{`, `}}` and control characters"
                )
            }
            Self::ZeroLimit => {
                f.write_str("a gate cannot be opened with a limit of 0: take 1 or more")
            }
            Self::NoLimit => f.write_str("the gate does not exist yet: open it with a limit"),
            Self::Lease(lease) => {
                write!(f, "a lease of {lease:?} is out of range: take 100 ms to 24 h")
            }
            Self::OldServer(version) => {
                write!(f, "the server is Redis {version}: take 6.2 or later")
            }
            Self::NotMaster(role) => write!(f, "the server is a {role}: connect to the master"),
            Self::NoAppendOnlyFile => f.write_str(
                "the server has no append-only file, so a restart would forget all leases: \
                 set `appendonly yes` and `appendfsync always`",
            ),
            Self::Evicts(policy) => {
                write!(
                    f,
                    "the server may evict leases (maxmemory-policy {policy}): set `maxmemory-policy noeviction`"
                )
            }
            Self::OtherVersion(version) => {
                write!(
                    f,
                    "the gate's keys have version {version}: use one version of tollgate-redis for one gate"
                )
            }
            Self::Unreachable(error) => write!(f, "the server cannot be reached: {error}"),
            Self::Refused(error) => write!(f, "the server refused a command: {error}"),
            Self::Thread(error) => write!(f, "the renewing thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(error) | Self::Refused(error) => Some(error),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<GateError> for OpenError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Refused(error) => Self::Refused(error),
            GateError::Unreachable(error) => Self::Unreachable(error),
            GateError::ZeroLimit => Self::ZeroLimit,
            GateError::Gone | GateError::Cancelled => Self::NoLimit,
        }
    }
}

/// Why a call of an open gate failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum GateError {
    /// The server did not answer during the call. A request may still have reached the server.
    Unreachable(redis::RedisError),
    /// The server refused a command.
    Refused(redis::RedisError),
    /// The gate's keys are not at the server any more: they were deleted, or the server has lost its data.
    /// Open the gate again when no task runs that held a lease of it.
    Gone,
    /// The limit is 0. Set a limit of at least 1.
    ZeroLimit,
    /// The pool's task that waited for a lease was cancelled.
    Cancelled,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "the server does not answer: {error}"),
            Self::Refused(error) => write!(f, "the server refused a command: {error}"),
            Self::Gone => f.write_str(
                "the gate is gone from the server: open it again when its tasks have ended",
            ),
            Self::ZeroLimit => f.write_str("the limit of a gate cannot be 0: take 1 or more"),
            Self::Cancelled => f.write_str("the task was cancelled while it waited for a lease"),
        }
    }
}

impl std::error::Error for GateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(error) | Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}
