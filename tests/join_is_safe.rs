//! join_is_safe: waiting inside a task never deadlocks the pool, and a task that waits holds no permit.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, Opening, stay};
use common::{LONG, panic_of, pool, unwind, with_workers, within};
use tollgate::{Job, JoinError, Pool};

/// An event that a task tells of, and the side that waits for it.
fn event() -> (Latch, Opening) {
    let latch = Latch::new();
    let opening = latch.opening();
    (latch, opening)
}

/// A chain of tasks, each of which joins the next.
fn chain(job: Job, deep: usize) -> usize {
    if deep == 0 {
        return 0;
    }
    let next = job.clone();
    1 + job.spawn(move || chain(next, deep - 1)).join().unwrap()
}

#[test]
fn a_task_joins_one_of_its_own_job_at_limit_1() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let both = job.spawn(move || inner.spawn(|| 20).join().unwrap() + 1);
        assert_eq!(both.join().unwrap(), 21);
        job.wait();
        assert_eq!(job.stats().completed, 2);
        assert_eq!(job.stats().most_running, 1);
    });
}

#[test]
fn a_chain_is_1000_deep() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        assert_eq!(job.spawn(move || chain(inner, 1_000)).join().unwrap(), 1_000);
        job.wait();
        assert_eq!(job.stats().completed, 1_001);
    });
}

/// Tasks of two jobs of limit 1 that join each other's tasks.
fn zigzag(here: Job, there: Job, deep: usize) -> usize {
    if deep == 0 {
        return 0;
    }
    let (next, back) = (there.clone(), here.clone());
    1 + there.spawn(move || zigzag(next, back, deep - 1)).join().unwrap()
}

#[test]
fn two_jobs_of_limit_1_join_each_others_tasks() {
    with_workers(|pool, _| {
        let (a, b) = (pool.job(1), pool.job(1));
        let (here, there) = (a.clone(), b.clone());
        assert_eq!(a.spawn(move || zigzag(here, there, 100)).join().unwrap(), 100);
        a.wait();
        b.wait();
        assert_eq!(a.stats().most_running, 1);
        assert_eq!(b.stats().most_running, 1);
    });
}

#[test]
fn a_fan_of_10_000_under_limit_1() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let sum = job.spawn(move || {
            let fan: Vec<_> = (0..10_000_u64).map(|i| inner.spawn(move || i)).collect();
            fan.into_iter().map(|task| task.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum.join().unwrap(), 9_999 * 10_000 / 2);
        job.wait();
        assert_eq!(job.stats().completed, 10_001);
        assert_eq!(job.stats().most_running, 1);
    });
}

#[test]
fn a_task_that_waits_holds_no_permit() {
    with_workers(|pool, _| {
        let (job, other) = (pool.job(1), pool.job(0));
        let (open, opened) = event();
        let (starts, started) = event();
        let awaited = other.spawn(move || opened.wait());
        let waiter = job.spawn(move || {
            starts.open();
            awaited.join().unwrap();
        });
        started.wait();
        // At limit 1 this runs only while the first task has given its permit back.
        job.spawn(|| ()).join().unwrap();
        assert!(!waiter.is_finished());
        open.open();
        other.set_limit(1);
        waiter.join().unwrap();
    });
}

#[test]
fn the_permit_is_taken_back_ahead_of_the_backlog() {
    // The task that is waited for needs a worker beside the one that holds the permit.
    within(LONG, || {
        let pool = pool(2);
        let (job, other) = (pool.job(1), pool.job(0));
        let (tell, order) = mpsc::channel();
        let (starts, started) = event();
        let awaited = other.spawn(|| ());
        let waiter = job.spawn({
            let tell = tell.clone();
            move || {
                starts.open();
                awaited.join().unwrap();
                tell.send("waiter").unwrap();
            }
        });
        started.wait();
        // Holds the one permit until the first task wants it back.
        let (gauge, go) = (Gauge::new(), Latch::new());
        job.execute(stay(&gauge, &go));
        gauge.until_running(1);
        for _ in 0..100 {
            let tell = tell.clone();
            job.execute(move || tell.send("backlog").unwrap());
        }
        other.set_limit(1);
        other.wait();
        // The first task has been woken; it stands in line once the stats cannot change otherwise.
        while !format!("{job:?}").contains("returning: true") {
            thread::yield_now();
        }
        go.open();
        waiter.join().unwrap();
        job.wait();
        assert_eq!(order.recv().unwrap(), "waiter");
    });
}

