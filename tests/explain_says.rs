//! The words of `Job::explain`, and the order of its reasons.

mod common;

use common::event::{Gauge, Latch, stay};
use common::{LONG, SECOND, pool, pool_with_clock, within};
use tollgate::{Rate, Reason};

/// A rate lasts until its time, and a limit until a task ends. So the rate comes first, although it is the parent's.
#[test]
fn the_clock_comes_before_a_limit_that_is_reached() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(2);
        let host = pool.job_builder().name("host").rate(Rate::every(SECOND)).build();
        let page = host.job_builder().name("page").limit(1).build();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        page.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let task = page.spawn(|| ());
        let rate = Reason::Rate { job: host.clone(), until: clock.now() + SECOND };
        let limit = Reason::Limit { job: page.clone(), running: 1, limit: 1 };
        assert_eq!(page.explain_task(&task).reasons(), [rate.clone(), limit.clone()]);
        page.execute(|| ());
        host.hold_off(3 * SECOND);
        let held = Reason::HeldOff { job: host.clone(), until: clock.now() + 3 * SECOND };
        host.set_limit(0);
        page.pause();
        let why = page.explain();
        let paused = Reason::Paused { job: page.clone() };
        let shut = Reason::Limit { job: host.clone(), running: 1, limit: 0 };
        assert_eq!(why.reasons(), [paused, shut, held, rate, limit]);
        assert_eq!(
            why.to_string(),
            "job \"page\" is paused, job \"host\" runs 1 task of at most 0, job \"host\" is held off for another 3.0s, \
             job \"host\" starts no task for another 1.0s, by its rate, and job \"page\" runs 1 task of at most 1"
        );
        host.set_limit(9);
        page.resume();
        latch.open();
        clock.advance(3 * SECOND);
        task.join().unwrap();
        clock.advance(SECOND);
        page.wait();
    });
}

/// Each reason with numbers of one and of several.
#[test]
fn each_reason_has_its_words() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let named = || pool.job_builder().name("host").build();
        let until = clock.now() + 90 * SECOND;
        let waiting = |tasks, awaited| Reason::Waiting { tasks, awaited };
        let limit = |running, limit| Reason::Limit { job: named(), running, limit };
        let words = [
            (Reason::Cancelled { job: named() }, "job \"host\" is cancelled"),
            (Reason::Paused { job: pool.job(1) }, "a job without a name is paused"),
            (Reason::HeldOff { job: named(), until }, "job \"host\" is held off for another 90.0s"),
            (
                Reason::Rate { job: named(), until },
                "job \"host\" starts no task for another 90.0s, by its rate",
            ),
            (Reason::Delayed { until }, "the task waits for its time"),
            (limit(0, 0), "job \"host\" has a limit of 0"),
            (limit(2, 0), "job \"host\" runs 2 tasks of at most 0"),
            (limit(1, 2), "job \"host\" runs 1 task of at most 2"),
            (limit(9, usize::MAX), "job \"host\" runs 9 tasks, the most that any job can"),
            (
                Reason::Weight { job: named(), needs: 3, free: 2 },
                "job \"host\" has 2 of 3 permits free for its first task",
            ),
            (Reason::Behind { ahead: 1 }, "1 task goes first"),
            (Reason::Behind { ahead: 2 }, "2 tasks go first"),
            (Reason::NoWorker { busy: 1, workers: 1 }, "the only worker is busy"),
            (Reason::NoWorker { busy: 3, workers: 3 }, "all 3 workers are busy"),
            (Reason::Ready, "a worker is about to take it"),
            (Reason::Pending, "the future waits to be woken"),
            (Reason::Running { running: 1 }, "1 task runs"),
            (Reason::Running { running: 2 }, "2 tasks run"),
            (waiting(1, None), "1 task waits for another"),
            (waiting(2, None), "2 tasks wait for others"),
            (waiting(1, Some(named())), "1 task waits for job \"host\""),
            (waiting(2, Some(named())), "2 tasks wait for job \"host\""),
            (Reason::Ended, "the task has ended"),
            (Reason::Idle, "there is no task"),
            (Reason::Closed { job: named() }, "job \"host\" is closed and has no task"),
        ];
        for (reason, says) in words {
            assert_eq!(reason.to_string(), says);
        }
    });
}

/// The name of a task stands before its reasons.
#[test]
fn a_named_task_is_named_with_its_reasons() {
    within(LONG, || {
        let pool = pool(1);
        let host = pool.job_builder().name("host").limit(0).build();
        let (first, second) = (host.spawn_named("index", || ()), host.spawn_named("page", || ()));
        assert_eq!(
            host.explain_task(&second).to_string(),
            "task \"page\": job \"host\" has a limit of 0, and 1 task goes first"
        );
        assert_eq!(host.explain().to_string(), "job \"host\" has a limit of 0");
        host.set_limit(1);
        first.join().unwrap();
        while !second.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(host.explain_task(&second).to_string(), "task \"page\": the task has ended");
    });
}
