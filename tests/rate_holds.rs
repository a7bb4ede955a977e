//! Promise: rate_holds. In any window of length t at most burst + t / interval tasks of a job start, whatever its limit is. A task
//! that waits for a rate holds no permit, and a rate that allows a start is used.
//!
//! Time is a clock that the test moves. So each start has an exact time, and a test waits until as many have come as may.

mod common;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, WORKERS, within};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{Job, ManualClock, Pool, Rate};

const SECOND: Duration = Duration::from_secs(1);

fn pool(workers: usize) -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    (Pool::builder().workers(workers).clock(&clock).build().unwrap(), clock)
}

/// Runs `test` with each number of workers, in a pool that goes by a clock.
fn with_clock(test: impl Fn(&Pool, &ManualClock) + Send + Sync + 'static) {
    let test = Arc::new(test);
    for workers in WORKERS {
        let test = Arc::clone(&test);
        within(LONG, move || {
            eprintln!("with {workers} workers");
            let (pool, clock) = pool(workers);
            test(&pool, &clock);
        });
    }
}

/// Waits until the job starts nothing more at this time: nothing runs, and nothing is on its way to a worker.
fn settle(job: &Job) {
    loop {
        let stats = job.stats();
        if stats.running == 0 && stats.ready == 0 {
            return;
        }
        thread::yield_now();
    }
}

/// Waits until so many tasks have started, and says that no further one does.
#[track_caller]
fn assert_started(job: &Job, gauge: &Gauge, tasks: usize) {
    gauge.until_ended(tasks);
    settle(job);
    assert_eq!(gauge.started(), tasks, "{:?}", job.stats());
}

fn push(job: &Job, gauge: &Gauge, tasks: usize) {
    (0..tasks).for_each(|_| job.execute(pass_through(gauge)));
}

/// One rate as the promise words it: the burst, and the interval in milliseconds.
type Stated = (u32, u64);

/// How often one of these many starts may come at a time, after these earlier ones: as often as no window has too many.
fn may_start(stated: &[Stated], starts: &[u64], now: u64) -> bool {
    stated.iter().all(|&(burst, interval)| {
        // Windows that end now, each from an earlier start on.
        starts.iter().enumerate().all(|(i, start)| {
            let in_window = (starts.len() - i + 1) as u64;
            in_window <= u64::from(burst) + (now - start) / interval
        })
    })
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Advance(u64),
    Pause,
    Resume,
    SetLimit(usize),
    HoldOff(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6_usize).prop_map(Op::Push),
        6 => (0..40_u64).prop_map(Op::Advance),
        1 => (0..1_000_u64).prop_map(Op::Advance),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        1 => (1..5_usize).prop_map(Op::SetLimit),
        1 => (0..50_u64).prop_map(Op::HoldOff),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a job, exactly those starts come that the promise allows.
    #[test]
    fn starts_are_those_that_no_window_forbids(
        workers in 1..4_usize,
        limit in prop_oneof![Just(usize::MAX), 1..4_usize],
        below in any::<bool>(),
        stated in prop::collection::vec((1..4_u32, 1..30_u64), 1..3),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (pool, clock) = pool(workers);
        let mut builder = pool.job_builder().limit(limit);
        for &(burst, interval) in &stated {
            builder = builder.rate(Rate::every(Duration::from_millis(interval)).burst(burst));
        }
        let (rated, gauge) = (builder.build(), Gauge::new());
        // The tasks are the job's own, or those of two children.
        let jobs = if below { vec![rated.job(2), rated.job(usize::MAX)] } else { vec![rated.clone()] };
        let (mut now, mut waiting, mut starts) = (0, 0, Vec::new());
        let (mut paused, mut held) = (false, 0);
        for op in ops {
            match op {
                Op::Push(tasks) => {
                    (0..tasks).for_each(|i| jobs[i % jobs.len()].execute(pass_through(&gauge)));
                    waiting += tasks;
                }
                Op::Advance(by) => {
                    now += by;
                    clock.advance(Duration::from_millis(by));
                }
                Op::Pause => {
                    rated.pause();
                    paused = true;
                }
                Op::Resume => {
                    rated.resume();
                    paused = false;
                }
                Op::SetLimit(limit) => rated.set_limit(limit),
                Op::HoldOff(by) => {
                    rated.hold_off(Duration::from_millis(by));
                    held = held.max(now + by);
                }
            }
            while waiting > 0 && !paused && held <= now && may_start(&stated, &starts, now) {
                starts.push(now);
                waiting -= 1;
            }
            gauge.until_ended(starts.len());
            settle(&rated);
            prop_assert_eq!(gauge.started(), starts.len(), "at {}: {:?}", now, starts);
        }
        pool.shutdown_now();
        prop_assert_eq!(gauge.started(), starts.len());
    }
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

/// The rate bounds starts from wherever they come: a batch, a lease, a join, a scope, lazy input.
#[test]
fn no_way_in_goes_round_the_rate() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().rate(Rate::per_second(1)).build();
        let started = Arc::new(AtomicUsize::new(0));
        let task = |started: &Arc<AtomicUsize>| {
            let started = started.clone();
            move || _ = started.fetch_add(1, SeqCst)
        };
        let over = Arc::new(Mutex::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                job.scope(|scope| (0..3).for_each(|_| scope.execute(task(&started))));
                job.for_each(0..3, |_| task(&started)()).unwrap();
                let count = task(&started);
                assert_eq!(job.map(0..3, move |_| count()).count(), 3);
                let (inside, count) = (job.clone(), started.clone());
                let joins = job.spawn(move || {
                    count.fetch_add(1, SeqCst);
                    inside.spawn(move || count.fetch_add(1, SeqCst)).join().unwrap()
                });
                joins.join().unwrap();
                *over.lock().unwrap() = true;
            });
            while !*over.lock().unwrap() {
                let before = started.load(SeqCst);
                clock.advance(SECOND);
                for _ in 0..100 {
                    thread::yield_now();
                    assert!(started.load(SeqCst) <= before + 2, "more than one a second");
                }
            }
        });
        assert_eq!(started.load(SeqCst), 11);
    });
}

