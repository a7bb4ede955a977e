//! What the model allows: when nothing moves any more, what is sure to end, and how the books must stand at the end.

use std::collections::HashMap;
use std::thread;

use tollgate::Job;

use super::interpreter::{User, surely, surely_ends, surely_idle};
use super::known::{KnownJob, KnownTask};
use super::task::check_result;

/// The job is idle: each task of a timed job that has started was timed. A permit without a task counts as completed, and has no
/// times.
fn check_timings(job: &Job) {
    let (Some(timings), stats) = (job.timings(), job.stats()) else { return };
    let (wait, run) = (timings.wait.count(), timings.run.count());
    assert!(wait == run + stats.panicked && run <= stats.completed, "{wait} {run} {stats:?}");
}

impl User {
    /// limit_is_used, as far as a user can see it: once nothing moves, each task that waits has a reason to.
    pub fn settles(&mut self) {
        let mut watch = surely();
        while !self.is_stable() {
            assert!(watch.hangs().is_none(), "a task that may start does not: {}", self.says());
            thread::yield_now();
        }
    }

    /// No task runs but those that hold, and none could start.
    pub fn is_stable(&self) -> bool {
        let records = || self.tasks.iter().map(|task| &task.record);
        let holding = self.tasks.iter().filter(|task| task.keeps_a_worker()).count();
        let moving = records().any(|record| record.runs() && !record.holds());
        if moving || self.over {
            return !moving;
        }
        let has_room = |id: usize| {
            let job = &self.jobs[id];
            let running = records().filter(|record| self.has_permit_of(record, id));
            // It is sure to let a task start an interval after the last start.
            let paced = job.rate.is_some_and(|rate| {
                self.started(id) > rate.seen || self.clock.now() < rate.last + rate.interval
            });
            !job.paused && job.held_until.is_none() && !paced && running.count() < job.limit
        };
        let could_run = |task: &KnownTask| {
            let waits = task.record.is_pushed()
                && task.record.start().is_none()
                && !task.never
                && !task.may_be_dropped
                && task.not_before.is_none();
            // Nobody saw whether a task pushed it before its job was closed.
            let refused = task.pushed_by.is_some() && self.jobs[task.record.job].closed;
            waits
                && !refused
                && !self.jobs[task.record.job].cancels
                && self.above(task.record.job).all(has_room)
        };
        holding >= self.workers || !self.tasks.iter().any(could_run)
    }

    /// How many tasks have started, and how many have ended. Both only grow.
    fn moved(&self) -> (usize, usize) {
        let count =
            |did: fn(&KnownTask) -> bool| self.tasks.iter().filter(|task| did(task)).count();
        (count(|task| task.record.start().is_some()), count(|task| task.record.has_ended()))
    }

    /// Nothing moves, and no worker has a task of the job, or of one below it, in hand that it has not begun: such a task has
    /// its permit, whatever was done to the job since.
    pub fn is_at_rest(&self, id: usize) -> bool {
        let Some(job) = &self.jobs[id].job else { return false };
        // A rate may let a task start of which this is not sure.
        if self.above(id).chain(self.below(id)).any(|id| self.jobs[id].rate.is_some()) {
            return false;
        }
        let is_below = |task: &KnownTask| self.above(task.record.job).any(|above| above == id);
        // A task that a clear or a deadline may have dropped may also be there still, and start at any time.
        let may_start = |task: &KnownTask| {
            task.may_be_dropped && !task.never && task.record.start().is_none() && is_below(task)
        };
        if self.tasks.iter().any(may_start) {
            return false;
        }
        let runs = |task: &&KnownTask| self.has_permit_of(&task.record, id);
        for _ in 0..100 {
            let before = self.moved();
            let held = job.stats().running;
            if !self.is_stable() {
                return false;
            }
            let all_run = self.tasks.iter().filter(runs).count() == held;
            // None came meanwhile for one that is in hand.
            // And none started or ended between the looks, which come one after the other.
            if all_run && job.stats().running == held && self.moved() == before {
                return true;
            }
            // Or one has just ended, and is about to give its permit back.
            thread::yield_now();
        }
        false
    }

    fn is_held(&self, id: usize) -> bool {
        let known = &self.jobs[id];
        known.paused || known.held_until.is_some() || known.rate.is_some() || known.limit == 0
    }

    /// Whether every task will end without anything that the user does.
    pub fn all_ends(&self) -> bool {
        let held = |id: usize| self.is_held(id);
        let stuck = |task: &KnownTask| {
            let open = task.record.is_pushed() && !task.record.has_ended() && !task.never;
            open && (task.record.holds()
                || task.not_before.is_some()
                || self.above(task.record.job).any(held))
        };
        // A task that will push into a held job, or hold, is stuck before it is there.
        let may_be_stuck = |task: &KnownTask| {
            stuck(task) || (!task.record.is_pushed() && self.above(task.record.job).any(held))
        };
        self.over || !self.tasks.iter().any(may_be_stuck)
    }

    /// The pool has ended: each task ran or did not, once, and everybody says the same of it.
    pub fn accounts(mut self) {
        let mut watch = surely();
        // A worker that was left may have had a task in hand: it is let run to its end.
        let runs = |task: &KnownTask| task.record.start().is_some() && !task.record.has_ended();
        while self.left
            && (!self.jobs.iter().all(|known| known.ledger.is_settled())
                || self.tasks.iter().any(runs))
        {
            assert!(
                watch.hangs().is_none(),
                "the workers that were left do not drop what had not started"
            );
            thread::yield_now();
        }
        for task in &mut self.tasks {
            let record = &task.record;
            assert!(!record.has_failed(), "a check inside a task failed");
            assert!(!(task.never && record.start().is_some()), "a task ran that was cancelled");
            assert_eq!(
                record.start().is_some(),
                record.has_ended(),
                "a task runs in a pool that ended"
            );
            if let Some(handle) = task.handle.take() {
                assert!(
                    self.left || handle.is_finished(),
                    "a task of a pool that ended is not over"
                );
                let result = surely_ends(handle);
                check_result(&result.expect("a task of a pool that ended is not over"), record);
            }
        }
        for (id, known) in self.jobs.iter().enumerate() {
            if let Some(job) = &known.job {
                assert!(surely_idle(job), "a job of a pool that ended is not idle");
                known.ledger.check_against(job.stats());
                check_timings(job);
            }
            if known.serial {
                self.started_in_order(id);
            }
        }
        self.jobs.iter().for_each(|known| known.ledger.check());
        self.hands_over.accounts(self.left);
    }

    /// serial_in_order: what one pusher pushed started in that order.
    fn started_in_order(&self, job: usize) {
        let mut last = HashMap::new();
        for task in self
            .tasks
            .iter()
            .filter(|task| task.record.job == job && !task.joined_inside && !task.was_delayed)
        {
            if let Some(start) = task.record.start() {
                let before = last.insert(task.pushed_by, start);
                assert!(before < Some(start), "a job of limit 1 ran its tasks out of order");
            }
        }
    }

    pub fn says(&self) -> String {
        let job = |known: &KnownJob| {
            let stats = known.job.as_ref().map(Job::stats);
            format!(
                "\n  limit {} paused {} held until {:?} {:?} parent {:?} {stats:?}",
                known.limit, known.paused, known.held_until, known.rate, known.parent
            )
        };
        self.jobs.iter().map(job).collect()
    }
}
