//! The ends of a pool: drained, told to drop what has not started, dropped from inside. Each end joins
//! all threads, so that one which did not leave would be a deadlock.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Fates, Gauge, block_on, spawn_apart};
use std::sync::{Arc, Mutex};

#[test]
fn nothing_lost_when_a_drain_meets_pushes() {
    in_a_pool(3, |pool| {
        let jobs = [pool.job(1), pool.job(2)];
        let fates = Fates::of(8);
        let pushers = [0, 1].map(|own| {
            let (job, tickets) = (jobs[own].clone(), fates.clone());
            thread::spawn(move || {
                for number in 4 * own..4 * own + 4 {
                    job.execute(tickets.task(number));
                }
            })
        });
        pool.shutdown();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        let stats = jobs.each_ref().map(tollgate::Job::stats);
        let completed: u64 = stats.iter().map(|stats| stats.completed).sum();
        let cancelled: u64 = stats.iter().map(|stats| stats.cancelled).sum();
        assert_eq!(completed + cancelled, 8, "{stats:?}");
        assert_eq!(fates.ran() as u64, completed);
    });
}

#[test]
fn nothing_lost_when_futures_wait_for_the_end() {
    in_a_pool(2, |pool| {
        let job = pool.job(1);
        let fates = Fates::of(3);
        for number in 0..3 {
            job.execute(fates.task(number));
        }
        let shared = Arc::new(pool);
        let other = shared.clone();
        let waits = thread::spawn(move || block_on(other.shutdown_async()));
        block_on(shared.shutdown_async());
        waits.join().unwrap();
        assert_eq!((fates.ran(), job.stats().completed), (3, 3));
    });
}

#[test]
fn nothing_lost_when_tasks_push_on_in_a_drain() {
    in_a_pool(3, |pool| {
        let (narrow, wide, gauge) = (pool.job(1), pool.job(2), Gauge::new(3));
        for _ in 0..3 {
            let (next, seen) = (narrow.clone(), gauge.clone());
            wide.execute(move || {
                let (last, deeper) = (next.clone(), seen.clone());
                next.execute(move || last.execute(deeper.task()));
                seen.visit();
            });
        }
        drop((narrow, wide));
        pool.shutdown();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn nothing_lost_when_an_abort_meets_running_tasks() {
    in_a_pool(3, |pool| {
        let jobs = [pool.job(1), pool.job(2)];
        let fates = Fates::of(8);
        for number in 0..8 {
            jobs[number % 2].execute(fates.task(number));
        }
        let dropped = pool.shutdown_now();
        let ran = fates.ran();
        assert_eq!(ran + dropped, 8);
        let cancelled: u64 = jobs.iter().map(|job| job.stats().cancelled).sum();
        assert_eq!(cancelled as usize, dropped);
    });
}

#[test]
fn nothing_lost_when_held_jobs_are_drained() {
    in_a_pool(3, |pool| {
        let (held, paused, free) = (pool.job(0), pool.job(2), pool.job(2));
        let fates = Fates::of(9);
        paused.pause();
        for number in 0..9 {
            let ticket = fates.ticket(number);
            [&held, &paused, &free][number % 3].execute(move || ticket.punch());
        }
        // What is let go in time runs, and the rest of it is cancelled.
        let late = paused.clone();
        let resumer = thread::spawn(move || late.resume());
        pool.shutdown();
        resumer.join().unwrap();
        assert_eq!((free.stats().completed, held.stats().cancelled), (3, 3));
        let stats = paused.stats();
        assert_eq!(stats.completed + stats.cancelled, 3, "{stats:?}");
        assert_eq!(fates.ran() as u64, 3 + stats.completed);
    });
}

#[test]
fn nothing_lost_when_cancels_come_as_the_workers_leave() {
    in_a_pool(2, |pool| {
        let jobs = [pool.job(0), pool.job(0)];
        let fates = Fates::of(4);
        for number in 0..4 {
            jobs[number % 2].execute(fates.task(number));
        }
        let cancellers = jobs.clone().map(|job| thread::spawn(move || job.cancel()));
        pool.shutdown();
        for canceller in cancellers {
            canceller.join().unwrap();
        }
        assert_eq!(jobs.map(|job| job.stats().cancelled), [2; 2]);
        assert_eq!(fates.ran(), 0);
    });
}

#[test]
fn nothing_lost_when_tasks_wait_in_a_drain() {
    in_a_pool(2, |pool| {
        let (job, other) = (pool.job(1), pool.job(1));
        for _ in 0..2 {
            let there = other.clone();
            job.execute(move || _ = spawn_apart(&there, || ()).join().unwrap());
        }
        pool.shutdown();
        assert_eq!((job.stats().completed, other.stats().completed), (2, 2));
    });
}

#[test]
fn nothing_lost_when_a_pause_meets_a_drain_and_a_task_that_waits() {
    in_a_pool(2, |pool| {
        let (job, paused) = (pool.job(1), pool.job(1));
        let there = paused.clone();
        job.execute(move || drop(there.spawn(|| ()).join()));
        let theirs = paused.clone();
        let pauser = thread::spawn(move || theirs.pause());
        pool.shutdown();
        pauser.join().unwrap();
        let stats = paused.stats();
        assert_eq!((job.stats().completed, stats.completed + stats.cancelled), (1, 1));
    });
}

#[test]
fn nothing_lost_when_two_shut_down_at_once() {
    in_a_pool(3, |pool| {
        let pool = Arc::new(pool);
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        (0..5).for_each(|_| job.execute(gauge.task()));
        let theirs = pool.clone();
        let other = thread::spawn(move || theirs.shutdown());
        pool.shutdown();
        assert_eq!(gauge.ran(), 5);
        other.join().unwrap();
    });
}

#[test]
fn nothing_lost_when_the_pool_is_dropped_from_inside() {
    in_a_pool(3, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let shared = Arc::new(Mutex::new(None));
        let inside = shared.clone();
        (0..2).for_each(|_| job.execute(gauge.task()));
        job.pause();
        let dropper = job.spawn(move || {
            // The pool comes once `resume` has returned: a drain that begins earlier may still cancel the job as a held one.
            let pool = loop {
                if let Some(pool) = inside.lock().unwrap().take() {
                    break pool;
                }
                thread::yield_now();
            };
            drop(pool);
        });
        (0..2).for_each(|_| job.execute(gauge.task()));
        job.resume();
        *shared.lock().unwrap() = Some(pool);
        dropper.join().unwrap();
        job.wait();
        assert_eq!(gauge.ran(), 4);
    });
}

#[test]
fn nothing_lost_when_an_abrupt_end_meets_first_polls() {
    // No waker is left: a future that is not cancelled never ends.
    in_a_pool(2, |pool| {
        let job = pool.job(4);
        (0..3).for_each(|_| drop(job.spawn_future(std::future::pending::<()>())));
        pool.shutdown_now();
        assert_eq!(job.stats().cancelled, 3);
    });
}
