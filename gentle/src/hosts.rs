//! The hosts that requests are sent to: their limits, their rates, and whether they are held off.
//!
//! All are jobs of the library, each below what bounds it, so one permit is a permit of the whole way:
//!
//! ```text
//! the plan, with its rate
//!   a host on all its ports, with its limit and rate
//!     the host on one port
//!       a server, held off after a refusal
//!         a job of the plan that sends to this server only, and backs off
//!       such a job with `backoff = false`
//! ```
//!
//! A host that `[host."*"]` is for is made when a request is sent to it, and is kept here with its job and with what it counted. A job of
//! the plan that sends to many servers is below none: each of its requests takes a permit of the job, and then one of the server.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http::Uri;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tollgate::{Closed, Job, Pool};

use crate::gauge::{Held, Inside};
use crate::limited::{Entered, Limited, Rules};
use crate::permit::Permit;
#[cfg(feature = "fleet")]
use crate::plan::Host;
use crate::plan::{HostPlan, Plan, port_of};
use crate::restraint::{Pass, Restraint};
use crate::stats::Latencies;
use crate::tally::{Causes, Mistake};

/// How long a look-up of a name may take before the name stands for itself.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(2);

/// A request that a host, and the whole that it is part of, counts as in the server's hands: until its connection is closed, and its
/// grace is over if it timed out.
pub(crate) type InHands<'a> = (Inside<'a>, Option<Inside<'a>>);

/// All hosts of a run.
pub(crate) struct Hosts {
    /// The plan as a job.
    plan: Job,
    /// Whether the plan has a rate.
    has_rate: bool,
    /// The hosts that the plan names. Whole hosts come before single ports.
    named: Vec<Arc<LimitedHost>>,
    /// What the plan says of hosts that it does not name.
    others: Option<HostPlan>,
    /// The servers that requests were sent to.
    routes: Mutex<HashMap<Place, Arc<Route>>>,
    /// What names stand for; `None` if a name stands for itself.
    names: Option<Mutex<HashMap<String, String>>>,
    /// Since when it is noted what happens when; `None` if it is not.
    noted_since: Option<Instant>,
    /// Sends the requests by the workers of a fleet. Set before the run starts, if `--fleet` is given.
    #[cfg(feature = "fleet")]
    pub(crate) coordinator: std::sync::OnceLock<Arc<crate::fleet::Coordinator>>,
}

/// A name, which may stand for others, and a port.
type Place = (String, u16);

/// Where a request goes: a server.
#[derive(Debug)]
pub(crate) struct Route {
    /// The innermost host with a limit or a rate.
    pub(crate) host: Option<Arc<LimitedHost>>,
    /// What may keep requests from the server.
    restraint: Restraint,
    /// The job that the server's is below.
    outer: Job,
    /// Whether each request needs a permit of its own.
    pub(crate) counts_requests: bool,
}

/// A host with a limit or a rate.
#[derive(Debug)]
pub(crate) struct LimitedHost {
    plan: HostPlan,
    /// What the host's name stands for.
    name: String,
    port: Option<u16>,
    limited: Limited,
    /// What came of its requests, if it is noted what happens when.
    results: Option<Mutex<Results>>,
    /// The host on all its ports, where this is one of them.
    whole: Option<Arc<LimitedHost>>,
}

/// What came of the requests to a host.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    /// The latencies of the requests that passed.
    pub(crate) passed: Latencies,
    pub(crate) failures: Causes,
}

/// One request to a host that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over<'a> {
    pub(crate) end: Instant,
    /// How long this host took, without the hosts that redirects came from or lead to.
    pub(crate) took: Duration,
    /// What the URL is called.
    pub(crate) shown: &'a str,
    /// Why the check failed, if it did.
    pub(crate) mistake: Option<&'a Mistake>,
}

