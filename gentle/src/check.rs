//! One job's checks: sends the job's requests, as many at once as its limit lets run, and tallies
//! the answers.
//!
//! A job has as many tokio tasks, its *lanes*, as its greatest limit. A lane takes a permit of the job, sends one request after the
//! other, and gives the permit back at the end of its turn.

mod lane;

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::sync::watch;
use tollgate::Pool;

use crate::client::tls::TlsFiles;
use crate::client::{Client, Template};
use crate::cookies::Jar;
use crate::failure_log::FailureLog;
use crate::hosts::{Hosts, LimitedHost, Route};
use crate::limited::Limited;
use crate::pace::Pacer;
use crate::permit::Waiting;
use crate::plan::JobPlan;
use crate::session::Session;
use crate::source::Source;
use crate::tally::{Mistake, Tally};

/// A job of the plan and what has come of it so far.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) plan: JobPlan,
    pub(crate) template: Template,
    tls: Arc<ClientConfig>,
    /// The cookies of all requests, if the job keeps cookies and has no steps.
    jar: Option<Arc<Mutex<Jar>>>,
    pub(crate) limited: Limited,
    /// Whether each permit is a sample, because a limit of the job or of its host finds itself.
    sampled: bool,
    /// Where all requests go, if they go to one server. A limited host of the server is the job's parent.
    pub(crate) route: Option<Route>,
    pub(crate) hosts: Arc<Hosts>,
    /// The pacer of each stage; stages of the same rate share one.
    pacers: Vec<Option<Arc<Pacer>>>,
    /// What the job does now.
    phase: watch::Sender<Phase>,
    /// The pacer of all jobs together.
    pub(crate) plan_pacer: Option<Arc<Pacer>>,
    source: Source,
    /// How many lanes hold a permit.
    holding: AtomicUsize,
    waiting: Waiting,
    /// How often a request was sent again, because a connection that was kept open had died.
    repeated: Arc<AtomicU64>,
    /// Where each failure is written.
    pub(crate) log: Option<Arc<FailureLog>>,
    tally: Mutex<Tally>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It sends, in this stage.
    Stage(usize),
    /// It sends what has been given out, in this stage. There is no more.
    Ending(usize),
    /// It sends no more.
    Stopped,
}

impl Phase {
    /// The stage in which a lane sends, if it has something to send.
    fn stage(self, session: &Session) -> Option<usize> {
        match self {
            Phase::Stage(stage) => Some(stage),
            Phase::Ending(stage) => (session.step > 0).then_some(stage),
            Phase::Stopped => None,
        }
    }
}

/// Tells a lane what its job does.
pub(crate) type Stop = watch::Receiver<Phase>;

impl Check {
    /// Makes the job; nothing is sent before its [lanes](Check::lane) run. A list is taken from `directory`.
    ///
    /// # Errors
    ///
    /// If a file that the plan names cannot be used: the plan's line that names it, and why.
    pub(crate) fn new(
        pool: &Pool,
        hosts: &Arc<Hosts>,
        plan_pacer: Option<&Arc<Pacer>>,
        plan: JobPlan,
        directory: &Path,
        files: &TlsFiles<'_>,
        log: Option<&Arc<FailureLog>>,
    ) -> Result<Arc<Self>, String> {
        let source = Source::open(&plan, directory)?;
        let tls = Arc::new(files.config(&plan.tls, plan.may_speak_tls())?);
        // A request that is redirected may be sent to any host.
        let origin = plan.origin().filter(|_| plan.redirects == 0);
        let route = origin.map(|origin| hosts.route_blocking(&origin));
        let host = route.as_ref().and_then(|route| route.host.as_deref());
        Ok(Arc::new(Check {
            limited: Limited::new(
                pool,
                host.map(LimitedHost::limited),
                &plan.name,
                (Some(plan.limits[0]), plan.auto),
                hosts.noted_since(),
            ),
            sampled: plan.auto.is_some() || host.is_some_and(LimitedHost::is_auto),
            template: Template::of(&plan),
            jar: plan.cookies.then(Arc::default),
            tls,
            route,
            hosts: Arc::clone(hosts),
            pacers: pacers(&plan),
            phase: watch::Sender::new(Phase::Stage(0)),
            plan_pacer: plan_pacer.cloned(),
            source,
            holding: AtomicUsize::new(0),
            waiting: Waiting::default(),
            repeated: Arc::default(),
            log: log.cloned(),
            tally: Mutex::new(Tally::new(&plan)),
            plan,
        }))
    }

    /// What sends the job's requests on one thread, which has so many lanes.
    pub(crate) fn client(&self, lanes: usize) -> Client {
        Client::new(&self.plan, lanes, &self.tls, Arc::clone(&self.repeated))
    }

    /// The limited host that all requests are sent to.
    fn host(&self) -> Option<&LimitedHost> {
        self.route.as_ref().and_then(|route| route.host.as_deref())
    }

    /// Begins the next stage, if this is its first request. Returns the request's stage, if stages are told by numbers.
    fn begin_stage_of(&self, number: u64) -> Option<usize> {
        let stage = self.plan.stage_of(number)?;
        if number > 0 && self.plan.stage_of(number - 1) != Some(stage) {
            self.begin_stage(stage);
        }
        Some(stage)
    }

    fn begin_stage(&self, stage: usize) {
        let limit = self.plan.limits[stage];
        self.limited.job().set_limit(limit);
        if let Some(timeline) = self.limited.timeline() {
            timeline.set_limit(Instant::now(), limit);
        }
        self.phase.send_if_modified(|phase| match phase {
            Phase::Stage(now) | Phase::Ending(now) => {
                *now = stage;
                true
            }
            Phase::Stopped => false,
        });
    }

    /// Goes through the stages if they have times, and ends the job after the last one.
    pub(crate) async fn run_stages(self: Arc<Self>) {
        let Some(times) = &self.plan.times else { return };
        let mut stop = self.phase.subscribe();
        for (stage, time) in times.iter().enumerate() {
            self.begin_stage(stage);
            tokio::select! {
                () = tokio::time::sleep(time.lasts) => {}
                _ = stopped(&mut stop) => return,
            }
        }
        self.stop();
    }

    /// Sends no more requests.
    pub(crate) fn stop(&self) {
        self.phase.send_replace(Phase::Stopped);
    }

    /// Writes a failure to the log, if there is one.
    pub(crate) fn log(&self, target: &str, mistake: &Mistake, status: Option<u16>, took: Duration) {
        if let Some(log) = &self.log {
            log.write(&self.plan.name, target, mistake, status, took);
        }
    }

    /// What the plan says.
    pub(crate) fn plan(&self) -> &JobPlan {
        &self.plan
    }

    /// What has come of the requests so far.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics under this lock")
    }
}

/// The pacer of each stage.
fn pacers(plan: &JobPlan) -> Vec<Option<Arc<Pacer>>> {
    let mut pacers: Vec<Option<Arc<Pacer>>> = Vec::with_capacity(plan.limits.len());
    for stage in 0..plan.limits.len() {
        let rate = plan.rate_of(stage);
        let before = stage.checked_sub(1);
        match before.filter(|before| plan.rate_of(*before) == rate) {
            Some(before) => pacers.push(pacers[before].clone()),
            None => pacers.push(rate.map(|rate| Arc::new(Pacer::new(rate)))),
        }
    }
    pacers
}

/// Waits until it is said to stop.
pub(crate) async fn stopped(stop: &mut Stop) {
    if stop.wait_for(|phase| *phase == Phase::Stopped).await.is_err() {
        // The run is over, and ends its lanes in another way.
        std::future::pending().await
    }
}
