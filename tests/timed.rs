//! What `Job::timings` says: how long the tasks of a timed job wait and run.
//!
//! Time is a clock that the test moves, so each time is exact.

mod common;

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use common::{LONG, SECOND, pool, pool_with_clock, with_clock, within};
use tollgate::{Histogram, Job, ManualClock, Retry, Timings};

fn timings(job: &Job) -> Timings {
    job.timings().expect("the job is timed")
}

/// Says that the histogram has exactly these times, in whole seconds.
#[track_caller]
fn assert_seconds(histogram: &Histogram, mut seconds: Vec<u64>) {
    seconds.sort_unstable();
    let sum: u64 = seconds.iter().sum();
    assert_eq!(histogram.count(), seconds.len() as u64, "{histogram:?}");
    let mean = Duration::from_nanos(sum * 1_000_000_000 / seconds.len() as u64);
    assert_eq!(histogram.mean(), Some(mean), "{histogram:?}");
    assert_eq!(histogram.longest(), seconds.last().map(|last| *last as u32 * SECOND));
    for (i, seconds) in seconds.iter().enumerate() {
        // Bounds each time by the quantile of its rank.
        let share = (i as f64 + 0.5) / histogram.count() as f64;
        let bounds = histogram.quantile(share).unwrap();
        assert!(bounds.contains(&(*seconds as u32 * SECOND)), "{seconds}: {bounds:?}");
    }
}

/// Returns a task that takes so many seconds of the clock.
fn takes(clock: &ManualClock, seconds: u32) -> impl FnMut() + Send + 'static {
    let clock = clock.clone();
    move || clock.advance(seconds * SECOND)
}

#[test]
fn a_job_that_is_not_timed_has_no_times() {
    let pool = pool(1);
    assert_eq!(pool.job(1).timings(), None);
    assert_eq!(pool.job_builder().name("search").capacity(3).build().timings(), None);
}

#[test]
fn the_first_of_two_tasks_makes_the_second_wait() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(0).timed().build();
        let (first, second) = (job.spawn(takes(clock, 3)), job.spawn(takes(clock, 5)));
        clock.advance(SECOND);
        job.set_limit(1);
        first.join().unwrap();
        second.join().unwrap();
        let timings = timings(&job);
        assert_seconds(&timings.wait, vec![1, 4]);
        assert_seconds(&timings.run, vec![3, 5]);
    });
}

#[test]
fn each_way_in_is_timed() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(2);
        for capacity in [None, Some(100)] {
            let mut builder = pool.job_builder().limit(0).timed();
            if let Some(capacity) = capacity {
                builder = builder.capacity(capacity);
            }
            let job = builder.build();
            job.execute(takes(&clock, 1));
            drop(job.spawn(takes(&clock, 1)));
            job.try_execute(takes(&clock, 1)).ok().unwrap();
            drop(job.try_spawn(takes(&clock, 1)).ok().unwrap());
            drop(job.spawn_within(100 * SECOND, takes(&clock, 1)));
            let mut set = job.set::<()>();
            set.spawn(takes(&clock, 1));
            #[cfg(feature = "futures")]
            {
                let mut take = takes(&clock, 1);
                drop(job.spawn_future(async move { take() }));
            }
            let tasks = if cfg!(feature = "futures") { 7 } else { 6 };
            clock.advance(10 * SECOND);
            job.set_limit(1);
            job.wait();
            let timings = timings(&job);
            assert_seconds(&timings.wait, (10..10 + tasks).collect());
            assert_seconds(&timings.run, vec![1; tasks as usize]);
        }
    });
}

#[test]
fn scoped_tasks_are_timed() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(2);
        let job = pool.job_builder().limit(0).timed().build();
        let seen = Mutex::new(0);
        job.scope(|scope| {
            let (clock, seen) = (&clock, &seen);
            let take = move || {
                clock.advance(2 * SECOND);
                *seen.lock().unwrap() += 1;
            };
            scope.execute(take);
            let _ = scope.spawn(take);
            clock.advance(SECOND);
            job.set_limit(1);
        });
        assert_eq!(*seen.lock().unwrap(), 2);
        job.wait();
        assert_seconds(&timings(&job).wait, vec![1, 3]);
        assert_seconds(&timings(&job).run, vec![2, 2]);
    });
}

