//! The three shutdowns, `Drop`, and what a push means before, during and after them.

#[path = "../common/mod.rs"]
mod common;

mod abrupt;
#[cfg(feature = "futures")]
mod awaited;
mod background;
mod drain;
mod dropping;

use std::sync::{Arc, Mutex};
use std::thread;

use tollgate::{Job, Pool};

use common::event::{Gauge, pass_through};
use common::{LONG, WORKERS, pool, within};

/// Comes back once the pool takes no more from outside: a shutdown has begun. Says how many it took until then.
fn until_outsiders_are_refused(probe: &Job) -> usize {
    let mut taken = 0;
    while probe.try_execute(|| ()).is_ok() {
        taken += 1;
        thread::yield_now();
    }
    taken
}

/// Jobs with queues behind limits of every kind; as many tasks as are said.
fn jobs_with_queues(pool: &Pool, gauge: &Gauge) -> (Vec<Job>, usize) {
    let jobs: Vec<Job> = [1, 2, 8, usize::MAX].map(|limit| pool.job(limit)).into();
    for i in 0..2_000 {
        match i % 2 {
            0 => jobs[i % 4].execute(pass_through(gauge)),
            _ => drop(jobs[i % 4].spawn(pass_through(gauge))),
        }
    }
    (jobs, 2_000)
}

#[test]
fn each_worker_has_its_name_and_its_hooks_run_once() {
    for workers in WORKERS {
        within(LONG, move || {
            let log = Arc::new(Mutex::new((Vec::new(), Vec::new())));
            let (starts, stops) = (Arc::clone(&log), Arc::clone(&log));
            let pool = Pool::builder()
                .workers(workers)
                .thread_name(|index| format!("named-{index}"))
                .on_worker_start(move |index| {
                    assert_eq!(thread::current().name(), Some(format!("named-{index}").as_str()));
                    starts.lock().unwrap().0.push(index);
                })
                .on_worker_stop(move |index| stops.lock().unwrap().1.push(index))
                .build()
                .unwrap();
            assert_eq!(pool.workers(), workers);
            let name =
                pool.job(1).spawn(|| thread::current().name().map(str::to_owned)).join().unwrap();
            assert!(name.is_some_and(|name| name.starts_with("named-")));
            // With a spare worker in the place of this task's.
            pool.job(1).spawn(|| tollgate::blocking(|| ())).join().unwrap();
            drop(pool);
            let (mut starts, mut stops) = std::mem::take(&mut *log.lock().unwrap());
            starts.sort_unstable();
            stops.sort_unstable();
            let each: Vec<usize> = (0..=workers).collect();
            assert_eq!((starts, stops), (each.clone(), each));
        });
    }
}

/// Pools that end as soon as they have begun, with a push just before.
#[test]
fn a_shutdown_loses_no_wake() {
    within(LONG, || {
        for round in 0..600 {
            let pool = pool(1 + round % 3);
            let gauge = Gauge::new();
            let job = pool.job(1);
            let pushes = round % 5;
            (0..pushes).for_each(|_| job.execute(pass_through(&gauge)));
            if round % 2 == 0 {
                gauge.until_ended(pushes);
            }
            match round % 3 {
                0 => drop(pool),
                1 => pool.shutdown(),
                _ => assert!(pool.shutdown_timeout(LONG).is_ok()),
            }
            assert_eq!(gauge.started(), pushes);
        }
    });
}
