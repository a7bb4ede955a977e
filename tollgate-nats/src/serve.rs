//! Serves a job: pulls tasks while the local job has room, and runs each as a task of the local job.
//!
//! One pull asks for as many tasks as the local limit has room for, so no task waits here with a lease. While there is room a
//! pull is always open, as the server notices the end of a lease only then. A pull lasts a sixth of a lease, because the
//! leases that it gets count from its start (`js-2`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tollgate::{Job, JoinError};
use tollgate_lease::Micros;

use crate::engine::{ATTEMPTS, Numbers, Trouble};
use crate::error::FleetError;
use crate::lease::Lease;
use crate::leases::{Id, Leases};
use crate::outcome::Outcome;

/// The most tasks for which one process asks at once.
const MOST_AT_ONCE: usize = 1024;
/// The pause after a refused pull, and the longest pause between two looks at the local job.
const PAUSE: Duration = Duration::from_millis(100);
/// How much longer than the server a pull waits for its last answer.
const GRACE: Duration = Duration::from_secs(1);

enum Event {
    /// A message, and the time at which its pull was sent.
    Task(Box<async_nats::Message>, Micros),
    /// A pull has ended without so many of its tasks. True if the server refused it.
    PullEnded(usize, bool),
    TaskEnded,
}

/// What to do with a task that was handed out again.
#[must_use]
enum Look {
    Run,
    PutBack,
    Leave,
}

/// What a task of the local job needs.
pub(crate) struct Server<F> {
    pub(crate) leases: Arc<Leases>,
    pub(crate) job: Job,
    pub(crate) attempts: Option<u64>,
    pub(crate) task: F,
    /// The runtime that the tasks' futures find.
    pub(crate) handle: Handle,
}

impl<F> Server<F> {
    /// Runs until `stop` is true or the local job is closed, and all tasks have ended.
    pub(crate) async fn run<T, Fut>(
        self: Arc<Self>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), FleetError>
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(T, Lease) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<Outcome> + Send + 'static,
    {
        let (tell, mut events) = mpsc::unbounded_channel();
        let (mut asked, mut running, mut refused) = (0, 0, false);
        let mut result = Ok(());
        loop {
            let stopped = *stop.borrow() || self.job.is_closed() || result.is_err();
            if stopped && asked == 0 && running == 0 {
                break;
            }
            let limit = if self.job.is_paused() { 0 } else { self.job.limit() };
            let room = limit.min(MOST_AT_ONCE).saturating_sub(asked + running);
            if room > 0 && !stopped && !refused {
                match self.leases.may_pull().await {
                    Ok(true) => {
                        asked += room;
                        tokio::spawn(pull(Arc::clone(&self.leases), room, tell.clone()));
                    }
                    Ok(false) => refused = true,
                    Err(Trouble::Api { code: 404, .. }) => result = Err(FleetError::Gone),
                    Err(_) => refused = true,
                }
            }
            let event = tokio::select! {
                event = events.recv() => event,
                _ = stop.changed(), if !stopped => None,
                () = tokio::time::sleep(PAUSE), if refused || !stopped && limit <= asked + running => {
                    refused = false;
                    None
                }
            };
            match event {
                Some(Event::Task(message, sent)) => {
                    asked -= 1;
                    running += 1;
                    let (server, tell) = (Arc::clone(&self), tell.clone());
                    tokio::spawn(async move {
                        server.handle(*message, sent).await;
                        let _ended = tell.send(Event::TaskEnded);
                    });
                }
                Some(Event::PullEnded(rest, bad)) => {
                    asked -= rest;
                    refused |= bad;
                    if bad
                        && let Err(Trouble::Api { code: 404, .. }) =
                            self.leases.engine.overview().await
                    {
                        result = Err(FleetError::Gone);
                    }
                }
                Some(Event::TaskEnded) => running -= 1,
                None => {}
            }
        }
        self.leases.all_ended().await;
        result
    }

