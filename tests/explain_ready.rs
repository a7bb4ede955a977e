//! `Reason::Ready`: a task that no gate holds back, and that starts when it is left alone.

mod common;

use std::thread;
use std::time::Instant;

use common::event::{Gauge, Latch, stay};
use common::rng::Rng;
use common::{LONG, SECOND, pool_with_clock, until_parked, with_workers, within};
use tollgate::{Job, ManualClock, Permit, Pool, Rate, Reason, TaskHandle};

/// All workers are parked when a task is pushed, so it is ready until one of them has woken and taken it. A worker that is that quick
/// is no failure: then the next task is asked.
#[test]
fn a_task_for_which_a_parked_worker_wakes_is_ready() {
    with_workers(|pool, workers| {
        let search = pool.job_builder().name("search").limit(2).build();
        let ready_of = |of_the_task: bool| loop {
            until_parked(pool, workers);
            let task = search.spawn(|| ());
            let why = if of_the_task { search.explain_task(&task) } else { search.explain() };
            task.join().unwrap();
            search.wait();
            if why.first() == &Reason::Ready {
                return why;
            }
        };
        for why in [true, false].map(ready_of) {
            assert_eq!(why.reasons(), [Reason::Ready]);
            assert_eq!(why.to_string(), "a worker is about to take it");
        }
    });
}

/// What keeps the task of a round from starting.
enum Gate {
    Paused(Job),
    /// The job has a limit of 0, and had this limit before.
    Zero(Job, usize),
    /// A hold-off, or the task's own delay.
    Until(Instant),
    Rate(Job, Instant),
    /// A permit without a task: the only one of a job, or so many that the task's weight is not free.
    Held(Permit),
    /// Each worker runs a task until this opens.
    Busy(Latch),
}

/// A pool, a job in a job, one task of the inner job, and the gates that are closed.
struct Round {
    closed: Vec<Gate>,
    pool: Pool,
    clock: ManualClock,
    page: Job,
    task: TaskHandle<()>,
}

impl Round {
    fn new(rng: &mut Rng) -> Self {
        let workers = 1 + rng.below(3);
        let (pool, clock) = pool_with_clock(workers);
        let (weighted, mut closed) = (rng.one_in(2), Vec::new());
        let builder = pool.job_builder().limit(4);
        let host = if weighted { builder.weighted() } else { builder }.build();
        let page = host.job_builder().weight(3).limit(1).build();
        if rng.one_in(4) {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let busy = pool.job(usize::MAX);
            (0..workers).for_each(|_| busy.execute(stay(&gauge, &latch)));
            gauge.until_running(workers);
            closed.push(Gate::Busy(latch));
        }
        match rng.below(4) {
            // Each permit that is given back has used the only start of a second.
            0 => {
                let rated = if rng.one_in(2) { vec![&host, &page] } else { vec![&page] };
                rated.iter().for_each(|job| job.set_rates(&[Rate::every(SECOND)]));
                drop(page.try_acquire().unwrap());
                let until = clock.now() + SECOND;
                closed.extend(rated.into_iter().map(|job| Gate::Rate(job.clone(), until)));
            }
            1 => closed.push(Gate::Held(page.try_acquire().unwrap())),
            // 2 of 4 are free, and the task takes 3.
            2 if weighted => closed.push(Gate::Held(host.weigh(2).try_acquire().unwrap())),
            _ => {}
        }
        for (job, limit) in [(&host, 4), (&page, 1)] {
            if rng.one_in(4) {
                job.pause();
                closed.push(Gate::Paused(job.clone()));
            }
            if rng.one_in(4) {
                job.set_limit(0);
                closed.push(Gate::Zero(job.clone(), limit));
            }
            if rng.one_in(4) {
                let time = SECOND * (1 + rng.below(2) as u32);
                job.hold_off(time);
                closed.push(Gate::Until(clock.now() + time));
            }
        }
        let task = match rng.below(4) {
            0 => {
                let time = SECOND * (1 + rng.below(2) as u32);
                closed.push(Gate::Until(clock.now() + time));
                page.spawn_after(time, || ())
            }
            #[cfg(feature = "futures")]
            1 => page.spawn_future(async {}),
            _ => page.spawn(|| ()),
        };
        Self { pool, clock, page, closed, task }
    }

    /// Opens one of the gates that are closed. A step of the clock opens each whose time has come.
    fn open_one(&mut self, rng: &mut Rng) {
        match self.closed.swap_remove(rng.below(self.closed.len())) {
            Gate::Paused(job) => job.resume(),
            Gate::Zero(job, limit) => job.set_limit(limit),
            Gate::Held(permit) => drop(permit),
            Gate::Busy(latch) => latch.open(),
            Gate::Rate(job, _) if rng.one_in(2) => job.set_rates(&[]),
            timed @ (Gate::Until(_) | Gate::Rate(..)) => {
                self.closed.push(timed);
                self.clock.advance(SECOND);
                let now = self.clock.now();
                self.closed.retain(|gate| match gate {
                    Gate::Until(until) | Gate::Rate(_, until) => *until > now,
                    _ => true,
                });
            }
        }
    }
}

/// The gates are opened one by one, and after each the task and its job are explained. While one is closed, neither is ready. Once all
/// are open, no call but the look at the task comes between `Ready` and its end. The rounds go on until many tasks were ready.
#[test]
fn a_task_is_ready_only_behind_open_gates_and_then_starts_when_left_alone() {
    within(LONG, || {
        let mut rng = Rng::from_env();
        let (mut rounds, mut ready, mut no_worker) = (0, 0, 0);
        while rounds < 300 || ready < 30 {
            rounds += 1;
            assert!(rounds < 100_000, "only {ready} tasks were ready");
            let mut round = Round::new(&mut rng);
            loop {
                let of_the_task = rng.one_in(2);
                let why = match of_the_task {
                    true => round.page.explain_task(&round.task),
                    false => round.page.explain(),
                };
                let first = why.first();
                if round.closed.is_empty() {
                    ready += usize::from(first == &Reason::Ready);
                    while !round.task.is_finished() {
                        thread::yield_now();
                    }
                    break;
                }
                let [Gate::Busy(_)] = round.closed.as_slice() else {
                    let held = !matches!(first, Reason::Ready | Reason::NoWorker { .. });
                    assert!(held, "round {rounds}: {why}");
                    assert!(!round.task.is_finished(), "round {rounds}: {why}");
                    round.open_one(&mut rng);
                    continue;
                };
                // Only the workers are missing.
                let workers = round.pool.workers();
                assert_eq!(why.reasons(), [Reason::NoWorker { busy: workers, workers }]);
                assert!(!round.task.is_finished(), "round {rounds}: {why}");
                no_worker += 1;
                round.open_one(&mut rng);
            }
        }
        assert!(no_worker > 0);
    });
}
