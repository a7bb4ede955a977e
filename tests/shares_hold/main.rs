//! shares_hold: a turn with a job has 16 tasks for each part of its share, or ends after its turn time. A ready task of a higher
//! class starts first, and each class gets its turns. All counts are of one worker, and time is a clock that the tests move.

mod classes;
#[path = "../common/mod.rs"]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::event::{Gauge, Latch, stay};
use common::{LONG, pool_with_clock, within};
use tollgate::{Job, JobBuilder, ManualClock, Pool, Priority};

/// The tasks of a usual turn.
const TURN: usize = 16;

/// One worker, its clock, and the order in which tasks start.
struct Trial {
    pool: Pool,
    clock: ManualClock,
    order: Arc<Mutex<Vec<usize>>>,
    latch: Latch,
}

impl Trial {
    /// Makes a pool whose one worker is inside a task until [`run`](Self::run).
    fn new() -> Self {
        let (pool, clock) = pool_with_clock(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        Self { pool, clock, order: Arc::default(), latch }
    }

    fn job(&self, make: impl FnOnce(JobBuilder) -> JobBuilder) -> Job {
        make(self.pool.job_builder()).build()
    }

    /// Returns a task that notes `number` as it starts, and then takes so long.
    fn task(&self, number: usize, takes: Duration) -> impl FnOnce() + Send + use<> {
        let (order, clock) = (Arc::clone(&self.order), self.clock.clone());
        move || {
            order.lock().unwrap().push(number);
            clock.advance(takes);
        }
    }

    fn push(&self, job: &Job, number: usize, count: usize) {
        self.push_long(job, number, count, Duration::ZERO);
    }

    fn push_long(&self, job: &Job, number: usize, count: usize, takes: Duration) {
        (0..count).for_each(|_| job.execute(self.task(number, takes)));
    }

    /// Lets the worker run all tasks. Returns the numbers in the order of the starts.
    fn run(self) -> Vec<usize> {
        self.latch.open();
        self.pool.shutdown();
        std::mem::take(&mut *self.order.lock().unwrap())
    }
}

/// Returns the runs of equal numbers: the number, and how many times it stands in a row.
fn runs(order: &[usize]) -> Vec<(usize, usize)> {
    order.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// Returns how many tasks start before the one with this number.
fn before(order: &[usize], number: usize) -> usize {
    order.iter().position(|entry| *entry == number).expect("each task runs")
}

const LIMITS: [usize; 4] = [1, 2, 16, usize::MAX];

/// The last job may run alone, so its last turns have no bound.
#[test]
fn long_queues_take_turns_by_their_shares() {
    for (first, second) in LIMITS.into_iter().flat_map(|a| LIMITS.map(|b| (a, b))) {
        within(LONG, move || {
            let trial = Trial::new();
            let shares = [1, 3, 5];
            let jobs = [first, second, first];
            for (number, (limit, share)) in jobs.into_iter().zip(shares).enumerate() {
                let job = trial.job(|job| job.limit(limit).share(share));
                trial.push(&job, number, 20 * TURN * share as usize);
            }
            let order = trial.run();
            let mut left = shares.map(|share| 20 * TURN * share as usize);
            let mut turns = [0_usize; 3];
            for (number, length) in runs(&order) {
                let others_wait = (0..3).any(|other| other != number && left[other] > 0);
                let turn = TURN * shares[number] as usize;
                let whole = length == turn || length == left[number];
                assert!(whole || !others_wait, "{length} of {number}: {:?}", runs(&order));
                turns[number] += 1;
                let ahead = turns.iter().max().unwrap() - turns.iter().min().unwrap();
                assert!(ahead <= 1 || left.contains(&0), "{:?}", runs(&order));
                left[number] -= length;
            }
        });
    }
}

#[test]
fn a_lone_task_waits_for_one_turn_of_a_job_with_a_share() {
    for limit in LIMITS {
        within(LONG, move || {
            for share in [1, 2, 7, Job::MAX_SHARE] {
                let trial = Trial::new();
                let large = trial.job(|job| job.limit(limit).share(share));
                trial.push(&large, 0, 100 * TURN);
                trial.push(&trial.job(|job| job.limit(1)), 1, 1);
                let most = TURN * share as usize;
                assert!(before(&trial.run(), 1) <= most, "limit {limit}, share {share}");
            }
        });
    }
}

/// Tasks of 20 ms. Without a turn time, "fair" counts 16 of them.
#[test]
fn a_lone_task_waits_for_the_time_of_a_turn_and_one_task() {
    let long = Duration::from_millis(20);
    for limit in LIMITS {
        within(LONG, move || {
            for (millis, tasks) in [(0, 1), (1, 1), (20, 1), (21, 2), (50, 3), (10_000, TURN)] {
                let trial = Trial::new();
                let job =
                    trial.job(|job| job.limit(limit).turn_time(Duration::from_millis(millis)));
                trial.push_long(&job, 0, 100, long);
                trial.push(&trial.job(|job| job.limit(1)), 1, 1);
                assert_eq!(before(&trial.run(), 1), tasks, "limit {limit}, {millis} ms");
            }
            let trial = Trial::new();
            trial.push_long(&trial.job(|job| job.limit(limit)), 0, 100, long);
            trial.push(&trial.job(|job| job.limit(1)), 1, 1);
            assert_eq!(before(&trial.run(), 1), TURN, "limit {limit}, no turn time");
        });
    }
}

/// A turn whose time has passed lasts until another task waits. It then ends with the task that runs.
#[test]
fn a_turn_that_is_over_ends_as_soon_as_a_task_comes() {
    for (limit, share) in [(1, 1), (1, 9), (usize::MAX, 1), (usize::MAX, 9)] {
        within(LONG, move || {
            let trial = Trial::new();
            let time = Duration::from_millis(50);
            let job = trial.job(|job| job.limit(limit).share(share).turn_time(time));
            let long = Duration::from_millis(20);
            trial.push_long(&job, 0, 7, long);
            let (lone, task) = (trial.job(|job| job.limit(1)), trial.task(1, Duration::ZERO));
            let order = Arc::clone(&trial.order);
            job.execute(move || {
                order.lock().unwrap().push(2);
                lone.execute(task);
            });
            trial.push_long(&job, 0, 40, long);
            let order = trial.run();
            assert_eq!(before(&order, 1), before(&order, 2) + 1, "limit {limit}, share {share}");
        });
    }
}

/// Items of lazy input count as tasks.
#[test]
fn a_lone_task_waits_for_the_time_of_a_turn_with_items() {
    for limit in [1, usize::MAX] {
        within(LONG, move || {
            let trial = Trial::new();
            let job = trial.job(|job| job.limit(limit).turn_time(Duration::from_millis(50)));
            let (order, clock) = (Arc::clone(&trial.order), trial.clock.clone());
            let (lone, task) =
                (trial.job(|job| job.limit(1)), Mutex::new(Some(trial.task(1, Duration::ZERO))));
            let pushes = job.clone();
            let items = std::thread::spawn(move || {
                pushes.for_each(0..100, move |item| {
                    if item == 0 {
                        lone.execute(task.lock().unwrap().take().unwrap());
                    }
                    order.lock().unwrap().push(0);
                    clock.advance(Duration::from_millis(20));
                })
            });
            trial.latch.open();
            items.join().unwrap().unwrap();
            assert_eq!(before(&trial.run(), 1), 3);
        });
    }
}

#[test]
fn siblings_take_turns_by_their_shares() {
    within(LONG, || {
        for limit in LIMITS {
            let trial = Trial::new();
            let parent = trial.job(|job| job.limit(1));
            let jobs = [1, 3].map(|share| parent.job_builder().limit(limit).share(share).build());
            for (number, job) in jobs.iter().enumerate() {
                trial.push(job, number, 20 * TURN);
            }
            let runs = runs(&trial.run());
            for pair in runs[1..7].chunks(2) {
                assert_eq!(pair.iter().map(|run| run.1).sum::<usize>(), 4 * TURN, "{runs:?}");
                let of = |number| pair.iter().find(|run| run.0 == number).map(|run| run.1);
                assert_eq!((of(0), of(1)), (Some(TURN), Some(3 * TURN)), "{runs:?}");
            }
        }
    });
}

/// The turns among siblings end by their time, too: a usual one by 100 µs, one of share 4 by four times as long.
#[test]
fn siblings_take_turns_by_their_times() {
    within(LONG, || {
        let micros = Duration::from_micros;
        let lengths = |limit: usize, make: fn(JobBuilder) -> JobBuilder| {
            let trial = Trial::new();
            let parent = trial.job(|job| job.limit(1));
            let jobs = [make(parent.job_builder().limit(limit)).build(), parent.job(limit)];
            trial.push_long(&jobs[0], 0, 200, micros(25));
            trial.push(&jobs[1], 1, 200);
            let runs = runs(&trial.run());
            runs.iter().skip(2).find(|run| run.0 == 0).expect("it has several turns").1
        };
        // The worker reads the clock after 1, 2, 4 ... tasks. After 2 of them 50 µs have passed, and after 4 it would be too late.
        for limit in LIMITS {
            assert_eq!(lengths(limit, |job| job), 2);
            assert_eq!(lengths(limit, |job| job.share(4)), 8);
            assert_eq!(lengths(limit, |job| job.turn_time(Duration::from_micros(60))), 3);
            assert_eq!(lengths(limit, |job| job.turn_time(Duration::from_secs(1))), TURN);
        }
    });
}

/// Children inherit what they do not set.
#[test]
fn children_inherit() {
    let trial = Trial::new();
    let parent = trial.job(|job| job.limit(9).share(8).priority(Priority::Low));
    let child = parent.job(1);
    assert_eq!((child.share(), child.priority()), (8, Priority::Low));
    let set = parent.job_builder().share(3).priority(Priority::High).build();
    assert_eq!((set.share(), set.priority()), (24, Priority::High));
    let most = set.job_builder().share(Job::MAX_SHARE).build();
    assert_eq!((most.share(), most.priority()), (Job::MAX_SHARE, Priority::High));
    let keys = parent.job_builder().keyed::<u8>(|key, job| job.limit(1).share(1 + u32::from(*key)));
    assert_eq!((keys.job(&0).share(), keys.job(&1).share()), (8, 16));
    assert_eq!(keys.job(&1).priority(), Priority::Low);
    assert_eq!(
        (trial.job(|job| job).share(), trial.job(|job| job).priority()),
        (1, Priority::Normal)
    );
    assert!(trial.run().is_empty());
}

/// The turn time is inherited, too.
#[test]
fn children_inherit_the_turn_time() {
    within(LONG, || {
        let trial = Trial::new();
        let parent = trial.job(|job| job.turn_time(Duration::from_millis(1)));
        trial.push_long(&parent.job(1), 0, 100, Duration::from_millis(20));
        trial.push(&trial.job(|job| job.limit(1)), 1, 1);
        assert_eq!(before(&trial.run(), 1), 1);
    });
}