impl Hosts {
    /// `noted_since` is when the run began, if it must be noted what happens when.
    pub(crate) fn new(pool: &Pool, plan: &Plan, noted_since: Option<Instant>) -> Self {
        let has_rules = !plan.hosts.is_empty() || plan.other_hosts.is_some();
        let builder = pool.job_builder().name("plan");
        let builder = plan.rate.into_iter().fold(builder, |plan, rate| plan.rate(rate.into()));
        let mut hosts = Hosts {
            plan: builder.build(),
            has_rate: plan.rate.is_some(),
            named: Vec::new(),
            others: plan.other_hosts.clone(),
            routes: Mutex::default(),
            names: (has_rules && plan.by_address).then(Mutex::default),
            noted_since,
            #[cfg(feature = "fleet")]
            coordinator: std::sync::OnceLock::new(),
        };
        let mut plans: Vec<_> = plan.hosts.iter().collect();
        plans.sort_by_key(|plan| plan.host.has_port());
        for plan in plans {
            let (name, port) = (hosts.stands_for(plan.host.name()), plan.host.port());
            let is_whole = |known: &&Arc<LimitedHost>| known.name == name && known.port.is_none();
            let whole = port.and_then(|_| hosts.named.iter().find(is_whole)).cloned();
            let above = whole.as_deref().map_or(&hosts.plan, |whole| whole.limited.job());
            let shown = port.map_or(name.clone(), |port| format!("{name}:{port}"));
            let job = Rules::of_host(plan).build(above.job_builder().name(shown));
            let host = LimitedHost::new(job, plan.clone(), (name, port), whole, noted_since);
            hosts.named.push(Arc::new(host));
        }
        hosts
    }

    /// Where requests for `url` go. May block for a look-up of the name.
    pub(crate) fn route_blocking(&self, url: &Uri) -> Arc<Route> {
        let name = url.host().unwrap_or_default();
        self.route(self.stands_for(name), port_of(url))
    }

    /// Where requests for `url` go.
    pub(crate) async fn route_of(&self, url: &Uri) -> Arc<Route> {
        let name = bare(url.host().unwrap_or_default());
        let stands_for = match self.known(&name) {
            Some(known) => known,
            None => {
                let found = timeout(LONGEST_LOOK_UP, lookup_host((name.as_str(), 0))).await;
                let found: Vec<_> = found.ok().and_then(Result::ok).into_iter().flatten().collect();
                self.learn(name, found.into_iter())
            }
        };
        self.route(stands_for, port_of(url))
    }

    fn route(&self, name: String, port: u16) -> Arc<Route> {
        let place = (name, port);
        let mut routes = lock(&self.routes);
        if let Some(route) = routes.get(&place) {
            return Arc::clone(route);
        }
        let route = Arc::new(self.new_route(&place));
        routes.insert(place, Arc::clone(&route));
        route
    }

    fn new_route(&self, place: &Place) -> Route {
        let (name, port) = place;
        let takes = |host: &&Arc<LimitedHost>| {
            host.name == *name && host.port.is_none_or(|own| own == *port)
        };
        let host = self.named.iter().rev().find(takes).cloned().or_else(|| {
            let plan = self.others.as_ref()?;
            let plan = HostPlan { host: plan.host.named(name, *port), ..plan.clone() };
            let job = self.plan.job_builder().name(format!("{name}:{port}"));
            let (job, at) = (Rules::of_host(&plan).build(job), (name.clone(), Some(*port)));
            Some(Arc::new(LimitedHost::new(job, plan, at, None, self.noted_since)))
        });
        let outer = host.as_ref().map_or(&self.plan, |host| host.limited.job()).clone();
        let server = outer.job_builder().name(format!("server {name}:{port}")).build();
        let counts_requests =
            self.has_rate || host.as_ref().is_some_and(|host| host.counts_requests());
        Route { host, restraint: Restraint::new(server), outer, counts_requests }
    }

    /// What a name stands for. May block for a look-up of the name.
    fn stands_for(&self, name: &str) -> String {
        let name = bare(name);
        self.known(&name).unwrap_or_else(|| {
            let found: Vec<_> =
                (name.as_str(), 0).to_socket_addrs().into_iter().flatten().collect();
            self.learn(name, found.into_iter())
        })
    }

    fn known(&self, name: &str) -> Option<String> {
        match &self.names {
            Some(_) if name.parse::<IpAddr>().is_ok() => Some(name.to_owned()),
            Some(names) => lock(names).get(name).cloned(),
            None => Some(name.to_owned()),
        }
    }

