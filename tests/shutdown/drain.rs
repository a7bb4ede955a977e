//! `Pool::shutdown`: what a drain runs, what it cancels, and who may push meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tollgate::{Job, JoinError, Pool, Priority, TaskHandle};

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{
    LONG, Tokens, WORKERS, all_cancelled, pool, refuses_pushes, unwind, with_workers, within,
};
use crate::{common, jobs_with_queues, until_outsiders_are_refused};

#[test]
fn a_drain_runs_all_and_stops_the_workers() {
    for workers in WORKERS {
        within(LONG, move || {
            let (stopped, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let counter = Arc::clone(&stopped);
            let pool = Pool::builder()
                .workers(workers)
                .on_worker_stop(move |_| _ = counter.fetch_add(1, SeqCst));
            let pool = pool.build().unwrap();
            let gauge = Gauge::new();
            let (jobs, count) = jobs_with_queues(&pool, &gauge);
            pool.shutdown();
            assert_eq!((gauge.started(), gauge.running()), (count, 0));
            assert_eq!(stopped.load(SeqCst), workers, "a worker lives on after shutdown");
            for job in jobs {
                let stats = job.stats();
                assert_eq!((stats.completed, stats.running, stats.backlog), (500, 0, 0));
                counted.fetch_add(1, SeqCst);
            }
            assert_eq!(counted.load(SeqCst), 4);
            // Again, in all its forms: nothing is left to do.
            pool.shutdown();
            assert_eq!(pool.shutdown_now(), 0);
            assert!(pool.shutdown_timeout(Duration::ZERO).is_ok());
        });
    }
}

#[test]
fn two_drains_at_once_both_wait_for_the_end() {
    with_workers(|pool, workers| {
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let job = pool.job(workers);
        for _ in 0..workers {
            job.execute(stay(&gauge, &latch));
        }
        gauge.until_running(workers);
        thread::scope(|scope| {
            let drains = [(); 2].map(|()| {
                scope.spawn(|| {
                    pool.shutdown();
                    gauge.running()
                })
            });
            until_outsiders_are_refused(&job);
            let early = drains.iter().any(|drain| drain.is_finished());
            latch.open();
            assert!(!early, "a drain ended before the tasks");
            assert_eq!(drains.map(|drain| drain.join().unwrap()), [0, 0]);
        });
    });
}

#[test]
fn a_drain_cancels_what_is_held() {
    with_workers(|pool, _| {
        let (paused, zero, free) = (pool.job(2), pool.job(0), pool.job(1));
        paused.pause();
        let tokens = Tokens::new();
        let held: Vec<_> = (0..100)
            .map(|i| {
                let token = tokens.token();
                [&paused, &zero][i % 2].spawn(move || drop(token))
            })
            .collect();
        let ran: Vec<_> = (0..100).map(|i| free.spawn(move || i)).collect();
        pool.shutdown();
        assert!(held.iter().all(TaskHandle::is_finished));
        assert!(all_cancelled(held));
        assert!(ran.into_iter().all(|handle| handle.join().is_ok()));
        assert_eq!(tokens.dropped(), 100);
        for job in [&paused, &zero] {
            assert!(job.wait_timeout(Duration::ZERO));
            assert_eq!(
                (job.stats().completed, job.stats().cancelled, job.stats().backlog),
                (0, 50, 0)
            );
        }
    });
}

/// A task that runs might still resume the job: the drain does not wait for that.
#[test]
fn a_drain_cancels_at_once_what_is_held_when_it_begins() {
    with_workers(|pool, _| {
        for by_limit in [true, false] {
            let pool = common::pool(pool.workers());
            let (held, gauge, latch) =
                (pool.job(if by_limit { 0 } else { 2 }), Gauge::new(), Latch::new());
            if !by_limit {
                held.pause();
            }
            let waiting: Vec<_> = (0..50).map(|i| held.spawn(move || i)).collect();
            let (free, opening, resumes) = (pool.job(1), latch.opening(), held.clone());
            let entered = gauge.clone();
            let resumer = free.spawn(move || {
                let _running = entered.enter();
                opening.wait();
                resumes.set_limit(3);
                resumes.resume();
                resumes.try_execute(|| ()).is_err()
            });
            gauge.until_running(1);
            thread::scope(|scope| {
                scope.spawn(|| pool.shutdown());
                // Outsiders are refused a moment before: a resume could still come between.
                while !held.is_closed() {
                    thread::yield_now();
                }
                latch.open();
            });
            assert!(all_cancelled(waiting), "a task of a job that was held ran in a drain");
            assert!(resumer.join().unwrap(), "the job that was held is not closed");
            assert_eq!(held.stats().cancelled, 50);
        }
    });
}

#[test]
fn a_drain_cancels_what_is_held_while_it_lasts() {
    with_workers(|_, workers| {
        for by_limit in [true, false] {
            let pool = common::pool(workers);
            let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
            let (opening, entered, holds) = (latch.opening(), gauge.clone(), job.clone());
            let child = job.job(1);
            let holder = job.spawn(move || {
                let _running = entered.enter();
                opening.wait();
                if by_limit {
                    holds.set_limit(0)
                } else {
                    holds.pause()
                }
                holds.resume();
                holds.set_limit(2);
            });
            gauge.until_running(1);
            let waiting: Vec<_> =
                [&job, &child].iter().flat_map(|job| (0..20).map(|_| job.spawn(|| ()))).collect();
            thread::scope(|scope| {
                scope.spawn(|| pool.shutdown());
                until_outsiders_are_refused(&job);
                latch.open();
            });
            holder.join().unwrap();
            assert!(all_cancelled(waiting), "a task of a job that was held ran in a drain");
        }
    });
}

#[test]
fn tasks_push_on_during_a_drain_and_outsiders_do_not() {
    /// Pushes itself again and again, each time into the next job.
    fn relay(jobs: &Arc<[Job; 3]>, gauge: &Gauge, left: usize) {
        let (next, task) = (Arc::clone(jobs), pass_through(gauge));
        let gauge = gauge.clone();
        let push = move || {
            task();
            if left > 0 {
                relay(&next, &gauge, left - 1);
            }
        };
        match left % 4 {
            0 => drop(jobs[left % 3].spawn(push)),
            1 => jobs[left % 3].try_execute(push).expect("a task may push during a drain"),
            _ => jobs[left % 3].execute(push),
        }
    }
    with_workers(|pool, workers| {
        let jobs = Arc::new([1, workers, usize::MAX].map(|limit| pool.job(limit)));
        let (gauge, first, latch) = (Gauge::new(), Gauge::new(), Latch::new());
        let (inner, counted, begin) = (Arc::clone(&jobs), gauge.clone(), stay(&first, &latch));
        jobs[0].execute(move || {
            begin();
            relay(&inner, &counted, 1_000);
        });
        first.until_running(1);
        thread::scope(|scope| {
            scope.spawn(|| pool.shutdown());
            until_outsiders_are_refused(&jobs[1]);
            refuses_pushes(&jobs[2]);
            latch.open();
        });
        assert_eq!(gauge.started(), 1_001, "a task pushed by a task during a drain did not run");
    });
}

#[test]
fn a_drain_outlives_panics() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let handles: Vec<_> = (0..100).map(|_| job.spawn(|| unwind("a task that fails"))).collect();
        (0..100).for_each(|_| job.execute(|| unwind("a task that fails")));
        pool.shutdown();
        assert!(
            handles.into_iter().all(|handle| matches!(handle.join(), Err(JoinError::Panicked(_))))
        );
        assert_eq!(job.stats().panicked, 200);
    });
}

