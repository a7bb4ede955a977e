//! Tasks that are tried again while they fail: `spawn_retry`.

use crate::api::job::Job;
use crate::job::gate::handed::Handed;
use crate::retry::{Retried, Retry};
use crate::task::handle::TaskHandle;
use crate::task::plain::is_large;
use crate::task::retry::retried;

impl Job {
    /// Pushes a task that is tried again while it returns an error. Returns the task's handle.
    ///
    /// `policy` says how often the task is tried at most, and how long it waits between two attempts. Each attempt starts like
    /// a new task: it waits at the end of the queue, and needs a permit. Between two attempts the task holds no permit and
    /// occupies no thread. It counts as [`delayed`](crate::JobStats::delayed) then, and behaves like a task of
    /// [`spawn_after`](Self::spawn_after).
    ///
    /// The handle of a retried task returns the result of the last attempt, and the number of attempts.
    /// [`completed`](crate::JobStats::completed) counts all attempts as one task. In a job with a
    /// [`capacity`](crate::JobBuilder::capacity) the task owns its slot until the first attempt starts. The task never runs
    /// inline in a task that joins it.
    ///
    /// # Blocking
    ///
    /// Blocks as [`spawn`](Self::spawn) does.
    ///
    /// # Cancellation
    ///
    /// [`TaskHandle::cancel`] drops a task that waits for its next attempt, as it drops a task that has not started. If an
    /// attempt runs at the time of the call, that attempt is the last: [`is_cancelled`](crate::is_cancelled) returns true in
    /// the attempt, and the handle returns the attempt's result. [`Job::cancel`](Self::cancel) and
    /// [`shutdown_now`](crate::Pool::shutdown_now) do the same with each task of the job or pool. In a [closed](Self::close)
    /// job, and in a pool that drains, an accepted task is still tried again.
    ///
    /// # Panics
    ///
    /// Panics where [`spawn`](Self::spawn) does.
    ///
    /// If an attempt panics, the handle returns [`Panicked`](crate::JoinError::Panicked), and no further attempt is made. If
    /// the platform cannot start the thread of the pool's timer for a further attempt, the handle returns
    /// [`Cancelled`](crate::JoinError::Cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::Retry;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let host = pool.job(2);
    /// let mut answers = [Err("busy"), Err("busy"), Ok("page")].into_iter();
    /// let policy = Retry::new().first_delay(Duration::from_millis(5));
    /// let page = host.spawn_retry(policy, move || answers.next().unwrap()).join().unwrap();
    /// assert_eq!((page.result, page.attempts), (Ok("page"), 3));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_retry<F, T, E>(&self, policy: Retry, task: F) -> TaskHandle<Retried<T, E>>
    where
        F: FnMut() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        match self.take_ticket() {
            None => self.retried(policy, None, task),
            Some(ticket) => {
                let (handed, ticket) = ticket.split();
                self.retried(policy, handed, ticket.around_attempts(task))
            }
        }
    }

    /// Makes a task that is tried again while it fails, and pushes the task. Returns the task's handle.
    fn retried<F, T, E>(
        &self,
        policy: Retry,
        handed: Option<Handed>,
        task: F,
    ) -> TaskHandle<Retried<T, E>>
    where
        F: FnMut() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (cell, handle) = if const { is_large::<F>() } {
            retried(self.ptr(), policy, Box::new(task))
        } else {
            retried(self.ptr(), policy, task)
        };
        self.push_or_cancel_with(handed, cell);
        handle
    }
}
