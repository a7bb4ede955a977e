//! Sends one request of a job, follows its redirects, and tallies what came of it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::Uri;
use tokio::time::sleep;

use crate::check::{Check, Stop, stopped};
use crate::client::{Answer, Cause, Client, Failure};
use crate::gauge::Held;
use crate::hosts::LimitedHost;
use crate::judge::judge;
use crate::permit::{Permit, acquire};
use crate::plan::AfterTimeout;
use crate::redirect::Redirect;
use crate::tally::{Mistake, Sent};

/// A host with a limit, and the permit of the host for one request.
struct HostPermit<'a> {
    host: &'a LimitedHost,
    /// `None` if the job's own permit is one of the host, too.
    _permit: Option<Permit>,
}

impl Check {
    /// Sends a request and follows its redirects, with a permit of each host that has a limit.
    ///
    /// If the request times out, the permits are kept for as long as the plan says: the server may not notice at once that
    /// the connection was closed.
    pub(crate) async fn deliver(&self, client: &Client, url: Uri, stop: &mut Stop) {
        let mut template = Cow::Borrowed(&self.template);
        let (mut target, mut took, mut start) = (url.clone(), Duration::ZERO, None);
        let mut followed = 0;
        loop {
            // A permit of one host is given back before a permit of another one is asked for.
            let Ok(permit) = self.host_permit(&target).await else { return };
            let host = permit.as_ref().map(|permit| permit.host);
            let _in_flight = self.in_flight.enter();
            let _in_flight_to_host = host.map(LimitedHost::enter);
            let in_hands = (self.in_hands.hold(), host.map(LimitedHost::hold));
            let sent = Instant::now();
            let answer = client.send(&template, &target).await;
            took += sent.elapsed();
            let start = *start.get_or_insert(sent);
            if followed < self.plan.redirects
                && let Ok(answer) = &answer
                && let Some(redirect) = Redirect::of(answer, &template.method, &target)
            {
                followed += 1;
                template = Cow::Owned(redirect.template(&template, &target));
                target = redirect.target;
                continue;
            }
            let timed_out = matches!(&answer, Err(failure) if failure.cause == Cause::Timeout);
            self.record(&url, start, took, followed, answer);
            if timed_out {
                self.after_timeout(in_hands, stop).await;
            }
            return;
        }
    }

    /// Takes a permit of the host, if the host has a limit. An error means that the host takes no more requests.
    async fn host_permit(&self, url: &Uri) -> Result<Option<HostPermit<'_>>, ()> {
        let Some(host) = self.hosts.of(url) else {
            return Ok(self.host.as_deref().map(|host| HostPermit { host, _permit: None }));
        };
        let _waiting = host.outermost().waiting().enter();
        let permit = acquire(host.job()).await.ok_or(())?;
        Ok(Some(HostPermit { host, _permit: Some(permit) }))
    }

    /// Waits as long as the plan says after a time-out.
    async fn after_timeout<H>(&self, in_hands: (Held, H), stop: &mut Stop)
    where
        H: Send + 'static,
    {
        match self.plan.after_timeout {
            AfterTimeout::Hold(grace) => tokio::select! {
                () = sleep(grace) => {}
                _ = stopped(stop) => {}
            },
            AfterTimeout::Release => {
                let grace = self.plan.timeout;
                tokio::spawn(async move {
                    sleep(grace).await;
                    drop(in_hands);
                });
            }
        }
    }

    fn record(
        &self,
        url: &Uri,
        start: Instant,
        took: Duration,
        redirects: usize,
        answer: Result<Answer, Failure>,
    ) {
        let (status, mistake) = match answer {
            Ok(answer) => {
                let cause = judge(&self.plan.expect, &answer, took);
                (Some(answer.status), cause.map(Mistake::unexpected))
            }
            Err(failure) => (None, Some(Mistake::from(failure))),
        };
        if let (Some(mistake), Some(_)) = (&mistake, &self.log) {
            self.log(&url.to_string(), mistake, status.map(|status| status.as_u16()), took);
        }
        let end = Instant::now();
        self.tally().record(&Sent { url, start, end, took, redirects, status, mistake });
    }
}
