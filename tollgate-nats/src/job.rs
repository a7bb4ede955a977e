//! `FleetJob`: pushes and serves tasks, changes the limit, and explains the job's state.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tollgate::Job;

use crate::engine::Trouble;
use crate::error::FleetError;
use crate::explain::{Explanation, Held};
use crate::fleet::Link;
use crate::lease::Lease;
use crate::leases::Leases;
use crate::outcome::Outcome;
use crate::serve::Server;

/// How long `explain` waits for the holders of the leases.
const PATIENCE: Duration = Duration::from_secs(1);

/// A queue of tasks with one limit over all machines that open the same name on the same server.
///
/// A clone is another handle of the same open job. An open job that is not served costs no request.
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// # block_on(async {
/// let fleet = tollgate_nats::Fleet::connect(address).await?;
/// let search = fleet.job("search").limit(4).open().await?; // at most 4 over all machines
/// for page in 0..10 {
///     search.push(&format!("page {page}")).await?;
/// }
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let (tell, told) = std::sync::mpsc::channel();
/// let stop = search.clone();
/// search
///     .serve(&pool.job(2), move |page: String, _lease| {
///         let (tell, stop) = (tell.clone(), stop.clone());
///         async move {
///             tell.send(page).unwrap();
///             stop.stop(); // this example ends after the first tasks
///         }
///     })
///     .await?;
/// assert!(told.try_iter().count() >= 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FleetJob {
    owner: Arc<Owner>,
}

/// Lets the renewer of a job end when the last handle is gone.
struct Owner {
    leases: Arc<Leases>,
    holder: String,
    attempts: Option<u64>,
    stop: watch::Sender<bool>,
    answers: AtomicBool,
    answerer: std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// A random number, and the number of the last push: the ids of this handle's pushes.
    random: u128,
    pushes: AtomicU64,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.leases.stop();
        let answerer = self.answerer.get_mut().ok().and_then(Option::take);
        if let Some(answerer) = answerer {
            answerer.abort();
        }
    }
}

/// A task that was set aside: it does not decode, or was tried too often. From [`FleetJob::set_aside`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// The number of the message in the job's stream.
    pub sequence: u64,
    /// The task as it was pushed: JSON, unless another program has pushed it.
    pub task: String,
    /// How often the task was tried.
    pub attempts: u64,
    /// Why the task was set aside.
    pub reason: String,
}

