//! A lane of a job: takes a permit, sends one request after the other, and gives the permit back at the end of its turn.

use std::borrow::Cow;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Uri;
use tokio::task::coop::consume_budget;
use tollgate::Job;

use super::{Check, Phase, Stop, phase_is, stopped};
use crate::client::Client;
use crate::deliver::{Delivered, Sends, Target};
use crate::permit::Permit;
use crate::plan::{StepPlan, Targets};
use crate::restraint::Pass;
use crate::session::Session;
use crate::source::Next;
use crate::tally::Mistake;

/// A permit that a lane keeps for a turn.
#[derive(Debug)]
struct Turn<'a> {
    /// `None` if the server of all requests gets no more.
    permit: Option<Permit>,
    pass: Option<Pass<'a>>,
    sent: u32,
}

impl Check {
    /// Sends requests until there are no more, or `stop` says to stop.
    ///
    /// `has_many_beside`: the thread has many lanes. Then a lane that has read its answer lets the others read theirs before it sends, so
    /// that requests leave together. A server that gets them one by one sleeps and wakes between them, which costs it more than a
    /// request. Where a thread has few lanes, the thread and the server would wait for each other in turn.
    pub(crate) async fn lane(self: Arc<Self>, client: Arc<Client>, has_many_beside: bool) {
        let mut stop = self.phase.subscribe();
        let mut turn = None;
        let mut session = Session { jar: self.jar.clone(), ..Session::default() };
        loop {
            if has_many_beside {
                after_ready_tasks().await;
            }
            let Some(stage) = stop.borrow().stage(session.step > 0) else { return };
            turn = turn.filter(|turn: &Turn<'_>| turn.sent < self.turn);
            let mut url = None;
            if self.source.is_list() {
                // A permit must not wait for a line, and a line that is no URL needs no start at a rate.
                url = tokio::select! {
                    biased;
                    url = self.next_line() => url,
                    _ = stopped(&mut stop) => return,
                };
                if url.is_none() {
                    return;
                }
            }
            let has_some = session.step > 0 || url.is_some();
            let turnstile = match &self.turnstile {
                Some(turnstile) if self.plan.rate_of(stage).is_some() => {
                    // A permit is not kept while nothing may be sent.
                    turn = None;
                    let Some(permit) = self.pass_turnstile(turnstile, has_some, &mut stop).await
                    else {
                        return;
                    };
                    Some(permit)
                }
                _ => None,
            };
            // After a refusal one request goes first. A permit that is kept must be given back before one is waited for.
            turn = turn
                .map(|turn| Turn { pass: self.pass(), ..turn })
                .filter(|turn| !turn.pass.is_some_and(Pass::goes_first));
            if turn.is_none() {
                turn = tokio::select! {
                    biased;
                    turn = self.begin_turn() => Some(turn),
                    _ = nothing_left(has_some, &mut stop) => None,
                };
            }
            let Some(turn) = &mut turn else { return };
            let Some(stage) = stop.borrow().stage(has_some) else { return };
            turn.sent += 1;
            let (session, permit, pass) = (&mut session, turn.permit.as_mut(), turn.pass);
            let sends = Sends { session, permit, pass, turnstile };
            let delivered = match (&self.plan.targets, url) {
                (Targets::Session { steps, .. }, _) => {
                    self.next_step(steps, &client, stage, sends, &mut stop).await
                }
                (_, Some(url)) => {
                    let target = self.target(url, None, stage);
                    Some(self.deliver(&client, target, sends, &mut stop).await)
                }
                (_, None) => self.next_path(&client, stage, sends, &mut stop).await,
            };
            match delivered {
                None => return,
                // A job that lasts for a time would count requests that are not sent until the time is over.
                Some(Delivered::GivenUp) if self.plan.times.is_some() && self.has_one_server() => {
                    return;
                }
                Some(_) => {}
            }
        }
    }

    /// Waits until the job's rate lets a request to one of many servers start. `None` if there is nothing to send.
    async fn pass_turnstile(
        &self,
        turnstile: &Job,
        has_some: bool,
        stop: &mut Stop,
    ) -> Option<Permit> {
        tokio::select! {
            biased;
            permit = turnstile.acquire() => permit.ok().map(Permit::from),
            _ = nothing_left(has_some, stop) => None,
        }
    }

    /// Reads the list up to the next URL; `None` behind the last one. Lines that are no URL count as failed.
    async fn next_line(&self) -> Option<Uri> {
        loop {
            let line = self.source.next_line().await;
            if line.as_ref().is_none_or(|line| line.is_last) {
                self.give_out_no_more();
            }
            match line?.url {
                Ok(url) => return Some(url),
                Err(bad_line) => {
                    self.tally().record_unsent(&bad_line);
                    self.log(&bad_line.place, &Mistake::line(&bad_line), None, Duration::ZERO);
                    // A signal must not wait for the end of a list of such lines.
                    consume_budget().await;
                }
            }
        }
    }

    /// Sends the next request to one of the plan's paths. `None` behind the last one.
    async fn next_path(
        &self,
        client: &Client,
        stage: usize,
        sends: Sends<'_>,
        stop: &mut Stop,
    ) -> Option<Delivered> {
        let Some(Next { number, path, url, is_last }) = self.source.next_path(&self.plan) else {
            self.give_out_no_more();
            return None;
        };
        if is_last {
            self.give_out_no_more();
        }
        let stage = self.begin_stage_of(number).unwrap_or(stage);
        let target = self.target(url, Some(path), stage);
        Some(self.deliver(client, target, sends, stop).await)
    }

    /// What a request of a job without steps is sent to.
    fn target(&self, url: Uri, path: Option<usize>, stage: usize) -> Target<'_> {
        let shown = match (&self.plan.targets, path) {
            (Targets::Paths { shown, .. }, Some(path)) => Some(shown[path].as_str()),
            _ => None,
        };
        let (template, expect) = (Cow::Borrowed(&self.template), &self.plan.expect);
        Target { url, shown, path, stage, template, expect, step: None }
    }

