//! Sends one request of a job, follows its redirects, and tallies what came of it.

use std::borrow::Cow;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use http::header::{COOKIE, RETRY_AFTER};
use http::{StatusCode, Uri};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::check::{Check, Stop, interrupted, is_stopped, stopped};
use crate::client::{Answer, Cause, Client, Failure, Template};
use crate::cookies::Jar;
use crate::gauge::Inside;
use crate::hosts::{InHands, LimitedHost, Over};
use crate::judge::judge;
use crate::permit::Permit;
use crate::plan::{AfterTimeout, Expect, Statuses, StepPlan};
use crate::redirect::Redirect;
use crate::restraint::{Pass, Taken};
use crate::schedule::Slot;
use crate::session::Session;
use crate::tally::{Kind, Mistake, Sent};
use crate::way::{Answered, Way};

/// What is sent to, and what it counts for.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) url: Uri,
    /// What the URL is called where it is shown; `None` if nothing of it is secret.
    pub(crate) shown: Option<&'a str>,
    /// The place of the URL among the plan's paths or steps.
    pub(crate) path: Option<usize>,
    pub(crate) stage: usize,
    pub(crate) template: Cow<'a, Template>,
    /// What the answer must be.
    pub(crate) expect: &'a Expect,
    /// The step of the session that it is, if it is one.
    pub(crate) step: Option<&'a StepPlan>,
}

impl Target<'_> {
    fn shown(&self) -> Cow<'_, str> {
        self.shown.map_or_else(|| Cow::Owned(self.url.to_string()), Cow::Borrowed)
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    Passed,
    Failed,
    /// It was not sent, because its server gets no more.
    GivenUp,
    /// It was not sent to its end, because the run is being stopped.
    Stopped,
}

/// What a lane sends a request with.
pub(crate) struct Sends<'a> {
    pub(crate) session: &'a mut Session,
    /// A permit of the job. `None` if the server of all its requests gets no more.
    pub(crate) permit: Option<&'a mut Permit>,
    /// What lets the request leave, if all go to one server.
    pub(crate) pass: Option<Pass<'a>>,
    /// Keeps the requests behind this one until it is sent.
    pub(crate) turnstile: Option<Permit>,
}

/// What a request leaves with.
struct Leave<'a> {
    host: Option<&'a LimitedHost>,
    pass: Option<Pass<'a>>,
    /// `None` if the job's own permit is one of the server, too.
    permit: Option<Permit>,
}

