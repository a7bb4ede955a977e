//! Promise: held_off_holds. Until the time has come no task of a job that is held off starts, nor of a job below it, and
//! afterwards all of them do. A later call extends the time and never shortens it. The hold-off is apart from the limit, from a
//! pause and from a close.
//!
//! Time is a clock that the test moves. No task starts while a job is held off, so a look at the job's figures is enough to
//! say so: a task that is refused stands in the queue.

mod common;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, SECOND, WORKERS, settle, with_clock, within};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{Job, ManualClock, Pool, TaskHandle};

/// Says that so many tasks wait, and that none has a permit or is on the way to one.
#[track_caller]
fn assert_all_wait(job: &Job, tasks: usize) {
    let stats = job.stats();
    assert_eq!((stats.running, stats.ready, stats.backlog), (0, 0, tasks), "{stats:?}");
}

/// Waits until no task of the job is running or ready, and fails unless `tasks` of its tasks wait then.
#[track_caller]
fn assert_all_wait_soon(job: &Job, tasks: usize) {
    settle(job);
    assert_all_wait(job, tasks);
}

fn push(job: &Job, gauge: &Gauge, tasks: usize) {
    (0..tasks).for_each(|_| job.execute(pass_through(gauge)));
}

#[test]
fn nothing_starts_before_the_time_and_everything_does_after_it() {
    with_clock(|pool, clock| {
        for limit in [1, 3, usize::MAX] {
            let (job, gauge) = (pool.job(limit), Gauge::new());
            job.hold_off(10 * SECOND);
            assert_eq!(job.held_until(), Some(clock.now() + 10 * SECOND));
            push(&job, &gauge, 50);
            assert_all_wait(&job, 50);
            clock.advance(10 * SECOND - Duration::from_nanos(1));
            assert_all_wait(&job, 50);
            assert!(job.held_until().is_some());
            clock.advance(Duration::from_nanos(1));
            assert_eq!(job.held_until(), None);
            job.wait();
            assert_eq!(gauge.started(), 50);
            assert!(gauge.most() <= limit);
        }
    });
}

#[test]
fn a_later_call_extends_the_time_and_never_shortens_it() {
    with_clock(|pool, clock| {
        let (job, gauge, start) = (pool.job(2), Gauge::new(), clock.now());
        job.hold_off(5 * SECOND);
        push(&job, &gauge, 3);
        job.hold_off(2 * SECOND);
        job.hold_off_until(start);
        job.hold_off(Duration::ZERO);
        assert_eq!(job.held_until(), Some(start + 5 * SECOND));
        clock.advance(4 * SECOND);
        assert_all_wait(&job, 3);
        job.hold_off(4 * SECOND);
        assert_eq!(job.held_until(), Some(start + 8 * SECOND));
        clock.advance(SECOND);
        assert_all_wait(&job, 3); // the first time has come, and not the second
        clock.advance(2 * SECOND);
        assert_all_wait(&job, 3);
        clock.advance(SECOND);
        job.wait();
        assert_eq!(gauge.started(), 3);
        // And again, after it has ended.
        job.hold_off(SECOND);
        push(&job, &gauge, 2);
        assert_all_wait(&job, 2);
        clock.advance(SECOND);
        job.wait();
    });
}

#[test]
fn what_was_ready_before_the_call_does_not_start_after_it() {
    with_clock(|pool, clock| {
        let (busy, late) = (Gauge::new(), Gauge::new());
        let latch = Latch::new();
        let (other, job) = (pool.job(usize::MAX), pool.job(2));
        (0..pool.workers()).for_each(|_| other.execute(stay(&busy, &latch)));
        busy.until_running(pool.workers());
        push(&job, &late, 5); // two are ready: no worker is free
        assert_eq!(job.stats().ready, 2);
        job.hold_off(SECOND);
        latch.open();
        other.wait();
        // Workers that have served these have met the ready tasks before.
        (0..100).for_each(|_| other.execute(|| ()));
        other.wait();
        assert_all_wait_soon(&job, 5);
        assert_eq!(late.started(), 0);
        clock.advance(SECOND);
        job.wait();
        assert_eq!(late.started(), 5);
    });
}