    /// Whether all requests are sent to one server, redirects apart.
    fn has_one_server(&self) -> bool {
        self.plan.origin().is_some()
    }

    /// Sends the step of the session that is due, or the first of the next session. `None` behind the last one.
    async fn next_step(
        &self,
        steps: &[StepPlan],
        client: &Client,
        stage: usize,
        sends: Sends<'_>,
        stop: &mut Stop,
    ) -> Option<Delivered> {
        let Sends { session, .. } = sends;
        if session.step == 0 {
            if self.source.next_session(&self.plan)? {
                self.give_out_no_more();
            }
            *session = Session::start(&self.plan);
        }
        let (at, step) = (session.step, &steps[session.step]);
        session.step += 1;
        let request = session.url(step).and_then(|url| {
            let template = session.template(&self.plan, step)?;
            Ok((url, Cow::Owned(template)))
        });
        let delivered = match request {
            Ok((url, template)) => {
                let (shown, expect) = (Some(step.shown.as_str()), &step.expect);
                let path = Some(at);
                let step = Some(step);
                let target = Target { url, shown, path, stage, template, expect, step };
                let sends = Sends { session, ..sends };
                self.deliver(client, target, sends, stop).await
            }
            Err(cause) => {
                let mistake = Mistake::unexpected(cause);
                self.tally().record_not_sent(&mistake, &step.shown);
                self.log(&step.shown, &mistake, None, Duration::ZERO);
                Delivered::Failed
            }
        };
        if matches!(delivered, Delivered::Failed | Delivered::GivenUp) {
            // Later steps need this one's answer.
            self.tally().skipped += (steps.len() - session.step) as u64;
            session.step = steps.len();
        }
        if session.step == steps.len() {
            session.step = 0;
        }
        Some(delivered)
    }

    /// Waits for a permit of the job, and of all that bounds the server of its requests, if there is one.
    async fn begin_turn(&self) -> Turn<'_> {
        let job = self.limited.job();
        let leave = match &self.route {
            Some(route) => route.leave(job, self.plan.backoff).await,
            None => job.acquire().await.map(|permit| (Permit::from(permit), None)),
        };
        let (permit, pass) = leave.map_or((None, None), |(permit, pass)| (Some(permit), pass));
        Turn { permit, pass, sent: 0 }
    }

    /// What lets the next request leave under a permit that is kept.
    fn pass(&self) -> Option<Pass<'_>> {
        self.route.as_ref()?.pass(self.plan.backoff)
    }

    /// Lets lanes end that wait for a turn to send, as there is nothing to send.
    fn give_out_no_more(&self) {
        self.phase.send_if_modified(|phase| match phase {
            Phase::Stage(stage) => {
                *phase = Phase::Ending(*stage);
                true
            }
            _ => false,
        });
    }
}

/// Puts the task behind those of its thread that are ready.
///
/// `yield_now` of tokio would ask the system for events, too.
async fn after_ready_tasks() {
    let mut is_behind = false;
    let turn = poll_fn(|cx| {
        if mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    turn.await;
}

/// Waits until a lane has nothing more to send. `has_some`: it has something that was given out.
async fn nothing_left(has_some: bool, stop: &mut Stop) {
    phase_is(stop, |phase| phase.stage(has_some).is_none()).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::runtime::Builder;
    use tokio::task::JoinSet;

    use super::*;

    #[test]
    fn all_ready_tasks_read_before_one_of_them_sends() {
        let log = Arc::<Mutex<Vec<&str>>>::default();
        Builder::new_current_thread().build().unwrap().block_on(async {
            let mut lanes = JoinSet::new();
            for _ in 0..50 {
                let log = Arc::clone(&log);
                lanes.spawn(async move {
                    log.lock().unwrap().push("read");
                    after_ready_tasks().await;
                    log.lock().unwrap().push("send");
                });
            }
            lanes.join_all().await;
        });
        let log = log.lock().unwrap();
        assert_eq!(log[..50], ["read"; 50]);
        assert_eq!(log[50..], ["send"; 50]);
    }
}
