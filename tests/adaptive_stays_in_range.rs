//! Promise: adaptive_stays_in_range. The limit of an adaptive job never leaves its range, whatever its tasks, its callers and its rule
//! do. Each task that runs to its end is one sample, of the time in which it held its permit.
//!
//! Time is a clock that the test moves. Permits are given back on the test's own thread, so each update has an exact place.

mod common;

use common::event::Latch;
use common::{LONG, SECOND, panic_of, pool_with_clock, unwind, with_clock, within};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tollgate::{
    Adaptive, Interval, Job, JobBuilder, LimitRule, ManualClock, MovingAverage, Pool, Rate, Vegas,
};

/// A rule that keeps the limit, and notes the intervals.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Interval>>>);

impl LimitRule for Notes {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        self.0.lock().unwrap().push(interval.clone());
        interval.limit
    }
}

impl Notes {
    /// Makes a job whose intervals last a second and are noted.
    fn job(&self, builder: JobBuilder) -> Job {
        builder.adaptive(Adaptive::new(1..=8).interval(SECOND).rule(self.clone())).build()
    }

    /// Ends an interval by a permit that is held for no time. Returns the samples since the last call: how many, the sum of their
    /// times, and the overloads.
    fn take(&self, job: &Job, clock: &ManualClock) -> (u64, Duration, u64) {
        while job.stats().running > 0 {
            thread::yield_now();
        }
        // Longer than any task of these tests took.
        clock.advance(100 * SECOND);
        drop(job.try_acquire().unwrap());
        let noted = std::mem::take(&mut *self.0.lock().unwrap());
        let tasks: u64 = noted.iter().map(|interval| interval.tasks).sum();
        let time: f64 =
            noted.iter().map(|interval| interval.mean.as_secs_f64() * interval.tasks as f64).sum();
        // A mean is rounded. The times of these tests are whole seconds.
        (
            tasks - 1,
            Duration::from_secs(time.round() as u64),
            noted.iter().map(|interval| interval.overloads).sum(),
        )
    }
}

/// What a rule of the property test answers.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Limit(usize),
    Panics,
    Average,
    Vegas,
}

/// Gives each answer in turn.
struct Moody {
    answers: Vec<Answer>,
    asked: usize,
    average: MovingAverage,
    vegas: Vegas,
}

impl LimitRule for Moody {
    fn next_limit(&mut self, interval: &Interval) -> usize {
        self.asked += 1;
        assert!(interval.tasks > 0 && interval.range.contains(&interval.limit));
        match self.answers[self.asked % self.answers.len()] {
            Answer::Limit(limit) => limit,
            Answer::Panics => unwind("a rule that panics"),
            Answer::Average => self.average.next_limit(interval),
            Answer::Vegas => self.vegas.next_limit(interval),
        }
    }
}

