//! Jobs inside jobs: every gate on the way holds, siblings take turns, and what is done to a parent holds
//! for all below it.

mod common;

use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, stay};
use common::{LONG, Tokens, pool, with_workers, within};
use tollgate::{Job, JoinError, Pool, Reason, TaskHandle};

#[test]
fn every_gate_on_the_way_holds() {
    with_workers(|pool, _| {
        let everything = pool.job(6);
        let top = Gauge::new();
        let hosts: Vec<_> = (1..=3).map(|limit| (everything.job(limit), Gauge::new())).collect();
        let mut endpoints = Vec::new();
        for (host, at_host) in &hosts {
            for limit in 1..=3 {
                endpoints.push((host.job(limit), at_host.clone(), Gauge::new()));
            }
        }
        for _ in 0..200 {
            for (endpoint, at_host, here) in &endpoints {
                let gauges = [top.clone(), at_host.clone(), here.clone()];
                endpoint.execute(move || {
                    let _inside = gauges.each_ref().map(Gauge::enter);
                });
            }
        }
        everything.wait();
        assert!(top.most() <= 6);
        for (host, gauge) in &hosts {
            assert!(gauge.most() <= host.limit());
        }
        for (endpoint, _, gauge) in &endpoints {
            assert!(gauge.most() <= endpoint.limit());
            assert_eq!(endpoint.stats().completed, 200);
        }
    });
}

#[test]
fn eight_deep() {
    with_workers(|pool, _| {
        let top = pool.job(3);
        let innermost = (0..8).fold(top.clone(), |job, level| job.job(1 + level % 3));
        let gauge = Gauge::new();
        for _ in 0..300 {
            let gauge = gauge.clone();
            innermost.execute(move || drop(gauge.enter()));
        }
        top.wait();
        assert_eq!(innermost.stats().completed, 300);
        assert_eq!(gauge.most(), 1);
    });
}

/// A turn under a parent that binds has 16 tasks at most: as long as both siblings have tasks, neither runs more in a row.
#[test]
fn siblings_take_turns_whatever_their_queues() {
    const TURN: usize = 16;
    with_workers(|pool, _| {
        let parent = pool.job(1);
        let siblings = [parent.job(4), parent.job(4)];
        let mut left = [500, 50];
        parent.pause();
        let (tell, order) = mpsc::channel();
        for (which, tasks) in left.into_iter().enumerate() {
            for _ in 0..tasks {
                let tell = tell.clone();
                siblings[which].execute(move || tell.send(which).unwrap());
            }
        }
        parent.resume();
        parent.wait();
        drop(tell);
        let (mut last, mut run) = (None, 0);
        for (position, which) in order.iter().enumerate() {
            run = if last == Some(which) { run + 1 } else { 1 };
            assert!(run <= TURN || left[1 - which] == 0, "{run} in a row, up to task {position}");
            left[which] -= 1;
            last = Some(which);
        }
        assert_eq!(left, [0, 0]);
    });
}

#[test]
fn a_permit_freed_in_one_child_starts_the_others_task() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        let (one, other) = (parent.job(1), parent.job(1));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        one.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let next = other.spawn(|| ());
        let next = next.join_timeout(Duration::from_millis(5)).expect_err("the parent is full");
        latch.open();
        next.join().unwrap();
    });
}

/// The refused task is ready when its job is paused or its limit becomes 0. So the task has reservations in its ancestors, where a
/// sibling's task waits.
#[test]
fn a_permit_that_a_refused_task_reserved_starts_the_siblings_task() {
    within(LONG, || {
        let pool = pool(1);
        let hold: [fn(&Job); 2] = [Job::pause, |job| job.set_limit(0)];
        for (levels, hold) in (1..=3).flat_map(|levels| hold.map(|hold| (levels, hold))) {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            pool.job(1).execute(stay(&gauge, &latch));
            gauge.until_running(1);
            let outermost = pool.job(1);
            let child = (0..levels).fold(outermost.clone(), |job, _| job.job(1));
            let refused = child.spawn(|| ());
            assert_eq!(child.stats().ready, 1);
            let waits = outermost.job(1).spawn(|| 1);
            hold(&child);
            latch.open();
            assert_eq!(waits.join().unwrap(), 1);
            assert!(!refused.is_finished());
            child.set_limit(1);
            child.resume();
            refused.join().unwrap();
        }
    });
}

