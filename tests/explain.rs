//! What `Job::explain` and `Job::explain_task` say: each test closes one gate and reads the reason.

mod common;

use std::sync::mpsc;

use std::time::Duration;

use common::event::{Gauge, Latch, stay};
use common::{LONG, panic_of, pool, with_workers, within};
use tollgate::{Job, ManualClock, Pool, Reason};

/// A named job, so that a failed assertion says which one.
fn job(pool: &Pool, name: &str, limit: usize) -> Job {
    pool.job_builder().name(name).limit(limit).build()
}

fn limit(job: &Job, running: usize, limit: usize) -> Reason {
    Reason::Limit { job: job.clone(), running, limit }
}

#[test]
fn a_job_without_tasks_is_idle_or_closed() {
    with_workers(|pool, _| {
        let search = job(pool, "search", 2);
        assert_eq!(search.explain().reasons(), [Reason::Idle]);
        search.spawn(|| ()).join().unwrap();
        search.wait();
        assert_eq!(search.explain().reasons(), [Reason::Idle]);
        search.close();
        assert_eq!(search.explain().reasons(), [Reason::Closed { job: search.clone() }]);
        assert_eq!(search.explain().to_string(), "job \"search\" is closed and has no task");
    });
}

#[test]
fn a_pause_comes_before_a_limit() {
    with_workers(|pool, _| {
        let host = job(pool, "host", 0);
        let page = host.job_builder().name("page").limit(1).build();
        let task = page.spawn(|| ());
        assert_eq!(page.explain().reasons(), [limit(&host, 0, 0)]);
        page.pause();
        let paused = Reason::Paused { job: page.clone() };
        assert_eq!(page.explain().reasons(), [paused.clone(), limit(&host, 0, 0)]);
        assert_eq!(page.explain_task(&task).first(), &paused);
        assert_eq!(
            page.explain().to_string(),
            "job \"page\" is paused, and job \"host\" has a limit of 0"
        );
        host.pause();
        page.resume();
        assert_eq!(page.explain().first(), &Reason::Paused { job: host.clone() });
        host.resume();
        host.set_limit(1);
        task.join().unwrap();
    });
}

#[test]
fn a_hold_off_is_named_with_its_end() {
    within(LONG, || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(2).clock(&clock).build().unwrap();
        let host = job(&pool, "host", 2);
        let page = host.job_builder().name("page").limit(0).build();
        host.hold_off(Duration::from_secs(30));
        let until = clock.now() + Duration::from_secs(30);
        let held_off = Reason::HeldOff { job: host.clone(), until };
        let task = page.spawn(|| ());
        assert_eq!(page.explain().reasons(), [limit(&page, 0, 0), held_off.clone()]);
        page.set_limit(1);
        assert_eq!(page.explain_task(&task).reasons(), [held_off]);
        assert_eq!(page.explain().to_string(), "job \"host\" is held off for another 30.0s");
        clock.advance(Duration::from_secs(30));
        task.join().unwrap();
    });
}

#[test]
fn a_full_job_says_how_many_run() {
    within(LONG, || {
        let pool = pool(4);
        let search = job(&pool, "search", 2);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let running: Vec<_> = (0..2).map(|_| search.spawn(stay(&gauge, &latch))).collect();
        gauge.until_running(2);
        assert_eq!(search.explain().reasons(), [Reason::Running { running: 2 }]);
        let waiting: Vec<_> = (0..3).map(|_| search.spawn(|| ())).collect();
        assert_eq!(search.explain().reasons(), [limit(&search, 2, 2)]);
        assert_eq!(search.explain().to_string(), "job \"search\" runs 2 tasks of at most 2");
        for (ahead, task) in waiting.iter().enumerate() {
            let reasons = search.explain_task(task);
            let mut expected = vec![limit(&search, 2, 2)];
            expected.extend((ahead > 0).then_some(Reason::Behind { ahead }));
            assert_eq!(reasons.reasons(), expected);
        }
        assert_eq!(search.explain_task(&running[0]).reasons(), [Reason::Running { running: 1 }]);
        assert!(waiting[0].cancel());
        assert_eq!(search.explain_task(&waiting[0]).reasons(), [Reason::Ended]);
        // A cancelled task delays no other.
        assert_eq!(search.explain_task(&waiting[1]).reasons(), [limit(&search, 2, 2)]);
        latch.open();
        search.wait();
    });
}

