//! A lane of a job: takes a permit, sends one request after the other, and gives the permit back at the end of its turn.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Check, Phase, Stop, stopped};
use crate::client::Client;
use crate::deliver::{Delivered, Target};
use crate::hosts::LimitedHost;
use crate::pace::Gate;
use crate::permit::{Permit, acquire};
use crate::plan::{StepPlan, Targets};
use crate::session::Session;
use crate::source::Source;
use crate::tally::Mistake;

/// How many requests a lane sends in a turn, where another job waits for the host.
const TURN: u32 = 16;

/// A permit that a lane keeps for a turn.
#[derive(Debug)]
struct Turn<'a> {
    permit: Permit,
    sent: u32,
    holding: &'a AtomicUsize,
}

/// What a lane sends a request with.
struct Sends<'a> {
    session: &'a mut Session,
    permit: &'a mut Permit,
    stage: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; a hint when to give a permit back.
        self.holding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Check {
    /// Sends requests until there are no more, or `stop` says to stop.
    pub(crate) async fn lane(self: Arc<Self>, client: Arc<Client>) {
        let mut stop = self.phase.subscribe();
        let mut turn = None;
        let mut session = Session { jar: self.jar.clone(), ..Session::default() };
        loop {
            let phase = *stop.borrow();
            let Some(stage) = phase.stage(&session) else { return };
            let gate = match &self.pacers[stage] {
                None => None,
                Some(pacer) => {
                    // A permit is not kept while nothing may be sent.
                    turn = None;
                    tokio::select! {
                        gate = pacer.gate() => Some(gate),
                        _ = stop.wait_for(|now| *now != phase) => continue,
                    }
                }
            };
            if turn.as_ref().is_some_and(|turn| self.must_yield(turn)) {
                turn = None;
            }
            if turn.is_none() {
                turn = tokio::select! {
                    turn = self.begin_turn() => turn,
                    _ = stopped(&mut stop) => None,
                };
            }
            let Some(turn) = &mut turn else { return };
            let Some(stage) = stop.borrow().stage(&session) else { return };
            turn.sent += 1;
            let sends = Sends { session: &mut session, permit: &mut turn.permit, stage };
            let more = match &self.plan.targets {
                Targets::Session { steps, .. } => {
                    self.next_step(steps, &client, sends, gate, &mut stop).await
                }
                _ => self.next_request(&client, sends, gate, &mut stop).await,
            };
            if !more {
                return;
            }
        }
    }

    /// Sends the next request. Returns false if there is none.
    async fn next_request(
        &self,
        client: &Client,
        sends: Sends<'_>,
        gate: Option<Gate<'_>>,
        stop: &mut Stop,
    ) -> bool {
        let Sends { session, permit, stage } = sends;
        let next = match &self.source {
            Source::Slow(_) => tokio::select! {
                next = self.source.next(&self.plan) => next,
                _ = stopped(stop) => None,
            },
            source => source.next(&self.plan).await,
        };
        let Some(next) = next else {
            self.give_out_no_more();
            return false;
        };
        if next.is_last {
            self.give_out_no_more();
        }
        let stage = self.begin_stage_of(next.number).unwrap_or(stage);
        match next.url {
            Ok(url) => {
                let template = Cow::Borrowed(&self.template);
                let shown = match (&self.plan.targets, next.path) {
                    (Targets::Paths { shown, .. }, Some(path)) => Some(shown[path].as_str()),
                    _ => None,
                };
                let (path, expect) = (next.path, &self.plan.expect);
                let target = Target { url, shown, path, stage, template, expect, step: None };
                self.deliver(client, target, gate, (session, permit), stop).await;
            }
            Err(bad_line) => {
                self.tally().record_unsent(&bad_line);
                self.log(&bad_line.place, &Mistake::line(&bad_line), None, Duration::ZERO);
            }
        }
        true
    }

    /// Sends the step of the session that is due, or the first of the next session. Returns false behind the last one.
    async fn next_step(
        &self,
        steps: &[StepPlan],
        client: &Client,
        sends: Sends<'_>,
        gate: Option<Gate<'_>>,
        stop: &mut Stop,
    ) -> bool {
        let Sends { session, permit, stage } = sends;
        if session.step == 0 {
            let Some(is_last) = self.source.next_session(&self.plan) else { return false };
            if is_last {
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
        let passed = match request {
            Ok((url, template)) => {
                let (shown, expect) = (Some(step.shown.as_str()), &step.expect);
                let path = Some(at);
                let step = Some(step);
                let target = Target { url, shown, path, stage, template, expect, step };
                self.deliver(client, target, gate, (session, permit), stop).await
            }
            Err(cause) => {
                let mistake = Mistake::unexpected(cause);
                self.tally().record_not_sent(&mistake, &step.shown);
                self.log(&step.shown, &mistake, None, Duration::ZERO);
                Delivered::Failed
            }
        };
        if passed == Delivered::Failed {
            // Later steps need this one's answer.
            self.tally().skipped += (steps.len() - session.step) as u64;
            session.step = steps.len();
        }
        if session.step == steps.len() {
            session.step = 0;
        }
        true
    }

    /// Waits for a permit of the job; `None` if it takes no more tasks.
    async fn begin_turn(&self) -> Option<Turn<'_>> {
        let permit = {
            let _waiting = self.waiting.enter();
            let _waiting_for_host = self.host().map(|host| host.outermost().waiting().enter());
            acquire(self.limited.job(), self.sampled).await?
        };
        // Ordering: Relaxed; a hint when to give a permit back.
        self.holding.fetch_add(1, Ordering::Relaxed);
        Some(Turn { permit, sent: 0, holding: &self.holding })
    }

    /// Returns true if a lane must give its permit back. It must if the permit is a sample, or if the limit was lowered. It must
    /// also at the end of a turn, if another job waits for the host.
    fn must_yield(&self, turn: &Turn<'_>) -> bool {
        if self.sampled {
            return true;
        }
        // Ordering: Relaxed; a hint when to give a permit back.
        if self.plan.limits.len() > 1
            && self.holding.load(Ordering::Relaxed) > self.limited.job().limit()
        {
            return true;
        }
        let others = |host: &LimitedHost| host.outermost().waiting().count() > self.waiting.count();
        turn.sent >= TURN && self.host().is_some_and(others)
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
