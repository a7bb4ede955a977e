//! Delayed tasks, of `spawn_after` and `spawn_at`: none starts before its time, each stands in the queue from then on, and none
//! holds a permit, a worker or a thread while it waits. A cancel drops its captures at once.
//!
//! Time is a clock that the test moves.

mod common;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, SECOND, capture, with_clock, within};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{
    Adaptive, Interval, Job, JoinError, ManualClock, Pool, Reason, Rejected, TaskHandle,
};

/// Says that so many tasks wait for their time, and that none waits for a permit, or has one.
#[track_caller]
fn assert_delayed(job: &Job, tasks: usize) {
    let stats = job.stats();
    assert_eq!((stats.running, stats.ready, stats.backlog, stats.delayed), (0, 0, 0, tasks));
}

/// Says that the task was cancelled.
#[track_caller]
fn assert_cancelled<T: std::fmt::Debug>(task: TaskHandle<T>) {
    assert!(matches!(task.join(), Err(JoinError::Cancelled)));
}

#[test]
fn a_task_starts_at_its_time_and_not_before() {
    with_clock(|pool, clock| {
        for limit in [1, 3, usize::MAX] {
            let (job, gauge, start) = (pool.job(limit), Gauge::new(), clock.now());
            for second in [3, 1, 2] {
                drop(job.spawn_after(second * SECOND, pass_through(&gauge)));
                drop(job.spawn_at(start + second * SECOND, pass_through(&gauge)));
            }
            assert_delayed(&job, 6);
            clock.advance(SECOND - Duration::from_nanos(1));
            assert_delayed(&job, 6);
            clock.advance(Duration::from_nanos(1));
            gauge.until_ended(2);
            clock.advance(SECOND);
            gauge.until_ended(4);
            assert_eq!(job.stats().delayed, 2);
            clock.advance(SECOND);
            job.wait();
            assert_eq!((gauge.started(), job.stats().completed), (6, 6));
            assert!(gauge.most() <= limit);
        }
    });
}

#[test]
fn a_delay_that_is_over_is_none() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        assert_eq!(job.spawn_after(Duration::ZERO, || 1).join().unwrap(), 1);
        assert_eq!(job.spawn_at(clock.now(), || 2).join().unwrap(), 2);
        assert_eq!(job.spawn_at(clock.now() - SECOND, || 3).join().unwrap(), 3);
    });
}

#[test]
fn tasks_take_their_places_in_the_order_of_their_times_and_then_of_their_pushes() {
    with_clock(|pool, clock| {
        let (job, order) = (pool.job(1), Arc::new(Mutex::new(Vec::new())));
        let note = |number: u32| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(number)
        };
        job.pause();
        drop(job.spawn_after(2 * SECOND, note(5)));
        (2..5).for_each(|number| drop(job.spawn_after(SECOND, note(number))));
        job.execute(note(0));
        job.execute(note(1));
        clock.advance(2 * SECOND);
        job.execute(note(6));
        assert_eq!((job.stats().backlog, job.stats().delayed), (7, 0));
        job.resume();
        job.wait();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_delayed_task_holds_no_permit_of_its_job_or_a_parent() {
    with_clock(|pool, clock| {
        let parent = pool.job(1);
        let (job, sibling) = (parent.job(1), parent.job(1));
        let later = job.spawn_after(SECOND, || "later");
        for job in [&job, &sibling, &parent] {
            assert_eq!(job.spawn(|| "now").join().unwrap(), "now");
        }
        assert_eq!(parent.stats().most_running, 1);
        assert!(!later.is_finished());
        clock.advance(SECOND);
        assert_eq!(later.join().unwrap(), "later");
    });
}

#[test]
fn a_delayed_task_is_pending_work_of_its_job() {
    with_clock(|pool, clock| {
        let parent = pool.job(2);
        let (job, gauge) = (parent.job(2), Gauge::new());
        drop(job.spawn_after(SECOND, pass_through(&gauge)));
        assert!(!job.wait_timeout(Duration::from_millis(1)));
        assert!(!parent.wait_timeout(Duration::from_millis(1)));
        assert_eq!(parent.stats_with_children().delayed, 1);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                parent.wait();
                gauge.started()
            });
            clock.advance(SECOND);
            assert_eq!(waiter.join().unwrap(), 1);
        });
        assert_eq!(parent.stats_with_children().delayed, 0);
    });
}

