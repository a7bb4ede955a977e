//! Promise: rate_holds. In any window of length t at most burst + t / interval tasks of a job start, whatever its limit is. A task
//! that waits for a rate holds no permit, and a rate that allows a start is used.
//!
//! Time is a clock that the test moves. So each start has an exact time, and a test waits until as many have come as may.

mod changes;
#[path = "../common/mod.rs"]
mod common;
mod ways;
mod windows;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, NANO, SECOND, pool_with_clock, settle, with_clock, within};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{Job, ManualClock, Rate};

/// Waits until so many tasks have started, and says that no further one does.
#[track_caller]
fn assert_started(job: &Job, gauge: &Gauge, tasks: usize) {
    gauge.until_ended(tasks);
    settle(job);
    assert_eq!(gauge.started(), tasks, "{:?}", job.stats());
}

/// Moves the clock by `time`, and says that the last of so many tasks starts then, and not before.
#[track_caller]
fn assert_starts_after(
    clock: &ManualClock,
    time: Duration,
    job: &Job,
    gauge: &Gauge,
    tasks: usize,
) {
    clock.advance(time - NANO);
    assert_started(job, gauge, tasks - 1);
    clock.advance(NANO);
    assert_started(job, gauge, tasks);
}

fn push(job: &Job, gauge: &Gauge, tasks: usize) {
    (0..tasks).for_each(|_| job.execute(pass_through(gauge)));
}

#[test]
fn a_pause_saves_up_no_more_than_the_burst() {
    with_clock(|pool, clock| {
        let (job, gauge) =
            (pool.job_builder().rate(Rate::per_second(10).burst(3)).build(), Gauge::new());
        clock.advance(100 * SECOND);
        push(&job, &gauge, 20);
        assert_started(&job, &gauge, 3);
        job.pause();
        clock.advance(100 * SECOND);
        assert_started(&job, &gauge, 3);
        job.resume();
        assert_started(&job, &gauge, 6);
        clock.advance(Duration::from_millis(99));
        assert_started(&job, &gauge, 6);
        clock.advance(Duration::from_millis(1));
        assert_started(&job, &gauge, 7);
        pool.shutdown_now();
    });
}

#[test]
fn a_task_that_waits_for_a_rate_holds_no_permit_of_its_parent() {
    with_clock(|pool, clock| {
        let host = pool.job(1);
        let (slow, fast) = (host.job_builder().rate(Rate::per_second(1)).build(), host.job(1));
        let (slows, fasts) = (Gauge::new(), Gauge::new());
        push(&slow, &slows, 3);
        assert_started(&slow, &slows, 1);
        settle(&host);
        assert_eq!((host.stats().running, host.stats().backlog, slow.stats().backlog), (0, 0, 2));
        push(&fast, &fasts, 100);
        fast.wait();
        assert_eq!((slows.started(), fasts.started()), (1, 100));
        (0..2).for_each(|_| clock.advance(SECOND));
        // The second of these may have found the first one's task still waiting.
        settle(&slow);
        clock.advance(SECOND);
        host.wait();
        assert_eq!(slows.started(), 3);
    });
}

#[test]
fn a_parents_rate_bounds_the_sum_of_its_children() {
    with_clock(|pool, clock| {
        let host = pool.job_builder().limit(3).rate(Rate::per_second(2).burst(2)).build();
        let children = [host.job(1), host.job(3), host.job(usize::MAX).job(2)];
        let gauges = children.each_ref().map(|child| {
            let gauge = Gauge::new();
            push(child, &gauge, 4);
            gauge
        });
        let started = || gauges.iter().map(Gauge::started).sum::<usize>();
        for due in 2..=12 {
            while started() < due {
                thread::yield_now();
            }
            settle(&host);
            assert_eq!(started(), due);
            clock.advance(SECOND / 2);
        }
        // Each has had its turn.
        host.wait();
        assert_eq!(gauges.each_ref().map(Gauge::started), [4; 3]);
    });
}

