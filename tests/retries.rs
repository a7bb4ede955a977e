//! Tasks of `spawn_retry`: each attempt needs a permit, and none is held between two attempts. The policy says when the attempts
//! are made.
//!
//! Time is a clock that the test moves.

mod common;

use common::event::{Gauge, Latch, stay};
use common::{LONG, SECOND, with_clock, within};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tollgate::{Job, JoinError, ManualClock, Pool, Reason, Rejected, Retried, Retry};

/// Delays of 1, 2, 4, ... seconds.
fn doubling(attempts: u32) -> Retry {
    let policy = Retry::new().attempts(attempts).first_delay(SECOND).factor(2.0);
    policy.longest_delay(3600 * SECOND).jitter(0.0)
}

/// Waits until so many tasks of the job wait for their time.
fn until_delayed(job: &Job, tasks: usize) {
    while job.stats().delayed != tasks || job.stats().running > 0 {
        thread::yield_now();
    }
}

#[test]
fn a_task_that_succeeds_is_tried_once() {
    with_clock(|pool, _| {
        let job = pool.job(1);
        let end = job.spawn_retry(doubling(5), || Ok::<_, ()>(7)).join().unwrap();
        assert_eq!(end, Retried { result: Ok(7), attempts: 1 });
        job.wait();
        assert_eq!(job.stats().completed, 1);
    });
}

#[test]
fn attempts_come_after_the_delays_of_the_policy() {
    with_clock(|pool, clock| {
        let (job, calls) = (pool.job(1), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&calls);
        let task = job.spawn_retry(doubling(4), move || Err::<(), _>(seen.fetch_add(1, SeqCst)));
        for (attempt, delay) in [(1, 1), (2, 2), (3, 4)] {
            until_delayed(&job, 1);
            assert_eq!(calls.load(SeqCst), attempt);
            clock.advance(delay * SECOND - Duration::from_nanos(1));
            assert_eq!((job.stats().delayed, job.stats().running), (1, 0));
            clock.advance(Duration::from_nanos(1));
        }
        assert_eq!(task.join().unwrap(), Retried { result: Err(3), attempts: 4 });
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.delayed, calls.load(SeqCst)), (1, 0, 4));
    });
}

/// The time that an attempt takes is no part of the delay after it.
#[test]
fn a_delay_begins_with_the_end_of_the_attempt() {
    with_clock(|pool, clock| {
        let (job, inside) = (pool.job(1), clock.clone());
        let task = job.spawn_retry(doubling(2), move || {
            inside.advance(SECOND);
            Err::<(), _>(inside.now())
        });
        while job.stats().delayed == 0 && !task.is_finished() {
            thread::yield_now();
        }
        assert!(!task.is_finished(), "the next attempt came without a delay");
        let first_end = clock.now();
        clock.advance(SECOND);
        let last = task.join().unwrap();
        assert_eq!(last, Retried { result: Err(first_end + 2 * SECOND), attempts: 2 });
    });
}

#[test]
fn a_seed_repeats_the_times() {
    within(LONG, || {
        let times = |seed| {
            let clock = ManualClock::new();
            let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
            let (job, start) = (pool.job(1), clock.now());
            let (times, now) = (Arc::new(Mutex::new(Vec::new())), clock.clone());
            let note = Arc::clone(&times);
            let policy = doubling(5).jitter(1.0).seed(seed);
            let task = job.spawn_retry(policy, move || {
                note.lock().unwrap().push(now.now() - start);
                Err::<(), ()>(())
            });
            while !task.is_finished() {
                if job.stats().delayed > 0 && job.stats().running == 0 {
                    clock.advance(Duration::from_millis(50));
                }
                thread::yield_now();
            }
            let times = times.lock().unwrap();
            times.clone()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    });
}

#[test]
fn no_delay_is_no_wait_for_the_clock() {
    with_clock(|pool, _| {
        let policy = doubling(100).first_delay(Duration::ZERO);
        let end = pool.job(1).spawn_retry(policy, || Err::<(), ()>(())).join().unwrap();
        assert_eq!(end.attempts, 100);
    });
}

#[test]
fn no_permit_is_held_between_two_attempts() {
    with_clock(|pool, clock| {
        let parent = pool.job(1);
        let (job, sibling) = (parent.job(1), parent.job(1));
        let mut left = 1;
        let task = job.spawn_retry(doubling(5), move || {
            left -= 1;
            if left < 0 { Ok("done") } else { Err(()) }
        });
        until_delayed(&job, 1);
        for job in [&job, &sibling, &parent] {
            assert_eq!(job.spawn(|| "now").join().unwrap(), "now");
        }
        assert!(!job.wait_timeout(Duration::from_millis(1)));
        // The next attempt needs a permit anew.
        let (gauge, latch) = (Gauge::new(), Latch::new());
        sibling.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        clock.advance(SECOND);
        assert!(!task.is_finished());
        assert_eq!(job.stats().delayed, 0);
        latch.open();
        assert_eq!(task.join().unwrap(), Retried { result: Ok("done"), attempts: 2 });
        assert_eq!(parent.stats().most_running, 1);
    });
}

#[test]
fn a_panic_is_the_last_attempt() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let mut fails = true;
        let task = job.spawn_retry(doubling(5), move || {
            assert!(std::mem::take(&mut fails), "the second attempt");
            Err::<(), ()>(())
        });
        until_delayed(&job, 1);
        clock.advance(SECOND);
        assert!(task.join().unwrap_err().is_panic());
        job.wait();
        assert_eq!((job.stats().panicked, job.stats().completed), (1, 0));
    });
}

