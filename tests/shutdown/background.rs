//! `Pool::shutdown_background`: a drain that nothing waits for. And what a drop waits for on a runtime of one thread.

use std::sync::Arc;

use tollgate::{JoinError, Pool};

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{LONG, WORKERS, pool, within};
use crate::{jobs_with_queues, until_outsiders_are_refused};

#[test]
fn the_call_returns_and_all_that_can_run_runs() {
    for workers in WORKERS {
        within(LONG, move || {
            let alive = Arc::new(());
            let ended = Arc::downgrade(&alive);
            // The pool drops its hooks when its last worker has left.
            let builder = Pool::builder().workers(workers).on_worker_stop(move |_| _ = &alive);
            let pool = builder.build().unwrap();
            let (gauge, latch, other) = (Gauge::new(), Latch::new(), Gauge::new());
            let (serial, held) = (pool.job(1), pool.job(0));
            serial.execute(stay(&gauge, &latch));
            gauge.until_running(1);
            let later = serial.spawn(pass_through(&gauge));
            let dropped = held.spawn(|| ());
            let (jobs, count) = jobs_with_queues(&pool, &other);
            pool.shutdown_background();
            assert!(!later.is_finished()); // the call has waited for nothing
            until_outsiders_are_refused(&serial);
            latch.open();
            later.join().unwrap();
            assert!(matches!(dropped.join(), Err(JoinError::Cancelled)));
            while ended.strong_count() > 0 {
                std::thread::yield_now();
            }
            assert_eq!((gauge.started(), other.started()), (2, count));
            drop(jobs);
        });
    }
}

#[test]
fn a_task_may_call_it_on_its_own_pool() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let task = job.spawn(move || pool.shutdown_background());
        task.join().unwrap();
        until_outsiders_are_refused(&job);
    });
}

#[cfg(feature = "futures")]
mod on_a_runtime_of_one_thread {
    use super::*;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_background_shutdown_lets_futures_go_on_that_need_the_runtime() {
        within(LONG, || {
            let runtime = runtime();
            let handle = runtime.handle().clone();
            runtime.block_on(async {
                let pool = Pool::builder()
                    .workers(2)
                    .on_worker_start(move |_| std::mem::forget(handle.clone().enter()))
                    .build()
                    .unwrap();
                let job = pool.job(2);
                let tasks: Vec<_> = (0..8)
                    .map(|number| {
                        job.spawn_future(async move {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                            number
                        })
                    })
                    .collect();
                pool.shutdown_background();
                for (number, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await.unwrap(), number);
                }
            });
        });
    }

    #[test]
    fn a_drop_ends_if_no_task_needs_the_runtime() {
        within(LONG, || {
            runtime().block_on(async {
                let pool = pool(2);
                let (job, other) = (pool.job(1), pool.job(1));
                let awaits = job.spawn_future(async move { other.spawn(|| 5).await.unwrap() });
                let closure = job.spawn(|| 6);
                drop(pool); // blocks the only thread
                assert_eq!((awaits.await.unwrap(), closure.await.unwrap()), (5, 6));
            });
        });
    }
}
