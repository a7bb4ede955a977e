//! Gates that count weights: heavy and light tasks, permits and waits inside, against each other.

#![cfg(tollgate_loom)]

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use std::sync::{Arc, Mutex};
use tollgate::model::Stage;
use tollgate::{Job, Permit, Pool};

/// Fails when the tasks inside weigh more than the limit together, and it is not one alone.
struct Scales {
    limit: usize,
    inside: AtomicUsize,
    ran: Mutex<Vec<usize>>,
}

impl Scales {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, inside: AtomicUsize::new(0), ran: Mutex::default() })
    }

    fn visit(&self, weight: usize) {
        // Relaxed: the scales must not order the tasks that they count.
        let inside = self.inside.fetch_add(weight, Ordering::Relaxed) + weight;
        assert!(inside <= self.limit || inside == weight, "{inside} of {}", self.limit);
        self.ran.lock().unwrap().push(weight);
        self.inside.fetch_sub(weight, Ordering::Relaxed);
    }

    fn task(self: &Arc<Self>, weight: usize) -> impl FnOnce() + Send + use<> {
        let scales = self.clone();
        move || scales.visit(weight)
    }

    fn under(&self, permit: Permit, weight: usize) {
        self.visit(weight);
        drop(permit);
    }

    fn ran(&self) -> Vec<usize> {
        self.ran.lock().unwrap().clone()
    }
}

/// A job of this limit that counts weights, and a child whose tasks weigh `weight`.
struct Weighted {
    stage: Stage,
    gate: Job,
    heavy: Job,
    scales: Arc<Scales>,
}

fn weighted(workers: usize, limit: usize, weight: usize) -> Weighted {
    let stage = Stage::new(workers);
    let gate = stage.built(|builder| builder.limit(limit).weighted());
    let heavy = gate.weigh(weight);
    Weighted { stage, gate, heavy, scales: Scales::new(limit) }
}

impl Weighted {
    /// At rest: nothing is stranded. Then the worker with index 0 runs what is ready.
    fn rest(self, ran: usize) {
        let Self { stage, gate, heavy, scales } = self;
        for _ in 0..2 {
            stage.assert_none_stranded(&heavy);
            stage.assert_none_stranded(&gate);
            while stage.play(0, usize::MAX) > 0 {}
        }
        assert_eq!((gate.stats().backlog, heavy.stats().backlog), (0, 0), "a task was left behind");
        assert_eq!(scales.ran().len(), ran);
        drop((gate, heavy));
        stage.end();
    }
}

#[test]
fn weights_hold_for_two_workers() {
    // A heavy task and a light one are more than the limit.
    check(Bound::Preemptions(2), || {
        let world = weighted(2, 2, 2);
        world.gate.execute(world.scales.task(1));
        let stage = world.stage;
        let other = thread::spawn(move || stage.play(1, 1));
        world.heavy.execute(world.scales.task(2));
        stage.play(0, 1);
        other.join().unwrap();
        world.rest(2);
    });
}

#[test]
fn weights_hold_and_a_heavy_push_meets_the_end_of_a_light_task() {
    check(Bound::Preemptions(3), || {
        let world = weighted(1, 2, 2);
        world.gate.execute(world.scales.task(1));
        let stage = world.stage;
        let worker = thread::spawn(move || stage.play(0, 1));
        world.heavy.execute(world.scales.task(2));
        worker.join().unwrap();
        world.rest(2);
    });
}

#[test]
fn limit_is_used_when_a_light_push_meets_the_end_of_a_heavy_task() {
    check(Bound::Preemptions(3), || {
        let world = weighted(1, 2, 2);
        world.heavy.execute(world.scales.task(2));
        let stage = world.stage;
        let worker = thread::spawn(move || stage.play(0, 1));
        world.gate.execute(world.scales.task(1));
        worker.join().unwrap();
        world.rest(2);
    });
}

