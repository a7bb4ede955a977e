//! shares_hold: turns are as long as they are set, and a ready task of a higher class starts first. The one worker of a scenario of
//! this kind makes all of them ready itself, so the order is the same in each schedule.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::instruments::{Gauge, Ledger};
use shuttle_tests::{check, in_a_pool};
use std::time::Duration;
use tollgate::model::sync::time;
use tollgate::{Job, JobBuilder, Pool, Priority};

/// A turn here, and the turns of higher classes after which `Normal` and `Low` are due.
const TURN: usize = 4;
const NORMAL_AFTER: usize = 2;
const LOW_AFTER: usize = 4;

const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

#[test]
fn limit_is_used_by_tasks_of_each_class() {
    // Two threads push into jobs of all classes. The first of them makes its jobs while workers go to sleep.
    in_a_pool(2, |pool| {
        let gauges = [0, 1, 2].map(|_| Gauge::new(1));
        let other = pool.job_builder().limit(1).priority(Priority::Low).build();
        let theirs = gauges[2].clone();
        let pusher = thread::spawn(move || {
            (0..3).for_each(|_| other.execute(theirs.task()));
            other.wait();
        });
        let jobs = [0, 1].map(|class| pool.job_builder().limit(1).priority(CLASSES[class]).build());
        for (job, gauge) in jobs.iter().zip(&gauges) {
            (0..3).for_each(|_| job.execute(gauge.task()));
        }
        jobs.iter().for_each(Job::wait);
        pusher.join().unwrap();
        assert_eq!(gauges.map(|gauge| gauge.ran()), [3, 3, 3]);
    });
}

/// Runs what the tasks write that `push` pushes on the one worker.
fn order(push: impl FnOnce(&Pool, &std::sync::Arc<Ledger>) -> Vec<Job>) -> Vec<usize> {
    let (pool, ledger) = (shuttle_tests::pool(1), Ledger::new());
    let jobs = push(&pool, &ledger);
    let opener = pool.job(1);
    let held = jobs.clone();
    opener.spawn(move || held.iter().for_each(Job::resume)).join().unwrap();
    // A wait for one of the jobs would take its queue lock, which the worker needs. The drain takes none.
    drop((opener, jobs, pool));
    ledger.lines()
}

/// Returns the order of so many turns of each class, where each turn is of a job of its own.
fn order_of_turns(counts: [usize; 3]) -> Vec<usize> {
    order(|pool, ledger| {
        let mut jobs = Vec::new();
        // The lowest class first: its tasks are the oldest.
        for class in [2, 1, 0] {
            for _ in 0..counts[class] {
                let job = pool.job_builder().limit(1).priority(CLASSES[class]).build();
                job.pause();
                job.execute(ledger.task(class));
                jobs.push(job);
            }
        }
        jobs
    })
}

#[test]
fn higher_classes_go_first() {
    check(|| assert_eq!(order_of_turns([2, 1, 1]), [0, 0, 1, 2]));
}

#[test]
fn shares_hold_for_both_lower_classes() {
    check(|| {
        assert_eq!(order_of_turns([2 * NORMAL_AFTER + 2, 2, 0]), [0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(order_of_turns([LOW_AFTER + 2, 0, 2]), [0, 0, 0, 0, 2, 0, 0, 2]);
        assert_eq!(order_of_turns([6, 2, 1]), [0, 0, 1, 0, 2, 0, 1, 0, 0]);
    });
}

/// Returns how many tasks of a job start before a lone task that was pushed behind them. Each takes so long.
fn before_a_lone_task(below: bool, each: Duration, make: fn(JobBuilder) -> JobBuilder) -> usize {
    let order = order(|pool, ledger| {
        let parent = pool.job(1);
        let builder = || if below { parent.job_builder() } else { pool.job_builder() };
        let (large, lone) = (make(builder().limit(1)).build(), builder().limit(1).build());
        large.pause();
        lone.pause();
        for _ in 0..4 * TURN {
            let task = ledger.task(0);
            large.execute(move || {
                task();
                time::advance(each);
            });
        }
        lone.execute(ledger.task(1));
        vec![large, lone]
    });
    order.iter().take_while(|number| **number == 0).count()
}

#[test]
fn shares_hold_beside_another_job() {
    check(|| {
        assert_eq!(before_a_lone_task(false, Duration::ZERO, |job| job.share(3)), 3 * TURN);
        assert_eq!(before_a_lone_task(true, Duration::ZERO, |job| job.share(3)), 3 * TURN);
    });
}

#[test]
fn shares_hold_by_the_time_of_a_turn() {
    let turn = |job: JobBuilder| job.share(3).turn_time(Duration::from_millis(50));
    check(move || {
        assert_eq!(before_a_lone_task(false, Duration::from_millis(20), turn), 3);
        assert_eq!(before_a_lone_task(true, Duration::from_millis(20), turn), 3);
    });
}