#[test]
fn a_task_holds_its_own_job_off() {
    with_clock(|pool, clock| {
        for limit in [1, usize::MAX] {
            let (job, gauge, latch) = (pool.job(limit), Gauge::new(), Latch::new());
            let (inside, opening) = (job.clone(), latch.opening());
            let first = job.spawn(move || {
                opening.wait();
                inside.hold_off(SECOND);
                // One that it pushes now waits, too.
                inside.execute(|| ());
                inside.stats().running
            });
            if limit == 1 {
                push(&job, &gauge, 20);
            }
            latch.open();
            assert_eq!(first.join().unwrap(), 1);
            job.settled().wait();
            let waiting = if limit == 1 { 21 } else { 1 };
            assert_all_wait_soon(&job, waiting);
            clock.advance(SECOND);
            job.wait();
            assert_eq!(job.stats().completed, waiting as u64 + 1);
        }
    });
}

#[test]
fn a_parent_holds_what_is_below_it_and_a_child_does_not_hold_its_siblings() {
    with_clock(|pool, clock| {
        let (top, gauge) = (pool.job(4), Gauge::new());
        let (left, right) = (top.job(2), top.job(2));
        let deep = left.job(1);
        let all = [&left, &right, &deep];
        top.hold_off(2 * SECOND);
        all.iter().for_each(|job| push(job, &gauge, 10));
        assert_all_wait(&left, 11); // one is the deep one's
        assert_all_wait(&right, 10);
        assert_all_wait(&deep, 10);
        // The child's own time is the longer one.
        left.hold_off(3 * SECOND);
        clock.advance(2 * SECOND);
        right.wait();
        // A worker may just have taken a task of `left` from the queue of `top`, and `left` is about to refuse it.
        assert_all_wait_soon(&left, 11);
        assert_all_wait_soon(&deep, 10);
        assert_eq!(gauge.started(), 10);
        clock.advance(SECOND);
        top.wait();
        assert_eq!(gauge.started(), 30);
    });
}

/// Time, pause and limit, lifted in each order: the last of them lets the tasks start.
#[test]
fn all_gates_must_pass() {
    with_clock(|pool, clock| {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (job, gauge) = (pool.job(2), Gauge::new());
            job.hold_off(SECOND);
            job.pause();
            job.set_limit(0);
            push(&job, &gauge, 5);
            for gate in order {
                assert_all_wait(&job, 5);
                match gate {
                    0 => clock.advance(SECOND),
                    1 => job.resume(),
                    _ => job.set_limit(2),
                }
            }
            job.wait();
            assert_eq!(gauge.started(), 5);
            assert!(gauge.most() <= 2);
        }
    });
}

#[test]
fn a_closed_job_runs_its_tasks_after_its_time_and_a_cancelled_one_drops_them_at_once() {
    with_clock(|pool, clock| {
        for cancels in [false, true] {
            let (job, gauge) = (pool.job(2), Gauge::new());
            let child = job.job(1);
            job.hold_off(SECOND);
            push(&job, &gauge, 5);
            push(&child, &gauge, 5);
            if cancels {
                job.cancel();
                job.wait();
                assert_eq!(job.stats().cancelled + child.stats().cancelled, 10);
                assert_eq!(gauge.started(), 0);
            } else {
                job.close();
                assert!(job.try_execute(|| ()).is_err());
                assert_all_wait(&job, 6); // one is the child's
                clock.advance(SECOND);
                job.wait();
                assert_eq!(gauge.started(), 10);
            }
        }
    });
}

#[test]
fn a_wait_ends_when_handles_have_cancelled_all_that_is_held_off() {
    with_clock(|pool, _| {
        let job = pool.job(2);
        let child = job.job(2);
        job.hold_off(SECOND);
        let handles: Vec<_> =
            [&job, &child].into_iter().flat_map(|job| (0..5).map(|_| job.spawn(|| ()))).collect();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| job.wait());
            assert!(handles.iter().all(TaskHandle::cancel));
            waiter.join().unwrap();
        });
        child.wait();
        assert_eq!(job.stats().cancelled + child.stats().cancelled, 10);
    });
}

