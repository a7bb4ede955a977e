//! What has a limit on its requests, and counts them: a job of the plan, or a host.

use std::sync::Arc;
use std::time::Instant;

use tollgate::{Adaptive, Job, JobBuilder};

use crate::gauge::{Gauge, Inside};
use crate::plan::{AutoLimit, HostPlan, JobPlan, Rate};
use crate::timeline::{Noted, Timeline};

/// A job of the pool, and the requests that hold its permits.
#[derive(Debug)]
pub(crate) struct Limited {
    job: Job,
    /// The range of the limit, if the limit finds itself.
    auto: Option<AutoLimit>,
    in_flight: Gauge,
    /// Requests that are in flight, or have timed out and are within their grace. The server may hold more: it may work on after the grace.
    in_hands: Arc<Gauge>,
    timeline: Option<Timeline>,
}

/// A request that is counted as in flight, and noted.
pub(crate) type Entered<'a> = (Option<Noted<'a>>, Inside<'a>);

/// What the plan says of a job or a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The limit at the start, or the greatest one of a limit that finds itself.
    limit: Option<usize>,
    auto: Option<AutoLimit>,
    rate: Option<Rate>,
}

impl Rules {
    /// The rate is not among them: it changes with the stages.
    pub(crate) fn of_job(plan: &JobPlan) -> Self {
        Rules { limit: Some(plan.limits[0]), auto: plan.auto, rate: None }
    }

    pub(crate) fn of_host(plan: &HostPlan) -> Self {
        Rules { limit: plan.limit, auto: plan.auto, rate: plan.rate }
    }

    /// Whether each request needs a permit of its own: as a sample for a limit that finds itself, or as a start at a rate.
    pub(crate) fn count_requests(self) -> bool {
        self.auto.is_some() || self.rate.is_some()
    }

    /// Makes the job of the library that keeps to the rules.
    pub(crate) fn build(self, builder: JobBuilder) -> Job {
        let builder = match self.auto {
            Some(AutoLimit { min, max }) => builder.adaptive(Adaptive::new(min..=max)),
            None => builder.limit(self.limit.unwrap_or(usize::MAX)),
        };
        self.rate.into_iter().fold(builder, |builder, rate| builder.rate(rate.into())).build()
    }
}

impl From<Rate> for tollgate::Rate {
    fn from(rate: Rate) -> Self {
        tollgate::Rate::every(rate.interval()).burst(rate.burst)
    }
}

impl Limited {
    /// `job` keeps to `rules`. `noted_since` is when the run began, if it must be noted what happens when.
    pub(crate) fn new(job: Job, rules: Rules, noted_since: Option<Instant>) -> Self {
        let Rules { limit, auto, .. } = rules;
        let first = auto.map_or(limit, |auto| Some(auto.min));
        Limited {
            job,
            auto,
            in_flight: Gauge::default(),
            in_hands: Arc::default(),
            timeline: noted_since.map(|start| Timeline::new(start, first)),
        }
    }

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Counts a request as in flight until the guards drop.
    pub(crate) fn enter(&self) -> Entered<'_> {
        let inside = self.in_flight.enter();
        (self.timeline().map(|timeline| timeline.enter(inside.with_this())), inside)
    }

    /// How many requests are in flight, and the most at once.
    pub(crate) fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// How many requests are in flight, or have timed out and are within their grace, and the most at once.
    pub(crate) fn in_hands(&self) -> &Arc<Gauge> {
        &self.in_hands
    }

    /// What happened when, if it is noted.
    pub(crate) fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// The limit of the moment, if it finds itself.
    pub(crate) fn settled(&self) -> Option<usize> {
        self.auto.map(|_| self.job.limit())
    }

    /// Notes the limit of the moment, if it finds itself.
    pub(crate) fn note_limit(&self) {
        if let (Some(limit), Some(timeline)) = (self.settled(), &self.timeline) {
            timeline.set_limit(Instant::now(), limit);
        }
    }
}
