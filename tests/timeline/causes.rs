//! Which event is the cause of a start: a flow leads from a slice only if the end of that slice has released the permit.

use std::thread;

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, SECOND, pool, pool_with_clock, until_parked, unwind, within};
use crate::{check, read};
#[cfg(feature = "futures")]
use tollgate::Reason;
use tollgate::{Job, Rate, Retry};

/// The joining task has released a permit before the join. That is no reason for the start of the task that runs inline under the
/// permit of the joining task.
#[test]
fn a_task_that_runs_inline_starts_for_no_earlier_reason() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let (same, other) = (search.clone(), pool.job(1));
        search.execute(move || {
            let task = same.spawn(|| ());
            drop(other.try_acquire().unwrap());
            task.join().unwrap();
        });
        search.wait();
        let trace = read(&pool);
        check(&trace);
        let inline = trace.slice("job \"search\"", 2, "running");
        assert!(inline.last_of_flows.is_empty(), "{inline:?}");
    });
}

/// A task of another job runs inline, and pushes tasks, of which some are admitted when it ends. The timeline names no cause of
/// their starts, although the inline task has released its permit.
#[test]
fn the_end_of_a_task_that_runs_inline_is_no_cause() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let outer = pool.job_builder().name("outer").limit(1).build();
        let inner = pool.job(9).job_builder().name("inner").limit(2).build();
        let (own, same) = (inner.clone(), inner.clone());
        let pushes = move || (0..4).for_each(|_| same.execute(|| ()));
        outer.execute(move || own.spawn(pushes).join().unwrap());
        outer.wait();
        inner.wait();
        let trace = read(&pool);
        check(&trace);
        let waits = trace.slice("job \"outer\"", 1, "waits");
        let first = trace.slice("job \"inner\"", 1, "running");
        assert!(waits.from <= first.from && first.to <= waits.to, "{trace:#?}");
        assert!(first.last_of_flows.is_empty() && first.flows.is_empty(), "{trace:#?}");
    });
}

/// The pusher waits until the worker has counted a cancelled task, and then pushes the next one. The captures need a cell of their
/// own, so that the allocator gives the memory that was freed last to the next task.
#[test]
fn a_cancelled_task_ends_no_later_task() {
    const TASKS: u64 = 2_000;
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        for _ in 0..TASKS {
            let (before, page) = (search.stats().cancelled, [0_u8; 500]);
            let task = search.spawn(move || page.len());
            if task.cancel() {
                while search.stats().cancelled == before {
                    std::hint::spin_loop();
                }
            }
        }
        search.wait();
        assert_eq!(pool.timeline().lost(), 0);
        let trace = read(&pool);
        check(&trace);
        for slice in trace.of("job \"search\"") {
            let why = slice.says("why");
            assert!(!why.contains("not known") && why != "has not ended", "{slice:?}");
        }
    });
}

/// A future that has its permit is dropped by its handle, by the cancel of its job, or in the poll in which it cancels its job.
#[test]
#[cfg(feature = "futures")]
fn a_future_that_is_dropped_is_cancelled() {
    within(LONG, || {
        let pool = pool(1);
        for way in ["handle", "job", "poll"] {
            pool.timeline().start();
            let search = pool.job_builder().name("search").limit(1).build();
            let own = search.clone();
            let task = search.spawn_future(async move {
                if way == "poll" {
                    own.cancel();
                }
                std::future::pending::<()>().await;
            });
            while way != "poll" && search.explain_task(&task).first() != &Reason::Pending {
                thread::yield_now();
            }
            match way {
                "handle" => assert!(task.cancel()),
                "job" => search.cancel(),
                _ => {}
            }
            search.wait();
            let trace = read(&pool);
            check(&trace);
            let last = trace.of("job \"search\"").into_iter().max_by_key(|slice| slice.from);
            let last = last.unwrap();
            assert_eq!((last.name.as_str(), last.says("why")), ("running", "cancelled"), "{way}");
        }
    });
}

