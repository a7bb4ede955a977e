//! What the rule of an adaptive limit sees of an interval, and how long an interval lasts (part of *adaptive_stays_in_range*).
//!
//! Time is a clock that the test moves, and each permit says how long it took. So each figure is exact.

mod common;

use common::{LONG, NANO, SECOND, pool_with_clock, within};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tollgate::{Adaptive, Interval, Job, JobBuilder, ManualClock, Permit, Pool};

/// A job with a limit of 5, whose intervals last a second or longer, its clock, and the intervals so far.
struct Trial {
    pool: Pool,
    clock: ManualClock,
    job: Job,
    seen: Arc<Mutex<Vec<Interval>>>,
}

impl Trial {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(configure: impl FnOnce(JobBuilder) -> JobBuilder) -> Self {
        let (pool, clock) = pool_with_clock(1);
        let seen: Arc<Mutex<Vec<Interval>>> = Arc::default();
        let sees = seen.clone();
        let rule = move |interval: &Interval| {
            sees.lock().unwrap().push(interval.clone());
            interval.limit
        };
        let adaptive = Adaptive::new(1..=9).interval(SECOND).rule(rule);
        let job = configure(pool.job_builder().limit(5).adaptive(adaptive)).build();
        Self { pool, clock, job, seen }
    }

    /// Runs a task that takes so long, although the clock stands still.
    fn run(&self, took: Duration) {
        let mut permit = self.job.try_acquire().unwrap();
        permit.set_latency(took);
        drop(permit);
    }

    fn intervals(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn last(&self) -> Interval {
        self.seen.lock().unwrap().last().expect("an interval has ended").clone()
    }
}

/// A task that ends while the rule is asked is in the next interval.
#[test]
fn an_interval_has_the_tasks_that_end_while_the_rule_is_asked_for_the_one_before() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let ends: Arc<Mutex<Option<Permit>>> = Arc::default();
        let (sees, ended) = (seen.clone(), ends.clone());
        let rule = move |interval: &Interval| {
            drop(ended.lock().unwrap().take());
            sees.lock().unwrap().push(interval.tasks);
            interval.limit
        };
        let adaptive = Adaptive::new(1..=9).interval(SECOND).rule(rule);
        let job = pool.job_builder().limit(5).adaptive(adaptive).build();
        let first = job.try_acquire().unwrap();
        *ends.lock().unwrap() = Some(job.try_acquire().unwrap());
        clock.advance(SECOND);
        drop(first);
        let last = job.try_acquire().unwrap();
        clock.advance(SECOND);
        drop(last);
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
    });
}

/// Mean and deviation are those of all tasks of the interval, and of no others.
#[test]
fn an_interval_has_the_mean_and_the_deviation_of_its_tasks() {
    within(LONG, || {
        let trial = Trial::new();
        trial.run(SECOND);
        trial.clock.advance(SECOND);
        trial.run(3 * SECOND);
        let first = trial.last();
        assert_eq!((first.tasks, first.mean, first.deviation), (2, 2 * SECOND, SECOND));
        assert_eq!((first.limit, first.range, first.overloads), (5, 1..=9, 0));
        [2, 4, 4, 4, 5, 5, 7].iter().for_each(|seconds| trial.run(*seconds * SECOND));
        trial.clock.advance(2 * SECOND);
        trial.run(9 * SECOND);
        let second = trial.last();
        assert_eq!((second.tasks, second.mean), (8, 5 * SECOND));
        assert!(second.deviation.abs_diff(2 * SECOND) < Duration::from_micros(1), "{second:?}");
        trial.clock.advance(5 * SECOND);
        trial.run(SECOND);
        let third = trial.last();
        assert_eq!((third.tasks, third.mean, third.deviation), (1, SECOND, Duration::ZERO));
    });
}

/// A permit that was not used is no sample, whatever was said of it before, and ends no interval.
#[test]
fn a_permit_whose_sample_is_discarded_is_in_no_interval() {
    within(LONG, || {
        let trial = Trial::new();
        for held in [Duration::ZERO, SECOND] {
            let mut unused = trial.job.try_acquire().unwrap();
            unused.set_latency(7 * SECOND);
            unused.overloaded();
            trial.clock.advance(held);
            unused.discard_sample();
            unused.set_latency(7 * SECOND);
            unused.overloaded();
            drop(unused);
        }
        assert_eq!(trial.intervals(), 0);
        trial.run(SECOND);
        let first = trial.last();
        assert_eq!((first.tasks, first.mean, first.overloads), (1, SECOND, 0));
    });
}

/// An interval lasts as long as the mean task of the one before, and at least the shortest time. It ends with a task.
#[test]
fn an_interval_lasts_as_long_as_the_mean_task_of_the_one_before() {
    within(LONG, || {
        let trial = Trial::new();
        // In turn: the least time of an interval, and the time of its tasks.
        for (ended, (least, took)) in
            [(1, 7), (7, 1), (1, 0), (1, 3), (3, 0)].into_iter().enumerate()
        {
            let took = took * SECOND;
            trial.run(took);
            trial.clock.advance(least * SECOND - NANO);
            trial.run(took);
            assert_eq!(trial.intervals(), ended);
            trial.clock.advance(NANO);
            assert_eq!(trial.intervals(), ended);
            trial.run(took);
            assert_eq!((trial.intervals(), trial.last().tasks), (ended + 1, 3));
        }
    });
}