#[test]
fn limit_is_used_when_permits_come_back_beside_a_first_task_that_is_heavy() {
    // The heavy task needs both permits, which two threads give back. No light one goes first.
    check(Bound::Preemptions(2), || {
        let world = weighted(1, 2, 2);
        let held = [world.gate.try_acquire().unwrap(), world.gate.try_acquire().unwrap()];
        world.heavy.execute(world.scales.task(2));
        world.gate.execute(world.scales.task(1));
        // It was admitted once if there was room for it, and refused.
        world.stage.play(0, 4);
        assert!(!world.stage.has_ready() && world.scales.ran().is_empty(), "no permit is free");
        let [first, second] = held;
        let other = thread::spawn(move || drop(first));
        drop(second);
        other.join().unwrap();
        let scales = world.scales.clone();
        world.rest(2);
        assert_eq!(scales.ran(), [2, 1], "the light task has overtaken the heavy one");
    });
}

#[test]
fn a_first_task_that_does_not_fit_is_not_admitted() {
    check(Bound::None, || {
        let world = weighted(1, 2, 2);
        let held = world.gate.try_acquire().unwrap();
        world.heavy.execute(world.scales.task(2));
        world.heavy.execute(world.scales.task(2));
        // Admitted at the push, and refused at the start. From then on it stays in the queue.
        assert_eq!(world.stage.play(0, 4), 1);
        assert!(!world.stage.has_ready());
        assert!(world.scales.ran().is_empty(), "a task runs that does not fit");
        drop(held);
        world.rest(2);
    });
}

#[test]
fn limit_is_used_by_a_weight_above_it() {
    check(Bound::Preemptions(3), || {
        let world = weighted(1, 2, 5);
        let held = world.gate.try_acquire().unwrap();
        let giver = thread::spawn(move || drop(held));
        world.heavy.execute(world.scales.task(5));
        giver.join().unwrap();
        world.rest(1);
    });
}

#[test]
fn limit_is_used_when_the_limit_falls_below_the_weight() {
    check(Bound::Preemptions(2), || {
        let world = weighted(1, 3, 3);
        world.gate.execute(world.scales.task(1));
        world.heavy.execute(world.scales.task(3));
        let stage = world.stage;
        let worker = thread::spawn(move || stage.play(0, 2));
        world.gate.set_limit(1);
        worker.join().unwrap();
        world.rest(2);
    });
}

#[test]
fn weights_hold_when_permits_are_acquired_beside_a_start() {
    check(Bound::Preemptions(2), || {
        let world = weighted(1, 2, 2);
        world.heavy.execute(world.scales.task(2));
        let (gate, heavy, scales) = (world.gate.clone(), world.heavy.clone(), world.scales.clone());
        let other = thread::spawn(move || {
            let mut ran = 0;
            for (job, weight) in [(gate, 1), (heavy, 2)] {
                if let Ok(permit) = job.try_acquire() {
                    scales.under(permit, weight);
                    ran += 1;
                }
            }
            ran
        });
        world.stage.play(0, 1);
        let ran = other.join().unwrap();
        world.rest(1 + ran);
    });
}

#[test]
fn weights_hold_for_permits_of_both_weights() {
    check(Bound::Preemptions(3), || {
        let world = weighted(1, 2, 2);
        let (gate, scales) = (world.gate.clone(), world.scales.clone());
        let visit = |job: Job, scales: Arc<Scales>, weight| {
            job.try_acquire().is_ok_and(|permit| {
                scales.under(permit, weight);
                true
            })
        };
        let other = thread::spawn(move || visit(gate, scales, 1));
        let here = visit(world.heavy.clone(), world.scales.clone(), 2);
        let there = other.join().unwrap();
        // Each may have held some permits when the other asked.
        world.rest(usize::from(here) + usize::from(there));
    });
}

#[test]
fn limit_is_used_by_waiters_of_both_weights() {
    check(Bound::Preemptions(2), || {
        let world = weighted(1, 2, 2);
        let (heavy, scales) = (world.heavy.clone(), world.scales.clone());
        let other = thread::spawn(move || {
            let permit = heavy.acquire_blocking().unwrap();
            scales.under(permit, 2);
        });
        let permit = world.gate.acquire_blocking().unwrap();
        world.scales.under(permit, 1);
        other.join().unwrap();
        world.rest(2);
    });
}