#[test]
fn a_delayed_task_waits_from_its_time_on() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job_builder().limit(0).timed().build();
        let task = job.spawn_after(10 * SECOND, takes(&clock, 1));
        clock.advance(12 * SECOND);
        job.set_limit(1);
        task.join().unwrap();
        assert_seconds(&timings(&job).wait, vec![2]);
        assert_seconds(&timings(&job).run, vec![1]);
    });
}

#[test]
fn each_attempt_has_a_run_and_the_task_has_one_wait() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job_builder().limit(0).timed().build();
        let mut answers = [Err(()), Err(()), Ok(())].into_iter();
        let mut take = takes(&clock, 3);
        let policy = Retry::new().first_delay(100 * SECOND);
        let task = job.spawn_retry(policy, move || {
            take();
            answers.next().unwrap()
        });
        clock.advance(2 * SECOND);
        job.set_limit(1);
        while !task.is_finished() {
            if job.stats().delayed == 1 {
                clock.advance(1_000 * SECOND);
            }
            thread::yield_now();
        }
        assert_eq!(task.join().unwrap().attempts, 3);
        assert_seconds(&timings(&job).wait, vec![2]);
        assert_seconds(&timings(&job).run, vec![3, 3, 3]);
    });
}

#[test]
fn a_task_that_panics_has_a_wait_and_no_run_and_one_that_is_dropped_has_neither() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(0).timed().build();
        let panics = job.spawn(|| panic!("no such page"));
        let cancelled = job.spawn(|| unreachable!());
        assert!(cancelled.cancel());
        clock.advance(SECOND);
        job.set_limit(1);
        assert!(panics.join().unwrap_err().is_panic());
        job.spawn(takes(clock, 1)).join().unwrap();
        job.cancel();
        assert!(job.spawn(|| unreachable!()).join().unwrap_err().is_cancelled());
        assert_seconds(&timings(&job).wait, vec![0, 1]);
        assert_seconds(&timings(&job).run, vec![1]);
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_runs_also_while_it_is_pending() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job_builder().timed().build();
        let (tell, told) = futures::channel::oneshot::channel::<()>();
        let task = job.spawn_future(async move { told.await.unwrap() });
        while timings(&job).wait.count() == 0 {
            thread::yield_now();
        }
        clock.advance(7 * SECOND);
        tell.send(()).unwrap();
        task.join().unwrap();
        assert_seconds(&timings(&job).run, vec![7]);
        // A future that is dropped while it is pending has no end.
        let pending = job.spawn_future(std::future::pending::<()>());
        while timings(&job).wait.count() == 1 {
            thread::yield_now();
        }
        pending.cancel();
        assert!(pending.join().unwrap_err().is_cancelled());
        assert_seconds(&timings(&job).run, vec![7]);
    });
}

#[test]
fn each_key_has_its_own_times() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(2);
        let hosts = pool.job_builder().timed().keyed::<u32>(|_, builder| builder.timed());
        for key in 1..=3 {
            hosts.job(&key).spawn(takes(&clock, key)).join().unwrap();
        }
        let mut all = timings(&hosts.job(&1)).run;
        all += timings(&hosts.job(&2)).run;
        all += timings(&hosts.job(&3)).run;
        assert_seconds(&all, vec![1, 2, 3]);
        assert_eq!(timings(hosts.parent()).run.count(), 0);
    });
}

#[test]
fn quantiles_are_bounded_and_the_words_are_whole() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job_builder().limit(1).timed().build();
        assert_eq!(timings(&job).run.to_string(), "no task");
        assert_eq!(timings(&job).run.quantile(0.5), None);
        job.spawn(|| ()).join().unwrap();
        assert_eq!(timings(&job).run.quantile(1.0), Some(Duration::ZERO..=Duration::ZERO));
        (0..98).for_each(|_| job.execute(takes(&clock, 1)));
        job.execute(takes(&clock, 101));
        job.wait();
        let run = timings(&job).run;
        assert_eq!(
            run.to_string(),
            "100 tasks: mean 2.0s, 50 % at most 1.1s, 99 % at most 1.1s, longest 101.0s"
        );
        let nanos = Duration::from_nanos;
        assert_eq!(run.quantile(0.5), Some(nanos(1 << 29)..=nanos((1 << 30) - 1)));
        assert_eq!(run.quantile(1.0), Some(nanos(1 << 36)..=101 * SECOND));
        assert_eq!(run.quantile(0.0), run.quantile(0.01));
        assert_eq!(run.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [1, 98, 1]);
        for share in [-0.1, 1.1, f64::NAN] {
            let said = common::panic_of(|| run.quantile(share));
            assert!(said.starts_with("a quantile is a share from 0 to 1"), "{said}");
        }
    });
}

