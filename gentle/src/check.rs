//! One job's checks: sends the job's requests, as many at once as its limit lets run, and tallies
//! the answers.
//!
//! A job has as many tokio tasks, its *lanes*, as its greatest limit. A lane takes a permit of the job, sends one request after the
//! other, and gives the permit back at the end of its turn. A request is sent by a tokio task, which tokio's reactor wakes without a hop
//! to another thread; the library grants the permit.

mod lane;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::sync::watch;
use tollgate::{Job, Pool};

use crate::client::tls::TlsFiles;
use crate::client::{Client, Template};
use crate::cookies::Jar;
use crate::failure_log::FailureLog;
use crate::hosts::{Hosts, Route};
use crate::limited::{Limited, Rules};
use crate::plan::JobPlan;
use crate::schedule::{Schedule, Slot};
use crate::source::Source;
use crate::tally::{Mistake, Tally};

/// How many requests a lane sends in a turn, unless each must be counted.
const TURN: u32 = 16;

/// A job of the plan and what has come of it so far.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) plan: JobPlan,
    pub(crate) template: Template,
    tls: Arc<ClientConfig>,
    /// The cookies of all requests, if the job keeps cookies and has no steps.
    jar: Option<Arc<Mutex<Jar>>>,
    pub(crate) limited: Limited,
    /// How many requests a lane sends in a turn.
    turn: u32,
    /// Where all requests go, if they go to one server. The job is below the server's.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) hosts: Arc<Hosts>,
    /// The rate of a job that sends to many servers, with a limit of 1. Its permit is kept until the request is sent, so that no burst is
    /// saved up behind a server that is held off.
    turnstile: Option<Job>,
    /// When requests are due by the job's rate.
    schedule: Mutex<Schedule>,
    /// What the job does now.
    phase: watch::Sender<Phase>,
    source: Source,
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
    /// It sends no more: its time is over.
    Over,
    /// It sends no more: a signal ends the run.
    Stopped,
}

impl Phase {
    /// The stage in which a lane sends, if it has something to send. `has_some`: it was given out already.
    fn stage(self, has_some: bool) -> Option<usize> {
        match self {
            Phase::Stage(stage) => Some(stage),
            Phase::Ending(stage) => has_some.then_some(stage),
            Phase::Over | Phase::Stopped => None,
        }
    }

    /// Whether the job sends no more, whatever has been given out.
    fn is_over(self) -> bool {
        matches!(self, Phase::Over | Phase::Stopped)
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
        let rules = Rules::of_job(&plan);
        let has_rate = (0..plan.limits.len()).any(|stage| plan.rate_of(stage).is_some());
        let name = plan.name.as_str();
        let builder = match &route {
            Some(route) => route.job(plan.backoff).job_builder(),
            None => pool.job_builder(),
        };
        let turnstile = (route.is_none() && has_rate)
            .then(|| pool.job_builder().name(format!("{name} at its rate")).limit(1).build());
        // A limit or a rate that changes holds from the next request on, and a permit does not wait for a line.
        let counts_requests = rules.count_requests()
            || source.is_slow()
            || plan.limits.len() > 1
            || route.as_ref().is_some_and(|route| has_rate || route.counts_requests);
        let check = Check {
            limited: Limited::new(rules.build(builder.name(name)), rules, hosts.noted_since()),
            turn: if counts_requests { 1 } else { TURN },
            template: Template::of(&plan),
            jar: plan.cookies.then(Arc::default),
            tls,
            route,
            hosts: Arc::clone(hosts),
            turnstile,
            schedule: Mutex::default(),
            phase: watch::Sender::new(Phase::Stage(0)),
            source,
            repeated: Arc::default(),
            log: log.cloned(),
            tally: Mutex::new(Tally::new(&plan)),
            plan,
        };
        check.set_rate(0);
        Ok(Arc::new(check))
    }

    /// What sends the job's requests on one thread, which has so many lanes.
    pub(crate) fn client(&self, lanes: usize) -> Client {
        Client::new(&self.plan, lanes, &self.tls, Arc::clone(&self.repeated))
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
        let has_rate = |stage| self.plan.rate_of(stage).is_some();
        if !(has_rate(stage) && stage.checked_sub(1).is_some_and(has_rate)) {
            // Nothing was due while there was no rate.
            *self.schedule() = Schedule::default();
        }
        // A limit that finds itself is the same in all stages, and is not set.
        if self.plan.auto.is_none() {
            self.limited.job().set_limit(limit);
            if let Some(timeline) = self.limited.timeline() {
                timeline.set_limit(Instant::now(), limit);
            }
        }
        self.set_rate(stage);
        self.phase.send_if_modified(|phase| match phase {
            Phase::Stage(now) | Phase::Ending(now) => {
                *now = stage;
                true
            }
            Phase::Over | Phase::Stopped => false,
        });
    }

    /// Lets the library hold the job to the rate of a stage.
    fn set_rate(&self, stage: usize) {
        let rate = self.plan.rate_of(stage).map(tollgate::Rate::from);
        self.turnstile.as_ref().unwrap_or(self.limited.job()).set_rates(rate.as_slice());
    }