/// A task that has begun takes its permit back although its job is held off, and a task of its own job that it joins starts
/// when the time has come.
#[test]
fn a_task_that_has_begun_goes_on() {
    with_clock(|pool, clock| {
        let (job, other) = (pool.job(1), pool.job(1));
        let (inside, latch, gauge) = (job.clone(), Latch::new(), Gauge::new());
        let stays = stay(&gauge, &latch);
        let task = job.spawn(move || {
            inside.hold_off(SECOND);
            other.spawn(stays).join().unwrap();
            inside.spawn(|| 5).join().unwrap()
        });
        gauge.until_running(1);
        latch.open();
        // The task runs again once it has pushed.
        while job.stats().backlog == 0 {
            thread::yield_now();
        }
        assert!(!task.is_finished());
        clock.advance(SECOND);
        assert_eq!(task.join().unwrap(), 5);
    });
}

#[test]
fn a_drain_waits_for_the_time_if_tasks_wait_for_it() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job(2), Gauge::new());
        let (child, empty) = (job.job(1), pool.job(1));
        empty.hold_off(100 * SECOND);
        job.hold_off(SECOND);
        child.hold_off(2 * SECOND);
        push(&job, &gauge, 5);
        push(&child, &gauge, 5);
        thread::scope(|scope| {
            let drain = scope.spawn(|| pool.shutdown());
            while child.try_execute(|| ()).is_ok() {
                thread::yield_now();
            }
            clock.advance(SECOND);
            gauge.until_ended(5);
            assert!(!drain.is_finished());
            clock.advance(SECOND);
            drain.join().unwrap();
        });
        assert_eq!(gauge.started(), 10);
        // The pool has ended.
        job.hold_off(SECOND);
        assert_eq!((job.held_until(), empty.held_until()), (None, None));
    });
}

