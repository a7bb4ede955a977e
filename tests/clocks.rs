//! A clock that a test moves: all its pools go by it, each of them until it ends.

mod common;

use common::{LONG, NANO, SECOND, Tokens, within};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tollgate::{ManualClock, Pool, Rate, Retry};

fn pool_of(clock: &ManualClock) -> Pool {
    Pool::builder().workers(1).clock(clock).build().unwrap()
}

#[test]
fn a_clock_moves_all_its_pools() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pools = [(); 4].map(|()| pool_of(&clock));
        let start = clock.now();
        let mut tasks: Vec<_> =
            pools.iter().map(|pool| pool.job(1).spawn_after(SECOND, || 1)).collect();
        clock.advance(SECOND - NANO);
        assert!(tasks.iter().all(|task| !task.is_finished()));
        clock.advance(NANO);
        for task in tasks.drain(..) {
            assert_eq!(task.join().unwrap(), 1);
        }
        // Pools that have ended leave the clock to the pools that are left.
        let [first, second, third, fourth] = pools;
        drop((first, third));
        for pool in [&second, &fourth, &pool_of(&clock)] {
            let task = pool.job(1).spawn_after(SECOND, || 2);
            clock.advance(SECOND);
            assert_eq!(task.join().unwrap(), 2);
        }
        assert_eq!(clock.now() - start, 4 * SECOND);
    });
}

/// A clock that jumps far starts all that is due in the order of the times. A task that is due at once needs no further move.
#[test]
fn a_jump_starts_all_that_is_due_in_order() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = pool_of(&clock);
        let (job, order) = (pool.job(1), Arc::new(Mutex::new(Vec::new())));
        let note = |number: u32| {
            let order = order.clone();
            move || order.lock().unwrap().push(number)
        };
        for seconds in [3, 1, 2, 1, 5] {
            drop(job.spawn_after(seconds * SECOND, note(seconds)));
        }
        let (again, late) = (job.clone(), note(9));
        drop(job.spawn_after(4 * SECOND, move || drop(again.spawn_after(Duration::ZERO, late))));
        clock.advance(4 * SECOND);
        while job.stats().completed < 6 {
            std::thread::yield_now();
        }
        assert_eq!(*order.lock().unwrap(), [1, 1, 2, 3, 9]);
        assert_eq!(job.stats().delayed, 1);
        pool.shutdown_now();
    });
}

/// After the end of its pool, a job needs no timer: a hold-off does nothing, and a task is cancelled.
#[test]
fn calls_after_the_end_need_no_timer() {
    within(LONG, || {
        for clock in [Some(ManualClock::new()), None] {
            let builder = Pool::builder().workers(1);
            let pool = match &clock {
                Some(clock) => builder.clock(clock).build().unwrap(),
                None => builder.build().unwrap(),
            };
            let job = pool.job(1);
            pool.shutdown();
            job.hold_off(SECOND);
            job.set_rate(Rate::every(SECOND));
            assert_eq!(job.held_until(), None);
            let tasks = [job.spawn_after(SECOND, || ()), job.spawn_within(SECOND, || ())];
            let retried = job.spawn_retry(Retry::new(), || Err::<(), ()>(()));
            assert!(tasks.into_iter().all(|task| task.join().unwrap_err().is_cancelled()));
            assert!(retried.join().unwrap_err().is_cancelled());
            assert_eq!((job.stats().cancelled, job.stats().delayed), (3, 0));
            drop(pool);
            job.hold_off(SECOND);
            assert!(job.spawn_after(SECOND, || ()).join().unwrap_err().is_cancelled());
        }
    });
}

/// Makes a pool whose hooks have a token, and lets it run a task.
fn pool_with_token(clock: &ManualClock, tokens: &Tokens) -> Pool {
    let token = tokens.token();
    let builder = Pool::builder().workers(2).clock(clock);
    let pool = builder.on_worker_start(move |_| _ = &token).build().unwrap();
    pool.job(1).spawn(|| ()).join().unwrap();
    pool
}

/// Neither a clock nor a pool keeps the other: a pool's hooks go with its last worker.
#[test]
fn a_clock_and_its_pools_end_in_any_order() {
    within(LONG, || {
        let tokens = Tokens::new();
        let until_dropped = |count| {
            while tokens.dropped() < count {
                std::thread::yield_now();
            }
        };
        let clock = ManualClock::new();
        let (first, second) = (pool_with_token(&clock, &tokens), pool_with_token(&clock, &tokens));
        drop(first);
        clock.advance(SECOND);
        until_dropped(1);
        drop(clock);
        let task = second.job(1).spawn_after(SECOND, || ());
        second.job(1).spawn(|| ()).join().unwrap();
        assert!(!task.is_finished());
        assert_eq!(second.shutdown_now(), 1);
        drop((second, task));
        until_dropped(2);
    });
}