#[test]
fn nothing_lost_when_a_first_task_that_is_heavy_is_cancelled() {
    // The light task behind it gets the permit that is free.
    check(Bound::Preemptions(2), || {
        let world = weighted(1, 2, 2);
        let held = world.gate.try_acquire().unwrap();
        let task = world.heavy.spawn(world.scales.task(2));
        world.gate.execute(world.scales.task(1));
        let stage = world.stage;
        let worker = thread::spawn(move || stage.play(0, 3));
        world.heavy.cancel();
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(world.scales.ran(), [1], "a cancelled task keeps its reservation");
        assert!(task.join().is_err());
        drop(held);
        world.rest(1);
    });
}

#[test]
fn limit_is_used_when_a_permit_comes_back_beside_a_heavy_task_that_its_handle_cancels() {
    check(Bound::Preemptions(2), || {
        let world = weighted(1, 3, 3);
        let held = [world.gate.try_acquire().unwrap(), world.gate.try_acquire().unwrap()];
        let task = world.heavy.spawn(world.scales.task(3));
        world.gate.execute(world.scales.task(1));
        world.stage.play(0, 4);
        assert!(task.cancel());
        let [first, second] = held;
        let giver = thread::spawn(move || drop(first));
        world.stage.play(0, 4);
        giver.join().unwrap();
        // The cancelled cell, and the light task behind it.
        assert!(world.stage.play(0, 8) <= 2, "a cancelled task is admitted again and again");
        assert_eq!(world.scales.ran(), [1], "a cancelled task keeps its reservation");
        drop((task, second));
        world.rest(1);
    });
}

#[test]
fn join_is_safe_with_all_the_weight() {
    // The joiner gives both permits back, and takes both back ahead of the queue.
    check(Bound::Preemptions(1), || {
        let pool = Pool::builder().workers(1).max_spare_workers(1).build().unwrap();
        let (gate, scales) = (pool.job_builder().limit(2).weighted().build(), Scales::new(2));
        let (light, heavy) = (gate.clone(), gate.weigh(2));
        let inner = scales.clone();
        let outer = heavy.spawn(move || {
            light.spawn(inner.task(1)).join().unwrap();
            inner.visit(2);
        });
        gate.execute(scales.task(1));
        outer.join().unwrap();
        drop((gate, heavy));
        drop(pool);
        assert_eq!(scales.ran().len(), 3);
    });
}

#[test]
fn join_is_safe_beside_a_task_that_the_parent_refuses() {
    // A worker has the child's one permit for a moment, until the parent refuses the task. Meanwhile a joiner comes back.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let gate = stage.built(|builder| builder.limit(2).weighted());
        let heavy = gate.job_builder().limit(1).weight(2).build();
        let held = gate.try_acquire().unwrap();
        heavy.execute(|| ());
        let theirs = heavy.clone();
        let joiner = thread::spawn(move || {
            stage.returns_elsewhere(&theirs);
            stage.ends_elsewhere(&theirs);
        });
        stage.play(0, 2);
        drop(held);
        joiner.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(heavy.stats().completed, 1);
        for job in [&heavy, &gate] {
            stage.assert_none_stranded(job);
        }
        drop((gate, heavy));
        stage.end();
    });
}

#[test]
fn join_is_safe_beside_permits_that_are_acquired_in_part() {
    // A thread that acquires a heavy permit has one of its two permits for a moment. Meanwhile a joiner comes back.
    check(Bound::Preemptions(3), || {
        let world = weighted(1, 2, 2);
        let (stage, theirs) = (world.stage, world.heavy.clone());
        let joiner = thread::spawn(move || {
            stage.returns_elsewhere(&theirs);
            stage.ends_elsewhere(&theirs);
        });
        drop(world.heavy.try_acquire());
        joiner.join().unwrap();
        world.rest(0);
    });
}
