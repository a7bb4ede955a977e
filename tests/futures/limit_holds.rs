//! limit_holds for futures: a limit is of those in flight, whatever the number of workers.

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{LONG, pool, with_workers, within, workers_pass};
use crate::{join_all_now, let_go, push_staying, yield_once};

#[test]
fn as_many_futures_are_in_flight_as_the_limit_says_whatever_the_workers() {
    with_workers(|pool, workers| {
        const LIMIT: usize = 100;
        let job = pool.job(LIMIT);
        let gauge = Gauge::new();
        let (staying, tasks) = push_staying(&job, &gauge, 3 * LIMIT);
        gauge.until_running(LIMIT);
        workers_pass(pool, workers);
        assert_eq!((gauge.started(), job.stats().running), (LIMIT, LIMIT));
        let_go(staying);
        join_all_now(tasks);
        assert_eq!(gauge.most(), LIMIT);
        job.wait();
        assert_eq!(job.stats().completed, 3 * LIMIT as u64);
    });
}

#[test]
fn a_limit_that_is_raised_lets_more_in_and_a_lower_one_fewer() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let gauge = Gauge::new();
        let (mut staying, tasks) = push_staying(&job, &gauge, 20);
        gauge.until_running(1);
        job.set_limit(7);
        gauge.until_running(7);
        job.set_limit(2);
        gauge.expect(7);
        let_go(staying.drain(..6));
        // One of the seven is left; one more may start.
        gauge.until_started(8);
        gauge.until_running(2);
        assert_eq!(job.stats().running, 2);
        let_go(staying);
        join_all_now(tasks);
        assert_eq!(gauge.over(), 0);
    });
}

#[test]
fn futures_and_closures_share_the_permits() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let gauge = Gauge::new();
        let mut tasks = Vec::new();
        for i in 0..2_000 {
            let inside = gauge.clone();
            if i % 2 == 0 {
                tasks.push(job.spawn(move || drop(inside.enter())));
            } else {
                tasks.push(job.spawn_future(async move {
                    let _running = inside.enter();
                    yield_once().await;
                }));
            }
        }
        join_all_now(tasks);
        assert!(gauge.most() <= 2);
    });
}

#[test]
fn children_hold_their_parents_to_theirs() {
    with_workers(|pool, workers| {
        let host = pool.job(5);
        let gauge = Gauge::new();
        let (staying, tasks): (Vec<_>, Vec<_>) =
            (0..4).map(|_| push_staying(&host.job(3), &gauge, 10)).unzip();
        gauge.until_running(5);
        workers_pass(pool, workers);
        assert_eq!(gauge.started(), 5);
        staying.into_iter().for_each(let_go);
        tasks.into_iter().for_each(|tasks| drop(join_all_now(tasks)));
        assert_eq!(gauge.most(), 5);
    });
}

/// A woken future keeps its permit through a pause. The next task needs a permit after the pause, so it does not start.
#[test]
fn a_woken_future_is_the_last_of_a_paused_job() {
    within(LONG, || {
        for limit in [1, usize::MAX] {
            let pool = pool(1);
            let (job, gauge, after) = (pool.job(limit), Gauge::new(), Gauge::new());
            let (staying, tasks) = push_staying(&job, &gauge, 1);
            gauge.until_running(1);
            workers_pass(&pool, 1);
            let (busy, latch) = (Gauge::new(), Latch::new());
            pool.job(1).execute(stay(&busy, &latch));
            busy.until_running(1);
            (0..3).for_each(|_| job.execute(pass_through(&after)));
            let_go(staying);
            job.pause();
            latch.open();
            join_all_now(tasks);
            workers_pass(&pool, 1);
            assert_eq!((after.started(), job.stats().running), (0, 0), "limit {limit}");
            job.resume();
            job.wait();
            assert_eq!(after.started(), 3);
        }
    });
}
