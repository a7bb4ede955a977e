//! The thread of a pool's timer cannot start: each call that needs it says so, and nothing is left of the call. Each test runs in a
//! process of its own, whose address space has no room for a further stack.
#![cfg(target_os = "linux")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tollgate::{Job, Pool, Rate, Rejected, Retry};

use crate::building::limit_address_space;
use crate::common::{LONG, Tokens, capture, panic_of, until_parked, within};
use crate::{in_child, runs_its_next_task, until_nothing_is_left};

const HOUR: Duration = Duration::from_secs(3_600);

/// Runs `test` with a pool that can start no further thread. At the end, nothing may keep the pool.
fn without_a_timer(name: &str, test: fn(&Pool)) {
    const STACK: usize = 1 << 30;
    if !in_child(&format!("no_timer::{name}")) {
        return;
    }
    within(LONG, move || {
        let hooks = Tokens::new();
        let hook = hooks.token();
        let builder = Pool::builder().workers(1).stack_size(STACK);
        let pool = builder.on_worker_start(move |_| _ = &hook).build().unwrap();
        limit_address_space(crate::common::proc::mapped_bytes() + STACK / 2);
        test(&pool);
        runs_its_next_task(&pool);
        until_parked(&pool, 1);
        assert!(pool.jobs().is_empty(), "{:?}", pool.jobs());
        drop(pool);
        until_nothing_is_left(&hooks);
    });
}

#[track_caller]
fn says_that_there_is_no_thread<R>(call: impl FnOnce() -> R) {
    let said = panic_of(call);
    assert!(said.contains("no thread for the pool's timer"), "{said}");
}

#[test]
fn a_hold_off() {
    without_a_timer("a_hold_off", |pool| {
        let job = pool.job_builder().name("host").build();
        says_that_there_is_no_thread(|| job.hold_off(HOUR));
        // A shorter one is refused, too: nothing is left of the first one.
        says_that_there_is_no_thread(|| job.hold_off(HOUR / 2));
        says_that_there_is_no_thread(|| job.hold_off_until(Instant::now() + HOUR / 4));
        assert_eq!(job.held_until(), None);
        assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
        job.hold_off(Duration::ZERO);
        job.set_rate(Rate::every(Duration::from_millis(1)));
        assert_eq!(job.spawn(|| 2).join().unwrap(), 2);
    });
}

#[test]
fn a_delay() {
    without_a_timer("a_delay", |pool| {
        let (tokens, job) = (Tokens::new(), pool.job_builder().name("late").capacity(1).build());
        for round in 1..=3 {
            let token = tokens.token();
            says_that_there_is_no_thread(|| job.spawn_after(HOUR, move || drop(token)));
            job.wait();
            let stats = job.stats();
            assert_eq!(
                (stats.cancelled, stats.delayed, tokens.dropped()),
                (round, 0, round as usize)
            );
        }
        // The slot is free again.
        job.pause();
        job.try_execute(|| ()).ok().unwrap();
        assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
        job.resume();
        job.wait();
        assert_eq!(job.spawn_after(Duration::ZERO, || 1).join().unwrap(), 1);
    });
}

#[test]
fn a_deadline() {
    without_a_timer("a_deadline", |pool| {
        let (tokens, job) = (Tokens::new(), pool.job_builder().name("bounded").capacity(1).build());
        for round in 1..=3 {
            let token = tokens.token();
            says_that_there_is_no_thread(|| job.spawn_within(HOUR, move || drop(token)));
            job.wait();
            assert_eq!((job.stats().cancelled, tokens.dropped()), (round, round as usize));
        }
        job.try_execute(|| ()).ok().unwrap();
        job.wait();
        // A deadline that is over needs no timer.
        assert!(job.spawn_within(Duration::ZERO, || ()).join().unwrap_err().is_expired());
    });
}

#[test]
fn a_further_attempt() {
    without_a_timer("a_further_attempt", |pool| {
        let job = pool.job_builder().name("again").limit(1).build();
        let (kept, is_dropped) = capture();
        let task =
            job.spawn_retry(Retry::new().first_delay(HOUR), move || Err::<(), _>(kept.clone()));
        assert!(task.join().unwrap_err().is_cancelled());
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.cancelled, stats.delayed, is_dropped()), (1, 0, true));
        let policy = Retry::new().first_delay(Duration::ZERO).attempts(3);
        assert_eq!(job.spawn_retry(policy, || Err::<(), _>(1)).join().unwrap().attempts, 3);
    });
}

/// The job refuses its tasks until the rate allows a start. The tasks stay in order.
#[test]
fn a_rate() {
    without_a_timer("a_rate", |pool| {
        let interval = Duration::from_millis(5);
        let paced = |job: &Job| {
            let (begin, order) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
            for number in 0..4 {
                let order = order.clone();
                job.execute(move || order.lock().unwrap().push(number));
            }
            job.wait();
            assert!(begin.elapsed() >= 3 * interval, "{:?}", begin.elapsed());
            assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
        };
        let job = pool.job_builder().name("paced").limit(1).rate(Rate::every(interval)).build();
        paced(&job);
        job.set_rates(&[]);
        assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
        let gap = pool.job_builder().limit(1).rate(Rate::gap_after_end(interval)).build();
        paced(&gap);
    });
}