/// The handle of each task gets the payload of the panic.
#[test]
fn a_task_with_a_handle_that_panics_says_so() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        assert!(search.spawn(|| unwind("in a task")).join().is_err());
        assert!(
            search
                .spawn_retry(Retry::new(), || -> Result<(), ()> { unwind("tried") })
                .join()
                .is_err()
        );
        #[cfg(feature = "futures")]
        assert!(search.spawn_future(async { unwind("in a future") }).join().is_err());
        // One that runs inline inside another one, which then returns.
        let same = search.clone();
        search.execute(move || assert!(same.spawn(|| unwind("inline")).join().is_err()));
        search.wait();
        let trace = read(&pool);
        check(&trace);
        let mut says: Vec<_> = trace
            .of("job \"search\"")
            .iter()
            .filter(|slice| slice.name == "running")
            .map(|slice| (slice.from, slice.says("why").to_owned()))
            .collect();
        says.sort();
        let says: Vec<_> = says.into_iter().map(|(_, says)| says).collect();
        let mut wanted = vec!["panicked"; if cfg!(feature = "futures") { 3 } else { 2 }];
        wanted.extend(["ended", "panicked"]);
        assert_eq!(says, wanted);
    });
}

/// The closed job refuses the future, so the task itself drops it.
#[test]
#[cfg(feature = "futures")]
fn a_task_that_drops_a_future_ends_as_a_task() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).build();
        let closed = pool.job(1);
        closed.close();
        search.execute(move || drop(closed.spawn_future(async {})));
        search.wait();
        assert_eq!(read(&pool).slice("job \"search\"", 1, "running").says("why"), "ended");
    });
}

/// A push into a job with a capacity of 0 first acquires the permits of its task. The permits have a slice of their own, which ends
/// at the push.
#[test]
fn a_task_that_is_handed_over_comes_after_its_permits() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let search = pool.job_builder().name("search").limit(1).capacity(0).build();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        search.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        thread::scope(|s| {
            s.spawn(|| search.execute(|| ()));
            while search.stats().backlog == 0 {
                thread::yield_now();
            }
            latch.open();
        });
        search.wait();
        let trace = read(&pool);
        check(&trace);
        let slice = |task, name| trace.slice("job \"search\"", task, name);
        for (permits, task) in [(1, 2), (3, 4)] {
            assert_eq!(slice(permits, "running").says("why"), "ended");
            assert!(slice(permits, "running").to <= slice(task, "queued").from, "{trace:#?}");
            assert_eq!(slice(task, "queued").says("why"), "nothing held it: a worker took it");
            assert!(slice(task, "running").last_of_flows.is_empty(), "{trace:#?}");
        }
        let why = "job \"search\" ran 1 of at most 1, until task 2 ended";
        assert_eq!(slice(3, "queued").says("why"), why);
        assert_eq!(slice(3, "running").last_of_flows, slice(2, "running").flows);
        assert_eq!(slice(2, "running").flows.len(), 1);
    });
}

/// The task has its permits, and the pause comes before a worker takes the task.
#[test]
fn a_task_that_is_handed_over_to_a_paused_job_says_so() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let search = pool.job_builder().name("search").limit(1).capacity(0).build();
        search.execute(|| ());
        search.pause();
        latch.open();
        // Then the worker has put the task into the queue, and has released the task's permits.
        until_parked(&pool, 1);
        assert_eq!(pool.stats().refused, 1);
        search.resume();
        search.wait();
        let trace = read(&pool);
        let why = "job \"search\" was paused, until job \"search\" had a limit of 1 or was resumed";
        assert_eq!(trace.slice("job \"search\"", 2, "queued").says("why"), why);
    });
}

/// A thread ends the hold-off of a job, or changes its limit, or resumes it. Then the thread removes the rate of another job. The
/// timeline does not show such a removal, so it knows no cause of the starts that the removal allows.
#[test]
fn a_change_of_one_job_is_no_cause_in_another_job() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let changes: [&dyn Fn(&Job); 3] = [
            &|job| {
                job.hold_off(SECOND);
                clock.advance(SECOND);
            },
            &|job| job.set_limit(1),
            &|job| {
                job.pause();
                job.resume();
            },
        ];
        for change in changes {
            pool.timeline().start();
            let slow = pool.job_builder().name("slow").rate(Rate::every(LONG)).build();
            slow.spawn(|| ()).join().unwrap();
            let task = slow.spawn(|| ());
            change(&pool.job_builder().name("other").build());
            slow.set_rates(&[]);
            task.join().unwrap();
            slow.wait();
            let trace = read(&pool);
            let said = trace.slice("job \"slow\"", 2, "queued").says("why").to_owned();
            assert_eq!(said, "job \"slow\" was held off, or its rate allowed no start");
        }
    });
}
