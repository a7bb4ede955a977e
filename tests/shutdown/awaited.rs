//! `Pool::shutdown_async`: a drain that a future waits for.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::thread;

use futures::executor::block_on;
use tollgate::Pool;

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, WORKERS, panic_of, pool, within};
use crate::jobs_with_queues;

#[test]
fn every_accepted_task_has_ended() {
    for workers in WORKERS {
        within(LONG, move || {
            let pool = pool(workers);
            let gauge = Gauge::default();
            let (jobs, tasks) = jobs_with_queues(&pool, &gauge);
            block_on(pool.shutdown_async());
            assert_eq!(jobs.iter().map(|job| job.stats().completed).sum::<u64>(), tasks as u64);
            assert!(jobs.iter().all(|job| job.try_execute(|| ()).is_err()));
            block_on(pool.shutdown_async()); // a second time
        });
    }
}

/// Several futures and a thread wait; one future gives up.
#[test]
fn all_that_wait_are_woken() {
    within(LONG, || {
        let pool = pool(2);
        let (gauge, latch) = (Gauge::default(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let woken = AtomicUsize::new(0);
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    block_on(pool.shutdown_async());
                    woken.fetch_add(1, SeqCst);
                });
            }
            threads.spawn(|| {
                pool.shutdown();
                woken.fetch_add(1, SeqCst);
            });
            {
                let mut given_up = pin!(pool.shutdown_async());
                assert!(
                    given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
                );
            }
            assert_eq!(woken.load(SeqCst), 0);
            latch.open();
        });
        assert_eq!(woken.into_inner(), 4);
    });
}

#[test]
fn a_future_that_is_dropped_lets_the_drain_go_on() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::default(), Latch::new());
        let job = pool.job(1);
        job.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        {
            let mut given_up = pin!(pool.shutdown_async());
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert!(job.try_execute(|| ()).is_err());
        latch.open();
        drop(pool);
        assert_eq!(job.stats().completed, 1);
    });
}

/// The runtime has one thread, which drives the timer that a future of the pool needs.
#[test]
#[cfg(feature = "futures")]
fn a_runtime_of_one_thread_is_not_blocked() {
    within(LONG, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let handle = runtime.handle().clone();
        let ended = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let pool = Pool::builder()
                .workers(1)
                .on_worker_start(move |_| std::mem::forget(handle.clone().enter()))
                .build()
                .unwrap();
            let counted = ended.clone();
            drop(pool.job(1).spawn_future(async move {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                counted.fetch_add(1, SeqCst);
            }));
            pool.shutdown_async().await;
            assert_eq!(ended.load(SeqCst), 1);
        });
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_of_another_pool_may_wait() {
    within(LONG, || {
        let (own, other) = (pool(1), pool(1));
        let job = own.job(1);
        let task = other.job(1).spawn(|| 1);
        let waits = job.spawn_future(async move {
            other.shutdown_async().await;
            task.await.unwrap()
        });
        assert_eq!(waits.join().unwrap(), 1);
    });
}

/// The drain of the other pool needs the permit of the future that awaits it.
#[test]
#[cfg(feature = "futures")]
fn a_future_that_awaits_the_end_of_another_pool_holds_no_permit() {
    within(LONG, || {
        let (own, other) = (pool(1), pool(1));
        let job = own.job(1);
        let theirs = job.clone();
        let task = other.job(1).spawn(move || theirs.spawn(|| 1).join().unwrap());
        let waits = job.spawn_future(async move { other.shutdown_async().await });
        waits.join().unwrap();
        assert_eq!(task.join().unwrap(), 1);
    });
}

#[test]
fn a_task_of_the_pool_is_refused() {
    within(LONG, || {
        let pool = Arc::new(pool(1));
        let inside = pool.clone();
        let said = pool
            .job(1)
            .spawn(move || panic_of(|| block_on(inside.shutdown_async())))
            .join()
            .unwrap();
        assert!(said.contains("a task shuts down its own pool"), "{said}");
    });
}
