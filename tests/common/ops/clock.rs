//! The pool's clock, in the user's hands: hold-offs, rates, and the moves of the clock.

use std::time::Duration;

use tollgate::{Rate, TaskHandle};

use super::interpreter::User;
use super::known::{KnownRate, KnownTask};

impl User {
    pub fn holds_off(&mut self, id: usize, seconds: u8) {
        let time = Duration::from_secs(u64::from(seconds % 8));
        self.api(id).hold_off(time);
        let until = self.clock.now() + time;
        if !time.is_zero() && self.jobs[id].held_until.is_none_or(|held| held < until) {
            self.jobs[id].held_until = Some(until);
        }
        if !self.over {
            assert_eq!(self.api(id).held_until(), self.jobs[id].held_until);
        }
        if self.jobs[id].held_until.is_some() && self.is_at_rest(id) {
            self.jobs[id].started = Some(self.started(id));
        }
    }

    pub fn sets_rate(&mut self, id: usize, seconds: u8, burst: u8) {
        let interval = Duration::from_secs(u64::from(seconds % 4));
        let burst = usize::from(burst % 3) + 1;
        if interval.is_zero() {
            self.api(id).set_rates(&[]);
            self.jobs[id].rate = None;
            return;
        }
        let at_rest = self.is_at_rest(id);
        self.api(id).set_rate(Rate::every(interval).burst(burst as u32));
        let (now, seen) = (self.clock.now(), self.started(id));
        // Each worker may have a task in hand that it has not begun.
        let before = seen + if at_rest { 0 } else { self.workers };
        self.jobs[id].rate = Some(KnownRate { interval, burst, set: now, before, seen, last: now });
    }

    /// rate_holds: no more tasks have started than the rates allow.
    pub fn keeps_rates(&mut self) {
        let now = self.clock.now();
        for id in 0..self.jobs.len() {
            let Some(mut rate) = self.jobs[id].rate else { continue };
            let started = self.started(id);
            let intervals = (now - rate.set).as_secs() / rate.interval.as_secs();
            let most = rate.before + rate.burst + intervals as usize;
            assert!(started <= most, "{started} started at {rate:?}: {}", self.says());
            if started > rate.seen {
                (rate.seen, rate.last) = (started, now);
            }
            self.jobs[id].rate = Some(rate);
        }
    }

    /// How many tasks of the job and below it have started.
    pub fn started(&self, id: usize) -> usize {
        let below = self.below(id);
        let started = |task: &&KnownTask| task.record.start().is_some();
        self.tasks.iter().filter(|task| below.contains(&task.record.job)).filter(started).count()
    }

    /// Moves the clock. Until now no task of a job that is held off has started, and no delayed one.
    pub fn advances(&mut self, seconds: u8) {
        for task in self.tasks.iter().filter(|task| task.not_before.is_some()) {
            assert_eq!(task.record.start(), None, "started before its time: {}", self.says());
        }
        for id in 0..self.jobs.len() {
            if let Some(started) = self.jobs[id].started {
                assert_eq!(self.started(id), started, "started in a job held off: {}", self.says());
            }
        }
        self.keeps_rates();
        self.clock.advance(Duration::from_secs(u64::from(seconds % 8)));
        let now = self.clock.now();
        for known in &mut self.jobs {
            if known.held_until.is_some_and(|until| until <= now) {
                (known.held_until, known.started) = (None, None);
            }
        }
        for task in &mut self.tasks {
            task.not_before = task.not_before.filter(|time| *time > now);
            if task.deadline.is_some_and(|deadline| deadline <= now) {
                task.deadline = None;
                let is_over = task.handle.as_ref().map(TaskHandle::is_finished);
                task.never |= is_over == Some(true) && task.record.start().is_none();
                // It runs, or a worker has come just after the deadline and drops it. Without a handle nothing tells.
                task.may_be_dropped |= is_over != Some(true);
            }
        }
    }
}
