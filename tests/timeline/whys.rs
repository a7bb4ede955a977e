//! Why a task waited, and how it ended, in words.

use std::sync::mpsc;
use std::thread;

use crate::common::event::{Gauge, Latch, WaitsInDrop, stay};
use crate::common::{LONG, SECOND, pool, pool_with_clock, until_parked, with_workers, within};
use crate::{check, read};
use tollgate::{Job, JoinError, Pool, Rate, Reason};

/// Pushes a task into the job, lets it go, and returns why it waited.
fn why(pool: &Pool, job: &Job, release: impl FnOnce()) -> String {
    pool.timeline().start();
    let task = job.spawn(|| ());
    release();
    task.join().unwrap();
    job.wait();
    let name = job.name().map(|name| format!("job {name:?}")).unwrap();
    read(pool).slice(&name, 1, "queued").says("why").to_owned()
}

#[test]
fn each_gate_says_why() {
    with_workers(|pool, _| {
        let host = pool.job_builder().name("host").build();
        let page = host.job_builder().name("page").build();
        page.pause();
        let said = why(pool, &page, || page.resume());
        assert_eq!(said, "job \"page\" was paused, until job \"page\" had no limit or was resumed");
        page.set_limit(0);
        let said = why(pool, &page, || page.set_limit(2));
        assert_eq!(
            said,
            "job \"page\" had a limit of 0, until job \"page\" had a limit of 2 or was resumed"
        );
        host.pause();
        let said = why(pool, &page, || host.resume());
        assert_eq!(said, "job \"host\" was paused, until job \"host\" had no limit or was resumed");
        let said = why(pool, &page, || ());
        assert_eq!(said, "nothing held it: a worker took it");
    });
}

#[test]
fn a_limit_of_a_job_above_says_why() {
    with_workers(|pool, _| {
        let host = pool.job_builder().name("host").limit(1).build();
        let (page, other) = (host.job_builder().name("page").build(), host.job(2));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        other.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let said = why(pool, &page, || latch.open());
        assert!(
            said.starts_with("job \"host\" ran 1 of at most 1, until a task of job "),
            "{said}"
        );
        assert!(said.ends_with(", without a name ended"), "{said}");
    });
}

#[test]
fn the_clock_says_why() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(2);
        let job = pool.job_builder().name("search").build();
        job.hold_off(SECOND);
        let held = "job \"search\" was held off, or its rate allowed no start";
        let said = why(&pool, &job, || clock.advance(SECOND));
        assert_eq!(said, format!("{held}, until the time of job \"search\" came"));
        let slow = pool.job_builder().name("slow").rate(Rate::per_second(1)).build();
        slow.spawn(|| ()).join().unwrap();
        slow.wait();
        let said = why(&pool, &slow, || clock.advance(SECOND));
        assert_eq!(
            said,
            format!("{held}, until the time of job \"slow\" came").replace("search", "slow")
        );
    });
}

/// A worker has run a task of another job, and parked. The end of that task is no reason for the start of a later one.
#[test]
fn a_task_that_ended_before_the_push_is_no_reason() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (pool.job(1).job_builder().name("search").build(), pool.job(1).job(1));
        pool.timeline().start();
        other.spawn(|| ()).join().unwrap();
        until_parked(&pool, 1);
        job.spawn(|| ()).join().unwrap();
        let trace = read(&pool);
        let said = trace.slice("job \"search\"", 1, "queued").says("why");
        assert_eq!(said, "nothing held it: a worker took it");
    });
}

#[test]
fn a_task_that_has_not_started_says_why() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let job = pool.job_builder().name("search").build();
        job.pause();
        let task = job.spawn(|| ());
        assert_eq!(
            read(&pool).slice("job \"search\"", 1, "queued").says("why"),
            "job \"search\" was paused"
        );
        job.resume();
        task.join().unwrap();
    });
}

