//! The public face: errors that other code can pass on, limits without a gap, handles by identity, and panics that point
//! at the caller.

mod common;

use std::cell::Cell;
use std::collections::HashSet;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once, mpsc};
use std::thread;
use std::time::Duration;

use common::event::Latch;
use common::{LONG, pool, settle, within};
use tollgate::{Adaptive, Job, JobBuilder, JoinError, Pool, Rate, TaskHandle};

#[test]
fn a_join_passes_its_error_on_with_a_question_mark() {
    fn joined(task: TaskHandle<u32>) -> Result<u32, Box<dyn Error + Send + Sync>> {
        Ok(task.join()?)
    }
    let pool = pool(1);
    assert_eq!(joined(pool.job(1).spawn(|| 7)).unwrap(), 7);
    let error = joined(pool.job(1).spawn(|| panic!("no such page"))).unwrap_err();
    assert_eq!(error.to_string(), "the task panicked: no such page");
    let error = error.downcast::<JoinError>().unwrap();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.into_panic().downcast_ref(), Some(&"no such page"));
}

#[test]
fn threads_share_an_error() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let error = pool(1).job(1).spawn(|| std::panic::panic_any(7_u8)).join().unwrap_err();
    is_shared(&error);
    let JoinError::Panicked(payload) = &error else { panic!("it panicked") };
    thread::scope(|s| _ = s.spawn(|| assert_eq!(payload.downcast_ref(), Some(&7_u8))));
    assert_eq!((payload.message(), format!("{error:?}")), (None, "Panicked(..)".to_owned()));
}

#[test]
fn a_limit_above_the_greatest_is_no_limit() {
    let pool = pool(2);
    let greatest = Job::MAX_LIMIT;
    for (asked, limit) in
        [(greatest, greatest), (greatest + 1, usize::MAX), (usize::MAX - 1, usize::MAX)]
    {
        let job = pool.job(1);
        job.set_limit(asked);
        let built = pool.job_builder().limit(asked).build();
        for job in [job, built, pool.job(asked), pool.job(3).job(asked)] {
            assert_eq!(job.limit(), limit, "asked for {asked}");
            assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
            let says = format!("{job:?} {:?}", job.stats());
            assert_eq!(
                says.matches("limit: unlimited").count() == 2,
                limit == usize::MAX,
                "{says}"
            );
        }
    }
}

#[test]
fn handles_of_one_job_are_equal() {
    let pool = pool(2);
    let (search, pages) = (pool.job(2), pool.job(2));
    let inside = search.spawn(tollgate::current_job).join().unwrap();
    assert_eq!(inside, Some(search.clone()));
    assert_ne!(search, pages);
    let all: HashSet<_> = [search.clone(), pages.clone(), search, pages].into();
    assert_eq!(all.len(), 2);
}

#[test]
fn after_a_pause_settled_means_that_nothing_runs() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(2);
        let (latch, (tell, began)) = (Latch::new(), mpsc::channel());
        let stays = latch.opening();
        let task = job.spawn(move || {
            tell.send(()).unwrap();
            stays.wait();
        });
        began.recv().unwrap();
        assert!(job.settled().wait_timeout(Duration::ZERO));
        job.pause();
        job.pause();
        assert!(!job.settled().wait_timeout(Duration::ZERO), "a task of the paused job runs");
        let waiter = thread::spawn({
            let job = job.clone();
            move || job.settled().wait()
        });
        latch.open();
        waiter.join().unwrap();
        assert_eq!(job.stats().running, 0);
        task.join().unwrap();
        // Pauses do not nest.
        job.resume();
        job.spawn(|| ()).join().unwrap();
    });
}

/// If the clock cannot represent the end of the timeout, the wait has no timeout.
#[test]
fn settled_waits_through_a_timeout_without_an_end() {
    within(LONG, || {
        let pool = pool(2);
        let (job, waiting) = (pool.job(1), pool.job(1));
        // A wait that ends at once releases its permit for a moment, too. So `settle` can return before such a wait has ended, and one
        // round could miss the mistake.
        for _ in 0..10 {
            let (latch, (tell, began)) = (Latch::new(), mpsc::channel());
            let (stays, both) = (latch.opening(), (job.clone(), tell.clone()));
            job.execute(move || {
                tell.send(()).unwrap();
                stays.wait();
            });
            began.recv().unwrap();
            job.pause();
            let waiter = waiting.spawn(move || {
                let (job, tell) = both;
                tell.send(()).unwrap();
                job.settled().wait_timeout(Duration::MAX)
            });
            began.recv().unwrap();
            // From here on the waiter waits, or has come back too early.
            settle(&waiting);
            latch.open();
            assert!(waiter.join().unwrap(), "the wait ended before the job was settled");
            job.resume();
        }
    });
}

#[test]
fn a_resume_settles_a_job_whose_tasks_fit_its_limit() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let (latch, (tell, began)) = (Latch::new(), mpsc::channel());
        let stays = latch.opening();
        let task = job.spawn(move || {
            tell.send(()).unwrap();
            stays.wait();
        });
        began.recv().unwrap();
        job.pause();
        let waiter = thread::spawn({
            let job = job.clone();
            move || job.settled().wait()
        });
        job.resume();
        waiter.join().unwrap();
        latch.open();
        task.join().unwrap();
    });
}

thread_local! {
    static FILE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The file that a panic of `call` points at.
fn file_of_panic<R>(call: impl FnOnce() -> R) -> &'static str {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            FILE.set(info.location().map(|at| at.file().to_owned().leak() as &str));
            before(info);
        }));
    });
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "the call did not panic");
    FILE.take().expect("the hook saw the panic")
}