/// On each worker, tasks of the parent push further tasks of the parent without an end. The child still gets its turn.
#[test]
fn a_childs_turn_comes_while_its_parents_tasks_push_on() {
    fn push_on(job: Job, over: Arc<AtomicBool>, started: Gauge) {
        drop(started.enter());
        if !over.load(SeqCst) {
            job.clone().execute(move || push_on(job, over, started));
        }
    }
    with_workers(|pool, workers| {
        for limit in [1, workers, workers + 3] {
            let parent = pool.job(limit);
            let (child, over) = (parent.job(1), Arc::new(AtomicBool::new(false)));
            let started = Gauge::new();
            for _ in 0..limit {
                let (job, over, started) = (parent.clone(), Arc::clone(&over), started.clone());
                parent.execute(move || push_on(job, over, started));
            }
            started.until_started(50 * limit);
            for _ in 0..20 {
                child.spawn(|| ()).join().unwrap();
            }
            over.store(true, SeqCst);
            parent.wait();
        }
    });
}

#[test]
fn a_task_that_waits_outside_holds_its_inner_permit() {
    within(LONG, || {
        let pool = pool(2);
        let parent = pool.job(0);
        let child = parent.job(1);
        let tasks: Vec<_> = (0..3).map(|i| child.spawn(move || i)).collect();
        assert_eq!((child.stats().running, child.stats().ready, child.stats().backlog), (0, 0, 3));
        parent.set_limit(2);
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), i);
        }
        assert_eq!(child.stats().most_running, 1);
    });
}

#[test]
fn pausing_a_parent_holds_all_below() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        let child = parent.job(2).job(2);
        parent.pause();
        let held = child.spawn(|| ());
        let held = held.join_timeout(Duration::from_millis(5)).expect_err("the parent is paused");
        parent.resume();
        held.join().unwrap();
    });
}

#[test]
fn lowering_a_parent_holds_for_tasks_that_were_ready() {
    with_workers(|pool, workers| {
        let parent = pool.job(8);
        let child = parent.job(8);
        let blocker = pool.job(workers);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        for _ in 0..workers {
            blocker.execute(stay(&gauge, &latch));
        }
        gauge.until_running(workers);
        let running = Gauge::new();
        for _ in 0..50 {
            let running = running.clone();
            child.execute(move || drop(running.enter()));
        }
        parent.set_limit(1);
        latch.open();
        parent.wait();
        assert_eq!(running.most(), 1);
        assert_eq!(child.stats().completed, 50);
    });
}

#[test]
fn cancelling_reaches_down_and_counts_every_task() {
    with_workers(|pool, _| {
        for _ in 0..100 {
            let top = pool.job(1);
            top.pause();
            let children: Vec<Job> = (0..3).map(|limit| top.job(limit).job(1)).collect();
            let mut tasks = Vec::new();
            for job in children.iter().chain([&top]) {
                tasks.extend((0..10).map(|_| job.spawn(|| ())));
            }
            top.cancel();
            for task in tasks {
                assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            }
            top.wait();
            assert_eq!(top.stats().cancelled, 10);
            for job in &children {
                assert!(job.is_closed());
                assert_eq!(job.stats().cancelled, 10);
                assert!(job.try_execute(|| ()).is_err());
            }
        }
    });
}

#[test]
fn cancelling_a_child_lets_its_siblings_go_on() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        parent.pause();
        let (cancelled, sibling) = (parent.job(2), parent.job(2));
        for _ in 0..10 {
            cancelled.execute(|| unreachable!("it was cancelled"));
            sibling.execute(|| ());
        }
        cancelled.cancel();
        parent.resume();
        parent.wait();
        assert_eq!(sibling.stats().completed, 10);
        assert_eq!(cancelled.stats().cancelled, 10);
    });
}

#[test]
fn closing_a_parent_closes_all_below_and_runs_what_was_accepted() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        let child = parent.job(1);
        parent.pause();
        let accepted = child.spawn(|| 1);
        parent.close();
        assert!(child.is_closed());
        assert!(child.try_spawn(|| 2).is_err());
        parent.resume();
        assert_eq!(accepted.join().unwrap(), 1);
    });
}

#[test]
fn waiting_for_a_parent_waits_for_all_below() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        let child = parent.job(1).job(1);
        let held = parent.job(0);
        child.execute(|| ());
        held.execute(|| ());
        assert!(!parent.wait_timeout(Duration::from_millis(5)));
        held.set_limit(1);
        parent.wait();
        assert_eq!(child.stats().completed + held.stats().completed, 2);
    });
}

