//! One job's checks: sends the job's requests, as many at once as its limit lets run, and tallies
//! the answers.
//!
//! A task sends one request. It is a closure that lends its worker's place to others while it waits for the
//! server, or a future. It pushes a successor before it sends, so that only a few tasks wait at any time,
//! however many requests there are.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Instant;

use tokio::sync::oneshot;
use tollgate::{Job, Pool};
use ureq::http::{StatusCode, Uri};

use crate::futures::Futures;
use crate::gauge::Gauge;
use crate::hosts::{Hosts, LimitedHost, child};
use crate::list::{BadLine, UrlList};
use crate::plan::{JobPlan, Targets};
use crate::tally::{Sent, Tally};
use crate::threads::Threads;

/// A job of the plan and what has come of it so far.
#[derive(Debug)]
pub(crate) struct Check {
    plan: JobPlan,
    job: Job,
    /// The host that all requests are sent to, where it has a limit: the job's parent.
    host: Option<Arc<LimitedHost>>,
    /// The hosts that single requests may be sent to, where a list names them.
    hosts: Hosts,
    client: Client,
    source: Mutex<Source>,
    in_flight: Gauge,
    tally: Mutex<Tally>,
}

/// How requests are sent.
#[derive(Debug)]
enum Client {
    Threads(Threads),
    Futures(Futures),
}

/// Where the next request's URL comes from.
#[derive(Debug)]
enum Source {
    /// The plan's paths, by the number of the request.
    Paths { next: u64 },
    /// A list.
    List(UrlList),
}

impl Check {
    /// Makes the job; nothing is sent before [`start`](Check::start). A list is taken from `directory`.
    ///
    /// # Errors
    ///
    /// If the list cannot be opened: the plan's line that names it, and why.
    pub(crate) fn new(
        pool: &Pool,
        hosts: &Hosts,
        plan: JobPlan,
        directory: &Path,
        by_futures: bool,
    ) -> Result<Arc<Self>, String> {
        let source = match &plan.targets {
            Targets::Paths { .. } => Source::Paths { next: 0 },
            Targets::List(list) => Source::List(
                UrlList::open(list.clone(), directory)
                    .map_err(|error| format!("{}: {}: {error}", list.line, list.file))?,
            ),
        };
        let origin = plan.origin();
        let host = origin.as_ref().and_then(|origin| hosts.of(origin)).cloned();
        Ok(Arc::new(Check {
            job: child(pool, host.as_deref(), plan.limits[0]),
            host,
            hosts: if origin.is_none() { hosts.clone() } else { Hosts::default() },
            client: match by_futures {
                true => Client::Futures(Futures::new(&plan)),
                false => Client::Threads(Threads::new(&plan)),
            },
            source: Mutex::new(source),
            in_flight: Gauge::default(),
            tally: Mutex::new(Tally::new()),
            plan,
        }))
    }

    /// Pushes the first tasks: one for each permit of the greatest limit, and as many that wait for one.
    pub(crate) fn start(self: &Arc<Self>) {
        for _ in 0..2 * self.plan.greatest_limit() {
            self.push();
        }
    }

    fn push(self: &Arc<Self>) {
        let check = Arc::clone(self);
        match &self.client {
            Client::Threads(_) => self.job.execute(move || tollgate::blocking(|| check.run())),
            Client::Futures(_) => drop(self.job.spawn_future(check.fly())),
        }
    }

    /// The task: sends the next request and makes sure that there is a task for the one after it.
    fn run(self: &Arc<Self>) {
        let Some(target) = self.next() else { return };
        self.push();
        match target {
            Ok(url) => self.send_through_host(url),
            Err(bad_line) => self.tally().record_unsent(bad_line),
        }
    }

