//! Waits that nothing ends, as the crate's documentation lists them: each keeps no worker, and `shutdown_timeout` returns.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::event::{Gauge, Latch, stay};
use common::{LONG, pool, until_parked, within};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn two_tasks_that_wait_for_each_others_jobs() {
    within(LONG, || {
        let pool = pool(1);
        let (one, two) = (pool.job(1), pool.job(1));
        let (began, begun) = mpsc::channel();
        for (own, other) in [(&one, &two), (&two, &one)] {
            let (other, began) = (other.clone(), began.clone());
            own.execute(move || {
                began.send(()).unwrap();
                other.wait();
            });
        }
        // Both begin on one worker, and the next task finds it free.
        begun.recv().unwrap();
        begun.recv().unwrap();
        assert_eq!(pool.job(1).spawn(|| 1).join().unwrap(), 1);
        assert!(!one.wait_timeout(SHORT));
        until_parked(&pool, 1);
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (2, 0));
        assert!(left.to_string().contains("2 of its tasks still run"), "{left}");
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_drain_beside_a_future_that_is_never_woken() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let task = job.spawn_future(std::future::pending::<()>());
        // Its worker has left it, and nothing else is to be done.
        while job.stats().running == 0 {
            std::thread::yield_now();
        }
        until_parked(&pool, 2);
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (0, 1));
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_drain_beside_tasks_that_never_end() {
    within(LONG, || {
        let pool = pool(2);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let job = pool.job(4);
        // One keeps its worker, one has lent its seat, one waits for both.
        job.execute(stay(&gauge, &latch));
        let lends = stay(&gauge, &latch);
        let lent = job.spawn(move || tollgate::blocking(lends));
        let (began, begun) = mpsc::channel();
        pool.job(1).execute(move || {
            began.send(()).unwrap();
            lent.join().unwrap();
        });
        gauge.until_running(2);
        begun.recv().unwrap();
        // The worker that is left has found nothing to do.
        until_parked(&pool, 1);
        let queued = pool.job(0).spawn(|| ());
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (3, 0));
        assert!(queued.join().unwrap_err().is_cancelled());
        drop(pool); // does not wait, either
        assert_eq!(gauge.running(), 2);
        latch.open();
        job.wait();
        assert_eq!(job.stats().completed, 2);
    });
}