    /// Remembers that a name stands for the least of its addresses, IPv4 first; or for itself if it has none.
    fn learn(&self, name: String, found: impl Iterator<Item = SocketAddr>) -> String {
        let least = found.map(|address| address.ip()).min();
        let stands_for = least.map_or_else(|| name.clone(), |least| least.to_string());
        if let Some(names) = &self.names {
            lock(names).insert(name, stands_for.clone());
        }
        stands_for
    }

    /// All hosts with a limit or a rate, those that the plan does not name at the end.
    pub(crate) fn all(&self) -> Vec<Arc<LimitedHost>> {
        let is_made =
            |host: &Arc<LimitedHost>| !self.named.iter().any(|named| Arc::ptr_eq(named, host));
        let routes = lock(&self.routes);
        let made = routes.values().filter_map(|route| route.host.clone()).filter(is_made);
        let mut made: Vec<_> = made.collect();
        made.sort_by_key(|host| (host.name.clone(), host.port));
        self.named.iter().cloned().chain(made).collect()
    }

    /// The host that the plan names and that no route leads to, if there is one.
    pub(crate) fn unused(&self, routes: &[&Arc<Route>]) -> Option<&HostPlan> {
        let leads_to = |host: &Arc<LimitedHost>, route: &&Arc<Route>| {
            let own = route.host.as_ref();
            own.is_some_and(|own| {
                Arc::ptr_eq(own, host) || own.outermost().name == host.name && host.port.is_none()
            })
        };
        let is_unused =
            |host: &&Arc<LimitedHost>| !routes.iter().any(|route| leads_to(host, route));
        self.named.iter().find(is_unused).map(|host| &host.plan)
    }

    /// Since when it is noted what happens when; `None` if it is not.
    pub(crate) fn noted_since(&self) -> Option<Instant> {
        self.noted_since
    }

    /// How often requests to each server were held off, for those that were.
    pub(crate) fn holds(&self) -> Vec<(String, u64)> {
        let routes = lock(&self.routes);
        let holds = routes.iter().map(|((name, port), route)| {
            let name = if name.contains(':') { format!("[{name}]") } else { name.clone() };
            (format!("{name}:{port}"), route.restraint.holds())
        });
        let mut holds: Vec<_> = holds.filter(|(_, holds)| *holds > 0).collect();
        holds.sort();
        holds
    }
}

/// A host without the brackets of an IPv6 address, in lower case.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").field("named", &self.named).finish_non_exhaustive()
    }
}

impl LimitedHost {
    /// `job` keeps to what `plan` says.
    fn new(
        job: Job,
        plan: HostPlan,
        (name, port): (String, Option<u16>),
        whole: Option<Arc<LimitedHost>>,
        noted_since: Option<Instant>,
    ) -> Self {
        let limited = Limited::new(job, Rules::of_host(&plan), noted_since);
        let results = noted_since.map(|_| {
            let (passed, failures) = (Latencies::new(2), Causes::default());
            Mutex::new(Results { passed, failures })
        });
        LimitedHost { plan, name, port, limited, results, whole }
    }

    /// Notes what came of a request, if it is noted what happens when.
    pub(crate) fn note(&self, over: Over<'_>) {
        let Over { end, took, shown, mistake } = over;
        if let (Some(timeline), Some(results)) = (self.limited.timeline(), &self.results) {
            timeline.record(end, mistake.is_none().then_some(took));
            let mut results = lock(results);
            match mistake {
                None => results.passed.record(took),
                Some(mistake) => results.failures.count(mistake, shown),
            }
        }
        if let Some(whole) = &self.whole {
            whole.note(over);
        }
    }

    /// What came of the requests, if it was noted.
    pub(crate) fn results(&self) -> Option<Results> {
        self.results.as_ref().map(|results| lock(results).clone())
    }

    /// Counts a request as in flight until the guards drop.
    pub(crate) fn enter(&self) -> (Entered<'_>, Option<Entered<'_>>) {
        (self.limited.enter(), self.whole.as_ref().map(|whole| whole.limited.enter()))
    }

    pub(crate) fn limited(&self) -> &Limited {
        &self.limited
    }