#[test]
fn a_join_releases_the_permit_and_takes_it_back() {
    with_workers(|pool, _| {
        pool.timeline().start();
        let (search, other) = (pool.job_builder().name("search").limit(1).build(), pool.job(1));
        let latch = Latch::new();
        let opening = latch.opening();
        let outer = search.spawn(move || other.spawn(move || opening.wait()).join().unwrap());
        while !matches!(search.explain().first(), Reason::Waiting { .. }) {
            thread::yield_now();
        }
        latch.open();
        outer.join().unwrap();
        search.wait();
        let trace = read(pool);
        let names: Vec<_> =
            trace.of("job \"search\"").iter().map(|slice| slice.name.as_str()).collect();
        assert_eq!(names, ["queued", "running", "waits", "running"]);
        assert_eq!(trace.each("job \"search\"", "running"), [0, 1, 0, 1, 0]);
        let waits = trace.slice("job \"search\"", 1, "waits");
        assert_eq!(waits.says("why"), "waits inside, without a permit");
    });
}

#[test]
fn a_task_that_runs_inside_another_has_its_own_slice() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let same = search.clone();
        search.spawn(move || same.spawn(|| ()).join().unwrap()).join().unwrap();
        search.wait();
        let trace = read(&pool);
        let (outer, inner) = (
            trace.slice("job \"search\"", 1, "running"),
            trace.slice("job \"search\"", 2, "running"),
        );
        assert!(outer.from <= inner.from && inner.to <= outer.to, "{outer:?} {inner:?}");
        assert_eq!(trace.of("job \"search\"").len(), 4);
    });
}

/// Two tasks run inline under the permit of a third one, one after the other. No end has released that permit.
#[test]
fn a_task_that_runs_inside_another_waits_for_no_end() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let same = search.clone();
        search.execute(move || {
            same.spawn(|| ()).join().unwrap();
            same.spawn(|| ()).join().unwrap();
        });
        search.wait();
        let trace = read(&pool);
        let second = trace.slice("job \"search\"", 3, "running");
        assert!(second.last_of_flows.is_empty(), "{second:?}");
        let why = trace.slice("job \"search\"", 3, "queued").says("why");
        assert!(!why.contains("until task"), "{why}");
    });
}

#[test]
fn a_task_that_was_pushed_before_the_start_has_no_wait() {
    within(LONG, || {
        let pool = pool(1);
        let search = pool.job_builder().name("search").limit(0).build();
        search.execute(|| ());
        pool.timeline().start();
        search.set_limit(1);
        search.wait();
        let trace = read(&pool);
        let queued = trace.slice("job \"search\"", 1, "queued");
        assert!(!queued.says("why").contains("nothing held it"), "{queued:?}");
    });
}

#[test]
fn tasks_say_how_they_ended() {
    with_workers(|pool, _| {
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(0).build();
        search.execute(|| panic!("no such page"));
        let cancelled = search.spawn(|| unreachable!());
        assert!(cancelled.cancel());
        search.set_limit(1);
        search.wait();
        search.set_limit(0);
        drop(search.spawn(|| unreachable!()));
        search.cancel();
        search.wait();
        let trace = read(pool);
        let how = |task, name| trace.slice("job \"search\"", task, name).says("why");
        assert_eq!(how(1, "running"), "panicked");
        assert_eq!((how(2, "queued"), how(3, "queued")), ("cancelled", "cancelled"));
        assert_eq!(trace.of("job \"search\"").len(), 4);
        assert_eq!(trace.each("job \"search\"", "limit"), [0, 1, 0]);
    });
}

