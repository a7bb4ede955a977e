//! limit_holds: never do more than `limit` tasks of a job run at once, and once `set_limit` or `pause` has returned no task
//! starts over it, even one that was ready before.

mod common;

use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use common::event::{Gauge, Latch, linger, pass_through, stay};
use common::rng::Rng;
use common::{LONG, pool, settle, unwind, with_workers, within, workers_pass};
use tollgate::{Job, Pool};

#[test]
fn never_runs_more_than_the_limit() {
    with_workers(|pool, workers| {
        for limit in [1, 2, 3, 6] {
            let (job, gauge) = (pool.job(limit), Gauge::new());
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for i in 0..2_000 {
                            match i % 2 {
                                0 => job.execute(pass_through(&gauge)),
                                _ => drop(job.spawn(pass_through(&gauge))),
                            }
                        }
                    });
                }
            });
            job.wait();
            assert!(
                gauge.most() <= limit,
                "{} ran under a limit of {limit}, {workers} workers",
                gauge.most()
            );
            let stats = job.stats();
            assert!(stats.most_running <= limit && gauge.most() <= stats.most_running, "{stats:?}");
            assert_eq!((stats.limit, stats.completed), (limit, 6_000));
        }
    });
}

#[test]
fn each_job_has_its_own_permits() {
    with_workers(|pool, _| {
        let jobs: Vec<(Job, Gauge, usize)> = (0..30)
            .map(|i| 1 + i % 3)
            .map(|limit| (pool.job(limit), Gauge::new(), limit))
            .collect();
        for _ in 0..200 {
            for (job, gauge, _) in &jobs {
                job.execute(pass_through(gauge));
            }
        }
        for (job, gauge, limit) in &jobs {
            job.wait();
            assert!(gauge.most() <= *limit, "{} ran under a limit of {limit}", gauge.most());
        }
    });
}

#[test]
fn tasks_pushed_from_inside_are_held_too() {
    fn tree(job: &Job, gauge: &Gauge, depth: usize) {
        let (inner, again) = (job.clone(), gauge.clone());
        job.execute(move || {
            let _running = again.enter();
            if depth > 0 {
                tree(&inner, &again, depth - 1);
                tree(&inner, &again, depth - 1);
            }
            linger();
        });
    }
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let (job, gauge) = (pool.job(limit), Gauge::new());
            tree(&job, &gauge, 11);
            job.wait();
            assert_eq!(gauge.started(), (1 << 12) - 1);
            assert!(gauge.most() <= limit, "{} ran under a limit of {limit}", gauge.most());
        }
    });
}

#[test]
fn a_panic_gives_back_one_permit_and_not_two() {
    with_workers(|pool, _| {
        let (job, gauge) = (pool.job(2), Gauge::new());
        for i in 0..3_000 {
            let gauge = gauge.clone();
            let task = move || {
                let _running = gauge.enter();
                linger();
                if i % 3 == 0 {
                    unwind("a task that fails");
                }
            };
            match i % 2 {
                0 => job.execute(task),
                _ => drop(job.spawn(task)),
            }
        }
        job.wait();
        assert!(gauge.most() <= 2, "{} ran under a limit of 2", gauge.most());
        let stats = job.stats();
        assert_eq!((stats.completed, stats.panicked), (2_000, 1_000));
    });
}

#[test]
fn a_cancelled_task_gives_back_no_permit_it_never_had() {
    with_workers(|pool, _| {
        let mut rng = Rng::from_env();
        let (job, gauge) = (pool.job(2), Gauge::new());
        for _ in 0..40 {
            let mut handles: Vec<_> = (0..100).map(|_| job.spawn(pass_through(&gauge))).collect();
            for _ in 0..50 {
                let handle = handles.swap_remove(rng.below(handles.len()));
                handle.cancel();
            }
        }
        job.wait();
        assert!(gauge.most() <= 2, "{} ran under a limit of 2", gauge.most());
    });
}

/// Makes a job whose tasks occupy every worker, with a hundred more behind them; `hold` must keep those back.
fn holds_what_was_ready(hold: fn(&Job), let_go: fn(&Job)) {
    with_workers(move |pool, workers| {
        for limit in [workers, workers + 3, usize::MAX] {
            let (job, gauge) = (pool.job(limit), Gauge::new());
            let latch = Latch::new();
            for _ in 0..workers {
                job.execute(stay(&gauge, &latch));
            }
            gauge.until_running(workers);
            for _ in 0..100 {
                job.execute(pass_through(&gauge));
            }
            hold(&job);
            latch.open();
            gauge.until_ended(workers);
            workers_pass(pool, workers);
            assert_eq!(
                gauge.started(),
                workers,
                "a task started in a held job, limit {limit}, {workers} workers"
            );
            // What comes while the job is held waits with the rest.
            job.execute(pass_through(&gauge));
            workers_pass(pool, workers);
            assert_eq!(gauge.started(), workers, "a task pushed into a held job started");
            assert_eq!(job.stats().running, 0);
            let_go(&job);
            job.wait();
            assert_eq!(gauge.started(), workers + 101);
        }
    });
}

#[test]
fn a_pause_holds_what_was_ready() {
    holds_what_was_ready(Job::pause, Job::resume);
}

/// A worker that has just ended the last task looks for a further one for a moment. What is pushed in that moment is held, too.
#[test]
fn a_pause_holds_what_is_pushed_at_once() {
    within(LONG, || {
        let pool = pool(1);
        for limit in [1, usize::MAX] {
            let (job, gauge) = (pool.job(limit), Gauge::new());
            for round in 0..5_000 {
                job.spawn(|| ()).join().unwrap();
                job.pause();
                job.execute(pass_through(&gauge));
                settle(&job);
                assert_eq!(gauge.started(), round, "limit {limit}");
                job.resume();
                job.wait();
            }
        }
    });
}

