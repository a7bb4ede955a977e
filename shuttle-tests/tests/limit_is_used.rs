//! A task that waits while fewer than its limit run and a worker is idle starts. One that did not would leave
//! all threads blocked, which shuttle reports as a deadlock.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::instruments::{Door, Gauge, block_on};
use shuttle_tests::{check, in_a_pool};
use std::sync::Arc;
use tollgate::Pool;

#[test]
fn limit_is_used_to_the_full() {
    // Nobody passes the barrier before as many run as the limit allows.
    in_a_pool(4, |pool| {
        let (job, barrier) = (pool.job(3), Arc::new(Barrier::new(3)));
        for _ in 0..6 {
            let barrier = barrier.clone();
            job.execute(move || _ = barrier.wait());
        }
        job.wait();
        assert_eq!(job.stats().most_running, 3);
    });
}

#[test]
fn limit_is_used_by_pushers_who_meet_sleepers() {
    in_a_pool(3, |pool| {
        let jobs = [pool.job(1), pool.job(2)];
        let pushers = jobs.clone().map(|job| {
            thread::spawn(move || {
                for _ in 0..3 {
                    job.spawn(|| ()).join().unwrap();
                }
            })
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(jobs.iter().all(|job| job.stats().completed == 3));
    });
}

#[test]
fn limit_is_used_after_a_raise() {
    // The task that runs waits for one that only the raise lets through.
    in_a_pool(3, |pool| {
        let (job, barrier) = (pool.job(1), Arc::new(Barrier::new(2)));
        for _ in 0..4 {
            let barrier = barrier.clone();
            job.execute(move || _ = barrier.wait());
        }
        job.set_limit(2);
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn limit_is_used_after_holds_against_pushes() {
    in_a_pool(3, |pool| {
        let (job, gauge) = (pool.job(0), Gauge::new(2));
        let (theirs, seen) = (job.clone(), gauge.clone());
        let pusher = thread::spawn(move || (0..4).for_each(|_| theirs.execute(seen.task())));
        job.set_limit(2);
        job.pause();
        (0..2).for_each(|_| job.execute(gauge.task()));
        job.resume();
        pusher.join().unwrap();
        job.wait();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn limit_is_used_when_refusals_meet_raises() {
    // A ready task is refused because the job is held, and goes back to the backlog while it is let go.
    in_a_pool(3, |pool| {
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        for round in 0..4 {
            job.execute(gauge.task());
            if round % 2 == 0 {
                job.set_limit(0);
                job.set_limit(1);
            } else {
                job.pause();
                job.resume();
            }
            job.wait();
        }
        assert_eq!(gauge.ran(), 4);
    });
}

#[test]
fn limit_is_used_when_the_last_worker_pushes_and_blocks() {
    // Who pushes from inside does not come for the task itself: it waits for what that one does.
    in_a_pool(2, |pool| {
        let (job, barrier) = (pool.job(usize::MAX), Arc::new(Barrier::new(2)));
        for _ in 0..2 {
            let (inner, barrier) = (job.clone(), barrier.clone());
            job.spawn(move || {
                let theirs = barrier.clone();
                inner.execute(move || _ = theirs.wait());
                barrier.wait();
            })
            .join()
            .unwrap();
        }
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn limit_is_used_by_what_a_turn_leaves_of_its_batch() {
    // A turn ends because another job's task waits. What is left of its batch goes back to the job's queue. A task of the job
    // that runs meanwhile waits for it.
    in_a_pool(2, |pool| {
        let (job, other, barrier) = (pool.job(2), pool.job(1), Arc::new(Barrier::new(2)));
        job.pause();
        let meets = |barrier: Arc<Barrier>| move || _ = barrier.wait();
        job.execute(meets(barrier.clone()));
        (0..4).for_each(|_| job.execute(|| ()));
        job.execute(meets(barrier));
        job.resume();
        (0..2).for_each(|_| other.execute(|| ()));
        job.wait();
        other.wait();
        assert_eq!((job.stats().completed, other.stats().completed), (6, 2));
    });
}

#[test]
fn limit_is_used_by_a_batch_on_its_way_to_a_deque() {
    // Who takes several tasks out of the injector at once, and then blocks in the first: the others are seen by nobody for a
    // moment, in which the others may look for the last time before they sleep.
    in_a_pool(3, |pool| {
        let (job, pusher, barrier) = (pool.job(3), pool.job(1), Arc::new(Barrier::new(3)));
        for _ in 0..2 {
            let (inner, barrier) = (job.clone(), barrier.clone());
            pusher.execute(move || {
                for _ in 0..3 {
                    let barrier = barrier.clone();
                    inner.execute(move || _ = barrier.wait());
                }
            });
            pusher.wait();
            job.wait();
        }
        assert_eq!(job.stats().completed, 6);
    });
}

#[test]
fn limit_is_used_beside_a_thread_that_explains() {
    // An explanation holds the queue's lock for a moment. A permit that is released meanwhile must not be lost.
    in_a_pool(2, |pool| {
        let host = pool.job(1);
        let job = host.job(2);
        let tasks: Vec<_> = (0..3).map(|_| job.spawn(|| ())).collect();
        let asked = job.clone();
        let asker = thread::spawn(move || {
            for task in &tasks {
                assert!(!asked.explain_task(task).reasons().is_empty());
            }
            asked.explain();
        });
        job.execute(|| ());
        job.wait();
        asker.join().unwrap();
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn limit_is_used_beside_a_worker_whose_start_hook_stays() {
    // A pusher that takes the first worker for a searching one wakes none. The hook ends only when the task has started.
    check(|| {
        let (door, passed) = (Door::new(), Door::new());
        let inside = door.clone();
        let pool = Pool::builder().workers(2).on_worker_start(move |index| {
            if index == 0 {
                block_on(inside.clone().pass());
            }
        });
        let pool = pool.build().unwrap();
        let (opens, tells) = (door.clone(), passed.clone());
        pool.job(2).execute(move || {
            opens.open();
            tells.open();
        });
        block_on(passed.pass());
    });
}

#[test]
fn limit_is_used_when_a_task_that_ran_inline_gives_its_permit_back() {
    // The inline task pushes another one into its job.
    in_a_pool(2, |pool| {
        let (outer, inner, gauge) = (pool.job(1), pool.job(1), Gauge::new(1));
        for _ in 0..2 {
            let (there, seen) = (inner.clone(), gauge.clone());
            outer.execute(move || {
                let (own, next) = (there.clone(), seen.clone());
                let task = there.spawn(move || {
                    own.execute(next.task());
                    seen.visit();
                });
                task.join().unwrap();
            });
        }
        outer.wait();
        inner.wait();
        assert_eq!(gauge.ran(), 4);
    });
}