/// The thread that moves the clock is held up in the drop of another late task. So the join finds the task, whose time has come.
#[test]
fn a_late_task_that_a_join_drops_says_cancelled() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        pool.timeline().start();
        let (held, latch) = (pool.job(0), Latch::new());
        let (waits, dropped) = WaitsInDrop::until(&latch);
        drop(held.spawn_within(SECOND, move || drop(waits)));
        let search = pool.job_builder().name("search").limit(1).build();
        let (inside, (tell, told)) = (search.clone(), mpsc::channel());
        let outer = search.spawn(move || {
            let late = inside.spawn_within(SECOND, || unreachable!());
            tell.send(()).unwrap();
            dropped.wait();
            late.join()
        });
        told.recv().unwrap();
        thread::scope(|threads| {
            threads.spawn(|| clock.advance(SECOND));
            assert!(matches!(outer.join().unwrap(), Err(JoinError::Expired)));
            latch.open();
        });
        search.wait();
        let trace = read(&pool);
        let late =
            trace.of("job \"search\"").into_iter().filter(|slice| slice.says("why") == "cancelled");
        assert_eq!(late.count(), 1, "{trace:#?}");
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_waits_while_it_is_pending() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let (polled, seen) = mpsc::channel();
        let mut wakers = None;
        let task = search.spawn_future(std::future::poll_fn(move |context| {
            if wakers.replace(()).is_some() {
                return std::task::Poll::Ready(());
            }
            polled.send(context.waker().clone()).unwrap();
            std::task::Poll::Pending
        }));
        let waker = seen.recv().unwrap();
        while search.stats().running == 0 || pool.stats().parked == 0 {
            thread::yield_now();
        }
        waker.wake();
        task.join().unwrap();
        search.wait();
        let trace = read(&pool);
        let names: Vec<_> =
            trace.of("job \"search\"").iter().map(|slice| slice.name.as_str()).collect();
        assert_eq!(names, ["queued", "running", "pending", "running"]);
        // It keeps its permit meanwhile.
        assert_eq!(trace.each("job \"search\"", "running"), [0, 1, 0]);
    });
}

/// A permit that was given back let the future start. That is no reason for its further polls.
#[test]
#[cfg(feature = "futures")]
fn a_woken_future_starts_for_no_earlier_reason() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job(1).job_builder().name("search").limit(1).build();
        let permit = search.try_acquire().unwrap();
        let mut left = 3;
        let task = search.spawn_future(std::future::poll_fn(move |context| {
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }));
        until_parked(&pool, 1);
        drop(permit);
        task.join().unwrap();
        search.wait();
        let trace = read(&pool);
        let runs = trace.of("job \"search\"").into_iter().filter(|slice| slice.name == "running");
        let flows: Vec<_> = runs.map(|slice| slice.last_of_flows.len()).collect();
        assert_eq!(flows, [0, 1, 0, 0]);
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_that_awaits_a_task_has_no_permit_meanwhile() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let other = pool.job(0);
        let held = other.spawn(|| ());
        let task = search.spawn_future(async move { held.await.unwrap() });
        while search.explain().to_string() != "1 task waits for another" {
            thread::yield_now();
        }
        other.set_limit(1);
        task.join().unwrap();
        search.wait();
        let trace = read(&pool);
        let slices = trace.of("job \"search\"");
        let says: Vec<_> =
            slices.iter().map(|slice| (slice.name.as_str(), slice.says("why"))).collect();
        let waits = ("waits", "waits for another task, without a permit");
        assert_eq!(says[1..3], [("running", "began to wait"), waits], "{says:?}");
        assert_eq!((says[0].0, says[3], says.len()), ("queued", ("running", "ended"), 4));
        assert_eq!(trace.each("job \"search\"", "running"), [0, 1, 0, 1, 0]);
    });
}

#[test]
fn permits_without_tasks_have_slices_and_flows() {
    with_workers(|pool, _| {
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let first = search.try_acquire().unwrap();
        thread::scope(|s| {
            let waits = s.spawn(|| search.acquire_blocking().unwrap());
            while search.stats().backlog == 0 {
                thread::yield_now();
            }
            drop(first);
            drop(waits.join().unwrap());
        });
        search.spawn(|| ()).join().unwrap();
        search.wait();
        let trace = read(pool);
        check(&trace);
        let names: Vec<_> =
            trace.of("job \"search\"").iter().map(|slice| slice.name.as_str()).collect();
        assert_eq!(names.len(), 6, "{names:?}");
        let queued = trace.slice("job \"search\"", 2, "queued");
        assert_eq!(queued.says("why"), "job \"search\" ran 1 of at most 1, until task 1 ended");
        let running = |task| trace.slice("job \"search\"", task, "running");
        assert_eq!((running(1).says("why"), running(2).says("why")), ("ended", "ended"));
        assert_eq!(running(1).flows, running(2).last_of_flows);
        assert_eq!(trace.last("job \"search\"", "running"), 0);
    });
}

