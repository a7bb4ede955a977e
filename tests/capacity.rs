//! `JobBuilder::capacity`: a bounded backlog, with a wait for room outside of the pool (part of *refusal_is_loud*).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use tollgate::{Job, JoinError, Pool, Rejected};

use common::event::{Gauge, Latch, stay};
use common::{LONG, Tokens, pool, with_workers, within, workers_pass};

/// A job whose one permit is taken until the latch opens, and whose backlog is then filled.
fn full(pool: &Pool, capacity: usize) -> (Job, Latch) {
    let job = pool.job_builder().limit(1).capacity(capacity).build();
    let (gauge, latch) = (Gauge::new(), Latch::new());
    job.execute(stay(&gauge, &latch));
    gauge.until_running(1);
    for _ in 0..capacity {
        job.try_execute(|| ()).expect("the one that runs takes no room");
    }
    (job, latch)
}

/// Runs `push` on a thread of its own, and gives back how far it is.
fn pusher(push: impl FnOnce() + Send + 'static) -> (Arc<AtomicUsize>, thread::JoinHandle<()>) {
    let step = Arc::new(AtomicUsize::new(0));
    let steps = step.clone();
    let thread = thread::spawn(move || {
        steps.store(1, SeqCst);
        push();
        steps.store(2, SeqCst);
    });
    (step, thread)
}

#[test]
fn try_gives_the_closure_back_when_it_is_full() {
    with_workers(|pool, _| {
        let (job, latch) = full(pool, 3);
        let rejected = job.try_execute(|| ()).unwrap_err();
        assert!(matches!(rejected, Rejected::Full(_)));
        rejected.into_inner()();
        assert!(matches!(job.try_spawn(|| 5), Err(Rejected::Full(_))));
        latch.open();
        job.wait();
        assert_eq!(job.try_spawn(|| 5).unwrap().join().unwrap(), 5);
        assert_eq!(job.stats().completed, 5);
        job.close();
        assert!(matches!(job.try_execute(|| ()), Err(Rejected::Closed(_))));
    });
}

#[test]
fn outside_a_push_waits_until_a_task_starts() {
    with_workers(|pool, workers| {
        let (job, latch) = full(pool, 2);
        let inner = job.clone();
        let (step, thread) = pusher(move || {
            inner.execute(|| ());
            assert_eq!(inner.spawn(|| 7).join().unwrap(), 7);
        });
        while step.load(SeqCst) < 1 {
            thread::yield_now();
        }
        // Nothing starts, so there is no room however long it waits.
        workers_pass(pool, workers - 1);
        assert_eq!((step.load(SeqCst), job.stats().backlog), (1, 2));
        latch.open();
        thread.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 5);
    });
}

#[test]
fn never_are_more_waiting_than_fit() {
    with_workers(|pool, _| {
        for limit in [1, 3, usize::MAX] {
            let job = pool.job_builder().limit(limit).capacity(4).build();
            let (begun, started) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        for _ in 0..500 {
                            let start = started.clone();
                            job.execute(move || {
                                start.fetch_add(1, SeqCst);
                            });
                            let begun = begun.fetch_add(1, SeqCst) + 1;
                            // Started ones are read later, so the difference is no larger than it was.
                            // A task makes room just before its closure runs: one for each that may run.
                            let waiting = begun.saturating_sub(started.load(SeqCst));
                            let most = 4 + limit.min(pool.workers());
                            assert!(waiting <= most, "{waiting} of {most}");
                        }
                    });
                }
            });
            job.wait();
            assert_eq!(job.stats().completed, 2_000);
        }
    });
}

#[test]
fn inside_the_pool_pushes_go_over_it() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let (inner, other) = (job.clone(), pool.job(1));
        for outer in [&job, &other] {
            let inner = inner.clone();
            outer
                .spawn(move || {
                    for _ in 0..10 {
                        inner.execute(|| ());
                    }
                    drop(inner.spawn(|| ()));
                })
                .join()
                .unwrap();
        }
        job.wait();
        assert_eq!(job.stats().completed, 23);
        assert!(job.try_execute(|| ()).is_ok());
    });
}

#[test]
fn inside_the_pool_try_says_full() {
    with_workers(|pool, _| {
        let (job, _latch) = full(pool, 1);
        let other = pool.job(1);
        if pool.workers() > 1 {
            let full =
                other.spawn(move || matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
            assert!(full.join().unwrap());
        }
    });
}

fn ends_the_wait(end: impl Fn(&Pool, &Job, &Job) + Send + Sync + 'static) {
    with_workers(move |_, workers| {
        let pool = pool(workers);
        let parent = pool.job(usize::MAX);
        let job = pool.job_builder().parent(&parent).limit(0).capacity(1).build(); // held
        let tokens = Tokens::new();
        job.execute(|| ());
        let (inner, token) = (job.clone(), tokens.token());
        let (step, thread) = pusher(move || {
            let task = inner.spawn(move || drop(token));
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            inner.execute(|| unreachable!());
        });
        while step.load(SeqCst) < 1 {
            thread::yield_now();
        }
        end(&pool, &parent, &job);
        thread.join().unwrap();
        assert_eq!(tokens.dropped(), 1);
        assert!(job.stats().cancelled >= 2);
    });
}

#[test]
fn a_close_ends_the_wait() {
    ends_the_wait(|_, _, job| job.close());
}

#[test]
fn a_cancel_ends_the_wait() {
    ends_the_wait(|_, _, job| {
        job.cancel();
    });
}

#[test]
fn a_close_of_the_parent_ends_the_wait() {
    ends_the_wait(|_, parent, _| parent.close());
}

#[test]
fn a_shutdown_ends_the_wait() {
    ends_the_wait(|pool, _, _| pool.shutdown());
}

#[test]
fn a_cancelled_handle_makes_room() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(0).capacity(1).build(); // held
        let task = job.spawn(|| ());
        assert!(job.try_execute(|| ()).is_err());
        assert!(task.cancel());
        assert!(job.try_execute(|| ()).is_ok());
        job.cancel();
        job.wait();
        assert_eq!(job.stats().cancelled, 2);
    });
}