#[test]
fn a_limit_of_0_holds_what_was_ready() {
    holds_what_was_ready(|job| job.set_limit(0), |job| job.set_limit(2));
}

#[test]
fn a_pause_keeps_the_limit() {
    with_workers(|pool, workers| {
        let (job, gauge) = (pool.job(3), Gauge::new());
        job.pause();
        assert_eq!(job.limit(), 3);
        for _ in 0..500 {
            job.execute(pass_through(&gauge));
        }
        // A new limit does not end the pause.
        job.set_limit(2);
        assert_eq!(job.limit(), 2);
        workers_pass(pool, workers);
        assert_eq!(gauge.started(), 0, "a task of a paused job started");
        job.resume();
        job.wait();
        assert!(gauge.most() <= 2, "{} ran under a limit of 2", gauge.most());
        assert_eq!(gauge.started(), 500);
    });
}

#[test]
fn a_job_made_with_limit_0_is_held() {
    with_workers(|pool, workers| {
        let (job, gauge) = (pool.job(0), Gauge::new());
        let first = job.spawn(pass_through(&gauge));
        for _ in 0..100 {
            job.execute(pass_through(&gauge));
        }
        workers_pass(pool, workers);
        assert_eq!(gauge.started(), 0, "a task of a held job started");
        assert!(!first.is_finished());
        job.set_limit(1);
        job.wait();
        assert_eq!((gauge.started(), gauge.most()), (101, 1));
    });
}

/// The excess of a lowered limit drains: nothing is stopped, and nothing starts until fewer than the new limit run.
#[test]
fn a_lowered_limit_lets_the_excess_drain() {
    within(LONG, || {
        let pool = pool(8);
        for _ in 0..50 {
            let (job, gauge) = (pool.job(6), Gauge::new());
            let latches: Vec<Latch> = (0..6).map(|_| Latch::new()).collect();
            let last = Latch::new();
            for latch in &latches {
                job.execute(stay(&gauge, latch));
            }
            gauge.until_running(6);
            for _ in 0..10 {
                job.execute(stay(&gauge, &last));
            }
            job.set_limit(2);
            for (i, latch) in latches.iter().enumerate() {
                latch.open();
                gauge.until_ended(i + 1);
                if i < 4 {
                    workers_pass(&pool, 8 - (5 - i));
                    assert_eq!(
                        gauge.started(),
                        6,
                        "a task started while {} ran under a limit of 2",
                        5 - i
                    );
                }
            }
            gauge.until_running(2);
            workers_pass(&pool, 6);
            assert_eq!(gauge.running(), 2);
            last.open();
            job.wait();
            assert_eq!((gauge.started(), gauge.most()), (16, 6));
        }
    });
}

/// A random walk in which it is known, at every step, exactly how many tasks must be running.
struct Walk {
    job: Job,
    gauge: Gauge,
    exits: Exits,
    limit: usize,
    paused: bool,
    /// How many must be running once the last step has taken effect.
    running: usize,
    waiting: usize,
}

/// Lets so many of the tasks that wait here go, whichever.
#[derive(Clone, Default)]
struct Exits(Arc<(Mutex<usize>, Condvar)>);

impl Exits {
    fn open(&self, count: usize) {
        *self.0.0.lock().unwrap() += count;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (free, changed) = &*self.0;
        *changed.wait_while(free.lock().unwrap(), |free| *free == 0).unwrap() -= 1;
    }
}

impl Walk {
    fn push(&mut self) {
        self.waiting += 1;
        self.expect();
        let (gauge, exits) = (self.gauge.clone(), self.exits.clone());
        self.job.execute(move || {
            let _running = gauge.enter();
            exits.pass();
        });
    }

    fn let_one_go(&mut self) {
        if self.running > 0 {
            self.running -= 1;
            let ended = self.gauge.started() - self.gauge.running();
            self.expect();
            self.exits.open(1);
            self.gauge.until_ended(ended + 1);
        }
    }

    fn change(&mut self, limit: usize) {
        self.limit = limit;
        self.expect();
        self.job.set_limit(limit);
    }

    fn hold(&mut self, paused: bool) {
        self.paused = paused;
        self.expect();
        match paused {
            true => self.job.pause(),
            false => self.job.resume(),
        }
    }

    /// Takes into `running` the tasks that must start now, and tells the gauge before they can.
    fn expect(&mut self) {
        let room = if self.paused { 0 } else { self.limit.saturating_sub(self.running) };
        let starting = room.min(self.waiting);
        self.running += starting;
        self.waiting -= starting;
        self.gauge.expect(self.running);
    }

    /// Comes back when as many run as must.
    fn settle(&self) {
        self.gauge.until_running(self.running);
        assert_eq!(self.gauge.over(), 0, "more ran than the limit allowed");
    }
}

#[test]
fn exactly_the_limit_runs_while_it_moves() {
    within(LONG, || {
        let mut rng = Rng::from_env();
        let pool: Pool = pool(8);
        let mut walk = Walk {
            job: pool.job(3),
            gauge: Gauge::new(),
            exits: Exits::default(),
            limit: 3,
            paused: false,
            running: 0,
            waiting: 0,
        };
        for _ in 0..3_000 {
            match rng.below(8) {
                0..3 if walk.waiting < 40 => walk.push(),
                0..5 => walk.let_one_go(),
                5 => walk.change(rng.below(9)),
                6 => walk.hold(true),
                _ => walk.hold(false),
            }
            walk.settle();
        }
        walk.gauge.expect(8);
        walk.exits.open(walk.running + walk.waiting);
        walk.hold(false);
        walk.job.set_limit(8);
        walk.job.wait();
    });
}