/// A permit needs leave as a task does, from whichever call it comes.
#[test]
fn a_permit_counts_as_a_start() {
    with_clock(|pool, clock| {
        let host = pool.job_builder().limit(4).rate(Rate::per_second(1).burst(2)).build();
        let (job, gauge) = (host.job(4), Gauge::new());
        drop((job.try_acquire().unwrap(), job.try_acquire().unwrap()));
        assert!(job.try_acquire().is_err());
        let held = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let permit = job.acquire_blocking().unwrap();
                    held.fetch_add(1, SeqCst);
                    drop(permit);
                });
            }
            while job.stats().backlog < 3 {
                thread::yield_now();
            }
            push(&job, &gauge, 1);
            for due in 1..=3 {
                assert_eq!((host.stats().running, held.load(SeqCst)), (0, due - 1));
                clock.advance(SECOND);
                while held.load(SeqCst) < due {
                    thread::yield_now();
                }
                settle(&host);
            }
        });
        // In one order with the task.
        assert_eq!(gauge.started(), 0);
        clock.advance(SECOND);
        assert_started(&job, &gauge, 1);
        assert_eq!(host.stats().completed + job.stats().completed, 6);
    });
}

#[test]
fn a_gap_follows_the_end_of_each_permit() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(2).rate(Rate::gap_after_end(5 * SECOND)).build();
        let (first, second) = (job.try_acquire().unwrap(), job.try_acquire().unwrap());
        drop(first);
        clock.advance(4 * SECOND);
        drop(second);
        clock.advance(5 * SECOND - Duration::from_nanos(1));
        assert!(job.try_acquire().is_err());
        clock.advance(Duration::from_nanos(1));
        assert!(job.try_acquire().is_ok());
    });
}

/// What no rate forbids goes on as without one: the tasks of one job run side by side, and a worker turns to other jobs.
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

/// A task that waits has not ended, so no gap begins.
#[cfg(feature = "futures")]
#[test]
fn a_wait_begins_no_gap() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).rate(Rate::gap_after_end(SECOND)).build();
        let (other, gauge) = (pool.job(0), Gauge::new());
        let (waited_for, polled) = (other.spawn(|| ()), gauge.clone());
        let future = job.spawn_future(async move {
            drop(polled.enter());
            waited_for.await.unwrap();
        });
        gauge.until_ended(1);
        push(&job, &gauge, 1);
        gauge.until_ended(2); // while the future waits
        while job.stats().running > 0 {
            thread::yield_now();
        }
        other.set_limit(1);
        clock.advance(SECOND); // after the end of that task
        future.join().unwrap();
    });
}

/// A future needs leave once, however often it goes on.
#[cfg(feature = "futures")]
#[test]
fn a_task_that_goes_on_needs_no_leave() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).rate(Rate::per_second(1)).build();
        let (other, gauge) = (pool.job(0), Gauge::new());
        let (waited_for, polled) = (other.spawn(|| ()), gauge.clone());
        let future = job.spawn_future(async move {
            drop(polled.enter());
            waited_for.await.unwrap();
            "went on"
        });
        gauge.until_ended(1);
        while job.stats().running > 0 {
            thread::yield_now(); // until it waits without a permit
        }
        clock.advance(SECOND);
        other.set_limit(1);
        assert_eq!(future.join().unwrap(), "went on");
        // It has left the leave of this second to another task.
        assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
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
        let (pool, _) = self::pool(pool.workers());
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
