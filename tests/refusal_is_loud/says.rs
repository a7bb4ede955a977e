//! The words of the errors, and what each error says of itself.

use std::error::Error;

use tollgate::{BuildError, Closed, JoinError, PanicPayload, Pool, Rejected, TryAcquireError};

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, SECOND, panic_of, pool, pool_with_clock, within};

/// The error of a task that panics with this payload.
fn panicked(payload: Box<dyn std::any::Any + Send>) -> JoinError {
    pool(1).job(1).spawn(move || std::panic::resume_unwind(payload)).join().unwrap_err()
}

/// Each of the three errors of a task says which one it is, and only that one.
#[test]
fn an_error_of_a_task_is_one_of_three() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let held = pool.job(0);
        let cancelled = held.spawn(|| ());
        assert!(cancelled.cancel());
        let late = held.spawn_within(SECOND, || ());
        clock.advance(SECOND);
        let errors = [
            (cancelled.join().unwrap_err(), "the task was cancelled"),
            (late.join().unwrap_err(), "the task had not started by its deadline"),
            (panicked(Box::new("no page")), "the task panicked: no page"),
            (panicked(Box::new(String::from("no host"))), "the task panicked: no host"),
            (panicked(Box::new(7_u32)), "the task panicked"),
        ];
        for (i, (error, says)) in errors.into_iter().enumerate() {
            let is = (error.is_cancelled(), error.is_expired(), error.is_panic());
            assert_eq!(is, (i == 0, i == 1, i > 1), "{error:?}");
            assert_eq!(error.to_string(), says);
            assert!(error.source().is_none());
            if i < 2 {
                let said = panic_of(|| error.into_panic());
                assert!(said.contains("check `is_panic` first"), "{said}");
            } else {
                let payload = error.into_panic();
                assert_eq!(payload.downcast_ref::<u32>().copied(), (i == 4).then_some(7));
            }
        }
    });
}

#[test]
fn a_payload_shows_its_message() {
    within(LONG, || {
        let payload = |error| match error {
            JoinError::Panicked(payload) => payload,
            other => panic!("{other:?}"),
        };
        let text: PanicPayload = payload(panicked(Box::new("no page")));
        assert_eq!((text.message(), format!("{text:?}")), (Some("no page"), "\"no page\"".into()));
        assert_eq!(text.downcast_ref::<&str>(), Some(&"no page"));
        let number = payload(panicked(Box::new(7_u32)));
        assert_eq!((number.message(), format!("{number:?}")), (None, "..".into()));
        assert_eq!((number.downcast_ref::<u32>(), number.downcast_ref::<i32>()), (Some(&7), None));
        assert_eq!(number.into_inner().downcast_ref::<u32>(), Some(&7));
    });
}

/// What a refused push and a refused permit say, and what they print with `{:?}`.
#[test]
fn a_refusal_says_what_to_do() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let job = pool.job_builder().limit(1).capacity(1).build();
        job.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        job.execute(|| ());
        let full = job.try_execute(|| ()).unwrap_err();
        assert!(matches!(full, Rejected::Full(_)));
        assert_eq!(full.to_string(), "the job's backlog is full: try again once tasks have run");
        assert_eq!(format!("{full:?}"), "Full(..)");
        let none = job.try_acquire().unwrap_err();
        assert_eq!(none, TryAcquireError::NoPermit);
        assert_eq!(none.to_string(), "no permit of the job is free: try again, or acquire one");
        job.close();
        let closed = job.try_execute(|| ()).unwrap_err();
        assert!(matches!(closed, Rejected::Closed(_)));
        let says = "the job is closed, or its pool shut down: push to another one";
        assert_eq!((closed.to_string(), format!("{closed:?}")), (says.into(), "Closed(..)".into()));
        let says = "the job is closed, or its pool shut down: acquire from another one";
        assert_eq!(job.try_acquire().unwrap_err(), TryAcquireError::Closed);
        assert_eq!(job.try_acquire().unwrap_err().to_string(), says);
        assert_eq!(job.acquire_blocking().unwrap_err().to_string(), says);
        assert_eq!(Closed.to_string(), says);
        latch.open();
    });
}

#[test]
fn a_pool_that_cannot_be_built_says_why() {
    within(LONG, || {
        let says = |error: BuildError| (error.to_string(), error.source().is_some());
        let none = Pool::builder().workers(0).build().unwrap_err();
        assert_eq!(
            says(none),
            ("a pool of 0 workers runs nothing: ask for at least 1".into(), false)
        );
        let many = Pool::builder().workers(usize::MAX).build().unwrap_err();
        let (words, _) = says(many);
        let start =
            format!("a pool of {} workers is more than it can count: ask for at most ", usize::MAX);
        assert!(words.starts_with(&start), "{words}");
        let spares = Pool::builder().workers(1).max_spare_workers(usize::MAX).build().unwrap_err();
        let (words, _) = says(spares);
        let start = format!(
            "{} spare workers are more than a pool can count: ask for at most ",
            usize::MAX
        );
        assert!(words.starts_with(&start), "{words}");
        let name = Pool::builder().workers(2).thread_name(|_| "a\0b".into()).build().unwrap_err();
        let words = "worker 0 cannot be called \"a\\0b\": leave the nul byte out of its name";
        assert_eq!(says(name), (words.into(), false));
        let stack = Pool::builder().workers(1).stack_size(usize::MAX).build().unwrap_err();
        let words =
            "a worker's thread could not be started: ask for fewer workers or a smaller stack";
        assert_eq!(says(stack), (words.into(), true));
    });
}

/// Tasks that run and permits that are held when the time is over are counted apart.
#[test]
fn a_pool_that_was_not_drained_says_what_is_left() {
    within(LONG, || {
        let pool = pool(2);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let job = pool.job(2);
        job.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let permits = [pool.job(1).try_acquire().unwrap(), pool.job(1).try_acquire().unwrap()];
        let left = pool.shutdown_timeout(std::time::Duration::from_millis(1)).unwrap_err();
        assert_eq!((left.running, left.pending), (1, 2));
        assert_eq!(
            left.to_string(),
            "the pool was not drained in time: 1 of its tasks still run, and 2 futures or permits were pending"
        );
        latch.open();
        drop(permits);
    });
}

/// The error of a call prints as the call's error alone, and its source is the source of that error.
#[test]
fn an_error_of_a_call_is_transparent() {
    #[derive(Debug)]
    struct Outer(std::fmt::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no such page")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    let failed = tollgate::TryError::Failed(Outer(std::fmt::Error));
    assert_eq!(failed.to_string(), "no such page");
    assert_eq!(failed.source().unwrap().to_string(), std::fmt::Error.to_string());
    let join = tollgate::TryError::<Outer>::Join(JoinError::Cancelled);
    assert_eq!(join.to_string(), "the task was cancelled");
    assert!(join.source().is_none());
}