/// Stops a service whose future is dropped.
struct StopOnDrop(Arc<watch::Sender<bool>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl FleetJob {
    pub(crate) fn start(leases: Leases, holder: String, attempts: Option<u64>) -> Self {
        let leases = Arc::new(leases);
        leases.engine.link.handle.spawn(Arc::clone(&leases).renew());
        let owner = Owner {
            leases,
            holder,
            attempts,
            stop: watch::Sender::new(false),
            answers: AtomicBool::new(false),
            answerer: std::sync::Mutex::new(None),
            random: tollgate_lease::random(),
            pushes: AtomicU64::new(0),
        };
        Self { owner: Arc::new(owner) }
    }

    fn link(&self) -> &Arc<Link> {
        &self.owner.leases.engine.link
    }

    /// Runs a call of the engine on the fleet's thread.
    async fn at_engine<T, F, Fut>(&self, call: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Arc<Leases>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let leases = Arc::clone(&self.owner.leases);
        self.link().run(call(leases)).await
    }

    /// Returns the name of the job.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.owner.leases.engine.name
    }

    /// Pushes a task. Returns once the server has stored it.
    ///
    /// The task is written as JSON. A push that is repeated after a lost answer has the same id, and is stored once.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](FleetError::TooLarge) and [`Encode`](FleetError::Encode) if nothing was stored,
    /// [`Gone`](FleetError::Gone), [`Refused`](FleetError::Refused), [`Unreachable`](FleetError::Unreachable). After the last
    /// one the task may have been stored.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// use tollgate_nats::FleetError;
    ///
    /// let fleet = tollgate_nats::Fleet::connect(address).await?;
    /// let search = fleet.job("search").limit(4).open().await?;
    /// search.push(&("https://example.com", 3)).await?;
    /// let large = search.push(&"x".repeat(2_000_000)).await;
    /// assert!(matches!(large, Err(FleetError::TooLarge { .. })));
    /// assert_eq!(search.explain().await?.queued, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn push<T: Serialize + ?Sized>(&self, task: &T) -> Result<(), FleetError> {
        let payload = serde_json::to_vec(task).map_err(FleetError::Encode)?;
        // Ordering: Relaxed; a counter, for distinct names.
        let number = self.owner.pushes.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:032x}-{number}", self.owner.random);
        self.at_engine(|leases| async move { leases.engine.push(id, payload).await }).await
    }

    /// Runs the tasks of the queue in `job`, until [`stop`](Self::stop) is called or `job` is closed.
    ///
    /// At most the limit of `job` run in this process, and at most the limit of the fleet's job over all machines. Both may
    /// change meanwhile. A task is taken from the server only if `job` has room, so give `job` no other tasks.
    ///
    /// The closure makes a future for each task. It runs on the pool's workers, and finds the tokio runtime on which `serve`
    /// was called. Its output is an [`Outcome`]: a task that ends with `()` or `Ok` is done. One that ends with `Err` or a panic
    /// goes to the back of the queue. A task that does not decode is set aside.
    ///
    /// # Cancellation
    ///
    /// When `serve` ends, what was taken has run and is acknowledged. Dropping its future lets that go on in the background.
    /// A task that `job` cancels goes to the back of the queue.
    ///
    /// # Errors
    ///
    /// [`Gone`](FleetError::Gone) if the job was removed from the server. A server that does not answer is no error: `serve`
    /// waits for it.
    ///
    /// # Examples
    ///
    /// See [`FleetJob`].
    pub async fn serve<T, F, Fut>(&self, job: &Job, task: F) -> Result<(), FleetError>
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(T, Lease) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<Outcome> + Send + 'static,
    {
        self.answer();
        let link = Arc::clone(self.link());
        let handle = Handle::try_current().unwrap_or_else(|_| link.handle.clone());
        let leases = Arc::clone(&self.owner.leases);
        let attempts = self.owner.attempts;
        let server = Arc::new(Server { leases, job: job.clone(), attempts, task, handle });
        let own = Arc::new(watch::Sender::new(false));
        let _guard = StopOnDrop(Arc::clone(&own));
        let stopped = own.subscribe();
        let mut all = self.owner.stop.subscribe();
        link.handle.spawn(async move {
            tokio::select! {
                _ = all.wait_for(|stop| *stop) => { own.send_replace(true); }
                () = own.closed() => {}
            }
        });
        link.run(server.run::<T, Fut>(stopped)).await
    }

    /// Ends all services of this open job in this process gracefully: each pulls no more, runs what it has, and returns.
    ///
    /// # Examples
    ///
    /// See [`FleetJob`].
    pub fn stop(&self) {
        self.owner.stop.send_replace(true);
    }

    /// Returns the present limit of the job at the server.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](FleetError::Unreachable), [`Gone`](FleetError::Gone), [`Refused`](FleetError::Refused).
    pub async fn limit(&self) -> Result<u32, FleetError> {
        let overview = self.at_engine(|leases| async move { leases.engine.overview().await }).await;
        Ok(overview?.limit)
    }

    /// Sets the limit, on all machines. Once the call has returned, no lease is handed out while `limit` or more are.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`](FleetError::ZeroLimit), and those of [`limit`](Self::limit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// let fleet = tollgate_nats::Fleet::connect(address).await?;
    /// let search = fleet.job("search").limit(4).open().await?;
    /// search.set_limit(8).await?;
    /// assert_eq!(fleet.job("search").open().await?.limit().await?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn set_limit(&self, limit: u32) -> Result<(), FleetError> {
        if limit == 0 {
            return Err(FleetError::ZeroLimit);
        }
        let set = move |leases: Arc<Leases>| async move { leases.engine.set_limit(limit).await };
        Ok(self.at_engine(set).await?)
    }

    /// Tells who holds what, since when, and until when.
    ///
    /// The call asks the server for its counts, and all processes that serve the job for what they hold. It waits at most a
    /// second for these, and only if leases are held.
    ///
    /// # Errors
    ///
    /// As [`limit`](Self::limit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// let fleet = tollgate_nats::Fleet::connect(address).await?;
    /// let search = fleet.job("search").limit(4).open().await?;
    /// search.push(&1).await?;
    /// let text = search.explain().await?.to_string();
    /// assert_eq!(text, "search: 0 of 4 held, 1 queued, 0 set aside\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn explain(&self) -> Result<Explanation, FleetError> {
        Ok(self.at_engine(|leases| async move { gather(&leases).await }).await?)
    }

    /// Returns the tasks that were set aside, from the oldest on, at most `most` of them.
    ///
    /// They stay at the server. Push a task anew, or remove its message with a tool of NATS.
    ///
    /// # Errors
    ///
    /// As [`limit`](Self::limit).
    pub async fn set_aside(&self, most: usize) -> Result<Vec<SetAside>, FleetError> {
        let list = move |leases: Arc<Leases>| async move {
            let (mut tasks, mut from) = (Vec::new(), 1);
            while tasks.len() < most
                && let Some(task) = leases.engine.next_aside(from).await?
            {
                from = task.sequence + 1;
                tasks.push(task);
            }
            Ok::<_, Trouble>(tasks)
        };
        Ok(self.at_engine(list).await?)
    }

    /// Removes the job from the server, with all tasks in it. Services of the job on all machines end with
    /// [`Gone`](FleetError::Gone).
    ///
    /// Tasks that run then run to their end, and no lease counts them any more. Removing a job that is gone is no error.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](FleetError::Unreachable), [`Refused`](FleetError::Refused).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// # block_on(async {
    /// use tollgate_nats::FleetError;
    ///
    /// let fleet = tollgate_nats::Fleet::connect(address).await?;
    /// let search = fleet.job("search").limit(4).open().await?;
    /// search.remove().await?;
    /// assert!(matches!(search.push(&1).await, Err(FleetError::Gone)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn remove(&self) -> Result<(), FleetError> {
        Ok(self.at_engine(|leases| async move { leases.engine.remove().await }).await?)
    }

    #[cfg(test)]
    pub(crate) fn leases(&self) -> &Leases {
        &self.owner.leases
    }

    /// Starts to answer the questions of `explain`, once.
    fn answer(&self) {
        // Ordering: AcqRel; the first service starts the answers.
        if self.owner.answers.swap(true, Ordering::AcqRel) {
            return;
        }
        let (leases, holder) = (Arc::clone(&self.owner.leases), self.owner.holder.clone());
        let answers = self.link().handle.spawn(async move {
            let client = &leases.engine.link.client;
            let Ok(mut questions) = client.subscribe(leases.engine.who_subject()).await else {
                return;
            };
            while let Some(question) = questions.next().await {
                let Some(reply) = question.reply else { continue };
                let held = leases.held().into_iter().map(|(row, since, left)| {
                    let (sequence, attempt) = (row.numbers.sequence, row.attempt);
                    Held { holder: holder.clone(), sequence, attempt, since, left }.to_json()
                });
                let text = Value::Array(held.collect()).to_string();
                let _lost = client.publish(reply, text.into()).await;
            }
        });
        if let Ok(mut answerer) = self.owner.answerer.lock() {
            *answerer = Some(answers);
        }
    }
}

async fn gather(leases: &Leases) -> Result<Explanation, Trouble> {
    let engine = &leases.engine;
    let client = &engine.link.client;
    let overview = engine.overview().await?;
    let set_aside = engine.count_aside().await?;
    let mut held: Vec<Held> = Vec::new();
    if overview.held > 0 {
        let trouble = |error| Trouble::Unreachable(error);
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await.map_err(|e| trouble(Box::new(e)))?;
        let asked = client.publish_with_reply(engine.who_subject(), inbox, "".into()).await;
        asked.map_err(|e| trouble(Box::new(e)))?;
        let answers = answers.take_until(tokio::time::sleep(PATIENCE));
        tokio::pin!(answers);
        while held.len() < overview.held
            && let Some(answer) = answers.next().await
        {
            let rows: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
            held.extend(rows.as_array().into_iter().flatten().filter_map(Held::from_json));
        }
    }
    held.sort_by_key(|held| std::cmp::Reverse(held.since));
    Ok(Explanation {
        name: engine.name.clone(),
        limit: overview.limit,
        leases: overview.held,
        queued: overview.queued,
        set_aside,
        held,
    })
}

impl fmt::Debug for FleetJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetJob").field("name", &self.name()).finish_non_exhaustive()
    }
}