impl Check {
    /// Sends a request and follows its redirects, with a permit of each server.
    ///
    /// If the request times out, the permits are kept for as long as the plan says: the server may not notice at once that
    /// the connection was closed.
    pub(crate) async fn deliver(
        &self,
        client: &Client,
        target: Target<'_>,
        sends: Sends<'_>,
        stop: &mut Stop,
    ) -> Delivered {
        let Sends { session, permit, pass, mut turnstile } = sends;
        let Some(own_permit) = permit else { return self.record_given_up(&target).await };
        let mut template = Cow::Borrowed(target.template.as_ref());
        let mut url = Cow::Borrowed(&target.url);
        let (mut took, mut start) = (Duration::ZERO, None);
        let (mut followed, mut slot) = (0, None);
        let mut last_times = None;
        loop {
            let own_route;
            let mut leave = match &self.route {
                Some(route) => Leave { host: route.host.as_deref(), pass, permit: None },
                None => {
                    own_route = self.hosts.route_of(&url).await;
                    // A permit of one server is given back before a permit of another one is asked for.
                    let job = own_route.job(self.plan.backoff);
                    let left = tokio::select! {
                        biased;
                        left = own_route.leave(job, self.plan.backoff) => left,
                        _ = stopped(stop) => return Delivered::Stopped,
                    };
                    let Ok((permit, pass)) = left else {
                        return match last_times {
                            None => self.record_given_up(&target).await,
                            // The last redirect was not followed.
                            Some(times) => {
                                let answer = Err(Failure::given_up());
                                self.record(&target, times, followed - 1, &answer, session, None)
                            }
                        };
                    };
                    Leave { host: own_route.host.as_deref(), pass, permit: Some(permit) }
                }
            };
            let _in_flight = self.limited.enter();
            let _in_flight_to_host = leave.host.map(LimitedHost::enter);
            let in_hands =
                (self.limited.in_hands().enter(), leave.host.map(|host| (host, host.hold())));
            let sent = Instant::now();
            if start.is_none() {
                (start, slot) = (Some(sent), self.slot(target.stage, sent));
                drop(turnstile.take());
            }
            let way = self.way(client, leave.host);
            let (answer, measured) = match &session.jar {
                None => way.send(&template, &url).await,
                Some(jar) => send_with_cookies(&way, &template, &url, jar).await,
            };
            let taken = taken(target.expect, &answer);
            let hop = measured.unwrap_or_else(|| sent.elapsed());
            took += hop;
            // A time-out is an overload, too. A connection that is lost in another way is none.
            let timed_out = matches!(&answer, Err(failure) if failure.cause == Cause::Timeout);
            let overloaded = timed_out || matches!(taken, Taken::Refused(_));
            own_permit.sample(took, overloaded);
            if let Some(permit) = &mut leave.permit {
                permit.sample(hop, overloaded);
            }
            self.limited.note_limit();
            if let Some(host) = leave.host {
                host.note_limits();
            }
            if let Some(pass) = leave.pass {
                pass.end(taken);
            }
            let times = Times { start: start.unwrap_or(sent), took, hop, slot };
            if followed < self.plan.redirects
                && let Ok(answer) = &answer
                && let Some(redirect) = Redirect::of(answer, &template.method, &url)
            {
                if let Some(host) = leave.host {
                    // The redirect is the answer of this host.
                    host.note(Over { end: Instant::now(), took: hop, shown: "", mistake: None });
                }
                if is_stopped(stop) {
                    return Delivered::Stopped;
                }
                followed += 1;
                last_times = Some(times);
                template = Cow::Owned(redirect.template(&template, &url));
                url = Cow::Owned(redirect.target);
                continue;
            }
            let delivered = self.record(&target, times, followed, &answer, session, leave.host);
            if let Ok(answer) = answer {
                client.reuse(answer);
            }
            if timed_out {
                self.after_timeout(in_hands, stop).await;
            }
            return delivered;
        }
    }

    /// Returns how a request to `host` is sent: by `client`, or by a worker of the fleet.
    #[cfg_attr(not(feature = "fleet"), allow(clippy::unused_self, reason = "there is one way"))]
    fn way<'a>(&'a self, client: &'a Client, host: Option<&'a LimitedHost>) -> Way<'a> {
        #[cfg(feature = "fleet")]
        if let Some(coordinator) = self.hosts.coordinator.get() {
            return Way::Fleet {
                coordinator,
                check: self,
                host: host.map(LimitedHost::outermost_limited),
            };
        }
        _ = host;
        Way::Here(client)
    }

    /// Counts a request that was not sent, because its server refused too often. Lets the thread's other lanes go on.
    async fn record_given_up(&self, target: &Target<'_>) -> Delivered {
        yield_now().await;
        let cause = "not sent: the server has refused too often".to_owned();
        let mistake = Mistake { kind: Kind::Refused, cause };
        let shown = target.shown();
        self.tally().record_not_sent(&mistake, &shown);
        self.log(&shown, &mistake, None, Duration::ZERO);
        Delivered::GivenUp
    }

    /// Waits as long as the plan says after a time-out. The request is in the server's hands until its grace is over. The grace is the time
    /// for which its permit is kept, or its time-out again if the permit is released. The server may work on for longer.
    async fn after_timeout(
        &self,
        (in_hands, of_host): (Inside<'_>, Option<(&LimitedHost, InHands<'_>)>),
        stop: &mut Stop,
    ) {
        match self.plan.after_timeout {
            AfterTimeout::Hold(grace) => tokio::select! {
                () = sleep(grace) => {}
                // The end of the job's time is no reason to let another job's requests come early.
                () = interrupted(stop) => {}
            },
            AfterTimeout::Release => {
                let grace = self.plan.timeout;
                let in_hands = in_hands.keep(self.limited.in_hands());
                let of_host = of_host.map(|(host, in_hands)| host.keep(in_hands));
                tokio::spawn(async move {
                    sleep(grace).await;
                    drop((in_hands, of_host));
                });
            }
        }
    }

    fn record(
        &self,
        target: &Target<'_>,
        times: Times,
        redirects: usize,
        answer: &Result<Answer, Failure>,
        session: &mut Session,
        host: Option<&LimitedHost>,
    ) -> Delivered {
        let Times { start, took, hop, slot } = times;
        let end = Instant::now();
        let (status, mistake) = match answer {
            Ok(answer) => {
                let cause = judge(target.expect, &session.captured, answer, took);
                let cause = cause.or_else(|| session.capture(target.step?, answer).err());
                (Some(answer.status), cause.map(Mistake::unexpected))
            }
            Err(failure) => (None, Some(Mistake::from(failure.clone()))),
        };
        let delivered = if mistake.is_some() { Delivered::Failed } else { Delivered::Passed };
        let shown = if mistake.is_some() { target.shown() } else { Cow::Borrowed("") };
        if let Some(mistake) = &mistake {
            self.log(&shown, mistake, status.map(|status| status.as_u16()), took);
        }
        // What this machine did not send is in no rate.
        let was_sent = mistake.as_ref().is_none_or(|mistake| mistake.kind != Kind::Own);
        if let Some(timeline) = self.limited.timeline().filter(|_| was_sent) {
            timeline.record(end, mistake.is_none().then_some(took));
            if let Some(host) = host {
                host.note(Over { end, took: hop, shown: &shown, mistake: mistake.as_ref() });
            }
        }
        self.tally().record(&Sent {
            shown: &shown,
            path: target.path,
            stage: target.stage,
            start,
            end,
            took,
            slot,
            redirects,
            status,
            mistake,
        });
        delivered
    }
}

