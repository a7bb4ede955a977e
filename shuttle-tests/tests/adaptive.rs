//! Promise: adaptive_stays_in_range. Permits end, the clock moves and callers set limits, all at once.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::check;
use shuttle_tests::instruments::{SECOND, pool_with_clock};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use tollgate::{Adaptive, Interval, Job, Pool};

/// What the rule has seen.
type Seen = Arc<Mutex<Vec<Interval>>>;

/// A job with this limit, whose rule returns what `next` makes of the limit.
fn adaptive(pool: &Pool, limit: usize, next: fn(usize) -> usize) -> (Job, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let rule = move |interval: &Interval| {
        noted.lock().unwrap().push(interval.clone());
        next(interval.limit)
    };
    let adaptive = Adaptive::new(1..=9).interval(SECOND).rule(rule);
    (pool.job_builder().limit(limit).adaptive(adaptive).build(), seen)
}

#[test]
fn adaptive_stays_in_range_with_one_update_of_each_interval() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, seen) = adaptive(&pool, 3, |limit| limit + 1);
        let permits = [(); 3].map(|()| job.try_acquire().unwrap());
        clock.advance(SECOND);
        let ends = permits.map(|permit| thread::spawn(move || drop(permit)));
        job.execute(|| ());
        clock.advance(SECOND);
        ends.into_iter().for_each(|end| end.join().unwrap());
        job.wait();
        clock.advance(10 * SECOND);
        drop(job.try_acquire().unwrap());
        let intervals = seen.lock().unwrap().clone();
        assert_eq!(intervals.iter().map(|interval| interval.tasks).sum::<u64>(), 5);
        for (update, interval) in intervals.iter().enumerate() {
            assert_eq!(interval.limit, 3 + update, "an update beside another one");
        }
        assert_eq!(job.limit(), 3 + intervals.len(), "an update was lost");
    });
}

#[test]
fn adaptive_stays_in_range_and_keeps_what_a_call_sets() {
    check(|| {
        let (pool, clock) = pool_with_clock(1);
        let (job, seen) = adaptive(&pool, 2, |_| 7);
        let permit = job.try_acquire().unwrap();
        clock.advance(SECOND);
        let theirs = job.clone();
        let caller = thread::spawn(move || theirs.set_limit(5));
        drop(permit);
        caller.join().unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1);
        assert_eq!(job.limit(), if seen[0].limit == 5 { 7 } else { 5 });
    });
}

#[test]
fn limit_is_used_after_an_update_in_a_turn() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, _) = adaptive(&pool, 1, |limit| limit + 1);
        let meet = Arc::new(Barrier::new(2));
        job.execute(move || clock.advance(SECOND));
        for _ in 0..2 {
            let meet = meet.clone();
            job.execute(move || _ = meet.wait());
        }
        job.wait();
    });
}

#[test]
fn adaptive_stays_in_range_with_one_sample_of_a_future_that_is_woken_as_it_parks() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, seen) = adaptive(&pool, 2, |limit| limit);
        let polls = Arc::new(AtomicUsize::new(0));
        let waker: Arc<shuttle::sync::Mutex<Option<Waker>>> = Arc::default();
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
        let waker = loop {
            match waker.lock().unwrap().take() {
                Some(waker) => break waker,
                None => thread::yield_now(),
            }
        };
        waker.wake();
        task.join().unwrap();
        job.wait();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].tasks, seen[0].mean, seen[0].overloads), (1, SECOND, 1));
    });
}
