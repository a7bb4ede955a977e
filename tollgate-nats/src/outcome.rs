//! What a task says at its end.

/// What shall become of a task that has run. Made from `()`, which is `Done`, and from a `Result`, whose error is `Retry`.
///
/// # Examples
///
/// ```
/// use tollgate_nats::Outcome;
///
/// assert_eq!(Outcome::from(()), Outcome::Done);
/// assert_eq!(Outcome::from(Err::<(), _>("no answer")), Outcome::Retry("no answer".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The task is acknowledged, and does not run again.
    Done,
    /// The task goes to the back of the job's queue, and runs again. Holds the reason.
    Retry(String),
    /// The task is set aside, and does not run again. Holds the reason. See [`FleetJob::set_aside`](crate::FleetJob::set_aside).
    SetAside(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) => Self::Retry(error.to_string()),
        }
    }
}
