//! Classes, shares and turn times: a task of a class is never left beside a parked worker, and turns are as long as they are set.
//! The models of lengths have one thread, and a clock that their tasks move: they count.

#![cfg(tollgate_loom)]

use loom::sync::{Condvar, Mutex};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Gauge;
use std::sync::Arc;
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::model::sync::time;
use tollgate::{Job, JobBuilder, Priority};

/// A turn here, and the turns of higher classes after which `Normal` and `Low` are due.
const TURN: usize = 2;
const NORMAL_AFTER: usize = 2;
const LOW_AFTER: usize = 4;

fn with_class(class: Priority) -> impl FnOnce(JobBuilder) -> JobBuilder {
    move |job| job.limit(2).priority(class)
}

#[test]
fn limit_is_used_when_the_first_task_of_a_class_meets_a_worker_going_to_sleep() {
    for class in [Priority::High, Priority::Low] {
        check(Bound::Preemptions(3), move || {
            let (stage, gauge) = (Stage::new(1), Gauge::new(1));
            let sleeper = thread::spawn(move || stage.sleep_and_serve(0));
            let job = stage.built(with_class(class));
            job.execute(gauge.task());
            sleeper.join().unwrap();
            assert_eq!(gauge.ran(), 1);
            drop(job);
            stage.end();
        });
    }
}

#[test]
fn limit_is_used_by_tasks_of_a_class_that_were_passed_over() {
    // Looking for a task of another job, a worker takes one of its last job's out of the injector of the class, and puts it back.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let [last, other] = [(); 2].map(|()| stage.built(with_class(Priority::High)));
        let done = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = done.clone();
        last.execute(move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_one();
        });
        other.execute(move || {
            let mut is_done = done.0.lock().unwrap();
            while !*is_done {
                is_done = done.1.wait(is_done).unwrap();
            }
        });
        let sleeper = thread::spawn(move || stage.sleep_and_serve(1));
        stage.serve_others(0, &last);
        sleeper.join().unwrap();
        assert_eq!((last.stats().completed, other.stats().completed), (1, 1));
        drop((last, other));
        stage.end();
    });
}

/// The numbers of tasks in the order of their starts.
type Order = Arc<std::sync::Mutex<Vec<usize>>>;

fn push(order: &Order, job: &Job, number: usize, count: usize, takes: Duration) {
    for _ in 0..count {
        let order = order.clone();
        job.execute(move || {
            order.lock().unwrap().push(number);
            time::advance(takes);
        });
    }
}

/// Lets the one worker of the stage run all tasks, and ends the stage.
fn run(stage: Stage, jobs: Vec<Job>, order: &Order) -> Vec<usize> {
    while stage.play(0, usize::MAX) > 0 {}
    jobs.iter().for_each(|job| stage.assert_none_stranded(job));
    drop(jobs);
    stage.end();
    std::mem::take(&mut *order.lock().unwrap())
}

/// Returns the order of so many turns of each class, where each turn is of a job of its own.
fn order_of_turns(counts: [usize; 3]) -> Vec<usize> {
    let (stage, order) = (Stage::new(1), Order::default());
    let classes = [Priority::High, Priority::Normal, Priority::Low];
    let mut jobs = Vec::new();
    // The lowest class first: its tasks are the oldest.
    for class in [2, 1, 0] {
        for _ in 0..counts[class] {
            let job = stage.built(|job| job.limit(1).priority(classes[class]));
            push(&order, &job, class, 1, Duration::ZERO);
            jobs.push(job);
        }
    }
    run(stage, jobs, &order)
}

#[test]
fn higher_classes_go_first() {
    check(Bound::None, || assert_eq!(order_of_turns([2, 1, 1]), [0, 0, 1, 2]));
}

#[test]
fn shares_hold_for_the_class_normal() {
    check(Bound::None, || {
        let order = order_of_turns([2 * NORMAL_AFTER + 2, 2, 0]);
        assert_eq!(order, [0, 0, 1, 0, 0, 1, 0, 0]);
    });
}

#[test]
fn shares_hold_for_the_class_low() {
    check(Bound::None, || {
        let order = order_of_turns([2 * LOW_AFTER + 2, 0, 2]);
        assert_eq!(order, [0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
    });
}

#[test]
fn shares_hold_for_both_lower_classes() {
    check(Bound::None, || {
        assert_eq!(order_of_turns([6, 2, 1]), [0, 0, 1, 0, 2, 0, 1, 0, 0]);
    });
}

/// Returns how many tasks of a job start before a lone task that was pushed behind them. Each takes so long.
fn before_a_lone_task(each: Duration, make: fn(Stage) -> (Vec<Job>, Job, Job)) -> usize {
    let (stage, order) = (Stage::new(1), Order::default());
    let (mut jobs, large, lone) = make(stage);
    push(&order, &large, 0, 4 * TURN, each);
    push(&order, &lone, 1, 1, Duration::ZERO);
    jobs.extend([large, lone]);
    run(stage, jobs, &order).iter().take_while(|number| **number == 0).count()
}

#[test]
fn shares_hold_beside_another_job() {
    check(Bound::None, || {
        let make = |stage: Stage| {
            (vec![], stage.built(|job| job.limit(1).share(3)), stage.built(|job| job.limit(1)))
        };
        assert_eq!(before_a_lone_task(Duration::ZERO, make), 3 * TURN);
    });
}

#[test]
fn shares_hold_among_siblings() {
    check(Bound::None, || {
        let make = |stage: Stage| {
            let parent = stage.built(|job| job.limit(1));
            let large = parent.job_builder().limit(1).share(3).build();
            let lone = parent.job(1);
            (vec![parent], large, lone)
        };
        assert_eq!(before_a_lone_task(Duration::ZERO, make), 3 * TURN);
        // Half of the time of a turn of this share has passed after two tasks.
        assert_eq!(before_a_lone_task(Duration::from_micros(75), make), 2);
    });
}

#[test]
fn shares_hold_by_the_time_of_a_turn() {
    check(Bound::None, || {
        let make = |stage: Stage| {
            let turn = |job: JobBuilder| job.limit(1).share(3).turn_time(Duration::from_millis(50));
            (vec![], stage.built(turn), stage.built(|job| job.limit(1)))
        };
        assert_eq!(before_a_lone_task(Duration::from_millis(20), make), 3);
    });
}

#[test]
fn shares_hold_by_the_time_of_a_turn_among_siblings() {
    check(Bound::None, || {
        let make = |stage: Stage| {
            let parent = stage.built(|job| job.limit(1));
            let large = parent.job_builder().limit(1).share(3);
            let large = large.turn_time(Duration::from_millis(50)).build();
            let lone = parent.job(1);
            (vec![parent], large, lone)
        };
        assert_eq!(before_a_lone_task(Duration::from_millis(20), make), 3);
    });
}
