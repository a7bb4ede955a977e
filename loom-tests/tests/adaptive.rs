//! Adaptive limits: ends of tasks, updates and calls of `set_limit` against each other.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::rest;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{Adaptive, Interval, Job, ManualClock};

const SECOND: Duration = Duration::from_secs(1);

/// What the rule has seen. No part of the model.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Interval>>>);

impl Seen {
    fn intervals(&self) -> Vec<Interval> {
        self.0.lock().unwrap().clone()
    }

    fn tasks(&self) -> u64 {
        self.intervals().iter().map(|interval| interval.tasks).sum()
    }
}

/// A job with this limit, whose rule returns what `next` makes of the limit.
fn adaptive(stage: Stage, limit: usize, next: fn(usize) -> usize) -> (Job, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let rule = move |interval: &Interval| {
        noted.0.lock().unwrap().push(interval.clone());
        next(interval.limit)
    };
    let adaptive = Adaptive::new(1..=9).interval(SECOND).rule(rule);
    (stage.built(|builder| builder.limit(limit).adaptive(adaptive)), seen)
}

#[test]
fn adaptive_stays_in_range_with_one_update_of_each_interval() {
    // Two threads end permits while the clock moves. No sample is lost or counted twice, and no update.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, seen) = adaptive(stage, 3, |limit| limit + 1);
        let [first, second, third] = [(); 3].map(|()| job.try_acquire().unwrap());
        clock.advance(SECOND);
        let other = thread::spawn(move || drop(first));
        drop(second);
        clock.advance(2 * SECOND);
        drop(third);
        other.join().unwrap();
        clock.advance(10 * SECOND);
        drop(job.try_acquire().unwrap());
        assert_eq!(seen.tasks(), 4, "{seen:?}");
        let intervals = seen.intervals();
        for (update, interval) in intervals.iter().enumerate() {
            assert_eq!(interval.limit, 3 + update, "an update beside another one: {seen:?}");
        }
        assert_eq!(job.limit(), 3 + intervals.len(), "an update was lost: {seen:?}");
        rest(stage, job);
    });
}

#[test]
fn adaptive_stays_in_range_and_keeps_what_a_call_sets() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, seen) = adaptive(stage, 2, |_| 7);
        let permit = job.try_acquire().unwrap();
        clock.advance(SECOND);
        let theirs = job.clone();
        let caller = thread::spawn(move || theirs.set_limit(5));
        drop(permit);
        caller.join().unwrap();
        let [update] = &seen.intervals()[..] else { panic!("not one update: {seen:?}") };
        // The rule starts from the limit that the call has set, or the call comes after the rule.
        let due = if update.limit == 5 { 7 } else { 5 };
        assert_eq!(job.limit(), due, "the update has overwritten a call: {seen:?}");
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_after_an_update_in_a_turn() {
    // The worker keeps its permit and runs a further task. The raised limit must let another worker run a task meanwhile.
    check(Bound::None, || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, _) = adaptive(stage, 1, |limit| limit + 1);
        let (slow, ready) = (clock.clone(), Arc::new(AtomicBool::new(false)));
        job.execute(move || slow.advance(SECOND));
        for _ in 0..2 {
            let ready = ready.clone();
            job.execute(move || _ = ready.fetch_or(stage.has_ready(), Relaxed));
        }
        while stage.play(0, usize::MAX) > 0 {}
        assert!(ready.load(Relaxed), "a task waits beside a free permit");
        rest(stage, job);
    });
}

#[test]
fn adaptive_stays_in_range_with_one_sample_of_a_future_that_is_woken_as_it_parks() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(2, &clock);
        let (job, seen) = adaptive(stage, 2, |limit| limit);
        let polls = Arc::new(AtomicUsize::new(0));
        let waker: Arc<loom::sync::Mutex<Option<Waker>>> = Arc::default();
        let (left, counted, slow) = (waker.clone(), polls.clone(), clock.clone());
        let task = job.spawn_future(poll_fn(move |cx| {
            if counted.fetch_add(1, Relaxed) == 0 {
                slow.advance(SECOND);
                tollgate::overloaded();
                *left.lock().unwrap() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        let other = thread::spawn(move || {
            let left = waker.lock().unwrap().take();
            if let Some(waker) = left {
                waker.wake();
            }
            stage.play(1, usize::MAX);
            waker
        });
        stage.play(0, usize::MAX);
        let waker = other.join().unwrap();
        let left = waker.lock().unwrap().take();
        if let Some(waker) = left {
            waker.wake();
        }
        while stage.play(0, usize::MAX) > 0 {}
        drop(task);
        assert_eq!(polls.load(Relaxed), 2);
        let [interval] = &seen.intervals()[..] else { panic!("not one update: {seen:?}") };
        let sample = (interval.tasks, interval.mean, interval.overloads);
        assert_eq!(sample, (1, SECOND, 1), "the sample of the first poll was lost");
        rest(stage, job);
    });
}

#[test]
fn nothing_is_left_of_the_sample_of_a_future_that_is_cancelled() {
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, _) = adaptive(stage, 2, |limit| limit);
        let task = job.spawn_future(std::future::pending::<()>());
        let worker = thread::spawn(move || while stage.play(0, usize::MAX) > 0 {});
        job.cancel();
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert!(task.is_finished(), "a future was not cancelled");
        drop(task);
        rest(stage, job);
        drop(clock);
    });
}