/// Returns the histogram of tasks that take these many nanoseconds.
fn run_of(nanos: &[u64]) -> Histogram {
    let (pool, clock) = pool_with_clock(1);
    let job = pool.job_builder().limit(1).timed().build();
    for nanos in nanos {
        let (clock, takes) = (clock.clone(), Duration::from_nanos(*nanos));
        job.execute(move || clock.advance(takes));
    }
    job.wait();
    timings(&job).run
}

/// A power of two is the least time of its bucket.
#[test]
fn a_bucket_begins_with_a_power_of_two() {
    within(LONG, || {
        let run = run_of(&[0, 1, 2, 3, 4, 7, 8, 15, 16, 1 << 20, (1 << 21) - 1, 1 << 21]);
        let buckets: Vec<_> = run
            .buckets()
            .map(|(bounds, count)| (bounds.start().as_nanos(), bounds.end().as_nanos(), count))
            .collect();
        let (mib, two) = (1 << 20, 1 << 21);
        let wanted = [
            (0, 0, 1),
            (1, 1, 1),
            (2, 3, 2),
            (4, 7, 2),
            (8, 15, 2),
            (16, 31, 1),
            (mib, two - 1, 2),
            (two, two, 1), // No time is longer than the longest.
        ];
        assert_eq!(buckets, wanted);
        assert_eq!(format!("{run:?}").matches(": 2").count(), 4, "{run:?}");
    });
}

/// The quantile of a share is the time with that rank, rounded up.
#[test]
fn a_quantile_is_the_time_of_its_rank() {
    within(LONG, || {
        let run = run_of(&[1, 2, 4, 8]);
        let least = |share| run.quantile(share).map(|bounds| bounds.start().as_nanos() as u64);
        for (share, time) in [(0.0, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.51, 4), (0.75, 4)] {
            assert_eq!(least(share), Some(time), "{share}");
        }
        assert_eq!((least(0.76), least(1.0)), (Some(8), Some(8)));
    });
}

/// Of 100 tasks, 90 take a second, 9 take ten, and 1 takes a hundred.
#[test]
fn the_words_have_the_quantiles_that_they_name() {
    within(LONG, || {
        let seconds = |count, seconds: u64| std::iter::repeat_n(seconds * 1_000_000_000, count);
        let times: Vec<_> = seconds(90, 1).chain(seconds(9, 10)).chain(seconds(1, 100)).collect();
        let words = "100 tasks: mean 2.8s, 50 % at most 1.1s, 99 % at most 17.2s, longest 100.0s";
        assert_eq!(run_of(&times).to_string(), words);
        let words = "1 task: mean 2.0ns, 50 % at most 2.0ns, 99 % at most 2.0ns, longest 2.0ns";
        assert_eq!(run_of(&[2]).to_string(), words);
    });
}

/// A sum of histograms is that of all tasks, whichever histogram is added to which.
#[test]
fn a_sum_of_histograms_does_not_depend_on_the_order() {
    within(LONG, || {
        let (short, long) = (run_of(&[1, 2, 3]), run_of(&[5, 900]));
        let all = run_of(&[1, 2, 3, 5, 900]);
        for (first, second) in [(&short, &long), (&long, &short)] {
            let mut sum = first.clone();
            sum += second.clone();
            assert_eq!(sum, all);
        }
    });
}

#[test]
fn many_threads_count_each_task_once() {
    common::with_workers(|pool, _| {
        let job = pool.job_builder().limit(3).timed().build();
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..5_000).for_each(|_| job.execute(|| ())));
            }
        });
        job.wait();
        let Timings { wait, run, .. } = timings(&job);
        assert_eq!((wait.count(), run.count()), (20_000, 20_000));
        assert_eq!(job.stats().completed, 20_000);
    });
}
