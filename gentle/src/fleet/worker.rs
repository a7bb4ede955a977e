//! A worker: serves the queues of all coordinators at a NATS server, and sends their requests.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use http::Uri;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tollgate::Pool;
use tollgate_nats::{Fleet, FleetError, FleetJob, Lease, OpenError};

use super::{ANSWERS, PAUSE, QUEUES, Reply, Task, Whole, check_address, connect};
use crate::client::tls::TlsFiles;
use crate::client::{Cause, Client, Failure};
use crate::options::Options;
use crate::plan::{HttpVersion, TlsPlan};
use crate::progress::say;
use crate::run::{Signals, next_signal, runtime};

/// How many requests to one host a worker sends at once.
pub(super) const AT_ONCE: u16 = 16;

/// The most idle connections that are kept for one version of HTTP.
const MOST_IDLE: usize = 1024;

/// A request, and a channel that gets a message when the request is done: its answer is stored, or its run is over.
type Given = (Task, oneshot::Sender<()>);

/// Sends requests of coordinators until a signal comes.
///
/// # Errors
///
/// One line, if an option is not for workers, or the NATS server cannot be used.
pub(crate) fn work(options: &Options, address: &str) -> Result<ExitCode, String> {
    check_address(address)?;
    if let Some(output) = options.outputs().first() {
        let option = output.option;
        return Err(format!("{option}: a worker has no results: give a PLAN, or leave it out"));
    }
    if !options.set.is_empty() {
        return Err("--set: a worker has no plan: give it to the coordinator".to_owned());
    }
    let sender = Sender::new(options)?;
    let runtime = runtime().map_err(|error| format!("tokio's runtime does not start: {error}"))?;
    if options.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let served = runtime.block_on(serve(options, address, sender));
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(options: &Options, address: &str, sender: Sender) -> Result<(), String> {
    let mut signals = Some(Signals::new().map_err(|error| format!("no signals: {error}"))?);
    let fleet = connect(address).await?;
    let pool = Pool::builder().workers(1).thread_name(|_| "tasks".to_owned()).build();
    let pool = pool.map_err(|error| format!("the pool does not start: {error}"))?;
    let at_once = options.at_once.map_or(AT_ONCE, NonZero::get);
    let (give, take) = mpsc::unbounded_channel();
    tokio::spawn(
        Arc::new(Answers { sender, fleet: fleet.clone(), known: Mutex::default() }).take(take),
    );
    let mut queues = Queues { fleet, pool, at_once: at_once.into(), give, served: HashMap::new() };
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if !options.quiet {
        say(&format!("sends for coordinators, {at_once} requests to a host at once"));
    }
    loop {
        tokio::select! {
            _ = ticks.tick() => queues.find().await,
            _ = next_signal(&mut signals) => break,
        }
    }
    if !options.quiet {
        say("interrupted: waiting for the requests in flight, Ctrl-C again ends at once");
    }
    tokio::select! {
        () = queues.end() => Ok(()),
        status = next_signal(&mut signals) => process::exit(status.into()),
    }
}

/// The queues that are served.
struct Queues {
    fleet: Fleet,
    pool: Pool,
    at_once: usize,
    give: mpsc::UnboundedSender<Given>,
    /// The services by the queue's name; `None` for a queue that cannot be opened.
    served: HashMap<String, Option<(FleetJob, JoinHandle<()>)>>,
}

impl Queues {
    /// Starts to serve the queues that are new. Does nothing if the NATS server does not answer.
    async fn find(&mut self) {
        let is_over = |(_, service): &(FleetJob, JoinHandle<()>)| service.is_finished();
        self.served.retain(|_, served| !served.as_ref().is_some_and(is_over));
        let Ok(names) = self.fleet.jobs().await else { return };
        for name in names {
            let is_ours = name.starts_with(QUEUES) && !name.starts_with(ANSWERS);
            if !is_ours || self.served.contains_key(&name) {
                continue;
            }
            match self.fleet.job(name.as_str()).open().await {
                Ok(job) => {
                    let service = tokio::spawn(self.serve(job.clone()));
                    self.served.insert(name, Some((job, service)));
                }
                // The queue has just been removed, or is not complete yet.
                Err(OpenError::NoLimit | OpenError::Unreachable(_)) => {}
                Err(error) => {
                    say(&format!("{name}: {error}"));
                    self.served.insert(name, None);
                }
            }
        }
    }

    fn serve(&self, job: FleetJob) -> impl Future<Output = ()> + Send + 'static {
        let (local, give) = (self.pool.job(self.at_once), self.give.clone());
        async move {
            let task = move |task: Task, _: Lease| {
                let (tell, told) = oneshot::channel();
                let given = give.send((task, tell)).is_ok();
                async move {
                    // If the lease is lost, this future is dropped, and the request with it.
                    match told.await {
                        Ok(()) if given => Ok(()),
                        _ => Err("the worker ends"),
                    }
                }
            };
            _ = job.serve(&local, task).await;
        }
    }

    /// Stops all services, and waits until the requests in flight have ended.
    async fn end(&mut self) {
        let served: Vec<_> = self.served.drain().filter_map(|(_, served)| served).collect();
        served.iter().for_each(|(job, _)| job.stop());
        for (_, service) in served {
            _ = service.await;
        }
    }
}

