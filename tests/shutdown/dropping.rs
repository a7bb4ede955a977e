//! The drop of a pool, wherever that happens, and what its jobs are afterwards.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tollgate::{JoinError, Pool};

use crate::common::event::{Gauge, Latch, pass_through};
use crate::common::{LONG, WORKERS, pool, refuses_pushes, with_workers, within};
use crate::{jobs_with_queues, until_outsiders_are_refused};

#[test]
fn a_drop_drains() {
    within(LONG, || {
        for workers in WORKERS {
            let gauge = Gauge::new();
            let pool = pool(workers);
            let (jobs, count) = jobs_with_queues(&pool, &gauge);
            drop(pool);
            assert_eq!((gauge.started(), gauge.running()), (count, 0));
            drop(jobs);
        }
    });
}

#[test]
fn a_job_outlives_its_pool() {
    for end in [Pool::shutdown, |pool: &Pool| _ = pool.shutdown_now(), |_: &Pool| ()] {
        within(LONG, move || {
            let pool = pool(2);
            let job = pool.job(2);
            job.spawn(|| ()).join().unwrap();
            end(&pool);
            drop(pool);
            refuses_pushes(&job);
            job.set_limit(5);
            assert_eq!(job.limit(), 5);
            job.pause();
            job.resume();
            job.wait();
            assert!(job.wait_timeout(Duration::ZERO));
            let before = job.stats().cancelled;
            job.cancel();
            job.wait();
            assert_eq!(job.stats().cancelled, before);
            assert!(job.is_closed());
            let again = job.clone();
            drop(job);
            assert_eq!(again.stats().completed, 1);
        });
    }
}

/// The last handle of a pool goes away inside one of its own tasks: the drop comes back, and all that can run runs.
#[test]
fn the_last_handle_may_be_dropped_inside_a_task() {
    for workers in WORKERS {
        within(LONG, move || {
            let (says, stopped) = mpsc::channel();
            let says = Mutex::new(says);
            let builder = Pool::builder().workers(workers);
            let pool = builder
                .on_worker_stop(move |index| says.lock().unwrap().send(index).unwrap())
                .build();
            let pool = Arc::new(pool.unwrap());
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let (last, opening, inner) = (Arc::clone(&pool), latch.opening(), gauge.clone());
            let (serial, wide) = (pool.job(1), pool.job(usize::MAX));
            let (same, other) = (serial.clone(), wide.clone());
            let dropper = serial.spawn(move || {
                opening.wait();
                assert_eq!(Arc::strong_count(&last), 1);
                drop(last);
                // A task still pushes, as in any drain.
                same.execute(pass_through(&inner));
                other.execute(pass_through(&inner));
            });
            (0..200).for_each(|i| [&serial, &wide][i % 2].execute(pass_through(&gauge)));
            let held = pool.job(0);
            let waiting = held.spawn(|| ());
            drop(pool);
            latch.open();
            dropper.join().unwrap();
            let mut indices: Vec<usize> = stopped.iter().take(workers).collect();
            indices.sort_unstable();
            assert_eq!(indices, (0..workers).collect::<Vec<_>>(), "each worker stops once");
            assert_eq!(gauge.started(), 202);
            assert!(matches!(waiting.join(), Err(JoinError::Cancelled)));
            until_outsiders_are_refused(&serial);
        });
    }
}

#[test]
fn a_pool_may_be_dropped_inside_a_task_of_another() {
    with_workers(|outer, workers| {
        let (gauge, inner) = (Gauge::new(), pool(workers));
        let job = inner.job(2);
        (0..100).for_each(|_| job.execute(pass_through(&gauge)));
        outer.job(1).spawn(move || drop(inner)).join().unwrap();
        assert_eq!((gauge.started(), gauge.running()), (100, 0));
        // A task of one pool is an outsider to the other.
        let outsider = outer.job(1).spawn(move || refuses_pushes(&job));
        outsider.join().unwrap();
    });
}
