//! Calls that cannot be met: limits and handles beyond what is counted, pushes into a closed job, waits for oneself.

use std::sync::{Arc, mpsc};

use tollgate::{Job, JoinError, Pool, TaskHandle};

use crate::common::event::{Gauge, pass_through};
use crate::common::{LONG, WORKERS, panic_of, pool, refuses_pushes, with_workers, within};
use crate::runs_its_next_task;

/// Whoever asks for one handle too many is told so; the pool, which takes handles of its own, is not refused.
#[test]
fn more_handles_than_a_job_counts() {
    within(LONG, || {
        let pool = pool(2);
        let host = pool.job(1);
        let job = host.job_builder().name("search").limit(2).build();
        let (sibling, gauge) = (host.job(2), Gauge::new());
        let message = panic_of(|| {
            loop {
                std::mem::forget(job.clone());
            }
        });
        let says =
            "too many handles and children of the job `search`: drop some before more are made";
        assert_eq!(message, says);
        for _ in 0..100 {
            job.execute(pass_through(&gauge));
            sibling.execute(pass_through(&gauge));
        }
        job.set_limit(0);
        job.set_limit(2);
        host.wait();
        assert_eq!((gauge.started(), gauge.most()), (200, 1));
        let message = job.spawn(|| panic_of(tollgate::current_job)).join().unwrap();
        assert!(message.contains("handles"), "'{message}'");
        assert!(panic_of(|| job.job(1)).contains("handles"));
        runs_its_next_task(&pool);
    });
}

#[test]
fn a_push_into_a_closed_job() {
    with_workers(|pool, _| {
        for end in [Job::close, Job::cancel] {
            let job = pool.job(1);
            end(&job);
            assert!(job.is_closed() && job.clone().is_closed());
            refuses_pushes(&job);
            job.wait();
        }
        runs_its_next_task(pool);
    });
}

#[test]
fn a_join_from_inside_ones_own_task() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let job = pool.job(limit);
            let (gives, takes) = mpsc::channel::<TaskHandle<()>>();
            let (says, heard) = mpsc::channel();
            let handle = job.spawn(move || {
                let own = takes.recv().unwrap();
                says.send(panic_of(|| own.join())).unwrap();
            });
            gives.send(handle).unwrap();
            let message = heard.recv().expect("the join hangs or ends without a panic");
            assert!(message.contains("join"), "'{message}'");
            job.wait();
            assert_eq!(job.stats().completed, 1);
        }
        runs_its_next_task(pool);
    });
}

#[test]
fn a_wait_for_ones_own_job() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let job = pool.job(limit);
            for wait in [Job::wait, |job: &Job| _ = job.wait_timeout(LONG)] {
                let own = job.clone();
                let message = job.spawn(move || panic_of(|| wait(&own))).join().unwrap();
                assert!(message.contains("wait") && message.contains("job"), "'{message}'");
                // Not caught, it is the panic of that task.
                let own = job.clone();
                let result = job.spawn(move || wait(&own)).join();
                assert!(matches!(result, Err(JoinError::Panicked(_))));
            }
            job.wait();
            assert_eq!((job.stats().completed, job.stats().panicked), (2, 2));
        }
        runs_its_next_task(pool);
    });
}

#[test]
fn a_shutdown_from_inside_ones_own_pool() {
    for workers in WORKERS {
        within(LONG, move || {
            let pool = Arc::new(pool(workers));
            let job = pool.job(1);
            let calls: [fn(&Pool); 3] = [
                Pool::shutdown,
                |pool| _ = pool.shutdown_now(),
                |pool| _ = pool.shutdown_timeout(LONG),
            ];
            for call in calls {
                let inner = Arc::clone(&pool);
                let message = job.spawn(move || panic_of(|| call(&inner))).join().unwrap();
                assert!(message.contains("pool"), "'{message}'");
            }
            runs_its_next_task(&pool);
        });
    }
}
