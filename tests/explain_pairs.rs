//! What `Job::explain` says if two states meet: of a job and of a job above it, of a task that waits and one that runs.

mod common;

use std::thread;

use common::event::{Gauge, Latch, stay};
use common::{LONG, pool, within};
use tollgate::{Job, Reason};

fn limit(job: &Job, running: usize, limit: usize) -> Reason {
    Reason::Limit { job: job.clone(), running, limit }
}

/// A task of a grandchild stands in the queue of the outermost job, behind a task of a sibling. The job between says so, too.
#[test]
fn tasks_that_go_first_in_the_queue_of_the_outermost_job_are_counted() {
    within(LONG, || {
        let pool = pool(2);
        let root = pool.job_builder().name("root").limit(1).build();
        let (sibling, between) = (root.job(3), root.job(5));
        let leaf = between.job(4);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        root.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        sibling.execute(|| ());
        leaf.execute(|| ());
        let (full, behind) = (limit(&root, 1, 1), Reason::Behind { ahead: 1 });
        assert_eq!(sibling.explain().reasons(), std::slice::from_ref(&full));
        assert_eq!(leaf.explain().reasons(), [full.clone(), behind.clone()]);
        let last = leaf.spawn(|| ());
        // The task of the sibling, and the one of the leaf.
        let two = Reason::Behind { ahead: 2 };
        assert_eq!(leaf.explain_task(&last).reasons(), [full.clone(), two.clone()]);
        between.execute(|| ());
        assert_eq!(between.explain().reasons(), [full, behind]);
        latch.open();
        root.wait();
    });
}

/// The future has released its permits, and needs them again. The job above has none, so the future stands in its queue.
#[cfg(feature = "futures")]
#[test]
fn a_woken_future_that_needs_a_permit_of_a_job_above_names_the_limit() {
    within(LONG, || {
        let pool = pool(2);
        let (host, held) = (pool.job(1), pool.job(0));
        let page = host.job(3);
        let awaited = held.spawn(|| ());
        let task = page.spawn_future(async move { awaited.await.unwrap() });
        while page.explain().to_string() != "1 task waits for another" {
            thread::yield_now();
        }
        let (gauge, latch) = (Gauge::new(), Latch::new());
        host.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        held.set_limit(1);
        held.wait();
        while page.stats().backlog == 0 {
            thread::yield_now();
        }
        let full = limit(&host, 1, 1);
        assert_eq!(page.explain().reasons(), std::slice::from_ref(&full));
        assert_eq!(page.explain_task(&task).reasons(), [full]);
        latch.open();
        task.join().unwrap();
    });
}

/// A push inside the pool is not handed over, so the task stands in a queue: that of the job above, which has no permit.
#[test]
fn a_task_that_could_not_be_handed_over_names_the_limit_of_a_job_above() {
    within(LONG, || {
        let pool = pool(2);
        let host = pool.job(1);
        let page = host.job_builder().limit(3).capacity(0).build();
        let own = page.clone();
        let outer = page.spawn(move || {
            let task = own.spawn(|| ());
            own.explain_task(&task)
        });
        assert_eq!(outer.join().unwrap().reasons(), [limit(&host, 1, 1)]);
        page.wait();
    });
}
