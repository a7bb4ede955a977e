//! The hosts that requests are sent to: their limits, their rates, and whether they are held off.
//!
//! A host with a limit is a job of its own, and the jobs that send to it are its children: their requests take a
//! permit of both. A host that is limited as a whole and on one port is two, one the other's child.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http::Uri;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tollgate::Pool;

use crate::gauge::{Held, Inside};
use crate::limited::{Entered, Limited};
use crate::pace::Pacer;
use crate::permit::Waiting;
use crate::plan::{HostPlan, Plan, port_of};
use crate::restraint::Restraint;

/// How long a look-up of a name may take before the name stands for itself.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(2);

/// A request that a host, and the whole that it is part of, counts as in the server's hands.
pub(crate) type InHands<'a> = (Inside<'a>, Option<Inside<'a>>);

/// All hosts of a run.
pub(crate) struct Hosts {
    pool: Arc<Pool>,
    /// The hosts that the plan names. Whole hosts come before single ports.
    named: Vec<Arc<LimitedHost>>,
    /// What the plan says of hosts that it does not name.
    others: Option<HostPlan>,
    /// Those of them that requests were sent to, by name and port.
    made: Mutex<HashMap<Place, Arc<LimitedHost>>>,
    restraints: Mutex<HashMap<Place, Arc<Restraint>>>,
    /// What names stand for; `None` if a name stands for itself.
    names: Option<Mutex<HashMap<String, String>>>,
    /// Since when it is noted what happens when; `None` if it is not.
    noted_since: Option<Instant>,
}

/// A name, which may stand for others, and a port.
type Place = (String, u16);

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The innermost host with a limit or a rate.
    pub(crate) host: Option<Arc<LimitedHost>>,
    /// What may keep requests from the server.
    pub(crate) restraint: Arc<Restraint>,
}

/// A host with a limit or a rate.
#[derive(Debug)]
pub(crate) struct LimitedHost {
    plan: HostPlan,
    /// What the host's name stands for.
    name: String,
    port: Option<u16>,
    limited: Limited,
    pacer: Option<Pacer>,
    /// Tasks that wait for a permit of this host, on whatever port.
    waiting: Waiting,
    /// The host on all its ports, where this is one of them.
    whole: Option<Arc<LimitedHost>>,
}

impl Hosts {
    /// `noted_since` is when the run began, if it must be noted what happens when.
    pub(crate) fn new(pool: &Arc<Pool>, plan: &Plan, noted_since: Option<Instant>) -> Self {
        let has_rules = !plan.hosts.is_empty() || plan.other_hosts.is_some();
        let mut hosts = Hosts {
            pool: Arc::clone(pool),
            named: Vec::new(),
            others: plan.other_hosts.clone(),
            made: Mutex::default(),
            restraints: Mutex::default(),
            names: (has_rules && plan.by_address).then(Mutex::default),
            noted_since,
        };
        let mut plans: Vec<_> = plan.hosts.iter().collect();
        plans.sort_by_key(|plan| plan.host.has_port());
        for plan in plans {
            let (name, port) = (hosts.stands_for(plan.host.name()), plan.host.port());
            let is_whole = |known: &&Arc<LimitedHost>| known.name == name && known.port.is_none();
            let whole = port.and_then(|_| hosts.named.iter().find(is_whole)).cloned();
            let host = LimitedHost::new(pool, plan.clone(), (name, port), whole, noted_since);
            hosts.named.push(Arc::new(host));
        }
        hosts
    }

    /// Where requests for `url` go. May block for a look-up of the name.
    pub(crate) fn route_blocking(&self, url: &Uri) -> Route {
        let name = url.host().unwrap_or_default();
        self.route(self.stands_for(name), port_of(url))
    }

    /// Where requests for `url` go.
    pub(crate) async fn route_of(&self, url: &Uri) -> Route {
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

    fn route(&self, name: String, port: u16) -> Route {
        let takes =
            |host: &&Arc<LimitedHost>| host.name == name && host.port.is_none_or(|own| own == port);
        let place = (name.clone(), port);
        let host = self.named.iter().rev().find(takes).cloned().or_else(|| {
            let plan = self.others.as_ref()?;
            let mut made = lock(&self.made);
            let make = || {
                let plan = HostPlan { host: plan.host.named(&name, port), ..plan.clone() };
                let place = (name.clone(), Some(port));
                let host = LimitedHost::new(&self.pool, plan, place, None, self.noted_since);
                Arc::new(host)
            };
            Some(Arc::clone(made.entry(place.clone()).or_insert_with(make)))
        });
        let restraint = Arc::clone(lock(&self.restraints).entry(place).or_default());
        Route { host, restraint }
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
        let mut made: Vec<_> = lock(&self.made).values().cloned().collect();
        made.sort_by_key(|host| (host.name.clone(), host.port));
        self.named.iter().cloned().chain(made).collect()
    }

    /// The host that the plan names and that no route leads to, if there is one.
    pub(crate) fn unused(&self, routes: &[&Route]) -> Option<&HostPlan> {
        let leads_to = |host: &Arc<LimitedHost>, route: &&Route| {
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
        let restraints = lock(&self.restraints);
        let holds = restraints.iter().map(|((name, port), restraint)| {
            let name = if name.contains(':') { format!("[{name}]") } else { name.clone() };
            (format!("{name}:{port}"), restraint.holds())
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
    fn new(
        pool: &Pool,
        plan: HostPlan,
        (name, port): (String, Option<u16>),
        whole: Option<Arc<LimitedHost>>,
        noted_since: Option<Instant>,
    ) -> Self {
        let shown = port.map_or(name.clone(), |port| format!("{name}:{port}"));
        LimitedHost {
            limited: Limited::new(
                pool,
                whole.as_deref().map(LimitedHost::limited),
                &shown,
                (plan.limit, plan.auto),
                noted_since,
            ),
            pacer: plan.rate.map(Pacer::new),
            plan,
            name,
            port,
            waiting: Waiting::default(),
            whole,
        }
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

    /// Whether a limit of the host finds itself, on this port or on all.
    pub(crate) fn is_auto(&self) -> bool {
        self.limited.is_auto() || self.whole.as_ref().is_some_and(|whole| whole.is_auto())
    }

    /// Notes the limits of the moment, if they find themselves.
    pub(crate) fn note_limits(&self) {
        self.limited.note_limit();
        if let Some(whole) = &self.whole {
            whole.limited.note_limit();
        }
    }

    /// The pacers of the host, the outermost first.
    pub(crate) fn pacers(&self) -> impl Iterator<Item = &Pacer> {
        let whole = self.whole.as_ref().and_then(|whole| whole.pacer.as_ref());
        whole.into_iter().chain(&self.pacer)
    }

    /// The outermost host that this one is part of.
    pub(crate) fn outermost(&self) -> &LimitedHost {
        self.whole.as_deref().unwrap_or(self)
    }

    /// Tasks that wait for a permit of this host.
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }
}
