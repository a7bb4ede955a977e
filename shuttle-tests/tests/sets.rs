//! Sets of tasks in whole pools.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::block_on;
use std::future::poll_fn;
use std::sync::Arc;
use tollgate::JoinError;

#[test]
fn sets_lose_nothing_while_tasks_end_and_the_owner_waits() {
    in_a_pool(2, |pool| {
        let mut set = pool.job(2).set();
        for i in 0..4 {
            set.spawn(move || i);
        }
        let mut seen = [false; 4];
        while let Some(result) = set.join_next() {
            let i: usize = result.unwrap();
            assert!(!std::mem::replace(&mut seen[i], true), "a result came twice");
        }
        assert_eq!(seen, [true; 4]);
    });
}

#[test]
fn sets_lose_nothing_while_tasks_end_and_a_future_waits() {
    in_a_pool(2, |pool| {
        let mut set = pool.job(2).set();
        for i in 0..4 {
            set.spawn(move || i);
        }
        let mut sum = 0;
        while let Some((_, result)) = block_on(poll_fn(|cx| set.poll_join_next_with_id(cx))) {
            sum += result.unwrap();
        }
        assert_eq!(sum, 6);
    });
}

#[test]
fn sets_lose_nothing_when_a_task_stays_until_the_result_of_another_was_taken() {
    // The owner is woken for the first end, although the second task has not ended.
    in_a_pool(2, |pool| {
        let mut set = pool.job(2).set();
        let both = Arc::new(Barrier::new(2));
        let stays = both.clone();
        set.spawn(move || {
            stays.wait();
            "long"
        });
        set.spawn(|| "short");
        assert_eq!(set.join_next().unwrap().unwrap(), "short");
        both.wait();
        assert_eq!(set.join_next().unwrap().unwrap(), "long");
    });
}

#[test]
fn sets_lose_nothing_inside_a_task_of_the_same_job() {
    in_a_pool(1, |pool| {
        let job = pool.job(1);
        let inner = job.clone();
        let sum = job.spawn(move || {
            let mut set = inner.set();
            (0..3).for_each(|i| _ = set.spawn(move || i));
            let mut sum = 0;
            while let Some(value) = set.join_next() {
                sum += value.unwrap();
            }
            sum
        });
        assert_eq!(sum.join().unwrap(), 3);
    });
}

#[test]
fn sets_lose_nothing_when_they_are_dropped_or_cancelled() {
    in_a_pool(2, |pool| {
        let job = pool.job(1);
        let mut set = job.set();
        (0..3).for_each(|i| _ = set.spawn(move || i));
        set.cancel_all();
        let mut ran = 0;
        while let Some(result) = set.join_next() {
            match result {
                Ok(_) => ran += 1,
                Err(error) => assert!(matches!(error, JoinError::Cancelled)),
            }
        }
        (0..2).for_each(|i| _ = set.spawn(move || i));
        drop(set);
        job.wait();
        let stats = job.stats();
        assert!(stats.completed >= ran && stats.completed + stats.cancelled == 5, "{stats:?}");
    });
}
