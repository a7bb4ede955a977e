//! Jobs inside jobs: a task passes its own gate and the parent's, and a permit freed at either starts what
//! waits there.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tollgate::Job;
use tollgate::model::Stage;
use tollgate::model::sync::time;

struct Family {
    stage: Stage,
    parent: Job,
    children: [Job; 2],
    gauge: Arc<Gauge>,
}

/// Two children under a parent with this limit, which is what the gauge holds them to.
fn family(workers: usize, limit: usize) -> Family {
    let stage = Stage::new(workers);
    let parent = stage.job(limit);
    let children = [stage.child(&parent, 1), stage.child(&parent, 1)];
    Family { stage, parent, children, gauge: Gauge::new(limit) }
}

impl Family {
    fn push(&self, child: usize) {
        self.children[child].execute(self.gauge.task());
    }

    /// At rest: nothing is stranded at any gate; then runs what is ready.
    fn rest(self, ran: usize) {
        self.assert_none_stranded();
        while self.stage.play(0, usize::MAX) > 0 {}
        self.assert_none_stranded();
        for job in self.children.iter().chain([&self.parent]) {
            assert_eq!(job.stats().backlog, 0, "a task was left behind");
        }
        assert_eq!(self.gauge.ran(), ran);
        drop((self.parent, self.children));
        self.stage.end();
    }

    fn assert_none_stranded(&self) {
        for job in self.children.iter().chain([&self.parent]) {
            self.stage.assert_none_stranded(job);
        }
    }
}

#[test]
fn limit_is_used_by_the_other_child() {
    // A permit of the parent freed in one child starts the other's task.
    check(Bound::None, || {
        let family = family(1, 1);
        family.push(0);
        let stage = family.stage;
        let worker = thread::spawn(move || stage.play(0, 1));
        family.push(1);
        worker.join().unwrap();
        family.rest(2);
    });
}

#[test]
fn limit_is_used_by_each_child_in_turn() {
    check(Bound::Preemptions(3), || {
        let family = family(1, 1);
        family.push(0);
        family.push(0);
        let stage = family.stage;
        let worker = thread::spawn(move || stage.play(0, 2));
        family.push(1);
        worker.join().unwrap();
        family.rest(3);
    });
}

#[test]
fn limit_holds_at_the_parent() {
    check(Bound::None, || {
        let family = family(2, 1);
        family.push(0);
        family.push(1);
        let stage = family.stage;
        let other = thread::spawn(move || stage.play(1, 1));
        stage.play(0, 1);
        other.join().unwrap();
        family.rest(2);
    });
}

/// Behind four tasks of its sibling, each of which takes so long, a lone task starts after `turn` of them.
fn fair_to_a_lone_task(each: Duration, turn: usize) {
    check(Bound::Preemptions(2), move || {
        let family = family(2, 1);
        let order = Arc::new(Mutex::new(Vec::new()));
        for child in [0, 0, 0, 0, 1] {
            let (gauge, order) = (family.gauge.clone(), order.clone());
            family.children[child].execute(move || {
                order.lock().unwrap().push(child);
                time::advance(each);
                gauge.visit();
            });
        }
        let stage = family.stage;
        let other = thread::spawn(move || while stage.play(1, usize::MAX) > 0 {});
        while stage.play(0, usize::MAX) > 0 {}
        other.join().unwrap();
        family.rest(5);
        let before = order.lock().unwrap().iter().take_while(|child| **child == 0).count();
        assert_eq!(before, turn, "a turn of {before} tasks");
    });
}

#[test]
fn fair_by_the_tasks_of_a_turn() {
    // Of two tasks, here.
    fair_to_a_lone_task(Duration::ZERO, 2);
}

#[test]
fn fair_by_the_time_of_a_turn() {
    fair_to_a_lone_task(Duration::from_micros(100), 1);
}

#[test]
fn limit_is_used_when_two_children_push() {
    check(Bound::None, || {
        let family = family(1, 1);
        let (theirs, seen) = (family.children[1].clone(), family.gauge.clone());
        let pusher = thread::spawn(move || theirs.execute(seen.task()));
        family.push(0);
        pusher.join().unwrap();
        family.rest(2);
    });
}

#[test]
fn limit_is_used_beside_a_task_that_its_own_job_refuses() {
    // The task is ready when its job is paused, and has a reservation at the parent. A sibling's push meets the task's refusal.
    check(Bound::Preemptions(3), || {
        let family = family(1, 1);
        family.push(0);
        family.children[0].pause();
        let stage = family.stage;
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        family.push(1);
        worker.join().unwrap();
        family.assert_none_stranded();
        while family.stage.play(0, usize::MAX) > 0 {}
        assert_eq!(family.gauge.ran(), 1);
        family.children[0].resume();
        family.rest(2);
    });
}

#[test]
fn nothing_lost_when_the_parent_is_cancelled() {
    check(Bound::Preemptions(3), || {
        let family = family(1, 1);
        let drops = Drops::default();
        for child in &family.children {
            let (gauge, payload) = (family.gauge.clone(), drops.payload());
            child.execute(move || {
                gauge.visit();
                drop(payload);
            });
        }
        let stage = family.stage;
        let worker = thread::spawn(move || stage.play(0, 1));
        family.parent.cancel();
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        let ended: u64 =
            family.children.iter().map(|job| job.stats()).map(|s| s.completed + s.cancelled).sum();
        assert_eq!(ended, 2);
        assert_eq!(drops.count(), 2);
        let ran = family.gauge.ran();
        family.rest(ran);
    });
}

#[test]
fn limit_holds_while_the_parent_is_paused() {
    check(Bound::Preemptions(3), || {
        let family = family(1, 1);
        family.push(0);
        family.push(1);
        let stage = family.stage;
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        family.parent.pause();
        // In this order: what has ended is counted as late as can be.
        let running = family.parent.stats().running;
        let before = family.gauge.ran();
        worker.join().unwrap();
        assert!(family.gauge.ran() <= before + running, "a task started under a paused parent");
        family.parent.resume();
        family.rest(2);
    });
}

#[test]
fn idle_is_free_when_a_child_outlives_its_parent_s_handle() {
    check(Bound::None, || {
        let Family { stage, parent, children, gauge } = family(1, 1);
        children[0].execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        drop(parent);
        drop(children);
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1);
        stage.end();
    });
}