/// Sends a request with the cookies that are for it, and keeps those that the answer sets.
async fn send_with_cookies(
    way: &Way<'_>,
    template: &Template,
    url: &Uri,
    jar: &Mutex<Jar>,
) -> Answered {
    let lock = || jar.lock().expect("nothing panics under this lock");
    let cookies = lock().header(url, template.headers().get(COOKIE), SystemTime::now());
    let (answer, measured) = match cookies {
        None => way.send(template, url).await,
        Some(cookies) => {
            let mut template = template.clone();
            template.headers_mut().insert(COOKIE, cookies);
            way.send(&template, url).await
        }
    };
    if let Ok(answer) = &answer {
        lock().store(url, &answer.headers, SystemTime::now());
    }
    (answer, measured)
}

/// How the server took a request. A status that the plan expects is no refusal.
fn taken(expect: &Expect, answer: &Result<Answer, Failure>) -> Taken {
    match answer {
        Ok(answer) => {
            let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
            let is_expected = |statuses: &Statuses| statuses.contain(answer.status);
            if busy.contains(&answer.status) && !expect.statuses.iter().any(is_expected) {
                Taken::Refused(retry_after(answer))
            } else {
                Taken::Well
            }
        }
        Err(failure) => match failure.cause {
            Cause::Refused => Taken::Refused(None),
            _ => Taken::Lost,
        },
    }
}

/// How long the server wishes to be left alone, in seconds or until a date.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let wish = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match wish.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(wish).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

/// When a request was sent, and how long it took.
#[derive(Clone, Copy)]
struct Times {
    start: Instant,
    /// How long all servers took together.
    took: Duration,
    /// How long the last server took.
    hop: Duration,
    /// The request's place in the job's schedule, if the job has a rate.
    slot: Option<Slot>,
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn a_wish_is_a_number_of_seconds_or_a_date() {
        let wish = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
            retry_after(&Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: None })
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!((wish("0"), wish(" 3600 ")), (Some(Duration::ZERO), Some(hour)));
        let before = SystemTime::now();
        let left = wish(&httpdate::fmt_http_date(before + hour)).unwrap();
        // A date has whole seconds, and some of the hour has passed.
        let passed = before.elapsed().unwrap() + Duration::from_secs(1);
        assert!(left <= hour && left >= hour.saturating_sub(passed), "{left:?}");
        assert_eq!(wish(&httpdate::fmt_http_date(before - hour)), Some(Duration::ZERO));
        assert_eq!([wish("-1"), wish("soon"), wish("")], [None; 3]);
    }
}