#[derive(Clone, Debug)]
enum Call {
    Acquire,
    /// Gives a permit back.
    Drop {
        permit: usize,
        overloaded: bool,
        took: Option<Duration>,
    },
    Push {
        overloaded: bool,
    },
    Advance(u64),
    SetLimit(usize),
    Pause,
    Resume,
    SetRate(u64),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        any::<usize>().prop_map(Answer::Limit),
        (0..20_usize).prop_map(Answer::Limit),
        Just(Answer::Panics),
        Just(Answer::Average),
        Just(Answer::Vegas),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => Just(Call::Acquire),
        6 => (any::<usize>(), any::<bool>(), any::<Option<u64>>()).prop_map(|(permit, overloaded, took)| Call::Drop {
            permit,
            overloaded,
            took: took.map(Duration::from_nanos),
        }),
        2 => any::<bool>().prop_map(|overloaded| Call::Push { overloaded }),
        6 => (0..200_u64).prop_map(Call::Advance),
        2 => any::<usize>().prop_map(Call::SetLimit),
        2 => (0..20_usize).prop_map(Call::SetLimit),
        1 => Just(Call::Pause),
        1 => Just(Call::Resume),
        1 => (0..3_u64).prop_map(Call::SetRate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_limit_never_leaves_its_range(
        least in 1..10_usize,
        more in 0..20_usize,
        first in any::<Option<usize>>(),
        answers in prop::collection::vec(answer(), 1..6),
        calls in prop::collection::vec(call(), 0..80),
    ) {
        within(LONG, move || {
            let (pool, clock) = pool_with_clock(2);
            let range = least..=least + more;
            let (average, vegas) = (MovingAverage::new(), Vegas::new());
            let rule = Moody { answers, asked: 0, average, vegas };
            let mut builder = pool.job_builder();
            if let Some(first) = first {
                builder = builder.limit(first);
            }
            let job = builder.adaptive(Adaptive::new(range.clone()).rule(rule)).build();
            let mut permits = Vec::new();
            for call in calls {
                match call {
                    Call::Acquire => permits.extend(job.try_acquire().ok()),
                    Call::Drop { permit, overloaded, took } => {
                        if permits.is_empty() {
                            continue;
                        }
                        let mut permit = permits.swap_remove(permit % permits.len());
                        if overloaded {
                            permit.overloaded();
                        }
                        if let Some(took) = took {
                            permit.set_latency(took);
                        }
                        drop(permit);
                    }
                    Call::Push { overloaded } => job.execute(move || {
                        if overloaded {
                            tollgate::overloaded();
                        }
                    }),
                    Call::Advance(time) => clock.advance(Duration::from_millis(time)),
                    Call::SetLimit(limit) => job.set_limit(limit),
                    Call::Pause => job.pause(),
                    Call::Resume => job.resume(),
                    Call::SetRate(0) => job.set_rates(&[]),
                    Call::SetRate(time) => job.set_rate(Rate::every(Duration::from_millis(time))),
                }
                let limit = job.limit();
                assert!(range.contains(&limit), "{limit} is not in {range:?}");
                assert!(job.stats().most_running <= *range.end());
            }
            drop(permits);
            job.resume();
            job.set_rates(&[]);
            job.wait();
        });
    }
}

#[test]
fn the_limit_never_leaves_its_range_beside_calls_and_updates() {
    within(LONG, || {
        let pool = common::pool(4);
        let answers = [0, 3, 1_000_000, 5, usize::MAX].map(Answer::Limit).to_vec();
        let rule = Moody { answers, asked: 0, average: MovingAverage::new(), vegas: Vegas::new() };
        let adaptive = Adaptive::new(2..=6).interval(Duration::from_nanos(1)).rule(rule);
        let job = pool.job_builder().adaptive(adaptive).build();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for limit in [0, usize::MAX] {
                let (job, stop) = (&job, &stop);
                scope.spawn(move || {
                    while !stop.load(SeqCst) {
                        job.set_limit(limit);
                        let limit = job.limit();
                        assert!((2..=6).contains(&limit), "{limit}");
                    }
                });
            }
            for round in 0..20 {
                (0..200).for_each(|_| {
                    job.execute(move || {
                        if round % 2 == 0 {
                            tollgate::overloaded();
                        }
                    });
                });
                job.wait();
            }
            stop.store(true, SeqCst);
        });
        let stats = job.stats();
        assert_eq!(stats.completed, 4_000);
        assert!(stats.most_running <= 6, "{stats:?}");
    });
}

#[test]
fn each_way_to_run_a_task_is_one_sample() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let job = notes.job(pool.job_builder());
        let count = |ways: &dyn Fn(&Job)| {
            ways(&job);
            job.wait();
            notes.take(&job, clock).0
        };
        assert_eq!(count(&|job| (0..3).for_each(|_| job.execute(|| ()))), 3);
        assert_eq!(count(&|job| drop(job.spawn(|| ()).join())), 1);
        assert_eq!(count(&|job| drop(job.spawn(|| unwind("a task")).join())), 1);
        assert_eq!(count(&|job| drop(job.acquire_blocking())), 1);
        assert_eq!(count(&|job| job.scope(|s| (0..3).for_each(|_| s.execute(|| ())))), 3);
        assert_eq!(count(&|job| job.for_each(0..5, |_| ()).unwrap()), 5);
        let inside = |job: &Job| {
            let inner = job.clone();
            job.spawn(move || inner.spawn(|| ()).join().unwrap()).join().unwrap();
        };
        assert_eq!(count(&inside), 2);
        assert_eq!(count(&|job| assert_eq!(job.map(0..5, |_| ()).count(), 5)), 5);
    });
}

