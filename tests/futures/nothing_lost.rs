//! nothing_lost for futures: panics, drops, and what the shutdowns do with those in flight.

use std::future::poll_fn;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use tollgate::{JoinError, TaskHandle};

use crate::common::event::Gauge;
use crate::common::{
    LONG, Tokens, WORKERS, pool, until_parked, unwind, with_workers, within, workers_pass,
};
use crate::{let_go, never_end, push_staying, yield_once};

#[test]
fn a_panic_stays_in_its_task_and_its_permit_goes_on() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let at_once = job.spawn_future(async { unwind("at once") });
        let later = job.spawn_future(async {
            yield_once().await;
            unwind("later")
        });
        let after = job.spawn_future(async { 7 });
        assert_eq!(after.join().unwrap(), 7);
        for (task, text) in [(at_once, "at once"), (later, "later")] {
            let task: TaskHandle<()> = task;
            match task.join() {
                Err(JoinError::Panicked(payload)) => assert_eq!(payload.message().unwrap(), text),
                other => panic!("{other:?}"),
            }
        }
        job.wait();
        assert_eq!((job.stats().panicked, job.stats().completed), (2, 1));
    });
}

/// A capture whose drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        unwind("dropped");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_future_is_its_outcome_and_counted() {
    with_workers(|pool, _| {
        let says = |task: TaskHandle<()>| match task.join() {
            Err(JoinError::Panicked(payload)) => payload.message().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        let job = pool.job(1);
        // After it is ready: at once, and after a pending poll.
        let at_once = poll_fn({
            let bomb = Bomb;
            move |_| {
                let _ = &bomb;
                Poll::Ready(())
            }
        });
        assert_eq!(says(job.spawn_future(at_once)), "dropped");
        let later = poll_fn({
            let (bomb, mut polled) = (Bomb, false);
            move |cx| {
                let _ = &bomb;
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        assert_eq!(says(job.spawn_future(later)), "dropped");
        job.wait();
        assert_eq!((job.stats().panicked, job.stats().completed), (2, 0));

        // The first panic is the outcome.
        let twice = poll_fn({
            let bomb = Bomb;
            move |_| {
                let _ = &bomb;
                unwind("polled")
            }
        });
        assert_eq!(says(job.spawn_future(twice)), "polled");

        // Cancelled in flight by its handle, and with its job in flight and before it starts.
        let gauge = Gauge::new();
        let task = job.spawn_future(never_end(&gauge, Bomb));
        gauge.until_running(1);
        assert!(task.cancel());
        assert_eq!(says(task), "dropped");
        let task = job.spawn_future(never_end(&gauge, Bomb));
        gauge.until_running(1);
        let not_started = job.spawn_future(never_end(&gauge, Bomb));
        job.cancel();
        assert_eq!((says(task), says(not_started)), ("dropped".into(), "dropped".into()));
        job.wait();
        assert_eq!((job.stats().panicked, job.stats().cancelled), (6, 0));

        // The exception: cancelled by its handle before it starts.
        let held = pool.job(0);
        let task = held.spawn_future(never_end(&gauge, Bomb));
        assert!(task.cancel());
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        held.wait();
        assert_eq!((held.stats().panicked, held.stats().cancelled), (0, 1));
    });
}

#[test]
fn large_futures_and_results_are_dropped_once() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(3);
        for i in 0..300 {
            let (token, large) = (tokens.token(), [i; 64]);
            let task = job.spawn_future(async move {
                yield_once().await;
                (large, token)
            });
            match i % 3 {
                0 => drop(task),
                1 => assert_eq!(task.join().unwrap().0, [i; 64]),
                _ => drop(task.cancel()),
            }
        }
        job.wait();
        assert_eq!(tokens.dropped(), 300);
    });
}

#[test]
fn a_drain_waits_for_futures_in_flight() {
    with_workers(|pool, workers| {
        let job = pool.job(3);
        let gauge = Gauge::new();
        let (staying, tasks) = push_staying(&job, &gauge, 5);
        gauge.until_running(3);
        workers_pass(pool, workers);
        until_parked(pool, workers);
        let left = pool.shutdown_timeout(Duration::from_millis(1)).unwrap_err();
        assert_eq!((left.running, left.pending), (0, 3));
        let foreign = thread::spawn(move || {
            staying.into_iter().for_each(|go| go.send(()).unwrap_or_default())
        });
        // The drop of the pool waits for what runs.
        let ended = tasks.into_iter().filter_map(|task| task.join().ok()).count();
        foreign.join().unwrap();
        assert_eq!(ended as u64, job.stats().completed);
    });
}

#[test]
fn a_drain_ends_when_the_last_future_has_been_woken_by_another_thread() {
    for workers in WORKERS {
        within(LONG, move || {
            let pool = pool(workers);
            let job = pool.job(100);
            let gauge = Gauge::new();
            let (staying, tasks) = push_staying(&job, &gauge, 200);
            drop(tasks);
            gauge.until_running(100);
            let foreign = thread::spawn(move || let_go(staying));
            pool.shutdown();
            foreign.join().unwrap();
            assert_eq!(job.stats().completed, 200);
        });
    }
}

#[test]
fn shutdown_now_drops_futures_in_flight() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(3);
        let gauge = Gauge::new();
        for _ in 0..5 {
            drop(job.spawn_future(never_end(&gauge, tokens.token())));
        }
        gauge.until_running(3);
        assert_eq!(pool.shutdown_now(), 5);
        assert_eq!(tokens.dropped(), 5);
    });
}

/// A future that awaited a task, and was woken into the queue of a paused job, is cancelled by a drain.
#[test]
fn a_drain_ends_beside_a_woken_future_of_a_held_job() {
    for held in ["the job", "its parent", "its limit"] {
        with_workers(move |pool, _| {
            let (parent, other) = (pool.job(1), pool.job(1));
            let (job, (go, gone)) = (parent.job(1), oneshot::channel::<()>());
            let awaited = other.spawn_future(async { gone.await.unwrap() });
            let awaits = job.spawn_future(async { awaited.await.unwrap() });
            // At a limit of 1 the second task runs only while the future waits without its permit.
            job.spawn(|| ()).join().unwrap();
            while job.stats().running > 0 {
                thread::yield_now();
            }
            match held {
                "the job" => job.pause(),
                "its parent" => parent.pause(),
                _ => job.set_limit(0),
            }
            go.send(()).unwrap();
            other.wait();
            pool.shutdown();
            assert!(matches!(awaits.join(), Err(JoinError::Cancelled)));
            assert_eq!((job.stats().cancelled, job.stats().completed), (1, 1));
        });
    }
}