#[test]
fn a_delayed_task_takes_a_slot() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).capacity(2).build();
        let first = job.spawn_after(SECOND, || ());
        let second = job.spawn_after(SECOND, || ());
        assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
        assert!(first.cancel());
        job.try_spawn(|| ()).unwrap().join().unwrap();
        clock.advance(SECOND);
        second.join().unwrap();
        job.wait();
        assert!(job.try_execute(|| ()).is_ok() && job.wait_timeout(LONG));
    });
}

#[test]
fn a_handle_cancels_a_delayed_task_at_once() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        for guarded in [false, true] {
            let before = job.stats().cancelled;
            let (kept, is_dropped) = capture();
            let task = job.spawn_after(3600 * SECOND, move || drop(kept));
            if guarded {
                drop(task.cancel_on_drop());
            } else {
                assert!(task.cancel() && !task.cancel());
                assert!(is_dropped());
                assert_cancelled(task);
            }
            assert!(is_dropped());
            assert_delayed(&job, 0);
            job.wait();
            assert_eq!(job.stats().cancelled, before + 1);
        }
        // A dropped handle detaches the task.
        drop(job.spawn_after(SECOND, || ()));
        clock.advance(SECOND);
        job.wait();
        assert_eq!(job.stats().completed, 1);
    });
}

#[test]
fn a_handle_that_outlives_its_pool_may_cancel() {
    let (clock, workers) = (ManualClock::new(), 1);
    let pool = Pool::builder().workers(workers).clock(&clock).build().unwrap();
    let task = pool.job(1).spawn_after(SECOND, || ());
    assert_eq!(pool.shutdown_now(), 1);
    drop(pool);
    assert!(task.is_finished() && !task.cancel());
    assert_cancelled(task);
}

#[test]
fn a_job_without_a_handle_runs_its_delayed_task() {
    with_clock(|pool, clock| {
        let task = pool.job(1).spawn_after(SECOND, || 1);
        clock.advance(SECOND);
        assert_eq!(task.join().unwrap(), 1);
        // Cancelled, it leaves nothing behind.
        assert!(pool.job(0).spawn_after(SECOND, || 1).cancel());
        assert!(pool.job(1).job(1).spawn_after(SECOND, || 1).cancel());
    });
}

#[test]
fn a_cancelled_job_drops_its_delayed_tasks_at_once() {
    with_clock(|pool, clock| {
        for from_above in [false, true] {
            let parent = pool.job(2);
            let job = parent.job(2);
            let (kept, is_dropped) = capture();
            let tasks: Vec<_> = (1..=50)
                .map(|second| {
                    let kept = Arc::clone(&kept);
                    job.spawn_after(second * SECOND, move || drop(kept))
                })
                .collect();
            drop(kept);
            if from_above {
                parent.cancel()
            } else {
                job.cancel()
            }
            job.wait();
            assert!(is_dropped());
            assert_eq!(job.stats().cancelled, 50);
            assert_delayed(&job, 0);
            assert_cancelled(job.spawn_after(SECOND, || ()));
            clock.advance(50 * SECOND);
            tasks.into_iter().for_each(assert_cancelled);
        }
    });
}

#[test]
fn a_closed_job_runs_its_delayed_tasks_and_takes_no_further_ones() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let accepted = job.spawn_after(SECOND, || 1);
        job.close();
        assert_cancelled(job.spawn_after(SECOND, || 2));
        clock.advance(SECOND);
        assert_eq!(accepted.join().unwrap(), 1);
    });
}

