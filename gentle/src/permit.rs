//! Permits of the pool's jobs for tokio tasks.
//!
//! A request is sent by a tokio task, which tokio's reactor wakes without a hop to another thread. The permit that the request needs is
//! the library's: a future of the job takes it and keeps it until the tokio task drops it. A task keeps its permit from one request to
//! the next, as a worker does, and gives it back when another job waits for the host or when the limit was lowered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tollgate::Job;

/// The right to have one request of a job in flight. Dropping it gives the library's permit back.
#[derive(Debug)]
pub(crate) enum Permit {
    /// The future that holds the library's permit waits for the end of this sender.
    Held { _until: oneshot::Sender<()> },
    /// The permit is a sample for a limit that finds itself.
    Sampled(tollgate::Permit),
}

impl Permit {
    /// Says how long the request took, and whether the server met an overload.
    pub(crate) fn sample(&mut self, took: Duration, overloaded: bool) {
        if let Permit::Sampled(permit) = self {
            permit.set_latency(took);
            if overloaded {
                permit.overloaded();
            }
        }
    }
}

/// Waits for a permit of `job` and of the jobs above it; `None` if the job takes no more tasks. `sampled`: a limit among theirs finds
/// itself, so the permit is for one request.
pub(crate) async fn acquire(job: &Job, sampled: bool) -> Option<Permit> {
    if sampled {
        return job.acquire().await.ok().map(Permit::Sampled);
    }
    let (give, given) = oneshot::channel();
    let (held, returned) = oneshot::channel::<()>();
    drop(job.spawn_future(async move {
        // A message is awaited, not a task's handle: while that is awaited, a future would hold no permit.
        if give.send(Permit::Held { _until: held }).is_ok() {
            _ = returned.await;
        }
    }));
    given.await.ok()
}

/// Counts the tasks that wait for a permit.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

impl Waiting {
    /// Counts one more until the guard drops.
    pub(crate) fn enter(&self) -> WaitingGuard<'_> {
        // Ordering: Relaxed; a hint when to give a permit back.
        self.0.fetch_add(1, Ordering::Relaxed);
        WaitingGuard(self)
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        // Ordering: Relaxed; see `enter`.
        self.0.load(Ordering::Relaxed)
    }
}

/// One task that waits.
#[must_use]
#[derive(Debug)]
pub(crate) struct WaitingGuard<'a>(&'a Waiting);

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; see `enter`.
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