/// Pushes and cancels behind a task that runs. Each cancelled task leaves a cell in the queue, until a push frees it.
fn cells_left_by_cancels(job: &Job, capacity: usize, cancels: usize) -> usize {
    let tokens = Tokens::new();
    let mut most = 0;
    for i in 0..cancels {
        let token = tokens.token();
        let task = job.try_spawn(move || drop(token)).expect("a cancelled task takes no slot");
        assert!(task.cancel());
        assert_eq!(tokens.dropped(), i + 1, "a cancelled task keeps its captures");
        most = most.max(job.stats().backlog);
    }
    assert!(most >= capacity, "{most} cells: none was left by a cancel");
    most
}

#[test]
fn cancelled_tasks_do_not_pile_up_behind_a_slow_one() {
    const CANCELS: usize = 20_000;
    with_workers(|pool, workers| {
        for (limit, capacity) in [(1, 8), (1, 1), (2, 100)] {
            let job = pool.job_builder().limit(limit).capacity(capacity).build();
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let busy = limit.min(workers);
            (0..busy).for_each(|_| job.execute(stay(&gauge, &latch)));
            gauge.until_running(busy);
            let most = cells_left_by_cancels(&job, capacity, CANCELS);
            assert!(
                most <= 2 * capacity + 1,
                "{most} cells of a job with a capacity of {capacity}"
            );
            // The tasks that wait are the same, in the same order, and the slots are as many.
            let kept: Vec<_> = (0..capacity).map(|i| job.try_spawn(move || i).unwrap()).collect();
            assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
            latch.open();
            assert!(kept.into_iter().map(|task| task.join().unwrap()).eq(0..capacity));
            job.wait();
            let stats = job.stats();
            assert_eq!(
                (stats.completed, stats.cancelled),
                ((busy + capacity) as u64, CANCELS as u64)
            );
        }
    });
}

#[test]
fn cancelled_tasks_do_not_pile_up_in_a_held_parent() {
    const CANCELS: usize = 2_000;
    with_workers(|pool, _| {
        let parent = pool.job_builder().limit(0).capacity(8).build(); // held
        let children: Vec<_> = (0..100).map(|_| parent.job(1)).collect();
        // A task of each child stands in the parent's queue, and takes none of its slots.
        children.iter().for_each(|child| child.execute(|| ()));
        let most = cells_left_by_cancels(&parent, 8, CANCELS);
        assert!(most <= 3 * 100, "{most} cells");
        parent.set_limit(2);
        parent.wait();
        let sum = parent.stats_with_children();
        assert_eq!((sum.completed, sum.cancelled, sum.backlog), (100, CANCELS as u64, 0));
    });
}

#[test]
fn a_blocked_pusher_takes_the_slot_of_a_cancelled_task() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(0).capacity(1).build(); // held
        for round in 1..=100 {
            let task = job.spawn(|| unreachable!());
            let inner = job.clone();
            let (_, thread) = pusher(move || assert!(inner.spawn(|| ()).cancel()));
            assert!(task.cancel());
            thread.join().unwrap();
            let backlog = job.stats().backlog;
            assert!(backlog <= 3, "round {round}: {backlog} cells");
        }
        job.cancel();
        job.wait();
        assert_eq!(job.stats().cancelled, 200);
    });
}

#[test]
fn a_scope_from_outside_waits_for_room() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(1).capacity(2).build();
        let count = AtomicUsize::new(0);
        job.scope(|s| {
            for _ in 0..1_000 {
                s.execute(|| {
                    count.fetch_add(1, SeqCst);
                });
                assert!(job.stats().backlog <= 3);
            }
        });
        job.for_each(0..100, |_| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
        assert_eq!(job.map(0..100, |i| i).count(), 100);
        assert_eq!(count.into_inner(), 1_100);
    });
}

#[test]
fn a_task_of_another_pool_waits_without_its_permit() {
    within(LONG, || {
        let (here, there) = (pool(1), pool(1));
        let (job, latch) = full(&there, 1);
        let outer = here.job(1);
        let waits = outer.spawn(move || job.execute(|| ()));
        // The only permit and the only worker are free while it waits.
        outer.spawn(move || latch.open()).join().unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn a_task_of_another_pool_that_may_not_go_on_leaves_the_room_to_others() {
    within(LONG, || {
        let (bounded, other) = (pool(1), pool(1));
        let (job, latch) = full(&bounded, 1);
        let (waits, inner) = (other.job(1), job.clone());
        let task = waits.spawn(move || inner.execute(|| ()));
        waits.spawn(|| ()).join().unwrap(); // the first one waits by now
        waits.pause();
        let theirs = job.clone();
        let (step, thread) = pusher(move || theirs.execute(|| ()));
        while step.load(SeqCst) == 0 {}
        // It waits by now, most likely.
        (0..1_000).for_each(|_| thread::yield_now());
        latch.open();
        thread.join().unwrap();
        waits.resume();
        task.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}
