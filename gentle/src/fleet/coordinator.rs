//! The coordinator: pushes requests for workers, and receives their answers.

use std::collections::HashMap;
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{process, thread};

use http::Uri;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tollgate::Pool;
use tollgate_nats::{FleetError, FleetJob};

use super::{
    ANSWERS, LEASE, OTHERS, PAUSE, Reply, Task, Text, check_address, connect, of_fleet, queue_of,
    texts,
};
use crate::check::{Check, Stop, is_stopped, stopped};
use crate::client::{Cause, Failure, Template};
use crate::hosts::Hosts;
use crate::options::Options;
use crate::plan::{Host, HostPlan, Plan};
use crate::progress::say;
use crate::way::Answered;

/// How many answers are taken at once.
const ANSWERS_AT_ONCE: u32 = 1024;

/// The time from the start after which the coordinator says that no worker has answered.
const SILENCE: Duration = Duration::from_secs(5);

/// After the run was told to stop, the coordinator waits for an answer for the request's time-out and this long.
const GRACE: Duration = Duration::from_secs(5);

/// Lets workers send the requests of a run.
#[derive(Debug)]
pub(crate) struct Coordinator {
    /// The queues of the plan's hosts that have a limit, by the host's name.
    queues: HashMap<String, FleetJob>,
    /// The queue of the other requests.
    others: FleetJob,
    /// The queue of this run's answers.
    answers: FleetJob,
    /// True if the command line has `--insecure`.
    insecure: bool,
    waiting: Waiting,
    /// The number of the next request.
    next: AtomicU64,
}

/// The requests that wait for their answers.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Where to send each answer, by the request's number.
    requests: Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>,
    /// True once a worker has answered.
    has_come: Arc<AtomicBool>,
}

/// Checks that the plan and the options have nothing that works on one machine only.
///
/// # Errors
///
/// One line that names the key or the option, and says what to do.
pub(crate) fn check_plan(plan: &Plan, name: &str, options: &Options) -> Result<(), String> {
    options.fleet.as_deref().map_or(Ok(()), check_address)?;
    if options.at_once.is_some() {
        return Err("--at-once: a coordinator sends nothing: give it to the workers".to_owned());
    }
    if options.cacert.is_some() {
        return Err("--cacert: a coordinator sends nothing: give it to the workers".to_owned());
    }
    for job in &plan.jobs {
        let shown = job.tls.certificate.as_ref().map(|shown| ("cert and key", &shown.chain));
        let trusted = job.tls.cacert.as_ref().map(|trusted| ("cacert", trusted));
        if let Some((key, file)) = shown.or(trusted) {
            let mend = match key {
                "cacert" => "give --cacert to the workers",
                _ => "run this job without --fleet",
            };
            let line = file.line;
            return Err(format!("{name}:{line}: {key} cannot go over a fleet: {mend}"));
        }
    }
    match plan.hosts.iter().find(|host| queue_of(&host.host).is_none()) {
        Some(HostPlan { host, .. }) => {
            let what = "is too long a name for a queue of --fleet";
            Err(format!("{name}: the host {host} {what}: name its address"))
        }
        None => Ok(()),
    }
}

impl Coordinator {
    /// Opens the queues, and starts to receive answers.
    ///
    /// # Errors
    ///
    /// One line, if the NATS server cannot be used. It does not show the address, which may have a password.
    pub(crate) async fn open(
        address: &str,
        options: &Options,
        checks: &[Arc<Check>],
        hosts: &Hosts,
        pool: &Pool,
    ) -> Result<Arc<Self>, String> {
        let fleet = connect(address).await?;
        let open = async |name: &str, limit: usize| {
            let limit = u32::try_from(limit).unwrap_or(u32::MAX).max(1);
            let job = fleet.job(name).limit(limit).lease(LEASE).open().await.map_err(of_fleet)?;
            if job.limit().await.map_err(of_fleet)? != limit {
                // An earlier run has set another limit.
                job.set_limit(limit).await.map_err(of_fleet)?;
            }
            Ok::<_, String>(job)
        };
        let mut queues = HashMap::new();
        for host in hosts.all() {
            let host = host.plan();
            if let (Some(limit), Some(name)) = (host.limit, queue_of(&host.host)) {
                queues.insert(host.host.to_string(), open(&name, limit).await?);
            }
        }
        let lanes = checks.iter().map(|check| check.plan.most_at_once());
        let others = open(OTHERS, lanes.fold(0, usize::saturating_add)).await?;
        let run = RandomState::new().hash_one(process::id());
        let answers = fleet.job(format!("{ANSWERS}{run:016x}")).limit(ANSWERS_AT_ONCE).lease(LEASE);
        let answers = answers.open().await.map_err(of_fleet)?;
        let waiting = Waiting::default();
        waiting.clone().serve(answers.clone(), pool)?;
        let (insecure, next) = (options.insecure, AtomicU64::new(0));
        Ok(Arc::new(Coordinator { queues, others, answers, insecure, waiting, next }))
    }