#[test]
fn what_does_not_run_is_no_sample() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let job = notes.job(pool.job_builder());
        job.pause();
        let cancelled = job.spawn(|| ());
        let expires = job.spawn_within(SECOND, || ());
        assert!(cancelled.cancel());
        clock.advance(SECOND);
        job.resume();
        assert!(expires.join().is_err());
        job.wait();
        assert_eq!(notes.take(&job, clock).0, 0);
    });
}

#[test]
fn the_time_in_the_queue_does_not_count() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let job = notes.job(pool.job_builder().limit(1));
        let latch = Latch::new();
        let (held, (tell, begun)) = (latch.opening(), mpsc::channel());
        job.execute(move || {
            tell.send(()).unwrap();
            held.wait();
        });
        let waits = job.spawn(|| ());
        begun.recv().unwrap();
        clock.advance(10 * SECOND);
        latch.open();
        waits.join().unwrap();
        job.wait();
        assert_eq!(notes.take(&job, clock), (2, 10 * SECOND, 0));
    });
}

#[test]
fn a_wait_without_a_permit_does_not_count() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let (job, other) = (notes.job(pool.job_builder()), pool.job(0));
        let awaited = other.spawn(|| ());
        let joins = job.spawn(move || {
            tollgate::overloaded();
            awaited.join().unwrap();
        });
        while job.explain().to_string() != "1 task waits for another" {
            thread::yield_now();
        }
        clock.advance(10 * SECOND);
        other.set_limit(1);
        joins.join().unwrap();
        job.wait();
        assert_eq!(notes.take(&job, clock), (1, Duration::ZERO, 1));
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_pending_future_is_one_sample_until_it_is_ready() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let job = notes.job(pool.job_builder());
        let (wake, woken) = futures::channel::oneshot::channel();
        let (tell, polled) = mpsc::channel();
        let future = job.spawn_future(async move {
            tollgate::overloaded();
            tell.send(()).unwrap();
            woken.await.unwrap();
        });
        polled.recv().unwrap();
        clock.advance(7 * SECOND);
        wake.send(()).unwrap();
        future.join().unwrap();
        job.wait();
        assert_eq!(notes.take(&job, clock), (1, 7 * SECOND, 1));
    });
}

/// The limit of the child does not adapt.
#[cfg(feature = "futures")]
#[test]
fn a_pending_future_of_a_child_is_one_sample_of_the_job_above() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let host = notes.job(pool.job_builder());
        let (wake, woken) = futures::channel::oneshot::channel();
        let child = host.job(2);
        let future = child.spawn_future(woken);
        while child.stats().running == 0 {
            thread::yield_now();
        }
        common::until_parked(pool, pool.workers());
        clock.advance(7 * SECOND);
        wake.send(()).unwrap();
        future.join().unwrap().unwrap();
        host.wait();
        assert_eq!(notes.take(&host, clock), (1, 7 * SECOND, 0));
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_that_awaits_a_task_counts_no_longer_than_it_has_a_permit() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let (job, other) = (notes.job(pool.job_builder()), pool.job(0));
        let (wake, woken) = futures::channel::oneshot::channel();
        let awaited = other.spawn(|| ());
        let future = job.spawn_future(async move {
            tollgate::overloaded();
            awaited.await.unwrap();
            woken.await.unwrap();
        });
        while job.explain().to_string() != "1 task waits for another" {
            thread::yield_now();
        }
        clock.advance(10 * SECOND);
        other.set_limit(1);
        while job.explain().to_string() != "1 task runs" {
            thread::yield_now();
        }
        // It is pending by now, or will be at this time.
        clock.advance(3 * SECOND);
        wake.send(()).unwrap();
        future.join().unwrap();
        job.wait();
        let (tasks, time, overloads) = notes.take(&job, clock);
        assert_eq!((tasks, overloads), (1, 1));
        assert!(time <= 3 * SECOND, "{time:?}");
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_that_is_cancelled_is_no_sample() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let job = notes.job(pool.job_builder());
        let (tell, polled) = mpsc::channel();
        let future = job.spawn_future(async move {
            tell.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        polled.recv().unwrap();
        assert!(future.cancel());
        job.wait();
        assert_eq!(notes.take(&job, clock).0, 0);
        // Nor is one whose job is cancelled, which leaves nothing behind.
        let other = Notes::default().job(pool.job_builder());
        let future = other.spawn_future(std::future::pending::<()>());
        other.cancel();
        assert!(future.join().is_err());
    });
}