    /// Runs one task, and ends its lease.
    async fn handle<T, Fut>(self: Arc<Self>, message: async_nats::Message, sent: Micros)
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(T, Lease) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<Outcome> + Send + 'static,
    {
        let leases = &self.leases;
        let Some(reply) = message.reply else { return };
        let Some(numbers) = Numbers::read(&reply) else { return };
        let header = message.headers.as_ref().and_then(|headers| headers.get(ATTEMPTS));
        let earlier = header.and_then(|value| value.as_str().parse::<u64>().ok()).unwrap_or(0);
        let attempt = earlier + numbers.delivered;
        let Some(id) = leases.enter(reply, numbers, attempt, sent) else { return };
        let payload = message.payload;
        if numbers.delivered > 1 {
            match self.look(id, numbers.sequence).await {
                Look::Run => {}
                Look::PutBack => return self.put_back(id, attempt - 1, &payload).await,
                Look::Leave => return leases.leave(id),
            }
        }
        if self.attempts.is_some_and(|most| attempt > most) {
            self.set_aside(id, attempt - 1, "its machines died in each attempt", &payload).await;
            return;
        }
        let value: T = match serde_json::from_slice(&payload) {
            Ok(value) => value,
            Err(error) => {
                let reason = format!("the task does not decode: {error}");
                self.set_aside(id, attempt, &reason, &payload).await;
                return;
            }
        };
        let lease = Lease::new(Arc::clone(leases), id, attempt, numbers.sequence);
        let own = self.job.job(1);
        let server = Arc::clone(&self);
        let future = async move { (server.task)(value, lease).await.into() };
        let future = Entered { handle: self.handle.clone(), future: Box::pin(future) };
        let task = match own.try_spawn_future(future) {
            Ok(task) => task,
            Err(_) => {
                self.put_back(id, attempt - 1, &payload).await;
                return;
            }
        };
        leases.cancel_on_loss(id, own);
        let outcome = match task.await {
            Ok(outcome) => outcome,
            Err(JoinError::Panicked(panic)) => Outcome::Retry(format!("a panic: {panic:?}")),
            // Cancelled: by the loss of its lease, or by its local job.
            Err(_) if leases.is_lost(id) => return leases.leave(id),
            Err(_) => return self.put_back(id, attempt - 1, &payload).await,
        };
        match outcome {
            Outcome::Done => leases.finish(id),
            Outcome::Retry(reason) if self.attempts.is_some_and(|most| attempt >= most) => {
                self.set_aside(id, attempt, &reason, &payload).await;
            }
            Outcome::Retry(_) => self.put_back(id, attempt, &payload).await,
            Outcome::SetAside(reason) => self.set_aside(id, attempt, &reason, &payload).await,
        }
    }

    /// Looks what to do with a task that was handed out again.
    async fn look(&self, id: Id, sequence: u64) -> Look {
        let engine = &self.leases.engine;
        while !self.leases.is_lost(id) {
            match (engine.is_stored(sequence).await, engine.overview().await) {
                (Ok(false), _) => return Look::Leave, // js-3: it was acknowledged meanwhile
                // This lease is one of those held (js-4).
                (Ok(true), Ok(seen)) if seen.held <= seen.limit as usize => return Look::Run,
                (Ok(true), Ok(_)) => return Look::PutBack,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        Look::Leave
    }

    /// Puts a copy at the end of the queue, then acknowledges the task, so that its permit is free at once.
    async fn put_back(&self, id: Id, attempts: u64, payload: &[u8]) {
        let Some(row) = self.leases.row(id) else { return };
        let copied = !self.leases.is_lost(id)
            && self.leases.engine.copy_back(row.numbers.sequence, attempts, payload).await.is_ok();
        if copied { self.leases.finish(id) } else { self.leases.leave(id) }
    }

    /// Puts a copy where no worker takes it, then acknowledges the task.
    async fn set_aside(&self, id: Id, attempts: u64, reason: &str, payload: &[u8]) {
        let Some(row) = self.leases.row(id) else { return };
        let engine = &self.leases.engine;
        let copied = !self.leases.is_lost(id)
            && engine.copy_aside(row.numbers.sequence, attempts, reason, payload).await.is_ok();
        if copied { self.leases.finish(id) } else { self.leases.leave(id) }
    }
}

/// Asks for `batch` tasks once, and passes them on.
async fn pull(leases: Arc<Leases>, batch: usize, tell: mpsc::UnboundedSender<Event>) {
    let expires = (leases.length / 6).min(Duration::from_secs(5));
    let sent = leases.clock.now(); // own-1
    let Ok(mut answers) = leases.engine.pull(batch, expires).await else {
        let _ended = tell.send(Event::PullEnded(batch, true));
        return;
    };
    let end = tokio::time::Instant::now() + expires + GRACE;
    let (mut rest, mut bad) = (batch, false);
    while rest > 0 {
        match tokio::time::timeout_at(end, answers.next()).await {
            Ok(Some(message)) => match message.status.map(|status| status.as_u16()) {
                None | Some(200) => {
                    rest -= 1;
                    let _ended = tell.send(Event::Task(Box::new(message), sent));
                }
                Some(100) => {}
                Some(status) => {
                    bad = status != 408 && status != 404;
                    break;
                }
            },
            Ok(None) => {
                bad = true;
                break;
            }
            Err(_) => break,
        }
    }
    let _ended = tell.send(Event::PullEnded(rest, bad));
}

/// A future that finds a tokio runtime on the thread that polls it.
struct Entered<T> {
    handle: Handle,
    future: Pin<Box<dyn Future<Output = T> + Send>>,
}

impl<T> Future for Entered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let handle = self.handle.clone();
        let _entered = handle.enter();
        self.future.as_mut().poll(context)
    }
}
