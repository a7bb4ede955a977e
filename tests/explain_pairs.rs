//! What `Job::explain` says if two states meet: of a job and of a job above it, of a task that waits and one that runs.

mod common;

use std::sync::mpsc;
use std::thread;

use common::event::{Gauge, Latch, stay};
use common::{LONG, SECOND, pool, pool_with_clock, within};
use tollgate::{Job, Reason, Rejected};

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
        assert_eq!(leaf.explain_task(&last).reasons(), [full.clone(), two]);
        assert_eq!(leaf.explain().reasons(), [full.clone(), behind.clone()], "its next task");
        between.execute(|| ());
        assert_eq!(between.explain().reasons(), [full, behind]);
        latch.open();
        root.wait();
    });
}

/// A close refuses new tasks. It leaves the delayed ones, so the job still has a task.
#[test]
fn a_closed_job_with_a_delayed_task_names_its_time() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job(1);
        let task = job.spawn_after(SECOND, || ());
        job.close();
        let until = clock.now() + SECOND;
        assert_eq!(job.explain().reasons(), [Reason::Delayed { until }]);
        clock.advance(SECOND);
        task.join().unwrap();
        job.wait();
        assert_eq!(job.explain().reasons(), [Reason::Closed { job }]);
    });
}

/// The only worker is busy, so the timer still has the delayed task.
#[test]
fn a_delayed_task_below_a_cancelled_job_says_that_it_is_cancelled() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let host = pool.job(1);
        let page = host.job(1);
        let task = page.spawn_after(SECOND, || ());
        host.cancel();
        let why = page.explain_task(&task);
        latch.open();
        page.wait();
        // The cancel of the host has cancelled the page, too.
        assert_eq!(why.reasons(), [Reason::Cancelled { job: page.clone() }]);
        assert_eq!(page.explain_task(&task).reasons(), [Reason::Ended]);
    });
}

/// The task has its permits, and lies in the injector. The pause of the job above keeps it from its start.
#[test]
fn a_task_that_was_handed_over_below_a_paused_job_says_so() {
    within(LONG, || {
        let (pool, latch, gauge) = (pool(1), Latch::new(), Gauge::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let host = pool.job(2);
        let page = host.job_builder().limit(1).capacity(0).build();
        let task = page.spawn(|| ());
        let no_worker = Reason::NoWorker { busy: 1, workers: 1 };
        assert_eq!(page.explain_task(&task).first(), &no_worker);
        host.pause();
        assert_eq!(page.explain_task(&task).first(), &Reason::Paused { job: host.clone() });
        host.resume();
        latch.open();
        task.join().unwrap();
    });
}

/// The only worker is busy, so the task has not been dropped yet. The pool drops it, and no job was cancelled by a call.
#[test]
fn a_task_of_a_pool_that_drops_all_says_that_it_is_cancelled() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let job = pool.job(1);
        let task = job.spawn(|| ());
        let why = thread::scope(|s| {
            s.spawn(|| pool.shutdown_now());
            while !matches!(job.try_execute(|| ()), Err(Rejected::Closed(_))) {
                thread::yield_now();
            }
            let why = job.explain_task(&task);
            latch.open();
            why
        });
        assert_eq!(why.reasons(), [Reason::Cancelled { job }]);
    });
}

/// A task that waits has released its permit, so the permit that is held is that of the other task.
#[test]
fn a_task_that_runs_is_told_beside_one_that_waits() {
    within(LONG, || {
        let pool = pool(2);
        let (search, held) = (pool.job(4), pool.job(0));
        let awaited = held.spawn(|| ());
        let joins = search.spawn(move || awaited.join().unwrap());
        let waiting = Reason::Waiting { tasks: 1, awaited: None };
        while search.explain().reasons() != std::slice::from_ref(&waiting) {
            thread::yield_now();
        }
        let (begin, begun) = mpsc::channel();
        let latch = Latch::new();
        let opening = latch.opening();
        search.execute(move || {
            begin.send(()).unwrap();
            opening.wait();
        });
        begun.recv().unwrap();
        assert_eq!(search.explain().reasons(), [Reason::Running { running: 1 }, waiting]);
        latch.open();
        held.set_limit(1);
        joins.join().unwrap();
    });
}

/// With no permit free, the limit alone is the reason: a lighter task would not start either.
#[test]
fn a_heavy_task_without_a_free_permit_waits_for_the_limit() {
    within(LONG, || {
        let pool = pool(2);
        let cores = pool.job_builder().limit(2).weighted().build();
        let heavy = cores.weigh(2);
        let held = heavy.try_acquire().unwrap();
        let task = heavy.spawn(|| ());
        assert_eq!(heavy.explain_task(&task).reasons(), [limit(&cores, 2, 2)]);
        drop(held);
        task.join().unwrap();
    });
}

/// The explained job is named, not the one that was closed.
#[test]
fn a_job_below_a_closed_one_accepts_no_task() {
    within(LONG, || {
        let pool = pool(1);
        let host = pool.job(1);
        let page = host.job(1);
        assert_eq!(page.explain().reasons(), [Reason::Idle]);
        host.close();
        assert_eq!(page.explain().reasons(), [Reason::Closed { job: page.clone() }]);
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