/// The one task is three levels further down.
#[test]
fn a_job_is_idle_when_all_below_it_are() {
    with_workers(|pool, _| {
        let job = pool.job(4);
        let deep = job.job(3).job(2).job(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let task = deep.spawn(stay(&gauge, &latch));
        gauge.until_running(1);
        let mut cx = Context::from_waker(Waker::noop());
        let mut idle = std::pin::pin!(job.idle());
        assert!(!job.is_idle());
        assert!(idle.as_mut().poll(&mut cx).is_pending());
        latch.open();
        task.join().unwrap();
        job.wait();
        assert!(job.is_idle());
        assert!(idle.as_mut().poll(&mut cx).is_ready());
    });
}

#[test]
fn a_parent_runs_tasks_of_its_own_between_its_childrens() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        let child = parent.job(1);
        for _ in 0..200 {
            parent.execute(|| ());
            child.execute(|| ());
        }
        parent.wait();
        assert_eq!((parent.stats().completed, child.stats().completed), (200, 200));
    });
}

#[test]
fn children_outlive_the_handle_of_their_parent() {
    with_workers(|pool, _| {
        let child = pool.job(1).job(1);
        assert_eq!(child.spawn(|| 3).join().unwrap(), 3);
        // ... and tasks outlive the handles of both.
        let parent = pool.job(1);
        let task = parent.job(1).spawn(|| 4);
        drop(parent);
        assert_eq!(task.join().unwrap(), 4);
    });
}

#[test]
fn a_held_parent_goes_with_its_last_child() {
    within(LONG, || {
        let tokens = Tokens::new();
        let token = tokens.token();
        let hook = move |_: &(dyn Any + Send)| _ = &token;
        let pool = Pool::builder().workers(1).on_panic(hook).build().unwrap();
        let parent = pool.job(1);
        let child = parent.job(1);
        drop(pool);
        parent.pause();
        drop((parent, child));
        // The last job of a pool that has ended takes it along, hooks and all.
        assert_eq!(tokens.dropped(), 1);
    });
}

#[test]
fn a_parent_without_limit_runs_its_own_tasks_beside_its_childrens() {
    with_workers(|pool, _| {
        for parent in [pool.job(usize::MAX), pool.job(8)] {
            let children: Vec<Job> = (0..3).map(|_| parent.job(2)).collect();
            for _ in 0..300 {
                parent.execute(|| ());
                children.iter().for_each(|child| child.execute(|| ()));
            }
            parent.wait();
            assert_eq!(parent.stats().completed, 300);
            for child in children {
                assert_eq!(child.stats().completed, 300);
            }
        }
    });
}

/// A task that its handle cancels while it stands in a held parent's line keeps nobody waiting for its job.
#[test]
fn a_cancelled_task_in_a_held_parents_line_is_not_waited_for() {
    with_workers(|pool, _| {
        let parent = pool.job(0);
        let child = parent.job(8);
        let tasks = [child.spawn(|| unreachable!()), child.spawn(|| unreachable!())];
        assert!(!child.wait_timeout(Duration::ZERO));
        assert!(tasks.iter().all(|task: &tollgate::TaskHandle<()>| task.cancel()));
        child.wait();
        parent.wait();
        assert_eq!(child.stats().cancelled, 2);
        parent.set_limit(1);
        child.spawn(|| ()).join().unwrap();
    });
}

#[test]
fn a_job_cancelled_below_a_held_parent_is_idle() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        parent.pause();
        let children = [(); 3].map(|()| parent.job(usize::MAX));
        let tasks = children.each_ref().map(|child| [(); 3].map(|()| child.spawn(|| ())));
        children[1].cancel();
        children[1].wait();
        assert_eq!((children[1].stats().cancelled, children[1].stats().backlog), (3, 0));
        parent.resume();
        parent.wait();
        let ran = tasks.map(|tasks| tasks.map(|task| task.join().is_ok()));
        assert_eq!(ran, [[true; 3], [false; 3], [true; 3]]);
    });
}

/// The one task of the child stands in the held parent's line, and no thread waits for the child.
#[test]
fn a_cancel_ends_a_join_of_a_task_in_a_held_parents_line() {
    with_workers(|pool, _| {
        let parent = pool.job(0);
        let child = parent.job(8);
        let task = child.spawn(|| unreachable!());
        child.cancel();
        let outcome: Result<(), _> = task.join();
        assert!(matches!(outcome, Err(JoinError::Cancelled)));
    });
}

