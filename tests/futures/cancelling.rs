//! Cancelling futures, by their handles and with their jobs, before they start and in flight.

use std::sync::mpsc;

use futures::channel::oneshot;
use tollgate::JoinError;

use crate::common::event::Gauge;
use crate::common::{LONG, Tokens, pool, with_workers, within};
use crate::{never_end, yield_once};

#[test]
fn a_future_that_has_not_started_is_dropped_by_who_cancels_it() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(0);
        let token = tokens.token();
        let task = job.spawn_future(async move { drop(token) });
        assert!(task.cancel());
        assert_eq!(tokens.dropped(), 1);
        assert!(!task.cancel());
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        job.set_limit(1);
        job.wait();
        assert_eq!(job.stats().cancelled, 1);
    });
}

#[test]
fn a_future_in_flight_is_dropped_and_its_permit_goes_on() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(1);
        let gauge = Gauge::new();
        let task = job.spawn_future(never_end(&gauge, tokens.token()));
        gauge.until_running(1);
        let next = job.spawn_future(async {});
        assert!(task.cancel());
        assert!(!task.cancel());
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        assert_eq!(tokens.dropped(), 1);
        next.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled, stats.running), (1, 1, 0));
    });
}

#[test]
fn a_cancel_that_says_so_has_its_way_against_the_end() {
    with_workers(|pool, _| {
        let job = pool.job(4);
        let mut both = [0; 2];
        for _ in 0..2_000 {
            let task = job.spawn_future(async { yield_once().await });
            let said = task.cancel();
            let cancelled = matches!(task.join(), Err(JoinError::Cancelled));
            assert_eq!(said, cancelled);
            both[usize::from(said)] += 1;
        }
        job.wait();
        let stats = job.stats();
        assert_eq!([stats.completed, stats.cancelled], both);
    });
}

#[test]
fn cancelling_the_job_drops_what_is_queued_and_what_is_in_flight() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(10);
        let gauge = Gauge::new();
        let tasks: Vec<_> =
            (0..30).map(|_| job.spawn_future(never_end(&gauge, tokens.token()))).collect();
        gauge.until_running(10);
        job.cancel();
        for task in tasks {
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        }
        job.wait();
        assert_eq!((tokens.dropped(), job.stats().cancelled, job.stats().running), (30, 30, 0));
    });
}

#[test]
fn a_future_in_flight_that_its_job_cancels_during_its_last_poll_is_cancelled() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let task = job.spawn_future(async move {
            yield_once().await;
            begin.send(()).unwrap();
            ended.recv().unwrap();
            "ready"
        });
        begun.recv().unwrap();
        job.cancel();
        end.send(()).unwrap();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled), (0, 1));
    });
}

#[test]
fn cancelling_a_parent_reaches_the_futures_below() {
    within(LONG, || {
        let pool = pool(2);
        let parent = pool.job(10);
        let child = parent.job(5);
        let (gauge, tokens) = (Gauge::new(), Tokens::new());
        for _ in 0..5 {
            drop(child.spawn_future(never_end(&gauge, tokens.token())));
        }
        gauge.until_running(5);
        parent.cancel();
        parent.wait();
        assert_eq!((tokens.dropped(), child.stats().cancelled), (5, 5));
    });
}

#[test]
fn dropping_a_handle_detaches_the_future() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (go, gone) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        drop(job.spawn_future(async move {
            gone.await.unwrap();
            tell.send("ran").unwrap();
        }));
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), "ran");
    });
}