#[test]
fn tasks_of_a_child_are_samples_of_each_job_above() {
    with_clock(|pool, clock| {
        let (outer, inner) = (Notes::default(), Notes::default());
        let host = outer.job(pool.job_builder());
        let plain = host.job(2);
        let page = inner.job(plain.job_builder());
        let slow = clock.clone();
        page.execute(move || {
            slow.advance(2 * SECOND);
            tollgate::overloaded();
        });
        plain.execute(|| ());
        host.wait();
        let permit = page.try_acquire().unwrap();
        clock.advance(SECOND);
        drop(permit);
        assert_eq!(inner.take(&page, clock), (2, 3 * SECOND, 1));
        // The permit that ended the inner interval is a sample of the host, too.
        assert_eq!(outer.take(&host, clock), (4, 3 * SECOND, 1));
    });
}

/// Ends an interval of a job, at its full limit, in which each permit took this long.
fn interval(job: &Job, clock: &ManualClock, took: Duration, overloaded: bool) {
    let mut permits: Vec<_> = std::iter::from_fn(|| job.try_acquire().ok()).collect();
    clock.advance(took);
    if overloaded {
        permits.iter_mut().for_each(tollgate::Permit::overloaded);
    }
    drop(permits);
}

#[test]
fn a_rule_that_panics_or_waits_leaves_the_limit() {
    with_clock(|pool, clock| {
        let waits_for = pool.job(0);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let rule = move |_: &Interval| -> usize {
            if counted.fetch_add(1, SeqCst).is_multiple_of(2) {
                unwind("a rule that panics");
            }
            // On a worker this panics: the thread may have to run the task.
            waits_for.spawn(|| 7).join().unwrap()
        };
        let job = pool.job_builder().limit(4).adaptive(Adaptive::new(1..=8).rule(rule)).build();
        for due in 1..=4 {
            let slow = clock.clone();
            job.execute(move || slow.advance(SECOND));
            job.wait();
            assert_eq!((asked.load(SeqCst), job.limit()), (due, 4));
        }
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn a_limit_that_a_caller_sets_meanwhile_stays() {
    with_clock(|pool, clock| {
        let place: Arc<Mutex<Option<Job>>> = Arc::default();
        let mine = place.clone();
        let rule = move |_: &Interval| {
            if let Some(job) = mine.lock().unwrap().take() {
                job.set_limit(3);
            }
            7
        };
        let job = pool.job_builder().adaptive(Adaptive::new(1..=8).rule(rule)).build();
        *place.lock().unwrap() = Some(job.clone());
        interval(&job, clock, SECOND, false);
        assert_eq!(job.limit(), 3);
        interval(&job, clock, SECOND, false);
        assert_eq!(job.limit(), 7);
    });
}

#[test]
fn a_caller_sets_a_limit_within_the_range_and_the_rule_goes_on_from_there() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(100).adaptive(Adaptive::new(2..=50)).build();
        assert_eq!(job.limit(), 50);
        job.set_limit(0);
        assert_eq!((job.limit(), job.stats().limit), (2, 2));
        assert_eq!(job.spawn(|| "not held").join().unwrap(), "not held");
        job.wait();
        job.set_limit(20);
        interval(&job, clock, SECOND, true);
        assert_eq!(job.limit(), 18);
        job.pause();
        assert!(job.try_acquire().is_err());
        job.resume();
    });
}

#[test]
fn the_default_rule_rises_to_the_end_of_its_range_and_falls_to_the_start() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().adaptive(Adaptive::new(3..=12)).build();
        for limit in 3..=12 {
            assert_eq!(job.limit(), limit);
            interval(&job, clock, SECOND, false);
        }
        assert_eq!(job.limit(), 12);
        for _ in 0..12 {
            interval(&job, clock, SECOND, true);
        }
        assert_eq!(job.limit(), 3);
    });
}

