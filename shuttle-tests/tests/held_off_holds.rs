//! Promises: held_off_holds, rate_holds. A pool's clock moves while other threads hold jobs off, push into them and end the pool.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::check;
use shuttle_tests::instruments::{Fates, Gauge, SECOND, pool_with_clock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tollgate::Rate;

#[test]
fn held_off_holds_no_longer_than_its_time() {
    check(|| {
        let (pool, clock) = pool_with_clock(3);
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let child = job.job(1);
        let pushers = [job.clone(), child.clone()].map(|job| {
            let gauge = gauge.clone();
            thread::spawn(move || {
                for second in 1..4 {
                    job.hold_off(second % 3 * SECOND);
                    job.execute(gauge.task());
                }
            })
        });
        clock.advance(SECOND);
        clock.advance(SECOND);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        // The last calls may have come after that.
        clock.advance(2 * SECOND);
        job.wait();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn held_off_holds_when_it_is_extended_as_its_time_comes() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        job.hold_off(SECOND);
        job.execute(gauge.task());
        let theirs = job.clone();
        let other = thread::spawn(move || theirs.hold_off(2 * SECOND));
        clock.advance(SECOND);
        other.join().unwrap();
        // The first task may have started in between. A task that comes when no worker has a permit must not.
        while job.stats().running > 0 {
            thread::yield_now();
        }
        let late = job.spawn(|| ());
        assert!(job.held_until().is_some(), "the later time was forgotten");
        (0..20).for_each(|_| thread::yield_now());
        assert!(!late.is_finished(), "it started before the later time");
        clock.advance(2 * SECOND);
        job.wait();
        assert_eq!(gauge.ran(), 1);
    });
}

/// A worker that has a permit when the job is held off, and tasks that it could run under it, starts none of them.
#[test]
fn held_off_holds_for_who_has_a_permit() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let job = pool.job(1);
        let (started, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let late = Arc::new(AtomicUsize::new(0));
        let held = Arc::new(AtomicBool::new(false));
        let (begun, ends) = (started.clone(), end.clone());
        job.execute(move || {
            begun.wait();
            ends.wait();
        });
        for _ in 0..3 {
            let (held, late) = (held.clone(), late.clone());
            job.execute(move || _ = late.fetch_add(usize::from(held.load(Relaxed)), Relaxed));
        }
        started.wait();
        job.hold_off(SECOND);
        held.store(true, Relaxed);
        end.wait();
        while job.stats().running > 0 {
            thread::yield_now();
        }
        assert_eq!(late.load(Relaxed), 0, "tasks started in a job that is held off");
        held.store(false, Relaxed);
        clock.advance(SECOND);
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn nothing_lost_when_drains_meet_the_time() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (held, free, fates) = (pool.job(1), pool.job(2), Fates::of(6));
        held.hold_off(SECOND);
        for number in 0..6 {
            [&held, &free][number % 2].execute(fates.task(number));
        }
        let mover = thread::spawn(move || clock.advance(SECOND));
        pool.shutdown();
        mover.join().unwrap();
        assert_eq!(fates.ran(), 6);
        drop((held, free));
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_abrupt_ends_meet_the_time() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(6));
        let (theirs, tickets) = (job.clone(), fates.clone());
        let holder = thread::spawn(move || {
            for number in 0..6 {
                theirs.hold_off(SECOND);
                theirs.execute(tickets.task(number));
            }
        });
        let mover = thread::spawn(move || (0..3).for_each(|_| clock.advance(SECOND)));
        pool.shutdown_now();
        holder.join().unwrap();
        mover.join().unwrap();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 6, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn rate_holds_for_many_workers() {
    check(|| {
        let (pool, clock) = pool_with_clock(3);
        let job = pool.job_builder().rate(Rate::every(SECOND).burst(2)).build();
        let (child, gauge) = (job.job(2), Gauge::new(3));
        let pushers = [job.clone(), child].map(|job| {
            let gauge = gauge.clone();
            thread::spawn(move || (0..3).for_each(|_| job.execute(gauge.task())))
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        for seconds in 0..4 {
            while job.stats().running > 0 || gauge.ran() < 2 + seconds {
                thread::yield_now();
            }
            (0..10).for_each(|_| thread::yield_now());
            assert_eq!(gauge.ran(), 2 + seconds, "too many start in {seconds} seconds");
            clock.advance(SECOND);
        }
        job.wait();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn rate_holds_for_permits_beside_tasks() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let job = pool.job_builder().rate(Rate::every(SECOND).burst(2)).build();
        let started = Arc::new(AtomicUsize::new(0));
        let (theirs, permits) = (job.clone(), started.clone());
        let other = thread::spawn(move || {
            for _ in 0..3 {
                let permit = theirs.acquire_blocking().unwrap();
                permits.fetch_add(1, Relaxed);
                drop(permit);
            }
        });
        for _ in 0..3 {
            let tasks = started.clone();
            job.execute(move || _ = tasks.fetch_add(1, Relaxed));
        }
        for due in 2..=6 {
            while started.load(Relaxed) < due {
                thread::yield_now();
            }
            (0..10).for_each(|_| thread::yield_now());
            assert_eq!(started.load(Relaxed), due, "too many start");
            clock.advance(SECOND);
        }
        other.join().unwrap();
        job.wait();
    });
}

#[test]
fn rate_holds_once_it_is_set() {
    check(|| {
        let (pool, _clock) = pool_with_clock(2);
        let job = pool.job(1);
        let (set, late) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..8 {
            let (set, late) = (set.clone(), late.clone());
            job.execute(move || _ = late.fetch_add(set.load(Relaxed).into(), Relaxed));
        }
        job.set_rate(Rate::every(SECOND));
        let running = job.stats().running;
        set.store(true, Relaxed);
        while job.stats().running > 0 {
            thread::yield_now();
        }
        (0..10).for_each(|_| thread::yield_now());
        let late = late.load(Relaxed);
        assert!(late <= running + 1, "{late} tasks started at once, {running} ran");
        job.set_rates(&[]);
        job.wait();
    });
}
