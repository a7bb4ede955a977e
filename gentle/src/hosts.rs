//! The hosts with a limit over everything that is sent to them.
//!
//! A host is a job of its own, and the jobs that send to it are its children: their requests take a
//! permit of both. A host that is limited as a whole and on one port is two, one the other's child.

use std::sync::Arc;

use http::Uri;
use tollgate::{Job, Pool};

use crate::gauge::{Gauge, Held, Inside};
use crate::permit::Waiting;
use crate::plan::HostPlan;

/// All hosts of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Vec<Arc<LimitedHost>>);

/// A host with a limit.
#[derive(Debug)]
pub(crate) struct LimitedHost {
    plan: HostPlan,
    job: Job,
    in_flight: Gauge,
    /// Requests that the server may be working on, those that were given up among them.
    in_hands: Arc<Gauge>,
    /// Tasks that wait for a permit of this host, on whatever port.
    waiting: Waiting,
    /// The host on all its ports, where this is one of them.
    whole: Option<Arc<LimitedHost>>,
}

impl Hosts {
    pub(crate) fn new(pool: &Pool, mut plans: Vec<HostPlan>) -> Self {
        let mut hosts: Vec<Arc<LimitedHost>> = Vec::with_capacity(plans.len());
        plans.sort_by_key(|plan| plan.host.has_port());
        for plan in plans {
            let whole = hosts.iter().find(|known| plan.host.is_port_of(&known.plan.host)).cloned();
            let job = child(pool, whole.as_deref(), plan.limit);
            hosts.push(Arc::new(LimitedHost {
                plan,
                job,
                in_flight: Gauge::default(),
                in_hands: Arc::default(),
                waiting: Waiting::default(),
                whole,
            }));
        }
        Hosts(hosts)
    }

    /// The innermost host that requests for `url` are sent to.
    pub(crate) fn of(&self, url: &Uri) -> Option<&Arc<LimitedHost>> {
        self.0.iter().rev().find(|host| host.plan.host.takes(url))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LimitedHost> {
        self.0.iter().map(Arc::as_ref)
    }
}

impl LimitedHost {
    /// Counts a request as in flight until the guards drop.
    pub(crate) fn enter(&self) -> (Inside<'_>, Option<Inside<'_>>) {
        (self.in_flight.enter(), self.whole.as_ref().map(|whole| whole.in_flight.enter()))
    }

    /// Counts a request as in the server's hands until the guards drop.
    pub(crate) fn hold(&self) -> (Held, Option<Held>) {
        (self.in_hands.hold(), self.whole.as_ref().map(|whole| whole.in_hands.hold()))
    }

    pub(crate) fn plan(&self) -> &HostPlan {
        &self.plan
    }

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// The outermost host that this one is part of.
    pub(crate) fn outermost(&self) -> &LimitedHost {
        self.whole.as_deref().unwrap_or(self)
    }

    /// Tasks that wait for a permit of this host.
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The most requests that the server may have been working on at once.
    pub(crate) fn most_in_hands(&self) -> usize {
        self.in_hands.most()
    }

    /// The most requests that were in flight at once, of all jobs together.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.in_flight.most()
    }
}

/// A job below a host, if there is one.
pub(crate) fn child(pool: &Pool, host: Option<&LimitedHost>, limit: usize) -> Job {
    match host {
        Some(host) => host.job.job(limit),
        None => pool.job(limit),
    }
}