    /// The task as a future. A box, for it pushes one like itself.
    fn fly(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let next = match self.plan.targets {
                Targets::Paths { .. } => self.next(),
                // A list may be long in coming.
                Targets::List(_) => tollgate::blocking(|| self.next()),
            };
            let Some(target) = next else { return };
            self.push();
            match target {
                Ok(url) => self.fly_through_host(url).await,
                Err(bad_line) => self.tally().record_unsent(bad_line),
            }
        })
    }

    /// Sends no more. What is in flight goes on; what waits for its permit is dropped, or finds nothing to send.
    pub(crate) fn stop(&self) {
        match &self.client {
            Client::Threads(_) => self.job.cancel(),
            // A cancel would drop the futures in flight.
            Client::Futures(_) => self.job.close(),
        }
    }

    /// Where the next request goes. The first of a ramp's next step sets the limit.
    fn next(&self) -> Option<Result<Uri, BadLine>> {
        if self.job.is_closed() {
            return None;
        }
        let mut source = self.source.lock().expect("nothing panics under this lock");
        match (&mut *source, &self.plan.targets) {
            (Source::List(list), _) => list.next(),
            (Source::Paths { next }, Targets::Paths { urls, repeat }) => {
                let (number, requests) = (*next, urls.len() as u64 * repeat);
                if number == requests {
                    return None;
                }
                *next += 1;
                let limits = &self.plan.limits;
                let step = |number| (number * limits.len() as u64 / requests) as usize;
                if number > 0 && step(number) != step(number - 1) {
                    self.job.set_limit(limits[step(number)]);
                }
                Some(Ok(urls[(number % urls.len() as u64) as usize].clone()))
            }
            (Source::Paths { .. }, Targets::List(_)) => None,
        }
    }

    /// Sends a request as a task of its host, where the host has a limit and is not the job's parent;
    /// the permit of the job is kept meanwhile.
    fn send_through_host(self: &Arc<Self>, url: Uri) {
        let Some(host) = self.hosts.of(&url).cloned() else {
            return self.check(&url, self.host.as_deref());
        };
        let (over, is_over) = mpsc::channel::<()>();
        let (check, job) = (Arc::clone(self), host.job().clone());
        job.execute(move || {
            tollgate::blocking(|| check.check(&url, Some(&host)));
            drop(over);
        });
        // Nothing is ever sent: the sender drops with the task, whether that ran or was cancelled.
        let _ = is_over.recv();
    }

    /// As `send_through_host`. A future that awaited the host's task would give its permit back meanwhile, so it
    /// awaits a message.
    async fn fly_through_host(self: &Arc<Self>, url: Uri) {
        let Some(host) = self.hosts.of(&url).cloned() else {
            return self.check_by_future(&url, self.host.as_deref()).await;
        };
        let (over, is_over) = oneshot::channel::<()>();
        let (check, job) = (Arc::clone(self), host.job().clone());
        drop(job.spawn_future(async move {
            check.check_by_future(&url, Some(&host)).await;
            drop(over);
        }));
        let _ = is_over.await;
    }

    /// Sends one request and tallies what comes of it.
    fn check(&self, url: &Uri, host: Option<&LimitedHost>) {
        let Client::Threads(client) = &self.client else { return };
        let _in_flight = self.in_flight.enter();
        if self.job.is_closed() {
            return;
        }
        let _in_flight_to_host = host.map(LimitedHost::enter);
        let start = Instant::now();
        let answer = client.send(&self.plan, url);
        self.record(url, start, answer);
    }

    /// As `check`.
    async fn check_by_future(&self, url: &Uri, host: Option<&LimitedHost>) {
        let Client::Futures(client) = &self.client else { return };
        let _in_flight = self.in_flight.enter();
        if self.job.is_closed() {
            return;
        }
        let _in_flight_to_host = host.map(LimitedHost::enter);
        let start = Instant::now();
        let answer = client.send(&self.plan, url).await;
        self.record(url, start, answer);
    }

    fn record(&self, url: &Uri, start: Instant, answer: Result<StatusCode, String>) {
        let end = Instant::now();
        let (status, failure) = match answer {
            Ok(status) => (Some(status), self.unexpected(status)),
            Err(cause) => (None, Some(cause)),
        };
        self.tally().record(Sent { url, start, end, status, failure });
    }

    /// Why an answer fails the check, if it does.
    fn unexpected(&self, status: StatusCode) -> Option<String> {
        let expect = &self.plan.expect;
        let wanted = || expect.iter().map(StatusCode::as_str).collect::<Vec<_>>().join(" or ");
        (!expect.contains(&status))
            .then(|| format!("status {} instead of {}", status.as_str(), wanted()))
    }

    /// What the plan says.
    pub(crate) fn plan(&self) -> &JobPlan {
        &self.plan
    }

    /// The job that limits the requests.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// How many requests are under way, and the most at once.
    pub(crate) fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// What has come of the requests so far.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics under this lock")
    }
}