/// A task that waits for one that a pause holds would keep the drain from its end: the held one is cancelled.
#[test]
fn a_drain_ends_although_a_task_waits_for_a_held_one() {
    with_workers(|_, workers| {
        let pool = pool(workers);
        let (job, held) = (pool.job(2), pool.job(0));
        let awaited = held.spawn(|| ());
        let waiter = job.spawn(move || matches!(awaited.join(), Err(JoinError::Cancelled)));
        pool.shutdown();
        assert!(waiter.join().unwrap());
    });
}

/// Captures that ask, while they are dropped, whether their job is idle: it is not, for they are still there.
#[test]
fn captures_that_look_at_their_job_when_a_drain_drops_them() {
    struct Asks(Job);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert!(!self.0.wait_timeout(Duration::ZERO));
        }
    }
    with_workers(|_, workers| {
        let pool = pool(workers);
        let job = pool.job(0);
        for _ in 0..3 {
            let asks = Asks(job.clone());
            job.execute(move || drop(asks));
        }
        pool.shutdown();
        assert_eq!(job.stats().cancelled, 3);
    });
}

#[test]
fn a_cancel_after_the_end_drops_nothing() {
    with_workers(|pool, _| {
        let (job, held) = (pool.job(1), pool.job(0));
        let tokens = Tokens::new();
        for _ in 0..10 {
            let (one, other) = (tokens.token(), tokens.token());
            job.execute(move || drop(one));
            held.execute(move || drop(other));
        }
        pool.shutdown();
        assert_eq!(tokens.dropped(), 20);
        for job in [&job, &held] {
            job.cancel();
            job.pause();
            job.resume();
            job.set_limit(0);
            job.set_limit(1);
            job.wait();
        }
        let counts = [&job, &held].map(|job| (job.stats().completed, job.stats().cancelled));
        assert_eq!(counts, [(10, 0), (0, 10)]);
        refuses_pushes(&job);
    });
}

/// The pool counts a stop hook's push as one from inside. The workers have left, so the hook drops the task itself.
#[test]
fn a_push_that_comes_too_late_is_dropped_by_its_pusher() {
    for (workers, class) in
        WORKERS.into_iter().zip([Priority::Low, Priority::Normal, Priority::High])
    {
        within(LONG, move || {
            let (slot, tokens) = (Arc::new(Mutex::new(None::<Job>)), Arc::new(Tokens::new()));
            let (theirs, taken) = (Arc::clone(&slot), Arc::clone(&tokens));
            let pool = Pool::builder().workers(workers).on_worker_stop(move |_| {
                let job = theirs.lock().unwrap();
                let job = job.as_ref().unwrap();
                let token = taken.token();
                let handle = job.spawn(move || drop(token));
                assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
            });
            let pool = pool.build().unwrap();
            let job = pool.job_builder().limit(1).priority(class).build();
            *slot.lock().unwrap() = Some(job.clone());
            pool.shutdown();
            assert_eq!(job.stats().cancelled, workers as u64);
            assert_eq!(tokens.dropped(), workers);
            slot.lock().unwrap().take();
        });
    }
}