/// What a permit or another rate refuses has used up nothing.
#[test]
fn a_refused_start_uses_nothing_up() {
    with_clock(|pool, clock| {
        let host = pool.job_builder().limit(1).rate(Rate::per_second(1)).build();
        let (left, right) =
            (host.job_builder().rate(Rate::every(10 * SECOND)).build(), host.job(1));
        let (lefts, rights) = (Gauge::new(), Gauge::new());
        push(&right, &rights, 1);
        assert_started(&right, &rights, 1);
        push(&left, &lefts, 1);
        settle(&host);
        assert_eq!(lefts.started(), 0); // by the host's rate
        host.pause();
        clock.advance(SECOND);
        settle(&host);
        assert_eq!(lefts.started(), 0); // by the pause
        host.resume();
        assert_started(&left, &lefts, 1);
        // Its next start is due ten seconds after this one, and the host's after one.
        push(&left, &lefts, 1);
        push(&right, &rights, 1);
        clock.advance(SECOND);
        assert_started(&right, &rights, 2);
        assert_started(&left, &lefts, 1);
        clock.advance(9 * SECOND);
        assert_started(&left, &lefts, 2);
    });
}

#[test]
fn cancelled_tasks_use_nothing_up() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().rate(Rate::per_second(1)).build();
        job.spawn(|| ()).join().unwrap();
        let cancelled: Vec<_> = (0..10).map(|_| job.spawn(|| ())).collect();
        let last = job.spawn(|| "ran");
        assert!(cancelled.iter().all(|handle| handle.cancel()));
        clock.advance(SECOND);
        assert_eq!(last.join().unwrap(), "ran");
        // Nor do those of a job that is cancelled, beside another below the same rate.
        let (gone, stays) = (job.job(1), job.job(1));
        (0..10).for_each(|_| gone.execute(|| ()));
        let last = stays.spawn(|| "ran");
        gone.cancel();
        gone.wait();
        clock.advance(SECOND);
        assert_eq!(last.join().unwrap(), "ran");
    });
}

#[test]
fn a_gap_follows_the_end_of_each_task() {
    with_clock(|pool, clock| {
        let gap = Rate::gap_after_end(5 * SECOND);
        let job = pool.job_builder().limit(1).rate(gap).rate(Rate::per_second(1)).build();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        job.execute(stay(&gauge, &latch));
        push(&job, &gauge, 2);
        gauge.until_running(1);
        clock.advance(100 * SECOND);
        assert_eq!(gauge.started(), 1);
        latch.open();
        assert_started(&job, &gauge, 1);
        clock.advance(5 * SECOND - Duration::from_nanos(1));
        assert_started(&job, &gauge, 1);
        clock.advance(Duration::from_nanos(1));
        assert_started(&job, &gauge, 2);
        clock.advance(4 * SECOND);
        assert_started(&job, &gauge, 2);
        clock.advance(SECOND);
        assert_started(&job, &gauge, 3);
    });
}

#[test]
fn rates_change_live() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job(usize::MAX), Gauge::new());
        push(&job, &gauge, 50);
        job.wait();
        job.set_rates(&[Rate::per_second(1)]);
        push(&job, &gauge, 50);
        assert_started(&job, &gauge, 51);
        // Set again, it grants no further burst; twice as fast, the next start is half a second away.
        job.set_rates(&[Rate::per_second(1)]);
        assert_started(&job, &gauge, 51);
        job.set_rates(&[Rate::per_second(2)]);
        clock.advance(SECOND / 2);
        assert_started(&job, &gauge, 52);
        // Slower, it is the later.
        job.set_rates(&[Rate::every(10 * SECOND)]);
        clock.advance(9 * SECOND);
        assert_started(&job, &gauge, 52);
        clock.advance(SECOND);
        assert_started(&job, &gauge, 53);
        job.set_rates(&[]);
        job.wait();
        assert_eq!(gauge.started(), 100);
    });
}

