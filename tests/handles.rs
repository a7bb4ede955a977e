//! What a `TaskHandle` promises: join, join_timeout, is_finished, cancel, and that a drop only detaches.

mod common;

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, stay};
use common::{LONG, Tokens, message_of, pool, unwind, with_workers, within};
use tollgate::{Job, JoinError, Pool, TaskHandle};

fn panic_of_task<T: std::fmt::Debug>(handle: TaskHandle<T>) -> Box<dyn std::any::Any + Send> {
    match handle.join() {
        Err(JoinError::Panicked(payload)) => payload.into_inner(),
        other => panic!("the task did not panic: {other:?}"),
    }
}

#[test]
fn handles_go_between_threads() {
    fn send_and_sync<S: Send + Sync>() {}
    send_and_sync::<TaskHandle<String>>();
    send_and_sync::<TaskHandle<std::cell::Cell<u8>>>();
    send_and_sync::<Job>();
    send_and_sync::<Pool>();
    fn send<S: Send>() {}
    send::<JoinError>();
}

#[test]
fn join_gives_the_value() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let job = pool.job(limit);
            let handles: Vec<_> =
                (0..2_000).map(|i| job.spawn(move || format!("result {i}"))).collect();
            // Joined in another order than they end in.
            for (i, handle) in handles.into_iter().enumerate().rev() {
                assert_eq!(handle.join().unwrap(), format!("result {i}"));
            }
        }
    });
}

/// The joiner parks, or comes when it is over, or just then.
#[test]
fn join_misses_no_end() {
    with_workers(|pool, _| {
        let job = pool.job(usize::MAX);
        for i in 0_u64..5_000 {
            let handle = job.spawn(move || i);
            for _ in 0..i % 300 {
                std::hint::spin_loop();
            }
            assert_eq!(handle.join().unwrap(), i);
        }
    });
}

#[test]
fn join_before_the_start_waits() {
    with_workers(|pool, _| {
        let job = pool.job(0);
        let handles: Vec<_> = (0..4).map(|i| job.spawn(move || i)).collect();
        let (says, heard) = mpsc::channel();
        thread::scope(|scope| {
            for handle in handles {
                let says = says.clone();
                scope.spawn(move || says.send(handle.join().unwrap()).unwrap());
            }
            assert!(heard.try_recv().is_err(), "a join ended before its task started");
            job.set_limit(1);
        });
        drop(says);
        assert_eq!(heard.iter().sum::<i32>(), 6);
    });
}

#[test]
fn a_panic_comes_with_its_payload() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let formatted = job.spawn(|| panic!("number {}", 7));
        let literal = job.spawn(|| panic!("a literal"));
        let unwound = job.spawn(|| unwind("unwound"));
        let value = job.spawn(|| panic_any(vec![1, 2, 3]));
        assert_eq!(message_of(&*panic_of_task::<()>(formatted)), "number 7");
        assert_eq!(message_of(&*panic_of_task::<()>(literal)), "a literal");
        assert_eq!(message_of(&*panic_of_task::<()>(unwound)), "unwound");
        assert_eq!(*panic_of_task::<()>(value).downcast::<Vec<i32>>().unwrap(), [1, 2, 3]);
        job.wait();
        assert_eq!(job.stats().panicked, 4);
    });
}

#[test]
fn join_timeout_gives_the_handle_back() {
    with_workers(|pool, _| {
        let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
        let running = job.spawn(stay(&gauge, &latch));
        let mut waiting = job.spawn(|| 5);
        gauge.until_running(1);
        for time in [Duration::ZERO, Duration::from_millis(2)] {
            waiting = waiting.join_timeout(time).expect_err("a task that cannot start is not over");
            assert!(!waiting.is_finished() && !running.is_finished());
        }
        latch.open();
        assert_eq!(waiting.join_timeout(LONG).expect("the task runs now").unwrap(), 5);
        running.join().unwrap();
    });
}

#[test]
fn join_timeout_of_what_is_over_needs_no_time() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let value = job.spawn(|| 5);
        let panicked = job.spawn(|| unwind("a task that fails"));
        job.wait();
        assert!(value.is_finished() && panicked.is_finished());
        assert_eq!(value.join_timeout(Duration::ZERO).expect("it is over").unwrap(), 5);
        assert!(matches!(panicked.join_timeout(Duration::ZERO), Ok(Err(JoinError::Panicked(_)))));
        // The longest wait there is does not overflow.
        assert_eq!(job.spawn(|| 6).join_timeout(Duration::MAX).expect("it ends").unwrap(), 6);
    });
}

#[test]
fn cancel_says_whether_it_came_in_time() {
    with_workers(|pool, _| {
        let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
        let over = job.spawn(|| 1);
        job.wait();
        assert!(!over.cancel(), "a task that is over was cancelled");
        assert_eq!(over.join().unwrap(), 1);

        let running = job.spawn(stay(&gauge, &latch));
        let waiting = job.spawn(|| unreachable!("it was cancelled"));
        gauge.until_running(1);
        assert!(!running.cancel(), "a task that runs was cancelled");
        assert!(waiting.cancel());
        assert!(waiting.is_finished());
        assert!(matches!(waiting.join(), Err(JoinError::Cancelled)));
        latch.open();
        running.join().unwrap();
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (2, 1));
    });
}