#[test]
fn an_abrupt_end_drops_what_is_held_off() {
    with_clock(|pool, clock| {
        for timed in [false, true] {
            let gauge = Gauge::new();
            let pool = Pool::builder().workers(pool.workers()).clock(clock).build().unwrap();
            let job = pool.job(2);
            let child = job.job(1);
            job.hold_off(SECOND);
            child.hold_off(SECOND);
            push(&job, &gauge, 5);
            push(&child, &gauge, 5);
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

/// A pool that is dropped goes by its clock until its tasks have run.
/// The drop inside a task does not wait for the drain, which goes by the clock all the same.
#[test]
fn a_pool_dropped_by_its_own_task_goes_by_its_clock_to_the_end() {
    within(LONG, || {
        let (clock, ended) = (ManualClock::new(), Arc::new(()));
        let (hook, weak) = (Arc::clone(&ended), Arc::downgrade(&ended));
        drop(ended);
        let builder = Pool::builder().workers(2).clock(&clock).on_worker_stop(move |_| _ = &hook);
        let pool = builder.build().unwrap();
        let (job, other) = (pool.job(1), pool.job(1));
        job.hold_off(Duration::from_secs(5));
        let held = job.spawn(|| "in time");
        other.spawn(move || drop(pool)).join().unwrap();
        assert!(!held.is_finished());
        clock.advance(Duration::from_secs(5));
        assert_eq!(held.join().unwrap(), "in time");
        while weak.strong_count() > 0 {
            std::thread::yield_now();
        }
        clock.advance(Duration::from_secs(1)); // forgets the pool
    });
}

#[test]
fn a_drop_of_the_pool_waits_for_the_time() {
    for workers in WORKERS {
        within(LONG, move || {
            let clock = ManualClock::new();
            let pool = Pool::builder().workers(workers).clock(&clock).build().unwrap();
            let job = pool.job(1);
            job.hold_off(SECOND);
            let task = job.spawn(|| "ran");
            let dropped = thread::spawn(move || drop(pool));
            while job.try_execute(|| ()).is_ok() {
                thread::yield_now(); // until the drain has begun
            }
            clock.advance(SECOND);
            assert_eq!(task.join().unwrap(), "ran");
            dropped.join().unwrap();
        });
    }
}

#[test]
fn a_drain_cancels_what_is_paused_and_held_off() {
    with_clock(|pool, _| {
        let job = pool.job(2);
        job.hold_off(SECOND);
        job.pause();
        let task = job.spawn(|| ());
        pool.shutdown();
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

/// No handle of the jobs is left: the tasks that wait keep them.
#[test]
fn jobs_without_a_handle_are_opened() {
    with_clock(|pool, clock| {
        let (outer, gauge) = (pool.job(3), Gauge::new());
        for second in 1..=100 {
            let job = outer.job(1);
            job.hold_off(second % 10 * SECOND);
            push(&job, &gauge, 3);
        }
        (0..10).for_each(|_| clock.advance(SECOND));
        outer.wait();
        assert_eq!(gauge.started(), 300);
    });
}

#[test]
fn a_hundred_thousand_jobs_are_held_off_at_once() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(2).clock(&clock).build().unwrap();
        let (jobs, gauge) = (100_000, Gauge::new());
        for number in 0..jobs {
            let job = pool.job(1);
            // In no order.
            job.hold_off(Duration::from_millis(1 + number * 7_919 % 1_000));
            job.execute(pass_through(&gauge));
        }
        for _ in 0..10 {
            clock.advance(Duration::from_millis(100));
        }
        gauge.until_ended(jobs as usize);
    });
}

/// Without a clock of the test's own: the thread of the timer opens the job.
#[test]
fn nothing_starts_before_the_real_time() {
    within(LONG, || {
        let pool = common::pool(2);
        let job = pool.job(2);
        for millis in [0, 1, 5, 20] {
            let until = Instant::now() + Duration::from_millis(millis);
            job.hold_off_until(until);
            let starts: Vec<_> = (0..5).map(|_| job.spawn(Instant::now)).collect();
            assert!(starts.into_iter().all(|start| start.join().unwrap() >= until));
        }
        // A time that no clock reaches.
        job.hold_off(Duration::MAX);
        assert!(job.held_until().is_some_and(|until| until > Instant::now() + 100 * SECOND));
    });
}

/// The threads of this process with the name of a timer's.
#[cfg(target_os = "linux")]
fn timers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    tasks.filter_map(|task| name(task.ok()?).ok()).filter(|name| name == "tollgate-timer\n").count()
}

#[cfg(target_os = "linux")]
#[test]
fn the_timer_has_a_thread_only_while_something_waits_for_it() {
    // By itself: another test's timer would be counted, too.
    if std::env::var_os("TOLLGATE_ALONE").is_none() {
        let test = std::env::current_exe().unwrap();
        let name = "the_timer_has_a_thread_only_while_something_waits_for_it";
        let status = std::process::Command::new(test)
            .args(["--exact", name])
            .env("TOLLGATE_ALONE", "1")
            .status();
        return assert!(status.unwrap().success());
    }
    within(LONG, || {
        let pool = common::pool(1);
        let job = pool.job(1);
        job.spawn(|| ()).join().unwrap();
        assert_eq!(timers(), 0);
        job.hold_off(Duration::from_millis(1));
        job.spawn(|| ()).join().unwrap();
        while timers() > 0 {
            thread::sleep(Duration::from_millis(10)); // it stays for a second
        }
        // The start of the task cancels the entry of its deadline, which is the only one.
        job.pause();
        let task = job.spawn_within(3600 * SECOND, || ());
        while timers() == 0 {
            thread::yield_now();
        }
        job.resume();
        task.join().unwrap();
        while timers() > 0 {
            thread::yield_now();
        }
        job.hold_off(3600 * SECOND);
        job.hold_off(2 * 3600 * SECOND);
        while timers() == 0 {
            thread::yield_now(); // until it has its name
        }
        assert_eq!(timers(), 1);
        // With a handle of the job still there.
        drop(pool);
        assert_eq!(job.held_until(), None);
        while timers() > 0 {
            thread::yield_now(); // the system lists a thread until a little after its end
        }
    });
}