    /// Counts a request as in the server's hands until the guards drop.
    pub(crate) fn hold(&self) -> InHands<'_> {
        let of_whole = self.whole.as_ref().map(|whole| whole.limited.in_hands().enter());
        (self.limited.in_hands().enter(), of_whole)
    }

    /// The same until guards drop that may outlive the caller.
    pub(crate) fn keep(&self, (own, whole): InHands<'_>) -> (Held, Option<Held>) {
        let whole = whole.zip(self.whole.as_ref());
        let whole = whole.map(|(inside, host)| inside.keep(host.limited.in_hands()));
        (own.keep(self.limited.in_hands()), whole)
    }

    pub(crate) fn plan(&self) -> &HostPlan {
        &self.plan
    }

    /// Whether each request needs a permit of its own, for a rate or a limit that finds itself, on this port or on all.
    fn counts_requests(&self) -> bool {
        let whole = self.whole.as_ref();
        Rules::of_host(&self.plan).count_requests()
            || whole.is_some_and(|whole| whole.counts_requests())
    }

    /// Notes the limits of the moment, if they find themselves.
    pub(crate) fn note_limits(&self) {
        self.limited.note_limit();
        if let Some(whole) = &self.whole {
            whole.limited.note_limit();
        }
    }

    /// Returns the host whose limit a fleet enforces: the host on all ports if that has a limit, else this one.
    #[cfg(feature = "fleet")]
    pub(crate) fn outermost_limited(&self) -> &Host {
        let whole = self.whole.as_deref().filter(|whole| whole.plan.limit.is_some());
        &whole.unwrap_or(self).plan.host
    }

    /// The outermost host that this one is part of.
    fn outermost(&self) -> &LimitedHost {
        self.whole.as_deref().unwrap_or(self)
    }
}

impl Route {
    /// The job that stands for the server, for a job of the plan that backs off or does not.
    pub(crate) fn job(&self, backs_off: bool) -> &Job {
        if backs_off { self.restraint.job() } else { &self.outer }
    }

    /// What lets a request leave that has a permit. `None` for a job that does not back off.
    pub(crate) fn pass(&self, backs_off: bool) -> Option<Pass<'_>> {
        backs_off.then(|| self.restraint.pass())
    }

    /// Waits for a permit of `job`, which is below the route's or is the route's, and for the pass that goes with it.
    pub(crate) async fn leave(
        &self,
        job: &Job,
        backs_off: bool,
    ) -> Result<(Permit, Option<Pass<'_>>), Closed> {
        loop {
            let permit = Permit::from(job.acquire().await?);
            let pass = self.pass(backs_off);
            // The server may have refused another request after this permit was granted.
            if pass.is_none() || !self.restraint.is_held_off() {
                return Ok((permit, pass));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate::ManualClock;

    use super::*;

    /// Returns how many requests may start now.
    fn starts(job: &Job) -> usize {
        std::iter::repeat_with(|| job.try_acquire()).take(100).flatten().count()
    }

    /// The time is the clock's, so a rate that is too high or too low shows on any machine.
    #[test]
    fn a_host_and_the_plan_let_a_burst_start_and_then_one_an_interval() {
        let job =
            "[[job]]\nname = \"a\"\nlimit = 9\nbase = \"http://127.0.0.1:8080\"\npaths = [\"/\"]\n";
        let rate = "rate = \"50/s\"\nburst = 4\n";
        let plans = ["127.0.0.1", "127.0.0.1:8080", "*"]
            .map(|host| format!("{job}[host.{host:?}]\n{rate}"))
            .into_iter()
            .chain([format!("{rate}{job}"), format!("{rate}{job}[host.\"*\"]\nlimit = 9\n")]);
        for text in plans {
            let clock = ManualClock::new();
            let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
            let plan = crate::plan::parse("plan", &text).unwrap();
            let hosts = Hosts::new(&pool, &plan, None);
            let route = hosts.route_blocking(&plan.jobs[0].origin().unwrap());
            let ms = |ms| clock.advance(Duration::from_millis(ms));
            for _ in 0..2 {
                assert_eq!(starts(route.job(true)), 4, "{text}");
                for _ in 0..30 {
                    ms(19);
                    assert_eq!(starts(route.job(true)), 0, "{text}");
                    ms(1);
                    assert_eq!(starts(route.job(true)), 1, "{text}");
                }
                // A pause saves up a burst and no more.
                ms(10_000);
            }
        }
    }
}
