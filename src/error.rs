//! What can go wrong, and what to do about it.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// Why a task has no result.
///
/// # Examples
///
/// ```
/// use tollgate::{JoinError, Pool};
///
/// let pool = Pool::builder().workers(1).build()?;
/// let failed = pool.job(1).spawn(|| -> u32 { panic!("no such page") }).join();
/// match failed {
///     Err(JoinError::Panicked(payload)) => {
///         assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "no such page");
///     }
///     _ => unreachable!(),
/// }
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub enum JoinError {
    /// The task panicked; this is the payload.
    Panicked(Box<dyn Any + Send>),
    /// The task was dropped before it started; a future, before it ended.
    Cancelled,
}

impl JoinError {
    /// The panic's message, if the payload is a string.
    fn message(&self) -> Option<&str> {
        match self {
            Self::Panicked(payload) => payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str)),
            Self::Cancelled => None,
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(_) => match self.message() {
                Some(message) => f.debug_tuple("Panicked").field(&message).finish(),
                None => f.write_str("Panicked(..)"),
            },
            Self::Cancelled => f.write_str("Cancelled"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(_) => match self.message() {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
            Self::Cancelled => f.write_str("the task was cancelled"),
        }
    }
}

impl Error for JoinError {}

/// A closure that a job did not take, and why.
///
/// # Examples
///
/// ```
/// use tollgate::{Pool, Rejected};
///
/// let pool = Pool::builder().workers(1).build()?;
/// let job = pool.job(1);
/// job.close();
/// let rejected = job.try_execute(|| println!("never")).unwrap_err();
/// assert!(matches!(rejected, Rejected::Closed(_)));
/// let task = rejected.into_inner();
/// task(); // it is ours again
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[non_exhaustive]
pub enum Rejected<F> {
    /// The job is closed, or its pool shut down; it will not take tasks again.
    Closed(F),
    /// The job's backlog is full; try again once tasks have run.
    Full(F),
}

impl<F> Rejected<F> {
    /// The closure that was not taken.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let job = pool.job(1);
    /// job.close();
    /// let rejected = job.try_spawn(|| "run here, then").unwrap_err();
    /// assert_eq!(rejected.into_inner()(), "run here, then");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn into_inner(self) -> F {
        match self {
            Self::Closed(task) | Self::Full(task) => task,
        }
    }
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "Closed(..)",
            Self::Full(_) => "Full(..)",
        })
    }
}

impl<F> fmt::Display for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "the job is closed, or its pool shut down: push to another one",
            Self::Full(_) => "the job's backlog is full: try again once tasks have run",
        })
    }
}

impl<F> Error for Rejected<F> {}

/// Why a pool could not be built.
///
/// # Examples
///
/// ```
/// use tollgate::{BuildError, Pool};
///
/// assert!(matches!(Pool::builder().workers(0).build(), Err(BuildError::NoWorkers)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool of no workers would never run anything.
    NoWorkers,
    /// More workers than the pool can count.
    TooManyWorkers {
        /// How many were asked for.
        asked: usize,
        /// How many there may be.
        most: usize,
    },
    /// More spare workers than the pool can count.
    TooManySpareWorkers {
        /// How many were asked for.
        asked: usize,
        /// How many there may be.
        most: usize,
    },
    /// A worker's name cannot be a thread's: there is a nul byte in it.
    ThreadName {
        /// The worker's index.
        index: usize,
        /// What it was to be called.
        name: String,
    },
    /// A worker's thread could not be started.
    Spawn(std::io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("a pool of 0 workers runs nothing: ask for at least 1"),
            Self::TooManyWorkers { asked, most } => {
                write!(
                    f,
                    "a pool of {asked} workers is more than it can count: ask for at most {most}"
                )
            }
            Self::TooManySpareWorkers { asked, most } => {
                write!(
                    f,
                    "{asked} spare workers are more than a pool can count: ask for at most {most}"
                )
            }
            Self::ThreadName { index, name } => {
                write!(
                    f,
                    "worker {index} cannot be called {name:?}: leave the nul byte out of its name"
                )
            }
            Self::Spawn(_) => f.write_str(
                "a worker's thread could not be started: ask for fewer workers or a smaller stack",
            ),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Spawn(error) => Some(error),
            _ => None,
        }
    }
}