/// A rate that never binds changes nothing: the tasks of one job run side by side, and a worker turns to other jobs.
#[test]
fn a_rate_that_does_not_bind_delays_nothing() {
    with_clock(|pool, _| {
        let rate = Rate::every(Duration::from_nanos(1)).burst(u32::MAX);
        let workers = pool.workers();
        let (job, gauge, latch) =
            (pool.job_builder().limit(workers).rate(rate).build(), Gauge::new(), Latch::new());
        (0..workers).for_each(|_| job.execute(stay(&gauge, &latch)));
        gauge.until_running(workers);
        push(&job, &gauge, 500);
        let lone = pool.job(1).spawn(|| ());
        latch.open();
        lone.join().unwrap();
        job.wait();
        assert_eq!((gauge.started(), job.stats().most_running), (500 + workers, workers));
    });
}

/// The tasks of a job with a limit of 1 start in the order pushed, also if the rate ends the turns.
#[test]
fn a_rate_keeps_the_order() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).rate(Rate::per_second(1).burst(7)).build();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for i in 0..50 {
            let seen = seen.clone();
            job.execute(move || seen.lock().unwrap().push(i));
        }
        while !job.wait_timeout(Duration::ZERO) {
            settle(&job);
            clock.advance(2 * SECOND);
        }
        assert_eq!(*seen.lock().unwrap(), (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn one_rate_replaces_all() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().rate(Rate::per_minute(1)).rate(Rate::per_second(9)).build();
        let gauge = Gauge::new();
        push(&job, &gauge, 3);
        assert_started(&job, &gauge, 1);
        job.set_rate(Rate::per_second(1));
        assert_started(&job, &gauge, 1);
        for due in 2..=3 {
            clock.advance(SECOND);
            assert_started(&job, &gauge, due);
        }
    });
}

#[test]
fn a_drain_waits_for_the_rate_and_an_abrupt_end_does_not() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job_builder().rate(Rate::per_second(1)).build(), Gauge::new());
        push(&job, &gauge, 3);
        thread::scope(|scope| {
            let drain = scope.spawn(|| pool.shutdown());
            for due in 1..=3 {
                gauge.until_ended(due);
                settle(&job);
                clock.advance(SECOND);
            }
            drain.join().unwrap();
        });
        assert_eq!(gauge.started(), 3);
        let (pool, _) = pool_with_clock(pool.workers());
        let (job, gauge) = (pool.job_builder().rate(Rate::per_second(1)).build(), Gauge::new());
        push(&job, &gauge, 5);
        assert_started(&job, &gauge, 1);
        assert_eq!((pool.shutdown_now(), gauge.started()), (4, 1));
    });
}

#[test]
fn a_rate_that_starts_nothing_is_refused() {
    let calls: [fn(); 5] = [
        || _ = Rate::per_second(0),
        || _ = Rate::per_minute(0),
        || _ = Rate::every(Duration::ZERO),
        || _ = Rate::per_second(1).burst(0),
        || _ = Rate::gap_after_end(SECOND).burst(2),
    ];
    for call in calls {
        assert!(std::panic::catch_unwind(call).is_err());
    }
    assert_eq!(Rate::per_second(3), Rate::every(Duration::from_nanos(333_333_334)));
}

/// By the real clock, and far faster than a timer can be exact: the tasks take at least as long as the rate says.
#[test]
fn tasks_take_as_long_as_the_rate_says_by_the_real_clock() {
    within(LONG, || {
        let pool = common::pool(2);
        for (rate, tasks, least) in [
            (Rate::per_second(1_000), 50, Duration::from_millis(49)),
            (Rate::per_second(100_000).burst(10), 2_000, Duration::from_micros(19_890)),
            (Rate::every(Duration::from_secs(3600)).burst(100), 100, Duration::ZERO),
        ] {
            let (job, gauge) = (pool.job_builder().rate(rate).build(), Gauge::new());
            let begin = Instant::now();
            push(&job, &gauge, tasks);
            job.wait();
            assert!(begin.elapsed() >= least, "{rate:?}: {:?}", begin.elapsed());
            assert_eq!(gauge.started(), tasks);
        }
    });
}