#[test]
fn a_cancel_of_the_job_ends_a_join() {
    with_workers(|pool, _| {
        for _ in 0..50 {
            let job = pool.job(0);
            let handles: Vec<_> = (0..3).map(|i| job.spawn(move || i)).collect();
            thread::scope(|scope| {
                for handle in handles {
                    scope
                        .spawn(move || assert!(matches!(handle.join(), Err(JoinError::Cancelled))));
                }
                job.cancel();
            });
            job.wait();
            assert_eq!(job.stats().cancelled, 3);
        }
    });
}

#[test]
fn a_dropped_handle_detaches_its_task() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let (job, gauge, latch, tokens) =
                (pool.job(limit), Gauge::new(), Latch::new(), Tokens::new());
            for i in 0..200 {
                let (stay, capture, result) =
                    (stay(&gauge, &latch), tokens.token(), tokens.token());
                let handle = job.spawn(move || {
                    stay();
                    drop(capture);
                    if i % 5 == 0 {
                        unwind("a task that fails");
                    }
                    result
                });
                drop(handle);
            }
            latch.open();
            job.wait();
            assert_eq!(gauge.started(), 200, "a detached task did not run");
            assert_eq!(tokens.dropped(), 400, "a capture or a result leaked");
        }
    });
}

/// A result is dropped once, whoever comes last: a handle dropped before, while and after the task ends, or joined.
#[test]
fn a_result_is_dropped_once() {
    with_workers(|pool, _| {
        let (job, tokens) = (pool.job(2), Tokens::new());
        for i in 0..4_000 {
            let token = tokens.token();
            let handle = job.spawn(move || token);
            match i % 4 {
                0 => drop(handle),
                1 => {
                    (0..i % 200).for_each(|_| std::hint::spin_loop());
                    drop(handle);
                }
                2 => drop(handle.join().unwrap()),
                _ => {
                    job.wait();
                    drop(handle);
                }
            }
        }
        job.wait();
        assert_eq!(tokens.dropped(), 4_000);
    });
}

#[test]
fn a_joined_task_has_dropped_its_captures() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        for i in 0..500 {
            let shared = Arc::new(i);
            let capture = Arc::clone(&shared);
            let result = job
                .spawn(move || if i % 2 == 0 { *capture } else { unwind("a task that fails") })
                .join();
            assert_eq!(result.is_ok(), i % 2 == 0);
            assert_eq!(Arc::strong_count(&shared), 1, "a capture outlives the join");
        }
    });
}

#[test]
fn handles_outlive_their_job_and_their_pool() {
    within(LONG, || {
        for workers in common::WORKERS {
            let pool = pool(workers);
            let job = pool.job(1);
            let (value, panicked) =
                (job.spawn(|| vec![1, 2]), job.spawn(|| unwind("a task that fails")));
            let held = pool.job(0).spawn(|| 3);
            drop((job, pool));
            assert!(value.is_finished() && panicked.is_finished() && held.is_finished());
            assert!(!value.cancel() && !panicked.cancel());
            assert_eq!(value.join().unwrap(), [1, 2]);
            assert!(matches!(panicked.join(), Err(JoinError::Panicked(_))));
            assert!(matches!(held.join(), Err(JoinError::Cancelled)));
        }
    });
}

#[test]
fn a_handle_may_be_dropped_or_asked_inside_a_task() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        for _ in 0..200 {
            let first = job.spawn(|| String::from("first"));
            let second = job.spawn(move || first.is_finished());
            // Under a limit of 1 the first is over when the second runs.
            let third =
                job.spawn(move || second.join_timeout(Duration::ZERO).expect("over").unwrap());
            assert!(third.join().unwrap());
        }
    });
}

#[test]
fn a_job_waited_for_has_finished_handles() {
    with_workers(|pool, _| {
        let job = pool.job(3);
        for _ in 0..300 {
            let handles: Vec<_> = (0..5).map(|i| job.spawn(move || i)).collect();
            job.wait();
            assert!(
                handles.iter().all(TaskHandle::is_finished),
                "a job is idle and a task of it not finished"
            );
        }
    });
}

#[test]
fn wait_timeout_says_whether_the_job_is_idle() {
    with_workers(|pool, _| {
        let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
        assert!(job.wait_timeout(Duration::ZERO), "a job without tasks is idle");
        job.execute(stay(&gauge, &latch));
        assert!(!job.wait_timeout(Duration::ZERO));
        gauge.until_running(1);
        assert!(!job.wait_timeout(Duration::from_millis(2)));
        job.execute(|| ());
        latch.open();
        assert!(job.wait_timeout(LONG));
        job.pause();
        job.execute(|| ());
        assert!(
            !job.wait_timeout(Duration::from_millis(2)),
            "a held task waits: the job is not idle"
        );
        job.resume();
        assert!(job.wait_timeout(Duration::MAX));
    });
}
