//! `Job::map`: results in the order of the input, or as they come.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use tollgate::JoinError;

use crate::common::event::Latch;
use crate::common::{LONG, Tokens, pool, unwind, with_workers, within, workers_pass};
use crate::{broken, counted};

#[test]
fn keeps_the_order_of_the_input() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3, usize::MAX] {
            let job = pool.job(limit);
            let doubled = job.map(0..2_000, |i| 2 * i).map(Result::unwrap);
            assert!(doubled.eq((0..2_000).map(|i| 2 * i)), "limit {limit}");
            assert_eq!(job.stats().completed, 2_000);
            assert!(job.stats().most_running <= limit);
        }
    });
}

#[test]
fn as_completed_gives_every_result_once() {
    with_workers(|pool, _| {
        for limit in [1, 3, usize::MAX] {
            let results = pool.job(limit).map(0..2_000, |i| i).as_completed();
            let seen: BTreeSet<i32> = results.map(Result::unwrap).collect();
            assert!(seen.into_iter().eq(0..2_000));
        }
    });
}

#[test]
fn as_completed_does_not_wait_for_a_slow_one() {
    within(LONG, || {
        let pool = pool(2);
        let latch = Latch::new();
        let opening = latch.opening();
        let mut results = pool.job(2).map(0..100, move |i| {
            if i == 0 {
                opening.wait();
            }
            i
        });
        // Switched on the way: what is ready already comes, too.
        let mut results = {
            let second_is_ready = results.by_ref().size_hint();
            assert_eq!(second_is_ready.0, 0);
            results.as_completed()
        };
        for i in 1..100 {
            assert_eq!(results.next().unwrap().unwrap(), i);
        }
        latch.open();
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(results.next().is_none());
        assert!(results.next().is_none());
    });
}

#[test]
fn does_nothing_before_it_is_asked_and_no_more_than_fits() {
    with_workers(|pool, workers| {
        for limit in [1, 2, usize::MAX] {
            let (pulled, input) = counted(0..100_000);
            let job = pool.job(limit);
            let mut results = job.map(input, |i| i);
            assert_eq!(pulled.load(SeqCst), 0);
            assert_eq!(results.next().unwrap().unwrap(), 0);
            job.wait();
            let most = 1 + 64 * workers + workers.min(limit);
            assert!(pulled.load(SeqCst) <= most, "{} of {most}", pulled.load(SeqCst));
            assert_eq!(results.next().unwrap().unwrap(), 1);
        }
    });
}

/// While the first item stays, 64 results for each worker are ready behind it, and no further item is pulled.
#[test]
fn sixty_four_results_for_each_worker_wait_for_a_slow_one() {
    within(LONG, || {
        for workers in [2, 3] {
            let (pool, latch) = (pool(workers), Latch::new());
            let (opening, (pulled, input)) = (latch.opening(), counted(0..100_000));
            let job = pool.job(2);
            let mut results = job.map(input, move |i| {
                if i == 0 {
                    opening.wait();
                }
                i
            });
            let most = 1 + 64 * workers;
            thread::scope(|s| {
                let first = s.spawn(|| results.next().unwrap().unwrap());
                // The puller that finds no room sends no further one.
                let pullers = || {
                    let stats = job.stats();
                    stats.running + stats.ready + stats.backlog
                };
                while pulled.load(SeqCst) < most || pullers() > 1 {
                    thread::yield_now();
                }
                assert_eq!(pulled.load(SeqCst), most);
                latch.open();
                assert_eq!(first.join().unwrap(), 0);
            });
        }
    });
}

#[test]
fn dropping_a_map_cancels_the_rest() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let (owner, job) = (tokens.clone(), pool.job(2));
        let mut results = job.map((0..100_000).map(move |_| owner.token()), |token| token);
        drop(results.next().unwrap().unwrap());
        drop(results);
        job.wait();
        workers_pass(pool, pool.workers());
        assert_eq!(tokens.made(), tokens.dropped());
        assert!(tokens.made() < 1_000);
        assert_eq!(job.stats().cancelled, 0);
    });
}