#[test]
fn a_job_that_is_held_when_the_time_comes_keeps_the_task_in_its_queue() {
    with_clock(|pool, clock| {
        let (paused, full, off) = (pool.job(1), pool.job(0), pool.job(1));
        let below = paused.job(1);
        paused.pause();
        off.hold_off(2 * SECOND);
        let tasks = [&paused, &full, &off, &below].map(|job| job.spawn_after(SECOND, || ()));
        clock.advance(SECOND);
        for job in [&paused, &full, &off, &below] {
            assert_eq!((job.stats().delayed, job.stats().running), (0, 0));
        }
        assert!(tasks.iter().all(|task| !task.is_finished()));
        paused.resume();
        full.set_limit(1);
        clock.advance(SECOND);
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

/// The cancel comes when the task stands in a queue, of its own job or of a parent that is held.
#[test]
fn a_task_whose_time_has_come_is_cancelled_as_any_other() {
    with_clock(|pool, clock| {
        let parent = pool.job(1);
        let child = parent.job(1);
        parent.pause();
        let tasks = [&parent, &child].map(|job| job.spawn_after(SECOND, || ()));
        clock.advance(SECOND);
        assert!(tasks.iter().all(TaskHandle::cancel));
        parent.wait();
        assert_eq!(parent.stats_with_children().cancelled, 2);
        parent.resume();
    });
}

#[test]
fn a_task_joins_a_delayed_task_of_its_own_job() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job(1), Gauge::new());
        let (inside, seen) = (job.clone(), gauge.clone());
        let outer = job.spawn(move || {
            let later = inside.spawn_after(SECOND, pass_through(&seen));
            later.join().unwrap();
            seen.started()
        });
        // The task that joins holds no permit.
        while job.stats().delayed == 0 {
            thread::yield_now();
        }
        assert_eq!(job.spawn(|| "now").join().unwrap(), "now");
        assert_eq!((gauge.started(), outer.is_finished()), (0, false));
        clock.advance(SECOND);
        assert_eq!(outer.join().unwrap(), 1);
    });
}

#[test]
fn a_drain_waits_for_delayed_tasks_and_for_those_that_they_push() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job(1), Gauge::new());
        let (inside, seen) = (job.clone(), gauge.clone());
        let first = job.spawn({
            let (inside, seen) = (inside.clone(), seen.clone());
            move || drop(inside.spawn_after(SECOND, pass_through(&seen)))
        });
        first.join().unwrap();
        drop(job.spawn_after(SECOND, move || {
            drop(inside.spawn_after(SECOND, pass_through(&seen)));
        }));
        thread::scope(|scope| {
            let drain = scope.spawn(|| pool.shutdown());
            while job.try_execute(|| ()).is_ok() {
                thread::yield_now();
            }
            assert_cancelled(job.spawn_after(SECOND, || ())); // from outside
            clock.advance(SECOND);
            gauge.until_ended(1);
            assert!(!drain.is_finished());
            while job.stats().delayed == 0 {
                thread::yield_now();
            }
            clock.advance(SECOND);
            drain.join().unwrap();
        });
        assert_eq!(gauge.started(), 2);
    });
}

#[test]
fn a_pool_that_is_dropped_waits_for_delayed_tasks() {
    with_clock(|pool, clock| {
        let pool = Pool::builder().workers(pool.workers()).clock(clock).build().unwrap();
        let (job, gauge) = (pool.job(1), Gauge::new());
        drop(job.spawn_after(SECOND, pass_through(&gauge)));
        thread::scope(|scope| {
            let dropped = scope.spawn(move || drop(pool));
            while job.try_execute(|| ()).is_ok() {
                thread::yield_now();
            }
            assert!(!dropped.is_finished());
            clock.advance(SECOND);
            dropped.join().unwrap();
        });
        assert_eq!(gauge.started(), 1);
    });
}

#[test]
fn a_drain_ends_when_the_last_delayed_task_is_cancelled() {
    with_clock(|pool, _| {
        let job = pool.job(1);
        let task = job.spawn_after(SECOND, || ());
        thread::scope(|scope| {
            let drain = scope.spawn(|| pool.shutdown());
            while job.try_execute(|| ()).is_ok() {
                thread::yield_now();
            }
            assert!(!drain.is_finished());
            assert!(task.cancel());
            drain.join().unwrap();
        });
    });
}

#[test]
fn a_drain_cancels_the_delayed_tasks_of_a_held_job() {
    with_clock(|pool, _| {
        let held = [pool.job(0), pool.job(1)];
        held[1].pause();
        let tasks = held.each_ref().map(|job| job.spawn_after(SECOND, || ()));
        pool.shutdown();
        tasks.into_iter().for_each(assert_cancelled);
    });
}

#[test]
fn an_abrupt_end_drops_delayed_tasks() {
    with_clock(|pool, clock| {
        for timed in [false, true] {
            let pool = Pool::builder().workers(pool.workers()).clock(clock).build().unwrap();
            let (job, gauge) = (pool.job(2), Gauge::new());
            let child = job.job(1);
            for job in [&job, &child] {
                (1..=5).for_each(|second| {
                    drop(job.spawn_after(second * SECOND, pass_through(&gauge)));
                });
            }
            if timed {
                assert!(pool.shutdown_timeout(Duration::from_millis(1)).is_err());
            } else {
                assert_eq!(pool.shutdown_now(), 10);
            }
            job.wait();
            assert_eq!(job.stats().cancelled + child.stats().cancelled, 10);
            assert_eq!(gauge.started(), 0);
        }
    });
}

