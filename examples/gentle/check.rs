//! One job's checks: sends the job's requests, as many at once as its limit lets run, and tallies the answers.
//!
//! A task sends one request, and lends its worker's place to others while it waits for the server. Each task pushes a successor before it sends, so that only a few tasks wait at any time,
//! however many requests the plan has.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tollgate::{Job, Pool};
use ureq::Agent;
use ureq::http::{Request, StatusCode, Uri};

use crate::gauge::Gauge;
use crate::plan::JobPlan;
use crate::tally::{Sent, Tally};

/// A job of the plan and what has come of it so far.
#[derive(Debug)]
pub(crate) struct Check {
    plan: JobPlan,
    job: Job,
    agent: Agent,
    pushed: AtomicU64,
    started: Mutex<u64>,
    in_flight: Gauge,
    tally: Mutex<Tally>,
}

impl Check {
    /// Makes the job; nothing is sent before [`start`](Check::start).
    pub(crate) fn new(pool: &Pool, plan: JobPlan) -> Arc<Self> {
        let most = plan.greatest_limit();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(plan.timeout))
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(most)
            .max_idle_connections_per_host(most)
            .build();
        Arc::new(Check {
            job: pool.job(plan.limits[0]),
            agent: config.into(),
            pushed: AtomicU64::new(0),
            started: Mutex::new(0),
            in_flight: Gauge::default(),
            tally: Mutex::new(Tally::new()),
            plan,
        })
    }

    /// Pushes the first tasks: enough for each permit of the greatest limit, and as many that wait for one.
    pub(crate) fn start(self: &Arc<Self>) {
        for _ in 0..2 * self.plan.greatest_limit() {
            self.push();
        }
    }

    /// Pushes one more task, if the plan has another request.
    fn push(self: &Arc<Self>) {
        let one_more = |pushed| (pushed < self.plan.requests()).then_some(pushed + 1);
        if self.pushed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
            let check = Arc::clone(self);
            self.job.execute(move || check.run());
        }
    }

    /// The task: sends one request and tallies what comes of it.
    fn run(self: &Arc<Self>) {
        self.push();
        let url = self.next_url();
        let inside = self.in_flight.enter();
        let start = Instant::now();
        let answer = tollgate::blocking(|| self.send(url));
        let end = Instant::now();
        drop(inside);
        let (status, failure) = match answer {
            Ok(status) => (Some(status), self.unexpected(status)),
            Err(error) => (None, Some(self.cause(error))),
        };
        self.tally().record(Sent { url, start, end, status, failure });
    }

    /// Counts a request as started and says where it goes. The first of a ramp's next step sets the limit.
    fn next_url(&self) -> &Uri {
        let mut started = self.started.lock().expect("nothing panics under this lock");
        let number = *started;
        *started += 1;
        let limit = self.limit_at(number);
        if number > 0 && limit != self.limit_at(number - 1) {
            self.job.set_limit(limit);
        }
        let urls = &self.plan.urls;
        &urls[(number % urls.len() as u64) as usize]
    }

    /// The limit that the plan has for the time of request `number`.
    fn limit_at(&self, number: u64) -> usize {
        let limits = &self.plan.limits;
        let step = number * limits.len() as u64 / self.plan.requests();
        limits[step as usize]
    }

    /// Sends one request and reads the whole answer.
    fn send(&self, url: &Uri) -> Result<StatusCode, ureq::Error> {
        let mut request = Request::new(());
        *request.method_mut() = self.plan.method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = self.plan.headers.clone();
        let mut response = match &self.plan.body {
            Some(body) => self.agent.run(request.map(|()| body))?,
            None => self.agent.run(request)?,
        };
        io::copy(&mut response.body_mut().as_reader(), &mut io::sink())?;
        Ok(response.status())
    }

    /// Why an answer fails the check, if it does.
    fn unexpected(&self, status: StatusCode) -> Option<String> {
        let expect = &self.plan.expect;
        let wanted = || expect.iter().map(StatusCode::as_str).collect::<Vec<_>>().join(" or ");
        (!expect.contains(&status))
            .then(|| format!("status {} instead of {}", status.as_str(), wanted()))
    }

    /// Why there was no whole answer.
    fn cause(&self, error: ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(_) => format!("no whole answer within {:?}", self.plan.timeout),
            ureq::Error::Protocol(what) => format!("the answer is not HTTP: {what}"),
            ureq::Error::HostNotFound => "host not found".to_owned(),
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
                io::ErrorKind::UnexpectedEof => {
                    "connection closed before the answer was whole".to_owned()
                }
                _ => error.to_string(),
            },
            other => other.to_string(),
        }
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
