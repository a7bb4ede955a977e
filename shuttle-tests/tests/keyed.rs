//! Promise: keys_are_free. Keys of a pool are dropped while threads look them up, push, acquire and change them.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::Gauge;
use std::sync::Arc;
use tollgate::Keyed;

/// Drops idle keys on a thread of its own.
fn evict_elsewhere(jobs: &Keyed<usize>) -> thread::JoinHandle<()> {
    let jobs = jobs.clone();
    thread::spawn(move || (0..4).for_each(|_| drop(jobs.evict_idle())))
}

#[test]
fn keys_are_free_and_their_limits_hold() {
    in_a_pool(2, |pool| {
        let jobs = pool.job_builder().keyed::<usize>(|_, builder| builder.limit(1));
        let gauges: Arc<Vec<_>> = Arc::new((0..2).map(|_| Gauge::new(1)).collect());
        let evictor = evict_elsewhere(&jobs);
        let pushers = [(); 2].map(|()| {
            let (jobs, gauges) = (jobs.clone(), gauges.clone());
            thread::spawn(move || {
                (0..4).for_each(|i| jobs.job(&(i % 2)).execute(gauges[i % 2].task()))
            })
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        evictor.join().unwrap();
        jobs.parent().wait();
        assert!(gauges.iter().all(|gauge| gauge.ran() == 4));
        assert_eq!(jobs.parent().stats_with_children().completed, 8);
    });
}

#[test]
fn keys_are_free_and_their_permits_are_limited() {
    in_a_pool(1, |pool| {
        let jobs = pool.job_builder().keyed::<usize>(|_, builder| builder.limit(1));
        let gauge = Gauge::new(1);
        let evictor = evict_elsewhere(&jobs);
        let holders = [(); 2].map(|()| {
            let (jobs, gauge) = (jobs.clone(), gauge.clone());
            thread::spawn(move || {
                for _ in 0..3 {
                    let permit = jobs.job(&0).acquire_blocking().unwrap();
                    gauge.visit();
                    drop(permit);
                }
            })
        });
        for holder in holders {
            holder.join().unwrap();
        }
        evictor.join().unwrap();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn keys_are_free_and_keep_what_was_changed() {
    in_a_pool(1, |pool| {
        let jobs = pool.job_builder().keyed::<usize>(|_, builder| builder.limit(1));
        drop(jobs.job(&0));
        let evictor = evict_elsewhere(&jobs);
        jobs.job(&0).set_limit(2);
        jobs.job(&1).pause();
        evictor.join().unwrap();
        assert_eq!((jobs.job(&0).limit(), jobs.len()), (2, 2));
        jobs.job(&1).resume();
    });
}

#[test]
fn keys_are_free_and_made_once() {
    in_a_pool(1, |pool| {
        let jobs = pool.job_builder().keyed::<usize>(|_, builder| builder.limit(1));
        let makers = [(); 3].map(|()| {
            let jobs = jobs.clone();
            thread::spawn(move || jobs.job(&0))
        });
        let made = makers.map(|maker| maker.join().unwrap());
        assert!(made.iter().all(|job| *job == made[0]));
        assert_eq!(jobs.len(), 1);
    });
}
