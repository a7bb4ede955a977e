//! A task that a gate refuses half way gives each permit back (part of *weights_hold* and *limit_is_used*).

mod common;

use common::event::{Gauge, Latch, stay};
use common::{LONG, pool, within, workers_pass};
use tollgate::{Job, Permit};

/// Holds as many permits of the job as there are free ones.
fn all_permits(job: &Job) -> Vec<Permit> {
    std::iter::from_fn(|| job.try_acquire().ok()).collect()
}

/// The task is ready when its grandparent is paused. It has its permits of the inner jobs by then, and gives back all of them.
#[test]
fn a_heavy_task_that_an_outer_gate_refuses_gives_all_its_permits_back() {
    within(LONG, || {
        for held in [Job::pause as fn(&Job), |job| job.set_limit(0)] {
            let pool = pool(1);
            let outer = pool.job(9);
            let cores = outer.job_builder().limit(4).weighted().build();
            let heavy = cores.weigh(3);
            let (gauge, latch) = (Gauge::new(), Latch::new());
            pool.job(1).execute(stay(&gauge, &latch));
            gauge.until_running(1);
            let task = heavy.spawn(|| ());
            held(&outer);
            latch.open();
            workers_pass(&pool, 1);
            let running = || [&heavy, &cores, &outer].map(|job| job.stats().running);
            assert_eq!((running(), pool.stats().refused), ([0; 3], 1));
            outer.resume();
            outer.set_limit(9);
            task.join().unwrap();
            outer.wait();
            assert_eq!((running(), all_permits(&cores).len()), ([0; 3], 4));
            assert_eq!(cores.stats().most_running, 4);
        }
    });
}

/// As above without weights: one permit of each inner job.
#[test]
fn a_task_that_an_outer_gate_refuses_gives_its_permits_back() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job(9);
        let between = outer.job(2);
        let job = between.job(2);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let tasks = [job.spawn(|| ()), job.spawn(|| ())];
        outer.pause();
        latch.open();
        workers_pass(&pool, 1);
        assert_eq!([&job, &between, &outer].map(|job| job.stats().running), [0; 3]);
        assert!(pool.stats().refused > 0, "{:?}", pool.stats());
        outer.resume();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        outer.wait();
        assert_eq!(all_permits(&job).len(), 2);
    });
}