#[test]
fn a_waiter_that_leaves_is_cancelled() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(0).build();
        let mut acquire = Box::pin(search.acquire());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(acquire.as_mut().poll(&mut context).is_pending());
        drop(acquire);
        search.set_limit(1);
        search.spawn(|| ()).join().unwrap();
        search.wait();
        let trace = read(&pool);
        check(&trace);
        let running =
            trace.of("job \"search\"").into_iter().filter(|slice| slice.name == "running");
        assert_eq!(running.count(), 1);
    });
}

/// Pushes a task that pushes the next one. Each is freed before it runs, so the next one may lie in the same cell.
fn chain(job: Job, left: usize) {
    let next = job.clone();
    job.execute(move || {
        if left > 1 {
            chain(next, left - 1);
        }
    });
}

#[test]
fn a_cell_that_is_used_again_is_another_task() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            pool.timeline().start();
            let job = pool.job_builder().name("chain").limit(limit).build();
            chain(job.clone(), 200);
            job.wait();
            let trace = read(pool);
            check(&trace);
            let (mut queued, mut running) = (0, 0);
            for slice in trace.of("job \"chain\"") {
                let why = slice.says("why");
                if slice.name == "queued" {
                    queued += 1;
                    assert!(!why.contains("not known"), "{why}");
                } else {
                    running += 1;
                    assert_eq!((slice.name.as_str(), why), ("running", "ended"));
                }
            }
            assert_eq!((queued, running), (200, 200));
        }
    });
}

#[test]
fn a_task_is_shown_with_its_name() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        search.spawn_named("index <a.html>", || ()).join().unwrap();
        search.spawn(|| ()).join().unwrap();
        search.wait();
        let trace = read(&pool);
        for what in ["queued", "running"] {
            assert_eq!(trace.slice("job \"search\"", 1, what).says("name"), "index <a.html>");
            assert!(!trace.slice("job \"search\"", 2, what).has("name"));
        }
        let mut page = Vec::new();
        pool.timeline().write_html(&mut page).unwrap();
        assert!(String::from_utf8(page).unwrap().contains("\"index \\u003ca.html\\u003e\""));
        // A start forgets the names.
        pool.timeline().start();
        search.spawn(|| ()).join().unwrap();
        search.wait();
        assert!(!read(&pool).slice("job \"search\"", 1, "running").has("name"));
    });
}

/// A task that was pushed before the start bears no name, and none of another task either.
#[test]
fn a_task_whose_push_is_not_known_has_no_name() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let search = pool.job_builder().name("search").limit(1).build();
        search.execute(stay(&gauge, &latch));
        (0..9).for_each(|_| search.execute(|| ()));
        gauge.until_running(1);
        pool.timeline().start();
        let others = pool.job_builder().name("others").limit(0).build();
        (0..99).for_each(|i| drop(others.spawn_named(i.to_string(), || ())));
        latch.open();
        search.wait();
        let trace = read(&pool);
        let slices = trace.of("job \"search\"");
        assert!(slices.iter().filter(|slice| slice.name == "running").count() >= 9);
        assert!(slices.iter().all(|slice| !slice.has("name")), "{slices:#?}");
    });
}

#[test]
fn each_permit_ends_although_waiters_leave() {
    within(LONG, || {
        let pool = pool(1);
        let search = pool.job_builder().name("search").limit(1).build();
        pool.timeline().start_with(100_000);
        thread::scope(|s| {
            s.spawn(|| (0..2_000).for_each(|_| drop(search.acquire_blocking().unwrap())));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            for _ in 0..2_000 {
                let mut acquire = Box::pin(search.acquire());
                // A permit that is granted at once is given back at once.
                let _ = acquire.as_mut().poll(&mut context);
            }
        });
        search.spawn(|| ()).join().unwrap();
        search.wait();
        assert_eq!(pool.timeline().lost(), 0);
        let trace = read(&pool);
        check(&trace);
        let running = || trace.slices.iter().filter(|slice| slice.name == "running");
        assert!(running().count() >= 2_001);
        assert!(running().all(|slice| slice.says("why") == "ended"));
    });
}