#[test]
fn a_cancel_between_two_attempts_drops_the_task_at_once() {
    with_clock(|pool, clock| {
        for by_job in [false, true] {
            let (job, kept) = (pool.job(1), Arc::new(()));
            let weak = Arc::downgrade(&kept);
            let task = job.spawn_retry(doubling(5), move || Err::<(), _>(Arc::clone(&kept)));
            until_delayed(&job, 1);
            if by_job {
                job.cancel();
                job.wait();
                assert!(!task.cancel());
            } else {
                assert!(task.cancel() && !task.cancel());
            }
            assert_eq!(weak.strong_count(), 0);
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            job.wait();
            assert_eq!((job.stats().cancelled, job.stats().delayed), (1, 0));
            clock.advance(100 * SECOND);
        }
    });
}

#[test]
fn a_cancel_during_an_attempt_makes_it_the_last() {
    with_clock(|pool, _| {
        for by_job in [false, true] {
            let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
            let (seen, opening) = (gauge.clone(), latch.opening());
            let task = job.spawn_retry(doubling(5), move || {
                let _running = seen.enter();
                opening.wait();
                Err::<(), _>(tollgate::is_cancelled())
            });
            gauge.until_running(1);
            if by_job {
                job.cancel();
            } else {
                assert!(!task.cancel());
            }
            latch.open();
            assert_eq!(task.join().unwrap(), Retried { result: Err(true), attempts: 1 });
            job.wait();
            assert_eq!((job.stats().completed, job.stats().cancelled), (1, 0));
        }
    });
}

#[test]
fn a_task_is_cancelled_before_its_first_attempt() {
    with_clock(|pool, _| {
        let job = pool.job(0);
        let tasks = [(); 2].map(|()| job.spawn_retry(doubling(5), || Ok::<_, ()>(())));
        assert!(tasks[0].cancel());
        job.cancel();
        job.wait();
        assert_eq!(job.stats().cancelled, 2);
        let closed = job.spawn_retry(doubling(5), || Ok::<_, ()>(()));
        for task in tasks.into_iter().chain([closed]) {
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        }
    });
}

#[test]
fn a_detached_task_is_tried_again() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job(1), Gauge::new());
        let seen = gauge.clone();
        drop(job.spawn_retry(doubling(3), move || {
            drop(seen.enter());
            Err::<(), ()>(())
        }));
        for delay in [1, 2] {
            until_delayed(&job, 1);
            clock.advance(delay * SECOND);
        }
        job.wait();
        assert_eq!((gauge.started(), job.stats().completed), (3, 1));
    });
}

#[test]
fn a_drain_and_a_closed_job_still_make_the_attempts() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let task = job.spawn_retry(doubling(3), || Err::<(), ()>(()));
        until_delayed(&job, 1);
        job.close();
        thread::scope(|scope| {
            let drain = scope.spawn(|| pool.shutdown());
            for delay in [1, 2] {
                until_delayed(&job, 1);
                assert!(!drain.is_finished());
                clock.advance(delay * SECOND);
            }
            drain.join().unwrap();
        });
        assert_eq!(task.join().unwrap().attempts, 3);
    });
}