/// The permits at once are counted as a task ends, that task's own included.
#[test]
fn an_interval_has_the_most_permits_at_once() {
    within(LONG, || {
        for most in [3, 5, 1] {
            let trial = Trial::new();
            let mut permits: Vec<_> = (0..most).map(|_| trial.job.try_acquire().unwrap()).collect();
            permits[0].overloaded();
            trial.clock.advance(SECOND);
            drop(permits.remove(0));
            let seen = trial.last();
            assert_eq!((seen.most_running, seen.overloads, seen.tasks), (most, 1, 1));
            assert_eq!((seen.mean, seen.is_limit_reached()), (SECOND, most == 5));
        }
    });
}

/// The greatest number of a whole interval counts, and each interval begins anew.
#[test]
fn the_most_permits_at_once_are_those_of_the_whole_interval() {
    within(LONG, || {
        let trial = Trial::new();
        let mut permits: Vec<_> = (0..3).map(|_| trial.job.try_acquire().unwrap()).collect();
        let last = permits.pop();
        drop(permits);
        trial.clock.advance(SECOND);
        drop(last);
        assert_eq!((trial.last().most_running, trial.last().tasks), (3, 3));
        trial.clock.advance(SECOND);
        trial.run(SECOND);
        assert_eq!((trial.last().most_running, trial.last().tasks), (1, 1));
    });
}

/// The sample of a future is the time for which it has had its permits, so a wait without them is left out.
#[cfg(feature = "futures")]
#[test]
fn a_future_that_waits_without_its_permits_counts_as_long_as_it_had_them() {
    within(LONG, || {
        let trial = Trial::new();
        let other = trial.pool.job(0);
        let (awaited, clock) = (other.spawn(|| ()), trial.clock.clone());
        let (begin, begun) = std::sync::mpsc::channel();
        let future = trial.job.spawn_future(async move {
            clock.advance(SECOND);
            begin.send(()).unwrap();
            awaited.await.unwrap();
            clock.advance(SECOND);
        });
        begun.recv().unwrap();
        while trial.job.stats().running > 0 {
            std::thread::yield_now();
        }
        trial.clock.advance(100 * SECOND);
        other.set_limit(1);
        future.join().unwrap();
        trial.job.wait();
        let first = trial.last();
        assert_eq!((first.tasks, first.mean), (1, 2 * SECOND));
    });
}

/// A future that was cancelled has not done its work, so it is no sample: in the queue, in flight, or while it waits.
#[cfg(feature = "futures")]
#[test]
fn a_cancelled_future_is_in_no_interval() {
    within(LONG, || {
        let trial = Trial::new();
        let (begin, begun) = std::sync::mpsc::channel();
        let in_flight = trial.job.spawn_future(async move {
            begin.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        begun.recv().unwrap();
        trial.job.pause();
        let queued = trial.job.spawn_future(async {});
        trial.clock.advance(7 * SECOND);
        assert!(queued.cancel() && in_flight.cancel());
        trial.job.resume();
        trial.job.wait();
        assert_eq!((trial.job.stats().cancelled, trial.intervals()), (2, 0));
        trial.run(SECOND);
        assert_eq!((trial.last().tasks, trial.last().mean), (1, SECOND));
    });
}

/// The latency that a permit is given does not hide that its work met an overload.
#[test]
fn a_permit_with_a_latency_may_report_an_overload() {
    within(LONG, || {
        let trial = Trial::new();
        let mut permit = trial.job.try_acquire().unwrap();
        permit.set_latency(3 * SECOND);
        permit.overloaded();
        trial.clock.advance(SECOND);
        drop(permit);
        let first = trial.last();
        assert_eq!((first.tasks, first.mean, first.overloads), (1, 3 * SECOND, 1));
    });
}

/// With a capacity of 0 the pusher has the permits first. The task's sample begins when the task does.
#[test]
fn a_task_that_is_handed_over_is_measured_from_its_start() {
    within(LONG, || {
        let trial = Trial::with(|builder| builder.capacity(0));
        let reserve = trial.job.reserve();
        let slot = futures::executor::block_on(reserve).unwrap();
        trial.clock.advance(7 * SECOND);
        let clock = trial.clock.clone();
        slot.spawn(move || clock.advance(SECOND)).join().unwrap();
        trial.job.wait();
        let first = trial.last();
        assert_eq!((first.tasks, first.mean), (1, SECOND));
        assert_eq!(trial.pool.stats().refused, 0);
    });
}

/// A task of a child ends an interval of its parent. The limit and the permits at once are the parent's, not the child's.
#[test]
fn an_interval_that_a_child_ends_has_the_figures_of_its_own_job() {
    within(LONG, || {
        let trial = Trial::new();
        let child = trial.job.job(2);
        let permits: Vec<_> = (0..3).map(|_| trial.job.try_acquire().unwrap()).collect();
        let below = child.try_acquire().unwrap();
        trial.clock.advance(SECOND);
        drop(below);
        let seen = trial.last();
        assert_eq!((seen.limit, seen.most_running, seen.tasks), (5, 4, 1));
        drop(permits);
    });
}