/// Sends the requests, and pushes their answers.
struct Answers {
    sender: Sender,
    fleet: Fleet,
    /// The queues of the runs' answers, by name.
    known: Mutex<HashMap<String, FleetJob>>,
}

impl Answers {
    async fn take(self: Arc<Self>, mut given: mpsc::UnboundedReceiver<Given>) {
        let mut running = JoinSet::new();
        while let Some((task, mut tell)) = given.recv().await {
            let answers = Arc::clone(&self);
            running.spawn(async move {
                tokio::select! {
                    () = answers.answer(&task) => {}
                    () = tell.closed() => return,
                }
                _ = tell.send(());
            });
            while running.try_join_next().is_some() {}
        }
    }

    /// Sends a request, and pushes its answer. Does nothing if the run is over.
    async fn answer(&self, task: &Task) {
        let Some(queue) = self.queue(&task.answers).await else { return };
        let start = Instant::now();
        let answer = self.sender.send(task).await;
        let mut reply = Reply { number: task.number, took: start.elapsed(), answer };
        loop {
            match queue.push(&reply).await {
                Ok(()) => return,
                Err(FleetError::Gone) => {
                    self.known.lock().await.remove(&task.answers);
                    return;
                }
                Err(FleetError::TooLarge { .. }) => match &mut reply.answer {
                    // The coordinator then judges the answer as one whose body is too long to be kept.
                    Ok(whole) if whole.body.is_some() => whole.body = None,
                    _ => reply.answer = Err(other("the answer is too large for the fleet")),
                },
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Opens the queue of a run's answers. Returns `None` if the run is over.
    async fn queue(&self, name: &str) -> Option<FleetJob> {
        let mut known = self.known.lock().await;
        if let Some(queue) = known.get(name) {
            return Some(queue.clone());
        }
        loop {
            match self.fleet.job(name).open().await {
                Ok(queue) => {
                    known.insert(name.to_owned(), queue.clone());
                    return Some(queue);
                }
                Err(OpenError::Unreachable(_)) => sleep(PAUSE).await,
                Err(_) => return None,
            }
        }
    }
}

/// The HTTP clients: for each version of HTTP, one that checks certificates and one that does not.
struct Sender(Vec<(HttpVersion, bool, Client)>);

impl Sender {
    fn new(options: &Options) -> Result<Self, String> {
        let mut clients = Vec::new();
        for insecure in [false, true] {
            let (directory, cacert) = (Path::new(""), options.cacert.as_deref());
            let files = TlsFiles { directory, cacert, insecure: insecure || options.insecure };
            let tls = files.config(&TlsPlan::default(), true)?;
            for version in [HttpVersion::Any, HttpVersion::One, HttpVersion::Two] {
                let client = Client::with(version, false, MOST_IDLE, &tls, Arc::default());
                clients.push((version, insecure, client));
            }
        }
        Ok(Sender(clients))
    }

    async fn send(&self, task: &Task) -> Result<Whole, Failure> {
        let bad = || other("the worker cannot read the request");
        let url: Uri = task.url.parse().map_err(|_| bad())?;
        let template = task.template().filter(|_| url.authority().is_some()).ok_or_else(bad)?;
        let fits = |(version, insecure, _): &&(HttpVersion, bool, Client)| {
            (*version, *insecure) == (task.http, task.insecure)
        };
        let (_, _, client) = self.0.iter().find(fits).ok_or_else(bad)?;
        client.send(&template, &url).await.map(Whole::of)
    }
}

fn other(text: &str) -> Failure {
    Failure { cause: Cause::Other, text: text.to_owned() }
}