/// The gate where its task stands is not held itself, but waits for one that is.
#[test]
fn a_job_cancelled_below_a_gate_that_waits_for_a_held_one_is_idle() {
    with_workers(|pool, _| {
        for by_handle in [false, true] {
            let outermost = pool.job(1);
            outermost.pause();
            let outer = outermost.job(4);
            let first = outer.spawn(|| ());
            let inner = outer.job(4);
            let tasks = [(); 2].map(|()| inner.spawn(|| ()));
            if by_handle {
                assert!(tasks.iter().all(tollgate::TaskHandle::cancel));
            } else {
                inner.cancel();
            }
            inner.wait();
            assert!(tasks.into_iter().all(|task| task.join().is_err()));
            outermost.resume();
            first.join().unwrap();
            outermost.wait();
            assert_eq!((outer.stats().completed, inner.stats().cancelled), (1, 2));
        }
    });
}

/// A child that goes between two looks of the wait takes the count of its ended tasks along.
#[test]
fn a_wait_for_a_parent_does_not_rely_on_a_child_that_has_gone() {
    with_workers(|pool, workers| {
        if workers < 2 {
            return;
        }
        for _ in 0..200 {
            let parent = pool.job(usize::MAX);
            let (child, other) = (parent.job(1), parent.job(1));
            (0..2).for_each(|_| other.execute(|| ()));
            other.wait();
            let (up, last) = (parent.clone(), child.clone());
            child.execute(move || {
                up.clone().execute(move || {
                    drop(other);
                    last.execute(move || up.execute(|| thread::sleep(Duration::from_micros(50))));
                });
            });
            parent.wait();
            assert_eq!(parent.stats().completed, 2, "`wait` returned early");
        }
    });
}

/// Returns once the task, which is the one task of `job`, waits for `awaited`.
fn until_it_waits_for(awaited: &Job, job: &Job, task: &TaskHandle<()>) {
    let reason = Reason::Waiting { tasks: 1, awaited: Some(awaited.clone()) };
    while job.explain().first() != &reason {
        assert!(!task.is_finished(), "`wait` returned early");
        thread::yield_now();
    }
}

/// One task after the other runs in three jobs below, so at no moment all jobs are idle. The first child is freed in the wait's
/// first pass. In its second pass, the wait counts the task of `kept` instead of the task of the first child.
#[test]
fn a_wait_for_a_parent_goes_on_after_a_child_was_freed_in_its_first_pass() {
    within(LONG, || {
        let pool = pool(3);
        let (parent, waiting) = (pool.job(usize::MAX), pool.job(1));
        let kept = parent.job(1);
        let first = kept.job(1);
        let (latches, gauge) = ([(); 3].map(|()| Latch::new()), Gauge::new());
        let (begins, goes_on) = (latches[0].opening(), latches[1].opening());
        let stays = stay(&gauge, &latches[2]);
        let (up, next) = (parent.clone(), kept.clone());
        first.execute(move || {
            begins.wait();
            next.execute(move || {
                goes_on.wait();
                up.job(1).execute(stays);
            });
        });
        let awaited = parent.clone();
        let wait = waiting.spawn(move || awaited.wait());
        until_it_waits_for(&first, &waiting, &wait);
        drop(first);
        latches[0].open();
        until_it_waits_for(&kept, &waiting, &wait);
        latches[1].open();
        gauge.until_running(1);
        let last = parent.children().into_iter().find(|child| *child != kept).unwrap();
        until_it_waits_for(&last, &waiting, &wait);
        drop(last);
        latches[2].open();
        wait.join().unwrap();
        assert_eq!(parent.stats_with_children().completed, 3);
    });
}

#[test]
fn a_pause_drops_what_was_cancelled_in_the_lines_of_all_gates_below() {
    within(LONG, || {
        let pool = pool(2);
        let outer = pool.job(2);
        let middle = outer.job(1);
        let (busy, cancelled) = (middle.job(1), middle.job(1));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        busy.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let tokens = Tokens::new();
        let token = tokens.token();
        cancelled.execute(move || drop(token)); // in the middle one's line
        cancelled.cancel();
        outer.pause();
        // Nothing else will come by for it: the one that has the permit keeps it.
        while tokens.dropped() == 0 {
            std::thread::yield_now();
        }
        cancelled.wait();
        latch.open();
        outer.resume();
        outer.wait();
        assert_eq!((busy.stats().completed, cancelled.stats().cancelled), (1, 1));
    });
}
