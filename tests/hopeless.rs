//! Waits that nothing ends, as the crate's documentation lists them: each keeps no worker, and `shutdown_timeout` returns.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{LONG, pool, within};

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
        assert!(!pool.shutdown_timeout(SHORT));
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_drain_beside_a_future_that_is_never_woken() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let task = job.spawn_future(std::future::pending::<()>());
        while job.stats().running == 0 {
            std::thread::yield_now();
        }
        assert!(!pool.shutdown_timeout(SHORT));
        assert!(task.join().unwrap_err().is_cancelled());
    });
}