#[test]
fn a_map_that_is_never_asked_drops_its_input() {
    let pool = pool(1);
    let tokens = Tokens::new();
    let input = vec![tokens.token(), tokens.token()];
    drop(pool.job(1).map(input, drop));
    assert_eq!(tokens.dropped(), 2);
}

#[test]
fn a_panic_in_a_map_is_one_item() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let results = job.map(0..10, |i| if i == 3 { unwind("three") } else { i });
        for (i, result) in results.enumerate() {
            match result {
                Ok(value) => assert_eq!(value, i),
                Err(JoinError::Panicked(payload)) => {
                    assert_eq!((i, payload.message().unwrap()), (3, "three"));
                }
                Err(error) => panic!("an item says {error}"),
            }
        }
        assert_eq!((job.stats().completed, job.stats().panicked), (9, 1));

        let mut results = job.map(broken(), |i| i);
        assert!(results.by_ref().take(5).map(Result::unwrap).eq(0..5));
        let Some(Err(JoinError::Panicked(payload))) = results.next() else {
            panic!("the input panicked");
        };
        assert_eq!(payload.message().unwrap(), "the input's");
        assert!(results.next().is_none());
    });
}

#[test]
fn a_cancelled_map_says_so_at_its_end() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let mut results = job.map(0.., |i: usize| i);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        job.cancel();
        let mut next = 1;
        loop {
            match results.next() {
                Some(Ok(i)) => assert_eq!(i, next),
                Some(Err(JoinError::Cancelled)) => break,
                other => panic!("{other:?}"),
            }
            next += 1;
        }
        assert!(results.next().is_none());
        let mut refused = job.map(0..10, |i| i);
        assert!(matches!(refused.next(), Some(Err(JoinError::Cancelled))));
        assert!(refused.next().is_none());
    });
}

#[test]
fn a_map_ends_when_its_pool_does() {
    with_workers(|_, workers| {
        let pool = pool(workers);
        let mut results = pool.job(2).map(0.., |i: usize| i);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        pool.shutdown();
        assert!(matches!(results.last(), Some(Err(JoinError::Cancelled))));
    });
}

#[test]
fn inside_a_task() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            let other = pool.job(1);
            for outer in [&job, &other] {
                let inner = job.clone();
                let sum = outer
                    .spawn(move || inner.map(0..500, |i| i).map(Result::unwrap).sum::<usize>());
                assert_eq!(sum.join().unwrap(), 124_750);
            }
        }
    });
}

#[test]
fn ten_maps_at_once() {
    with_workers(|pool, _| {
        thread::scope(|threads| {
            for limit in 1..=10 {
                let job = pool.job(limit);
                threads.spawn(move || {
                    let sum: usize = job.map(0..1_000, |i| i).map(Result::unwrap).sum();
                    assert_eq!(sum, 499_500);
                    job.for_each(0..1_000, |_| ()).unwrap();
                });
            }
        });
    });
}

#[test]
fn leaves_nothing_behind_in_a_job_that_is_paused() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let latch = Latch::new();
        let opening = latch.opening();
        let mut results = job.map(0..10, move |i| {
            if i > 0 {
                opening.wait();
            }
            i
        });
        assert_eq!(results.next().map(Result::unwrap), Some(0));
        // A puller is in the midst of it, and the next one is in line, or will be.
        job.pause();
        drop(results);
        latch.open();
        job.wait();
        assert_eq!(job.stats().cancelled, 0);
    });
}

#[test]
fn an_empty_input_needs_no_permit() {
    with_workers(|pool, _| {
        let held = pool.job(0);
        assert!(held.map(0..0, |i: u32| i).next().is_none());
        assert!(held.map(Vec::<u32>::new(), |i| i).as_completed().next().is_none());
        held.for_each(0..0, |_: u32| unreachable!()).unwrap();
        held.for_each(std::iter::empty(), |_: u32| unreachable!()).unwrap();
        let paused = pool.job(1);
        paused.pause();
        assert_eq!(paused.map(std::iter::empty(), |i: u32| i).count(), 0);
        paused.for_each([0_u32; 0], |_| unreachable!()).unwrap();
        held.cancel();
        assert!(matches!(held.map(0..0, |i: u32| i).next(), Some(Err(JoinError::Cancelled))));
    });
}
