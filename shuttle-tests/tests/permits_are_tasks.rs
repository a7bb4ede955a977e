//! Permits without tasks: with tasks and with one another under one limit, in one order.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Gauge, block_on};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tollgate::{Acquire, Closed, Job, Permit};

fn poll(acquire: &mut Acquire<'_>, waker: &Waker) -> Poll<Result<Permit, Closed>> {
    Pin::new(acquire).poll(&mut Context::from_waker(waker))
}

/// Acquires, visits and gives back.
fn visit(job: &Job, gauge: &Gauge) {
    let permit = block_on(job.acquire()).unwrap();
    gauge.visit();
    drop(permit);
}

#[test]
fn limit_holds_for_tasks_and_permits() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let threads = [(), ()].map(|()| {
            let (job, gauge) = (job.clone(), gauge.clone());
            thread::spawn(move || {
                visit(&job, &gauge);
                job.execute(gauge.task());
                let permit = job.acquire_blocking().unwrap();
                gauge.visit();
                drop(permit);
            })
        });
        (0..3).for_each(|_| job.execute(gauge.task()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        job.wait();
        assert_eq!(gauge.ran(), 9);
        assert_eq!(job.stats().completed, 9);
    });
}

#[test]
fn limit_holds_for_permits_of_children() {
    in_a_pool(2, |pool| {
        let (parent, gauge) = (pool.job(2), Gauge::new(2));
        let threads = [1, 2].map(|limit| {
            let (job, gauge) = (parent.job(limit), gauge.clone());
            thread::spawn(move || {
                job.execute(gauge.task());
                visit(&job, &gauge);
                visit(&job, &gauge);
            })
        });
        visit(&parent, &gauge);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        parent.wait();
        assert_eq!(gauge.ran(), 7);
    });
}

#[test]
fn limit_holds_while_it_moves_under_permits() {
    in_a_pool(1, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let threads = [(), (), ()].map(|()| {
            let (job, gauge) = (job.clone(), gauge.clone());
            thread::spawn(move || (0..3).for_each(|_| visit(&job, &gauge)))
        });
        job.set_limit(1);
        job.settled().wait();
        gauge.set_limit(1);
        for _ in 0..4 {
            thread::yield_now();
        }
        gauge.set_limit(2);
        job.pause();
        job.resume();
        job.set_limit(2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(gauge.ran(), 9);
    });
}

#[test]
fn nothing_lost_when_waiters_leave() {
    in_a_pool(1, |pool| {
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        let threads = [(), (), ()].map(|()| {
            let (job, gauge) = (job.clone(), gauge.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut acquire = job.acquire();
                    for _ in 0..2 {
                        if let Poll::Ready(permit) = poll(&mut acquire, Waker::noop()) {
                            let permit = permit.unwrap();
                            gauge.visit();
                            drop(permit);
                            acquire = job.acquire();
                        }
                        thread::yield_now();
                    }
                    drop(acquire);
                    visit(&job, &gauge);
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.running, stats.backlog), (0, 0));
        assert_eq!(gauge.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_a_job_with_waiters_is_cancelled() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        let threads = [(), (), ()].map(|()| {
            let (job, gauge) = (job.clone(), gauge.clone());
            thread::spawn(move || match block_on(job.acquire()) {
                Ok(permit) => {
                    gauge.visit();
                    drop(permit);
                }
                Err(Closed) => assert!(job.is_closed()),
            })
        });
        job.execute(gauge.task());
        job.cancel();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        job.wait();
        gauge.ran();
    });
}

#[test]
fn a_drain_waits_for_permits() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        let permit = job.try_acquire().unwrap();
        let (theirs, seen) = (job.clone(), gauge.clone());
        let waiter = thread::spawn(move || match theirs.acquire_blocking() {
            Ok(permit) => {
                seen.visit();
                drop(permit);
            }
            Err(Closed) => {}
        });
        let task = job.spawn(gauge.task());
        let holder = thread::spawn(move || drop(permit));
        pool.shutdown();
        assert!(task.is_finished(), "an accepted task was left behind a permit");
        task.join().unwrap();
        holder.join().unwrap();
        waiter.join().unwrap();
        assert!(gauge.ran() >= 1);
    });
}

/// Waits for the job inside its `wake`.
struct Waiting(Job);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        _ = self.0.wait_timeout(Duration::ZERO);
    }
}

#[test]
fn a_waker_may_wait_for_the_job() {
    in_a_pool(1, |pool| {
        let job = pool.job(0);
        let mut acquire = job.acquire();
        let waker = Waker::from(Arc::new(Waiting(job.clone())));
        assert!(poll(&mut acquire, &waker).is_pending());
        let theirs = job.clone();
        let owner = thread::spawn(move || theirs.set_limit(1));
        drop(block_on(acquire).unwrap());
        owner.join().unwrap();
    });
}