#[test]
fn a_full_parent_is_named_and_siblings_ahead_are_counted() {
    within(LONG, || {
        let pool = pool(4);
        let host = job(&pool, "host", 1);
        let pages: Vec<_> =
            (0..4).map(|i| host.job_builder().name(format!("page {i}")).limit(5).build()).collect();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pages[0].execute(stay(&gauge, &latch));
        gauge.until_running(1);
        for page in &pages[1..] {
            page.execute(|| ());
        }
        for (ahead, page) in pages[1..].iter().enumerate() {
            let mut expected = vec![limit(&host, 1, 1)];
            expected.extend((ahead > 0).then_some(Reason::Behind { ahead }));
            assert_eq!(page.explain().reasons(), expected);
        }
        let last = pages[3].spawn(|| ());
        // Two of siblings, and one of its own job.
        let expected = [limit(&host, 1, 1), Reason::Behind { ahead: 3 }];
        assert_eq!(pages[3].explain_task(&last).reasons(), expected);
        latch.open();
        host.wait();
    });
}

#[test]
fn a_pool_whose_workers_are_busy_says_so() {
    with_workers(|pool, workers| {
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let busy = job(pool, "busy", usize::MAX);
        (0..workers).for_each(|_| busy.execute(stay(&gauge, &latch)));
        gauge.until_running(workers);
        let search = job(pool, "search", 2);
        let task = search.spawn(|| ());
        let no_worker = Reason::NoWorker { busy: workers, workers };
        assert_eq!(search.explain().reasons(), std::slice::from_ref(&no_worker));
        assert_eq!(search.explain_task(&task).reasons(), [no_worker]);
        latch.open();
        task.join().unwrap();
    });
}

#[test]
fn a_cancelled_job_says_that_its_tasks_are_dropped() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        job(&pool, "busy", 1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let host = job(&pool, "host", 0);
        let page = host.job(2);
        let task = page.spawn(|| ());
        host.cancel();
        assert_eq!(page.explain_task(&task).reasons().len(), 1);
        let Reason::Cancelled { job } = page.explain_task(&task).first().clone() else {
            panic!("{:?}", page.explain_task(&task));
        };
        assert!(job == host || job == page, "{job:?}");
        latch.open();
        page.wait();
        assert_eq!(page.explain_task(&task).reasons(), [Reason::Ended]);
    });
}

#[test]
fn a_task_of_another_job_is_refused() {
    with_workers(|pool, _| {
        let (search, other) = (job(pool, "search", 0), pool.job(1));
        let task = search.spawn(|| ());
        let said = panic_of(|| other.explain_task(&task));
        assert_eq!(said, "a task of the job `search` is explained by another job: ask its own job");
        search.set_limit(1);
        task.join().unwrap();
    });
}

#[test]
fn a_task_that_waits_inside_names_the_job_that_it_waits_for() {
    with_workers(|pool, _| {
        let (search, other) = (job(pool, "search", 4), job(pool, "other", 0));
        let held = other.spawn(|| ());
        let waits = [(); 2].map(|()| {
            let other = other.clone();
            search.spawn(move || other.wait())
        });
        let joins = search.spawn(move || held.join().unwrap());
        let for_other = |tasks| Reason::Waiting { tasks, awaited: Some(other.clone()) };
        let for_a_task = Reason::Waiting { tasks: 1, awaited: None };
        // Each of them waits in the end: nothing lets them go on.
        let expected = [for_other(2), for_a_task.clone()];
        let all_wait = || {
            let why = search.explain();
            why.reasons().len() == 2 && expected.iter().all(|reason| why.reasons().contains(reason))
        };
        while !all_wait() {
            std::thread::yield_now();
        }
        assert_eq!(search.explain_task(&waits[0]).reasons(), [for_other(1)]);
        assert_eq!(search.explain_task(&waits[1]).to_string(), "1 task waits for job \"other\"");
        assert_eq!(search.explain_task(&joins).reasons(), [for_a_task]);
        assert_eq!(search.stats().running, 0);
        other.set_limit(1);
        search.wait();
        assert_eq!(search.explain().reasons(), [Reason::Idle]);
    });
}

