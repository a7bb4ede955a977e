//! `Pool::shutdown_now` and `Pool::shutdown_timeout`: what has not started is dropped, at once or when the time is over.

use std::thread;
use std::time::Duration;

use tollgate::{Job, Pool, TaskHandle};

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{
    LONG, Tokens, WORKERS, all_cancelled, job_without_inline_tasks, pool, refuses_pushes,
    with_workers, within,
};
use crate::{jobs_with_queues, until_outsiders_are_refused};

/// Every worker blocked, and 300 tasks queued behind them in jobs of every kind.
struct Blocked {
    jobs: [Job; 4],
    gauge: Gauge,
    latch: Latch,
    tokens: Tokens,
    running: Vec<TaskHandle<()>>,
    waiting: Vec<TaskHandle<()>>,
}

impl Blocked {
    fn workers_of(pool: &Pool) -> Self {
        let (gauge, latch, tokens) = (Gauge::new(), Latch::new(), Tokens::new());
        let jobs = [0, 1, pool.workers(), usize::MAX].map(|limit| pool.job(limit));
        let running = (0..pool.workers()).map(|_| jobs[3].spawn(stay(&gauge, &latch))).collect();
        gauge.until_running(pool.workers());
        let push = |i: usize| {
            let (token, task) = (tokens.token(), pass_through(&gauge));
            jobs[i % 4].spawn(move || {
                task();
                drop(token);
            })
        };
        let waiting = (0..300).map(push).collect();
        Self { jobs, gauge, latch, tokens, running, waiting }
    }

    /// The workers have been let go: what ran ended well, and nothing else started.
    fn nothing_else_ran(self) {
        let count = self.running.len();
        assert!(self.running.into_iter().all(|handle| handle.join().is_ok()));
        assert!(all_cancelled(self.waiting));
        assert_eq!(self.gauge.started(), count, "a task started after the pool was told to stop");
        for job in &self.jobs {
            job.wait();
            assert_eq!(job.stats().cancelled, 75);
        }
        assert_eq!(self.tokens.dropped(), 300);
    }
}

#[test]
fn shutdown_now_drops_what_has_not_started_and_says_how_many() {
    with_workers(|pool, _| {
        let blocked = Blocked::workers_of(pool);
        thread::scope(|scope| {
            let end = scope.spawn(|| (pool.shutdown_now(), blocked.gauge.running()));
            let held = until_outsiders_are_refused(&pool.job(0));
            let early = end.is_finished();
            blocked.latch.open();
            assert!(!early, "the call ended before the tasks that run");
            assert_eq!(end.join().unwrap(), (300 + held, 0));
        });
        blocked.nothing_else_ran();
    });
}

/// When the time is over, nothing starts any more, and nobody waits for what runs: not the call, not the pool's drop.
#[test]
fn shutdown_timeout_drops_what_has_not_started_when_the_time_is_over() {
    for time in [Duration::ZERO, Duration::from_millis(5)] {
        for workers in WORKERS {
            within(LONG, move || {
                let pool = pool(workers);
                let blocked = Blocked::workers_of(&pool);
                let left = pool.shutdown_timeout(time).unwrap_err();
                assert_eq!((left.running, left.pending), (workers, 0));
                refuses_pushes(&pool.job(1));
                drop(pool);
                assert_eq!(blocked.gauge.running(), workers);
                blocked.latch.open();
                blocked.nothing_else_ran();
            });
        }
    }
}

#[test]
fn shutdown_timeout_drains_if_there_is_time() {
    for time in [Duration::from_secs(86_400), Duration::MAX] {
        with_workers(move |pool, _| {
            let gauge = Gauge::new();
            let (_jobs, count) = jobs_with_queues(pool, &gauge);
            assert!(pool.shutdown_timeout(time).is_ok());
            assert_eq!((gauge.started(), gauge.running()), (count, 0));
        });
    }
}

/// A task that waits inside has no seat, and a permit is of no worker: both are counted beside the task that runs.
#[test]
fn what_is_left_after_the_time_includes_waiting_tasks_and_permits() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let (outer, inner) = (pool.job(1), job_without_inline_tasks(&pool));
        let (stays, there) = (stay(&gauge, &latch), inner.clone());
        let waiting = outer.spawn(move || there.spawn(stays).join().unwrap());
        gauge.until_running(1);
        let permit = pool.job(1).try_acquire().unwrap();
        let left = pool.shutdown_timeout(Duration::ZERO).unwrap_err();
        assert_eq!((left.running, left.pending), (2, 1));
        latch.open();
        waiting.join().unwrap();
        drop(permit);
    });
}
