//! The errors of the crate.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// Why a task has no result. A join of the task's handle returns this error.
///
/// # Examples
///
/// ```
/// use tollgate::{JoinError, Pool};
///
/// let pool = Pool::builder().workers(1).build()?;
/// let failed = pool.job(1).spawn(|| -> u32 { panic!("no such page") }).join();
/// match failed {
///     Err(JoinError::Panicked(payload)) => assert_eq!(payload.message(), Some("no such page")),
///     _ => unreachable!(),
/// }
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The task panicked with this payload.
    Panicked(PanicPayload),
    /// The task was a closure that was dropped before it started, or a future that was dropped before it was ready.
    Cancelled,
    /// The task was dropped because it had not started by its deadline: see [`Job::spawn_within`](crate::Job::spawn_within).
    Expired,
}

impl JoinError {
    /// Makes the error of a task that panicked with `payload`.
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self::Panicked(PanicPayload(payload))
    }

    /// Returns true if the task was cancelled, or was pushed into a job or pool that did not accept the task.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let held = pool.job(0);
    /// let task = held.spawn(|| ());
    /// held.cancel();
    /// assert!(task.join().unwrap_err().is_cancelled());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Returns true if the task was dropped because it had not started by its deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let held = pool.job(0);
    /// let task = held.spawn_within(Duration::ZERO, || ());
    /// assert!(task.join().unwrap_err().is_expired());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Expired)
    }

    /// Returns true if the task panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// assert!(pool.job(1).spawn(|| panic!("lost")).join().unwrap_err().is_panic());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// Returns the payload of the task's panic, which `std::panic::resume_unwind` takes.
    ///
    /// # Panics
    ///
    /// Panics if the task did not panic. Ask [`is_panic`](Self::is_panic) first.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let error = pool.job(1).spawn(|| std::panic::panic_any(7)).join().unwrap_err();
    /// assert_eq!(error.into_panic().downcast_ref(), Some(&7));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self {
            Self::Panicked(payload) => payload.into_inner(),
            Self::Cancelled | Self::Expired => {
                panic!("a task that was dropped has no panic: check `is_panic` first")
            }
        }
    }
}

/// The payload of a task's panic. Several threads can share a reference to the payload.
///
/// # Examples
///
/// ```
/// use tollgate::JoinError;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let task = pool.job(1).spawn(|| panic!("page 3 is gone"));
/// let Err(JoinError::Panicked(payload)) = task.join() else { unreachable!() };
/// assert_eq!(payload.message(), Some("page 3 is gone"));
/// assert!(payload.into_inner().is::<&str>());
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub struct PanicPayload(Box<dyn Any + Send>);

// SAFETY: a shared reference gives out references to types that are `Sync` only, in `downcast_ref` and `message`.
unsafe impl Sync for PanicPayload {}

impl PanicPayload {
    /// Returns the panic's message, if the payload is a string. The payload of `panic!` is a string.
    pub fn message(&self) -> Option<&str> {
        let text = self.downcast_ref::<&str>().copied();
        text.or_else(|| self.downcast_ref::<String>().map(String::as_str))
    }

    /// Returns the payload, if it is of type `T`.
    pub fn downcast_ref<T: Any + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// Returns the payload, which `std::panic::resume_unwind` takes.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => fmt::Debug::fmt(message, f),
            None => f.write_str(".."),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(payload) => match payload.message() {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Expired => f.write_str("the task had not started by its deadline"),
        }
    }
}

impl Error for JoinError {}

/// The error of a push that the job refused. The error gives back the closure, and says why the job refused it.
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
    /// The job is closed or its pool has shut down, so the job will never accept a task again.
    Closed(F),
    /// The job has a [`capacity`](crate::JobBuilder::capacity), and no slot is free. If the capacity is 0, no permit is free.
    /// Try again after tasks have started or ended.
    Full(F),
}

impl<F> Rejected<F> {
    /// Returns the closure that the job refused.
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

/// The error of [`acquire`](crate::Job::acquire) and [`reserve`](crate::Job::reserve): the job is closed or cancelled, or
/// its pool has shut down.
///
/// # Examples
///
/// ```
/// use tollgate::Closed;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job(1);
/// job.close();
/// assert!(matches!(job.acquire_blocking(), Err(Closed)));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job is closed, or its pool shut down: acquire from another one")
    }
}

impl Error for Closed {}

/// Why [`Job::try_acquire`](crate::Job::try_acquire) returned no permit.
///
/// # Examples
///
/// ```
/// use tollgate::TryAcquireError;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job(1);
/// let permit = job.try_acquire()?;
/// assert!(matches!(job.try_acquire(), Err(TryAcquireError::NoPermit)));
/// drop(permit);
/// job.close();
/// assert!(matches!(job.try_acquire(), Err(TryAcquireError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// The job is closed or cancelled, or its pool has shut down.
    Closed,
    /// No permit is free now, or another caller or a task waits for a permit already.
    NoPermit,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Closed.fmt(f),
            Self::NoPermit => {
                f.write_str("no permit of the job is free: try again, or acquire one")
            }
        }
    }
}

impl Error for TryAcquireError {}

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
    /// The number of workers is 0.
    NoWorkers,
    /// The number of workers is greater than a pool can count.
    TooManyWorkers {
        /// The number of workers that the builder asked for.
        asked: usize,
        /// The greatest number of workers that a pool can have.
        most: usize,
    },
    /// The number of spare workers is greater than a pool can count.
    TooManySpareWorkers {
        /// The number of spare workers that the builder asked for.
        asked: usize,
        /// The greatest number of spare workers that a pool can have.
        most: usize,
    },
    /// The name of a worker has a nul byte in it, so no thread can have that name.
    ThreadName {
        /// The index of the worker with this name.
        index: usize,
        /// The name that the builder asked for.
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

/// The error of [`Pool::shutdown_timeout`](crate::Pool::shutdown_timeout): how many tasks had not ended when the time was
/// over.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let (started, has_started) = mpsc::channel();
/// let (go, wait_for_go) = mpsc::channel::<()>();
/// pool.job(1).execute(move || {
///     started.send(()).unwrap();
///     _ = wait_for_go.recv(); // for ever, say
/// });
/// has_started.recv().unwrap();
/// let left = pool.shutdown_timeout(Duration::from_millis(1)).unwrap_err();
/// assert_eq!((left.running, left.pending), (1, 0));
/// # drop(go);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// The number of tasks that had started and not ended. All of them run to their end. Tasks that wait inside are included,
    /// and pending futures are not.
    pub running: usize,
    /// The number of pending futures plus the number of permits without a task. The workers drop the pending futures.
    /// Each permit stays valid until the caller that owns it drops it.
    pub pending: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, pending } = self;
        write!(
            f,
            "the pool was not drained in time: {running} of its tasks still run, and {pending} futures or permits were \
             pending"
        )
    }
}

impl Error for Unfinished {}