#[test]
fn a_waiting_task_that_keeps_its_permit_is_told_once() {
    within(LONG, || {
        let pool = pool(2);
        let search = pool.job_builder().limit(3).keep_permits(true).build();
        let held = pool.job(0).spawn(|| ());
        let joins = search.spawn(move || _ = held.join());
        let waiting = Reason::Waiting { tasks: 1, awaited: None };
        while search.explain_task(&joins).first() != &waiting {
            std::thread::yield_now();
        }
        assert_eq!(search.stats().running, 1);
        assert_eq!(search.explain().reasons(), std::slice::from_ref(&waiting));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        search.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        assert_eq!(search.explain().reasons(), [Reason::Running { running: 1 }, waiting]);
        latch.open();
        pool.shutdown_now();
        joins.join().unwrap();
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_is_pending_or_waits_for_its_permit() {
    use futures::channel::oneshot;

    with_workers(|pool, workers| {
        let search = job(pool, "search", 1);
        let (go, gone) = oneshot::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let task = search.spawn_future(async move {
            begin.send(()).unwrap();
            gone.await.unwrap();
        });
        begun.recv().unwrap();
        // The poll that has sent returns soon.
        while search.explain_task(&task).first() == (&Reason::Running { running: 1 }) {
            std::thread::yield_now();
        }
        assert_eq!(search.explain_task(&task).reasons(), [Reason::Pending]);
        let next = search.spawn(|| ());
        assert_eq!(search.explain_task(&next).reasons(), [limit(&search, 1, 1)]);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let busy = pool.job(usize::MAX);
        (0..workers).for_each(|_| busy.execute(stay(&gauge, &latch)));
        gauge.until_running(workers);
        go.send(()).unwrap();
        // It has its permit, and needs a worker.
        let no_worker = Reason::NoWorker { busy: workers, workers };
        assert_eq!(search.explain_task(&task).reasons(), [no_worker]);
        latch.open();
        task.join().unwrap();
        next.join().unwrap();
    });
}

/// A future runs during each poll, the first one or a later one, and waits for its permit after its wait for a task is over.
#[cfg(feature = "futures")]
#[test]
fn a_future_that_awaits_a_task_is_explained_at_each_step() {
    with_workers(|pool, _| {
        let (search, held) = (job(pool, "search", 1), pool.job(0));
        let (awaited, latch) = (held.spawn(|| ()), Latch::new());
        let (opening, (begin, begun)) = (latch.opening(), mpsc::channel());
        let task = search.spawn_future(async move {
            awaited.await.unwrap();
            begin.send(()).unwrap();
            opening.wait();
        });
        while search.stats().running > 0 || search.explain_task(&task).first() != &Reason::Pending {
            std::thread::yield_now();
        }
        let permit = search.try_acquire().unwrap();
        held.set_limit(1);
        held.wait();
        // It was woken, and stands in the queue.
        while search.stats().backlog == 0 {
            std::thread::yield_now();
        }
        assert_eq!(search.explain_task(&task).first(), &limit(&search, 1, 1));
        assert_eq!(search.explain().first(), &limit(&search, 1, 1));
        drop(permit);
        begun.recv().unwrap();
        assert_eq!(search.explain_task(&task).reasons(), [Reason::Running { running: 1 }]);
        latch.open();
        task.join().unwrap();
    });
}

#[test]
fn the_clock_is_a_reason() {
    let clock = tollgate::ManualClock::new();
    let pool = tollgate::Pool::builder().workers(2).clock(&clock).build().unwrap();
    let (second, host) =
        (std::time::Duration::from_secs(1), pool.job_builder().name("host").build());
    let page = host.job_builder().rate(tollgate::Rate::every(second)).build();
    page.execute(|| ());
    page.wait();
    page.execute(|| ());
    host.hold_off(2 * second);
    let rate = Reason::Rate { job: page.clone(), until: clock.now() + second };
    let held = Reason::HeldOff { job: host.clone(), until: clock.now() + 2 * second };
    let both = page.explain();
    let text = both.to_string();
    page.set_rates(&[]);
    let one = page.explain();
    // All is checked after the task has run: while the clock holds it, the pool would not end.
    clock.advance(2 * second);
    page.wait();
    assert_eq!(both.reasons(), [held.clone(), rate]);
    assert_eq!(one.reasons(), [held]);
    let (first, second) = text.split_once(", and ").unwrap();
    assert_eq!(first, "job \"host\" is held off for another 2.0s");
    assert_eq!(second, "a job without a name starts no task for another 1.0s, by its rate");
}