#[test]
fn a_limit_that_the_tasks_do_not_reach_does_not_rise() {
    with_clock(|pool, clock| {
        let parent = pool.job(2);
        let job = parent.job_builder().adaptive(Adaptive::new(1..=8)).build();
        for _ in 0..20 {
            interval(&job, clock, SECOND, false);
        }
        assert_eq!(job.limit(), 3);
    });
}

#[test]
fn a_raise_admits_the_tasks_that_wait() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(4);
        let job = pool.job_builder().adaptive(Adaptive::new(1..=4).rule(|_: &Interval| 4)).build();
        let permit = job.try_acquire().unwrap();
        let gauge = common::event::Gauge::new();
        let latch = Latch::new();
        (0..4).for_each(|_| job.execute(common::event::stay(&gauge, &latch)));
        clock.advance(SECOND);
        drop(permit);
        gauge.until_running(4);
        latch.open();
        job.wait();
    });
}

#[test]
fn each_key_has_its_own_limit_and_an_idle_key_is_dropped() {
    with_clock(|pool, clock| {
        let hosts = pool
            .job_builder()
            .keyed::<u8>(|_, builder| builder.limit(5).adaptive(Adaptive::new(1..=8)));
        let (good, bad) = (hosts.job(&1), hosts.job(&2));
        interval(&good, clock, SECOND, false);
        interval(&bad, clock, SECOND, true);
        assert_eq!((good.limit(), bad.limit()), (6, 4));
        drop(bad);
        assert_eq!(hosts.evict_idle(), 1);
        assert_eq!((hosts.job(&1).limit(), hosts.job(&2).limit()), (6, 5));
        drop(good);
    });
}

#[test]
fn rates_come_and_go_beside_an_adaptive_limit() {
    with_clock(|pool, clock| {
        let notes = Notes::default();
        let job = notes.job(pool.job_builder().rate(Rate::every(SECOND)));
        job.spawn(|| ()).join().unwrap();
        let second = job.spawn(tollgate::overloaded);
        assert!(!second.is_finished());
        clock.advance(SECOND);
        second.join().unwrap();
        job.set_rates(&[]);
        job.wait();
        assert_eq!(notes.take(&job, clock).2, 1);
        job.execute(tollgate::overloaded);
        job.wait();
        assert_eq!(notes.take(&job, clock), (1, Duration::ZERO, 1));
    });
}

#[test]
fn a_rule_goes_with_its_job() {
    struct Bomb(Arc<AtomicUsize>);
    impl LimitRule for Bomb {
        fn next_limit(&mut self, interval: &Interval) -> usize {
            interval.limit
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
            unwind("a rule whose drop panics");
        }
    }
    within(LONG, || {
        let pool: Pool = common::pool(1);
        let drops = Arc::new(AtomicUsize::new(0));
        let rule = Bomb(drops.clone());
        let job = pool.job_builder().adaptive(Adaptive::new(1..=8).rule(rule)).build();
        job.spawn(|| ()).join().unwrap();
        job.wait();
        assert_eq!(drops.load(SeqCst), 0);
        drop(job);
        pool.shutdown();
        assert_eq!(drops.load(SeqCst), 1);
    });
}

#[test]
fn overloaded_does_nothing_elsewhere() {
    within(LONG, || {
        tollgate::overloaded();
        let pool = common::pool(1);
        pool.job(1).spawn(tollgate::overloaded).join().unwrap();
        let mut permit = pool.job(1).try_acquire().unwrap();
        permit.overloaded();
        permit.set_latency(SECOND);
    });
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is refused")]
fn bad_ranges_are_refused() {
    assert!(panic_of(|| Adaptive::new(0..=3)).contains("begin at 1"));
    assert!(panic_of(|| Adaptive::new(3..=2)).contains("not empty"));
    assert!(panic_of(|| Adaptive::new(1..=usize::MAX)).contains("Job::MAX_LIMIT"));
    assert!(panic_of(|| Adaptive::new(1..=Job::MAX_LIMIT + 1)).contains("Job::MAX_LIMIT"));
    drop(Adaptive::new(Job::MAX_LIMIT..=Job::MAX_LIMIT));
    assert!(panic_of(|| Adaptive::new(1..=2).interval(Duration::ZERO)).contains("more than 0"));
}