#[test]
fn a_wait_without_a_spare_worker_points_at_the_caller() {
    within(LONG, || {
        let pool = Pool::builder().workers(1).max_spare_workers(0).build().unwrap();
        let (job, held) = (pool.job(2), pool.job(0));
        held.execute(|| ());
        let inside = |call: fn(&Job) -> &'static str| {
            let held = held.clone();
            job.spawn(move || call(&held)).join().unwrap()
        };
        let beside = common::pool(1);
        let full = beside.job_builder().limit(0).capacity(1).build();
        full.execute(|| ());
        let pushes = |call: fn(&Job)| {
            let full = full.clone();
            job.spawn(move || file_of_panic(|| call(&full))).join().unwrap()
        };
        for file in [
            inside(|held| file_of_panic(|| held.wait())),
            inside(|held| file_of_panic(|| held.wait_timeout(LONG))),
            inside(|held| {
                let task = held.spawn(|| ());
                file_of_panic(|| task.join())
            }),
            inside(|held| {
                let task = held.spawn(|| ());
                file_of_panic(|| task.join_timeout(LONG))
            }),
            inside(|held| file_of_panic(|| held.scope(|s| s.execute(|| ())))),
            inside(|held| file_of_panic(|| held.scope(|s| s.spawn(|| ()).join()))),
            inside(|held| file_of_panic(|| held.for_each(0..1, |_| ()))),
            inside(|held| file_of_panic(|| held.map(0..1, |i| i).next())),
            pushes(|full| full.execute(|| ())),
            pushes(|full| drop(full.spawn(|| ()))),
            pushes(|full| full.scope(|s| s.execute(|| ()))),
        ] {
            assert!(file.ends_with("face.rs"), "a panic points at {file}");
        }
        held.cancel();
    });
}

#[test]
fn a_job_alone_makes_children_with_names_and_bounds() {
    let pool = pool(2);
    let host = pool.job_builder().name("host").limit(1).build();
    drop(pool);
    let page = host.job_builder().name("page").limit(3).capacity(1).build();
    assert_eq!((page.name(), page.limit()), (Some("page"), 3));
    assert!(format!("{page:?}").contains("capacity: 1"), "{page:?}");
    host.close();
    assert!(page.is_closed(), "it is not a child");
    let other = host.job_builder().build();
    assert!(other.is_closed() && other.name().is_none() && other.limit() == usize::MAX);
}

#[test]
fn a_builder_prints_what_was_set() {
    let pool = pool(1);
    let host = pool.job_builder().name("host").limit(6).build();
    let says = |builder: JobBuilder| format!("{builder:?}");
    let none = says(pool.job_builder());
    assert!(none.starts_with("JobBuilder { limit: unlimited, "), "{none}");
    let above = says(pool.job_builder().limit(Job::MAX_LIMIT + 1));
    assert_eq!(above, none);
    let page = host.job_builder().name("page").limit(2).capacity(7).rate(Rate::per_second(3));
    let page = says(page.weight(4).timed().keep_permits(true));
    assert!(
        page.starts_with("JobBuilder { name: \"page\", parent: Job { name: \"host\", "),
        "{page}"
    );
    for part in
        ["limit: 2, capacity: 7, rates: [", "weight: 4", "timed: true", "keep_permits: true"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    let adaptive = says(pool.job_builder().adaptive(Adaptive::new(1..=8)));
    assert!(adaptive.contains("range: 1..=8") && !adaptive.contains("limit"), "{adaptive}");
}

#[test]
fn a_panic_points_at_the_caller() {
    within(LONG, || {
        let pool = Arc::new(pool(2));
        let job = pool.job(1);
        let inside = |call: fn(&Job, &Pool) -> &'static str| {
            let (own, pool) = (job.clone(), Arc::clone(&pool));
            job.spawn(move || call(&own, &pool)).join().unwrap()
        };
        let other = common::pool(1).job(1);
        let held = pool.job(0).spawn(|| ());
        let cancelled = || {
            let held = pool.job(0);
            let task = held.spawn(|| ());
            held.cancel();
            task.join().unwrap_err()
        };
        for file in [
            inside(|job, _| file_of_panic(|| job.wait())),
            inside(|job, _| file_of_panic(|| job.wait_timeout(LONG))),
            inside(|_, pool| file_of_panic(|| pool.shutdown())),
            inside(|_, pool| file_of_panic(|| pool.shutdown_now())),
            inside(|_, pool| file_of_panic(|| pool.shutdown_timeout(LONG))),
            file_of_panic(|| pool.job_builder().parent(&other)),
            file_of_panic(|| pool.job_builder().capacity(0).build().spawn_after(LONG, || ())),
            file_of_panic(|| cancelled().into_panic()),
            file_of_panic(|| job.explain_task(&held)),
            file_of_panic(|| {
                pool.job_builder().timed().build().timings().unwrap().run.quantile(2.0)
            }),
        ] {
            assert!(file.ends_with("face.rs"), "a panic points at {file}");
        }
        assert!(held.cancel());
    });
}

/// More events than any memory has.
#[cfg(feature = "timeline")]
#[test]
fn a_timeline_without_memory_points_at_the_caller_and_is_off() {
    let pool = pool(1);
    let timeline = pool.timeline();
    for events in [usize::MAX, isize::MAX as usize / 48] {
        timeline.start();
        assert!(file_of_panic(|| timeline.start_with(events)).ends_with("face.rs"));
        assert!(!timeline.is_on());
        let said = common::panic_of(|| timeline.start_with(events));
        assert_eq!(
            said,
            format!("no memory for {events} events of each worker: start the timeline with fewer")
        );
        pool.job(1).spawn(|| ()).join().unwrap();
    }
    timeline.start();
    pool.job(1).spawn(|| ()).join().unwrap();
    assert_eq!((timeline.is_on(), timeline.lost()), (true, 0));
}