/// A task that pushes its like until it is done.
fn push_on(job: Job, done: Arc<AtomicBool>, ran: Arc<AtomicUsize>) {
    job.clone().execute(move || {
        ran.fetch_add(1, SeqCst);
        if !done.load(SeqCst) {
            push_on(job, done, ran);
        }
    });
}

/// Nothing else happens in the pool meanwhile: whoever runs on under the permit is told.
#[test]
fn the_permit_is_taken_back_from_a_worker_that_runs_on() {
    within(LONG, || {
        let (pool, others) = (pool(1), pool(1));
        let (job, other) = (pool.job(1), others.job(1));
        let latch = Latch::new();
        let (opening, (starts, started)) = (latch.opening(), event());
        let awaited = other.spawn(move || opening.wait());
        let waiter = job.spawn(move || {
            starts.open();
            awaited.join().unwrap();
        });
        started.wait();
        // For as long as the first has not its permit back.
        let (done, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        (0..4).for_each(|_| push_on(job.clone(), done.clone(), ran.clone()));
        while ran.load(SeqCst) < 100 {
            thread::yield_now();
        }
        latch.open();
        waiter.join().unwrap();
        done.store(true, SeqCst);
        job.wait();
    });
}

#[test]
fn never_more_than_the_limit_run_while_tasks_join() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let job = pool.job(limit);
            let gauge = Gauge::new();
            let tasks: Vec<_> = (0..40)
                .map(|_| {
                    let (inner, gauge) = (job.clone(), gauge.clone());
                    job.spawn(move || {
                        let task = {
                            let _running = gauge.enter();
                            let gauge = gauge.clone();
                            inner.spawn(move || drop(gauge.enter()))
                        };
                        task.join().unwrap();
                        drop(gauge.enter());
                    })
                })
                .collect();
            for task in tasks {
                task.join().unwrap();
            }
            assert!(gauge.most() <= limit, "{} of at most {limit} ran", gauge.most());
        }
    });
}

#[test]
fn joins_under_a_paused_parent_end_when_it_is_resumed() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        let child = parent.job(1);
        let (starts, started) = event();
        let (go, gone) = event();
        let inner = child.clone();
        let outer = child.spawn(move || {
            starts.open();
            gone.wait();
            inner.spawn(|| 7).join().unwrap()
        });
        started.wait();
        parent.pause();
        go.open();
        let outer =
            outer.join_timeout(Duration::from_millis(20)).expect_err("its parent is paused");
        parent.resume();
        assert_eq!(outer.join().unwrap(), 7);
    });
}

#[test]
fn panics_and_cancels_come_up_the_way() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let outer = job.spawn(move || match inner.spawn(|| unwind("below")).join() {
            Err(JoinError::Panicked(payload)) => payload.message().unwrap().to_owned(),
            _ => String::new(),
        });
        assert_eq!(outer.join().unwrap(), "below");

        let held = pool.job(0);
        let cancelled = held.spawn(|| ());
        let (starts, started) = event();
        let waiter = job.spawn(move || {
            starts.open();
            matches!(cancelled.join(), Err(JoinError::Cancelled))
        });
        started.wait();
        held.cancel();
        assert!(waiter.join().unwrap());
        job.spawn(|| ()).join().unwrap();
    });
}

#[test]
fn a_task_waits_for_another_job() {
    with_workers(|pool, _| {
        let (job, other) = (pool.job(1), pool.job(1));
        let done = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (other.clone(), done.clone());
        let waiter = job.spawn(move || {
            for _ in 0..100 {
                let count = count.clone();
                inner.execute(move || {
                    count.fetch_add(1, SeqCst);
                });
            }
            inner.wait();
            count.load(SeqCst)
        });
        assert_eq!(waiter.join().unwrap(), 100);
    });
}