#[test]
fn an_abrupt_end_drops_the_task() {
    with_clock(|pool, clock| {
        let pool = Pool::builder().workers(pool.workers()).clock(clock).build().unwrap();
        let job = pool.job(1);
        let task = job.spawn_retry(doubling(3), || Err::<(), ()>(()));
        until_delayed(&job, 1);
        assert_eq!(pool.shutdown_now(), 1);
        drop(pool);
        assert!(!task.cancel());
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
    });
}

#[test]
fn a_task_joins_a_retried_task_of_its_own_job() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let inside = job.clone();
        let outer = job.spawn(move || {
            let task = inside.spawn_retry(doubling(2), || Err::<(), _>("no"));
            task.join().unwrap()
        });
        until_delayed(&job, 1);
        clock.advance(SECOND);
        assert_eq!(outer.join().unwrap(), Retried { result: Err("no"), attempts: 2 });
    });
}

#[test]
fn the_slot_is_free_after_the_first_start() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        job.pause();
        let task = job.spawn_retry(doubling(2), || Err::<(), ()>(()));
        assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
        job.resume();
        until_delayed(&job, 1);
        job.try_spawn(|| ()).unwrap().join().unwrap();
        clock.advance(SECOND);
        assert_eq!(task.join().unwrap().attempts, 2);
    });
}

#[test]
fn a_retried_task_is_explained() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        job.pause();
        let task = job.spawn_retry(doubling(2), || Err::<(), ()>(()));
        assert_eq!(job.explain_task(&task).first(), &Reason::Paused { job: job.clone() });
        job.resume();
        until_delayed(&job, 1);
        let until = clock.now() + SECOND;
        assert_eq!(job.explain_task(&task).reasons(), [Reason::Delayed { until }]);
        clock.advance(SECOND);
        task.join().unwrap();
    });
}

/// A captured array is larger than a cell.
#[test]
fn a_large_task_is_tried_again() {
    with_clock(|pool, _| {
        let mut numbers = [0_u64; 2_000];
        let task = pool.job(1).spawn_retry(doubling(3).first_delay(Duration::ZERO), move || {
            numbers[1_999] += 1;
            Err::<(), _>(numbers[1_999])
        });
        assert_eq!(task.join().unwrap().result, Err(3));
    });
}

#[test]
fn ten_thousand_tasks_are_tried_again_at_once() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(2).clock(&clock).build().unwrap();
        let (job, limit) = (pool.job(4), Gauge::new());
        let tasks: Vec<_> = (0..10_000)
            .map(|_| {
                let gauge = limit.clone();
                let policy = doubling(4).jitter(0.5);
                job.spawn_retry(policy, move || {
                    drop(gauge.enter());
                    Err::<(), ()>(())
                })
            })
            .collect();
        for delay in [1, 2, 4] {
            until_delayed(&job, 10_000);
            clock.advance(delay * SECOND);
        }
        assert!(tasks.into_iter().all(|task| task.join().unwrap().attempts == 4));
        assert_eq!(limit.started(), 40_000);
        assert!(limit.most() <= 4 && job.stats().most_running <= 4);
    });
}

/// Without a clock of the test's own.
#[test]
fn attempts_come_by_the_real_time() {
    within(LONG, || {
        let pool = common::pool(2);
        let policy = doubling(4).first_delay(Duration::from_millis(2));
        let begin = std::time::Instant::now();
        let end = pool.job(1).spawn_retry(policy, || Err::<(), ()>(())).join().unwrap();
        assert_eq!(end.attempts, 4);
        assert!(begin.elapsed() >= Duration::from_millis(2 + 4 + 8));
    });
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_at_the_callers_line() {
    let refused = |make: fn() -> Retry, why: &str| {
        let payload = std::panic::catch_unwind(make).unwrap_err();
        let message = payload.downcast_ref::<String>().cloned();
        let message = message.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        assert!(message.unwrap().contains(why), "{why}");
    };
    refused(|| Retry::new().attempts(0), "allow at least 1");
    refused(|| Retry::new().factor(0.5), "1 or more");
    refused(|| Retry::new().factor(f64::NAN), "1 or more");
    refused(|| Retry::new().factor(f64::INFINITY), "1 or more");
    refused(|| Retry::new().jitter(1.1), "set 0 to 1");
    refused(|| Retry::new().jitter(-0.1), "set 0 to 1");
}
