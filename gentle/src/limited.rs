//! What has a limit on its requests, and counts them: a job of the plan, or a host.

use std::sync::Arc;
use std::time::Instant;

use tollgate::{Adaptive, Job, Pool};

use crate::gauge::{Gauge, Inside};
use crate::plan::AutoLimit;
use crate::timeline::{Noted, Timeline};

/// A job of the pool, and the requests that hold its permits.
#[derive(Debug)]
pub(crate) struct Limited {
    job: Job,
    /// The range of the limit, if the limit finds itself.
    auto: Option<AutoLimit>,
    in_flight: Gauge,
    /// Requests that the server may be working on, those that were given up among them.
    in_hands: Arc<Gauge>,
    timeline: Option<Timeline>,
}

/// A request that is counted as in flight, and noted.
pub(crate) type Entered<'a> = (Option<Noted<'a>>, Inside<'a>);

impl Limited {
    /// Makes the job, below another one if there is one. `noted_since` is when the run began, if it must be noted what happens when.
    pub(crate) fn new(
        pool: &Pool,
        above: Option<&Limited>,
        name: &str,
        (limit, auto): (Option<usize>, Option<AutoLimit>),
        noted_since: Option<Instant>,
    ) -> Self {
        let builder = above.map_or_else(|| pool.job_builder(), |above| above.job.job_builder());
        let builder = match auto {
            Some(AutoLimit { min, max }) => builder.adaptive(Adaptive::new(min..=max)),
            None => builder.limit(limit.unwrap_or(usize::MAX)),
        };
        let first = auto.map_or(limit, |auto| Some(auto.min));
        Limited {
            job: builder.name(name).build(),
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

    /// How many requests the server may be working on, and the most at once.
    pub(crate) fn in_hands(&self) -> &Arc<Gauge> {
        &self.in_hands
    }

    /// What happened when, if it is noted.
    pub(crate) fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    pub(crate) fn is_auto(&self) -> bool {
        self.auto.is_some()
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