#[test]
fn waiting_for_ones_own_job_or_an_ancestor_is_an_error_at_once() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        let child = parent.job(1);
        for awaited in [&child, &parent] {
            let awaited = awaited.clone();
            let said = child.spawn(move || panic_of(|| awaited.wait())).join().unwrap();
            assert!(said.contains("waits for its own job"), "{said}");
        }
        child.spawn(|| ()).join().unwrap();
    });
}

#[test]
fn at_the_most_spare_workers_the_call_says_so() {
    within(LONG, || {
        let pool = Pool::builder().workers(1).max_spare_workers(0).build().unwrap();
        let (job, other) = (pool.job(1), pool.job(0));
        let said = job.spawn(move || panic_of(|| other.spawn(|| ()).join())).join().unwrap();
        assert!(said.contains("max_spare_workers"), "{said}");
        job.spawn(|| ()).join().unwrap();
    });
}

#[test]
fn blocking_lends_the_place_and_keeps_the_permit() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(1));
        let (blocks, inside) = event();
        let (open, opened) = event();
        let blocked = job.spawn(move || {
            tollgate::blocking(|| {
                blocks.open();
                opened.wait();
            });
        });
        inside.wait();
        // The one worker's place is lent: another job runs.
        other.spawn(|| ()).join().unwrap();
        // The permit is not: its own job does not.
        let next = job.spawn(|| ());
        assert_eq!(job.stats().running, 1);
        let next = next.join_timeout(Duration::from_millis(20)).expect_err("the limit is 1");
        open.open();
        blocked.join().unwrap();
        next.join().unwrap();
    });
}

#[test]
fn a_drain_waits_for_tasks_that_wait() {
    within(LONG, || {
        let pool = pool(2);
        let (job, other) = (pool.job(1), pool.job(1));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let awaited = other.spawn(stay(&gauge, &latch));
        let ended = Arc::new(AtomicUsize::new(0));
        let (starts, started) = event();
        let count = ended.clone();
        job.execute(move || {
            starts.open();
            awaited.join().unwrap();
            count.fetch_add(1, SeqCst);
        });
        started.wait();
        gauge.until_running(1);
        thread::scope(|scope| {
            scope.spawn(|| pool.shutdown());
            latch.open();
        });
        assert_eq!(ended.load(SeqCst), 1);
    });
}

#[test]
fn a_drain_ends_also_a_task_whose_job_was_paused_while_it_waited() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(0));
        let (starts, started) = event();
        let awaited = other.spawn(|| ());
        let waiter = job.spawn(move || {
            starts.open();
            awaited.join().unwrap();
        });
        started.wait();
        // Given back, the permit is free for this task: from then on the first one waits.
        job.spawn(|| ()).join().unwrap();
        job.pause();
        other.set_limit(1);
        pool.shutdown();
        waiter.join().unwrap();
    });
}

#[test]
fn a_task_that_ran_inside_a_join_is_not_counted_as_cancelled() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (inner, cancelled) = (job.clone(), job.clone());
        let outer = job.spawn(move || {
            inner.spawn(|| ()).join().unwrap();
            cancelled.cancel();
        });
        outer.join().unwrap();
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (2, 0));
    });
}

/// A task that waits is neither running nor ready, and a cancel of its job does not count it as cancelled.
#[test]
fn a_task_that_waits_is_not_counted_as_ready() {
    with_workers(|pool, _| {
        let (outer, held) = (pool.job(usize::MAX), pool.job(0));
        let awaited = held.spawn(|| ());
        let waiter = outer.spawn(move || awaited.join().is_ok());
        while pool.stats().spare_workers == 0 || outer.stats().running > 0 {
            thread::yield_now();
        }
        assert_eq!(outer.stats().ready, 0);
        outer.cancel();
        held.set_limit(1);
        assert!(waiter.join().unwrap());
        outer.wait();
        assert_eq!((outer.stats().completed, outer.stats().cancelled), (1, 0));
    });
}