    /// Takes the place of a request that is sent now in the job's schedule, if the job has a rate.
    pub(crate) fn slot(&self, stage: usize, now: Instant) -> Option<Slot> {
        let rate = self.plan.rate_of(stage)?;
        Some(self.schedule().take(rate, now))
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().expect("nothing panics under this lock")
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
        self.phase.send_if_modified(|phase| match phase {
            Phase::Over | Phase::Stopped => false,
            Phase::Stage(_) | Phase::Ending(_) => {
                *phase = Phase::Over;
                true
            }
        });
    }

    /// How often a request was sent again.
    pub(crate) fn repeated(&self) -> u64 {
        // Ordering: Relaxed; a figure.
        self.repeated.load(Ordering::Relaxed)
    }

    /// Sends no more requests, because a signal ends the run.
    pub(crate) fn stop(&self) {
        self.phase.send_replace(Phase::Stopped);
    }

    /// Returns a receiver of the job's phase, which is told of each change.
    #[cfg(feature = "fleet")]
    pub(crate) fn phases(&self) -> Stop {
        self.phase.subscribe()
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

/// Whether it is said to stop.
pub(crate) fn is_stopped(stop: &Stop) -> bool {
    stop.borrow().is_over()
}

/// Waits until it is said to stop.
pub(crate) async fn stopped(stop: &mut Stop) {
    phase_is(stop, Phase::is_over).await;
}

/// Waits until a signal ends the run.
pub(crate) async fn interrupted(stop: &mut Stop) {
    phase_is(stop, |phase| phase == Phase::Stopped).await;
}

/// Waits until the job's phase is as wanted.
async fn phase_is(stop: &mut Stop, is_wanted: impl Fn(Phase) -> bool) {
    if stop.wait_for(|phase| is_wanted(*phase)).await.is_err() {
        // The run is over, and ends its lanes in another way.
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use tollgate::ManualClock;

    use super::*;

    /// A check that sends to nothing.
    fn check(pool: &Pool, plan: &str) -> Arc<Check> {
        let mut plan = crate::plan::parse("plan", plan).unwrap();
        let hosts = Arc::new(Hosts::new(pool, &plan, None));
        let files = TlsFiles { directory: Path::new(""), cacert: None, insecure: false };
        Check::new(pool, &hosts, plan.jobs.remove(0), Path::new(""), &files, None).unwrap()
    }

    /// Asserts that so many requests may start now, and then one in each interval of this many milliseconds.
    fn lets_start(check: &Check, clock: &ManualClock, burst: usize, interval: u64) {
        let starts = || {
            let job = check.limited.job();
            std::iter::repeat_with(|| job.try_acquire()).take(100).flatten().count()
        };
        assert_eq!(starts(), burst);
        for _ in 0..30 {
            clock.advance(Duration::from_millis(interval - 1));
            assert_eq!(starts(), 0);
            clock.advance(Duration::from_millis(1));
            assert_eq!(starts(), 1);
        }
    }

    /// The time is the clock's, so a rate that is too high or too low shows on any machine.
    #[test]
    fn a_job_and_each_stage_let_a_burst_start_and_then_one_an_interval() {
        let job =
            "[[job]]\nname = \"a\"\nlimit = 9\nbase = \"http://127.0.0.1:1\"\npaths = [\"/\"]\n";
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
        let pause = || clock.advance(Duration::from_secs(10));
        let whole = check(&pool, &format!("{job}rate = \"50/s\"\nburst = 4\n"));
        lets_start(&whole, &clock, 4, 20);
        pause();
        lets_start(&whole, &clock, 4, 20);
        let stage = |more: &str| format!("[[job.stage]]\nfor = \"1s\"\n{more}\n");
        let stages =
            stage("") + &stage("rate = \"50/s\"\nburst = 3") + &stage("rate = \"20/s\"\nburst = 6");
        let staged = check(&pool, &format!("{job}{stages}"));
        staged.begin_stage(1);
        lets_start(&staged, &clock, 3, 20);
        pause();
        lets_start(&staged, &clock, 3, 20);
        staged.begin_stage(2);
        pause();
        lets_start(&staged, &clock, 6, 50);
    }

    /// The requests that are due in a stage without a rate are none of the schedule.
    #[test]
    fn the_schedule_of_a_rate_starts_anew_after_a_stage_without_a_rate() {
        let stage = |more: &str| format!("[[job.stage]]\nfor = \"1s\"\n{more}\n");
        let rated = stage("rate = \"10/s\"\nburst = 1");
        let plan =
            "[[job]]\nname = \"a\"\nlimit = 1\nbase = \"http://127.0.0.1:1\"\npaths = [\"/\"]\n";
        let pool = Pool::builder().workers(1).build().unwrap();
        for (between, places) in [(stage(""), 1), (rated.clone(), 20)] {
            let check = check(&pool, &format!("{plan}{rated}{between}{rated}"));
            let start = Instant::now();
            let late = |stage: usize, after: u64| {
                let now = start + Duration::from_millis(after);
                let slot = check.slot(stage, now);
                slot.map(|slot| slot.corrected(now).collect::<Vec<_>>())
            };
            assert_eq!(late(0, 0).unwrap(), [Duration::ZERO]);
            check.begin_stage(1);
            // A request that was about to leave when its stage ended.
            assert_eq!(late(0, 100).unwrap(), [Duration::ZERO]);
            assert_eq!(late(1, 100).is_some(), between == rated);
            check.begin_stage(2);
            let late = late(2, 2_100).unwrap();
            assert!(late.len() == places || late.len() + 1 == places, "{late:?}");
            assert_eq!(late[0], Duration::ZERO);
        }
    }
}
