//! Scopes and lazy input: tasks that borrow end before the call does, from outside and inside tasks.

#![cfg(tollgate_shuttle)]

use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Gauge, unwind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn nothing_lost_in_a_scope() {
    in_a_pool(3, |pool| {
        let (job, gauge, sum) = (pool.job(2), Gauge::new(2), AtomicUsize::new(0));
        let total = job.scope(|scope| {
            let tasks = [1, 2, 3].map(|number| {
                scope.spawn({
                    let gauge = &gauge;
                    move || {
                        gauge.visit();
                        number
                    }
                })
            });
            for number in 4..7 {
                let sum = &sum;
                scope.execute(move || _ = sum.fetch_add(number, Relaxed));
            }
            tasks.into_iter().map(|task| task.join().unwrap()).sum::<usize>()
        });
        assert_eq!((total, sum.into_inner(), gauge.ran()), (6, 15, 3));
    });
}

#[test]
fn nothing_lost_when_a_task_of_a_scope_panics() {
    in_a_pool(3, |pool| {
        let (job, ran) = (pool.job(2), AtomicUsize::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            job.scope(|scope| {
                for number in 0..5 {
                    let ran = &ran;
                    scope.execute(move || {
                        ran.fetch_add(1, Relaxed);
                        if number == 2 {
                            unwind();
                        }
                    });
                }
            });
        }));
        assert!(outcome.is_err(), "the scope passes the panic on");
        assert_eq!(ran.into_inner(), 5);
        assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn join_is_safe_in_a_scope_inside_a_task() {
    in_a_pool(2, |pool| {
        let job = pool.job(1);
        let handles: Vec<_> = (0..2)
            .map(|_| {
                let inner = job.clone();
                job.spawn(move || {
                    let ran = AtomicUsize::new(0);
                    inner.scope(|scope| {
                        (0..3).for_each(|_| scope.execute(|| _ = ran.fetch_add(1, Relaxed)));
                    });
                    ran.into_inner()
                })
            })
            .collect();
        assert!(handles.into_iter().all(|handle| handle.join().unwrap() == 3));
    });
}

#[test]
fn nothing_lost_of_lazy_input() {
    in_a_pool(3, |pool| {
        let (job, gauge, sum) = (pool.job(2), Gauge::new(2), AtomicUsize::new(0));
        job.for_each(0..8_usize, |number| {
            gauge.visit();
            sum.fetch_add(number, Relaxed);
        })
        .unwrap();
        assert_eq!((gauge.ran(), sum.into_inner()), (8, 28));
    });
}

#[test]
fn serial_in_order_of_lazy_results() {
    in_a_pool(3, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let seen = gauge.clone();
        let results = job.map(vec![1, 2, 3, 4, 5, 6], move |number| {
            seen.visit();
            number * 10
        });
        let results: Vec<_> = results.map(Result::unwrap).collect();
        assert_eq!((gauge.ran(), results), (6, vec![10, 20, 30, 40, 50, 60]));
    });
}

#[test]
fn nothing_lost_when_lazy_results_are_dropped_early() {
    in_a_pool(3, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let seen = gauge.clone();
        let mut results = job
            .map(0..6, move |number| {
                seen.visit();
                number
            })
            .as_completed();
        results.next().expect("there is input").unwrap();
        drop(results);
        job.wait();
        assert!((1..=6).contains(&gauge.ran()));
        assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
    });
}