    /// Lets a worker send one request of a job, and returns the answer.
    ///
    /// The request goes into the queue of `host`, if that has one.
    pub(crate) async fn send(
        &self,
        check: &Check,
        host: Option<&Host>,
        template: &Template,
        url: &Uri,
    ) -> Answered {
        // Ordering: Relaxed; a number that is used once.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let task = Task {
            answers: self.answers.name().to_owned(),
            number,
            http: check.plan.http,
            insecure: self.insecure || check.plan.tls.insecure,
            url: url.to_string(),
            method: template.method.to_string(),
            headers: texts(template.headers()),
            body: Text::from(&template.body[..]),
            timeout: template.timeout,
            keeps_body: template.keeps_body,
        };
        let queue = host.and_then(|host| self.queues.get(&host.to_string()));
        let (tell, told) = oneshot::channel();
        self.waiting.requests().insert(number, tell);
        let _forgets = Forgets { waiting: &self.waiting, number };
        let mut stop = check.phases();
        if let Err(failure) = push(queue.unwrap_or(&self.others), &task, &stop).await {
            return (Err(failure), None);
        }
        let reply = tokio::select! {
            reply = told => reply.ok(),
            () = given_up(&mut stop, template.timeout) => None,
        };
        let Some(Reply { took, answer, .. }) = reply else {
            return (Err(own("no worker has answered".to_owned())), None);
        };
        let answer = answer.and_then(|whole| {
            let what = || Failure {
                cause: Cause::Other,
                text: "the answer of a worker cannot be read".to_owned(),
            };
            whole.answer().ok_or_else(what)
        });
        (answer, Some(took))
    }

    /// Removes the queue of the run's answers.
    pub(crate) async fn end(&self) {
        if let Err(error) = self.answers.remove().await {
            say(&format!("--fleet: {} is still at the server: {error}", self.answers.name()));
        }
    }
}

fn own(text: String) -> Failure {
    Failure { cause: Cause::Own, text }
}

/// Pushes a request. Tries again while the NATS server does not answer, until the run is told to stop.
async fn push(queue: &FleetJob, task: &Task, stop: &Stop) -> Result<(), Failure> {
    loop {
        match queue.push(task).await {
            Ok(()) => return Ok(()),
            // The request may have been stored. Then workers send it twice, within the limit.
            Err(FleetError::Unreachable(_)) if !is_stopped(stop) => sleep(PAUSE).await,
            Err(error) => return Err(own(format!("not sent: {error}"))),
        }
    }
}

/// Waits until the run is told to stop, and then for `timeout` and [`GRACE`].
async fn given_up(stop: &mut Stop, timeout: Duration) {
    stopped(stop).await;
    sleep(timeout + GRACE).await;
}

impl Waiting {
    fn requests(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Reply>>> {
        self.requests.lock().expect("nothing panics under this lock")
    }

    /// Starts a thread that receives answers until their queue is removed.
    fn serve(self, answers: FleetJob, pool: &Pool) -> Result<(), String> {
        let job = pool.job(ANSWERS_AT_ONCE as usize);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("--fleet: no runtime: {error}"))?;
        let has_come = Arc::clone(&self.has_come);
        let take = move |reply: Reply, _| {
            // Ordering: Relaxed; nothing else is read after it.
            self.has_come.store(true, Ordering::Relaxed);
            // The second answer of a request that was sent twice is dropped.
            if let Some(request) = self.requests().remove(&reply.number) {
                _ = request.send(reply);
            }
            ready(())
        };
        let serve = move || {
            runtime.block_on(async {
                tokio::spawn(async move {
                    sleep(SILENCE).await;
                    // Ordering: Relaxed, as above.
                    if !has_come.load(Ordering::Relaxed) {
                        say("no worker has answered yet: start some with --fleet and without a plan");
                    }
                });
                _ = answers.serve(&job, take).await;
            });
        };
        let thread = thread::Builder::new().name("answers".to_owned()).spawn(serve);
        thread.map(drop).map_err(|error| format!("--fleet: no thread: {error}"))
    }
}

/// Removes a request from those that wait, when it is dropped.
struct Forgets<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.waiting.requests().remove(&self.number);
    }
}