#[test]
fn a_delayed_task_is_explained() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let until = clock.now() + SECOND;
        let second = job.spawn_after(2 * SECOND, || ());
        let first = job.spawn_after(SECOND, || ());
        assert_eq!(job.explain().first(), &Reason::Delayed { until });
        assert_eq!(job.explain_task(&first).reasons(), [Reason::Delayed { until }]);
        assert_eq!(job.explain_task(&second).to_string(), "the task waits for its time");
        job.pause();
        clock.advance(SECOND);
        assert_eq!(job.explain_task(&first).first(), &Reason::Paused { job: job.clone() });
        job.resume();
        first.join().unwrap();
        assert!(second.cancel());
        assert_eq!(job.explain_task(&second).first(), &Reason::Ended);
    });
}

/// In no order, and half of them are cancelled in no order.
#[test]
fn a_hundred_thousand_tasks_are_delayed_at_once() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(2).clock(&clock).build().unwrap();
        let (job, gauge) = (pool.job(8), Gauge::new());
        let tasks: Vec<_> = (0..100_000)
            .map(|number| {
                let millis = 1 + number * 7_919 % 1_000;
                job.spawn_after(Duration::from_millis(millis), pass_through(&gauge))
            })
            .collect();
        assert_delayed(&job, 100_000);
        assert!(tasks.iter().step_by(2).all(TaskHandle::cancel));
        assert_delayed(&job, 50_000);
        (0..10).for_each(|_| clock.advance(Duration::from_millis(100)));
        job.wait();
        assert_eq!((gauge.started(), job.stats().cancelled), (50_000, 50_000));
        assert!(gauge.most() <= 8);
    });
}

/// Without a clock of the test's own: the thread of the timer pushes the task.
#[test]
fn nothing_starts_before_the_real_time() {
    within(LONG, || {
        let pool = common::pool(2);
        let job = pool.job(2);
        for millis in [0, 1, 5, 20] {
            let when = Instant::now() + Duration::from_millis(millis);
            let starts: Vec<_> = (0..5).map(|_| job.spawn_at(when, Instant::now)).collect();
            assert!(starts.into_iter().all(|start| start.join().unwrap() >= when));
        }
        // A time that no clock reaches.
        let never = job.spawn_after(Duration::MAX, || ());
        assert!(!never.is_finished() && never.cancel());
    });
}

/// The thread of the timer waits for a later time when an earlier one is added. It must then wait for the earlier time.
#[test]
fn an_earlier_time_comes_before_a_later_one_by_the_real_clock() {
    within(LONG, || {
        let pool = common::pool(2);
        let job = pool.job(2);
        let later = job.spawn_after(Duration::from_secs(24 * 60 * 60), || ());
        for _ in 0..50 {
            job.spawn_after(Duration::from_millis(1), || ()).join().unwrap();
        }
        assert!(later.cancel());
    });
}

/// A worker that runs a long task delays a task whose time has come, and nothing else does.
#[test]
fn workers_are_free_while_tasks_are_delayed() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job(usize::MAX), Gauge::new());
        let latch = Latch::new();
        let tasks: Vec<_> = (0..10).map(|_| job.spawn_after(SECOND, || ())).collect();
        (0..pool.workers()).for_each(|_| job.execute(stay(&gauge, &latch)));
        gauge.until_running(pool.workers());
        clock.advance(SECOND);
        latch.open();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        job.wait();
    });
}

/// The list of paused jobs has a handle, which must go with the last delayed task.
#[test]
fn a_paused_job_goes_with_its_last_delayed_task_when_it_has_no_handle() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
        for by_handle in [true, false] {
            let kept = Arc::new(());
            let rule = {
                let kept = kept.clone();
                move |interval: &Interval| {
                    let _ = &kept;
                    interval.limit
                }
            };
            let adaptive = Adaptive::new(1..=4).rule(rule);
            let job = pool.job_builder().adaptive(adaptive).build();
            job.pause();
            let task = job.spawn_after(SECOND, || ());
            if by_handle {
                drop(job);
                assert!(task.cancel());
            } else {
                job.cancel();
                drop(job);
            }
            assert_cancelled(task);
            // The record has the rule. A worker may still drop the task of a cancelled job.
            while Arc::strong_count(&kept) > 1 {
                thread::yield_now();
            }
        }
    });
}
