//! Wakers: a handle's against completion, cancel and drop; a future's against its first poll and its cancel.

#![cfg(tollgate_loom)]

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Bell, Drops, Payload, block_on, payload_task, with_payload};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tollgate::JoinError;
use tollgate::model::later::{self, Deferral};
use tollgate::model::{Stage, parking};

#[test]
fn nothing_lost_when_complete_meets_await() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            drop(block_on(handle).unwrap());
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_the_queue_s_cancel_meets_await() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || cell.cancel());
            assert!(matches!(block_on(handle), Err(JoinError::Cancelled)));
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_complete_meets_a_poll_and_drop() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, mut handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            let bell = Bell::new();
            let waker = Waker::from(bell.clone());
            let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
            drop((polled, handle, waker));
            worker.join().unwrap();
            assert_eq!(Arc::strong_count(&bell), 1, "a waker is left in the room");
        });
    });
}

#[test]
fn nothing_lost_when_complete_meets_a_poll_and_join() {
    check(Bound::Preemptions(3), || {
        with_payload(|job, drops| {
            let (cell, mut handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            let waker = Waker::from(Bell::new());
            match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(payload) => drop(payload.unwrap()),
                Poll::Pending => drop(handle.join().unwrap()),
            }
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_complete_meets_two_polls_with_two_wakers() {
    check(Bound::Preemptions(3), || {
        with_payload(|job, drops| {
            let (cell, mut handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            let first = Waker::from(Bell::new());
            match Pin::new(&mut handle).poll(&mut Context::from_waker(&first)) {
                Poll::Ready(payload) => drop(payload.unwrap()),
                // Only the second waker will be woken.
                Poll::Pending => drop(block_on(handle).unwrap()),
            }
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_a_thread_delays_the_wake_ups_of_two_keys() {
    check(Bound::None, || {
        let bells = [Bell::new(), Bell::new()];
        for (bell, key) in bells.iter().zip([8, 16]) {
            let waker = Waker::from(bell.clone());
            assert!(parking::parking_lot().enter(key, None, &waker, || true).is_some());
        }
        let (outer, inner) = (Deferral::begin(), Deferral::begin());
        later::wake(8);
        later::wake(16);
        drop(inner);
        assert!(!bells.iter().any(|bell| bell.is_rung()), "woken while a deferral exists");
        drop(outer);
        assert!(bells.iter().all(|bell| bell.is_rung()), "a waiter is left in the parking lot");
    });
}

#[test]
fn nothing_lost_when_two_wait_in_one_bucket_of_the_room() {
    check(Bound::Preemptions(2), || {
        let (stage, drops) = (Stage::new(1), Drops::default());
        let job = stage.job(1);
        let (first, one) = payload_task(&job, &drops);
        let (second, two) = payload_task(&job, &drops);
        let worker = thread::spawn(move || {
            let _ = first.run();
            let _ = second.run();
        });
        let other = thread::spawn(move || drop(block_on(two).unwrap()));
        drop(block_on(one).unwrap());
        other.join().unwrap();
        worker.join().unwrap();
        assert_eq!(drops.count(), 2);
        drop(job);
        stage.end();
    });
}

/// What a future waits for: a flag, and its waker.
struct Signal {
    given: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    fn new() -> Arc<Self> {
        Arc::new(Self { given: AtomicBool::new(false), waker: Mutex::new(None) })
    }

    fn give(&self) {
        self.given.swap(true, Ordering::AcqRel);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(self: Arc<Self>, payload: Payload) -> impl Future<Output = Payload> + Send {
        let mut payload = Some(payload);
        poll_fn(move |cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if self.given.load(Ordering::Acquire) {
                drop(self.waker.lock().unwrap().take());
                return Poll::Ready(payload.take().unwrap());
            }
            Poll::Pending
        })
    }
}

/// Plays the worker until nothing is left.
fn play_out(stage: Stage) {
    while stage.play(0, usize::MAX) > 0 {}
}

#[test]
fn nothing_lost_when_a_wake_meets_the_first_poll() {
    check(Bound::Preemptions(3), || {
        let (stage, drops, signal) = (Stage::new(1), Drops::default(), Signal::new());
        let job = stage.job(1);
        let task = job.spawn_future(signal.clone().wait(drops.payload()));
        let giver = {
            let signal = signal.clone();
            thread::spawn(move || signal.give())
        };
        play_out(stage);
        giver.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play_out(stage);
        assert!(task.is_finished(), "a wake-up was lost");
        drop(block_on(task).unwrap());
        assert_eq!(drops.count(), 1);
        stage.assert_none_stranded(&job);
        drop(job);
        stage.end();
    });
}

#[test]
fn nothing_lost_when_a_handle_s_cancel_meets_the_first_poll() {
    check(Bound::Preemptions(3), || {
        let (stage, drops, signal) = (Stage::new(1), Drops::default(), Signal::new());
        let job = stage.job(1);
        let task = job.spawn_future(signal.wait(drops.payload()));
        let canceller = thread::spawn(move || {
            assert!(task.cancel());
            task
        });
        play_out(stage);
        let task = canceller.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play_out(stage);
        assert!(task.is_finished(), "a cancel was lost");
        assert!(matches!(block_on(task), Err(JoinError::Cancelled)));
        assert_eq!((drops.count(), job.stats().cancelled), (1, 1));
        stage.assert_none_stranded(&job);
        drop(job);
        stage.end();
    });
}

#[test]
fn nothing_lost_when_a_job_s_cancel_meets_the_first_poll() {
    check(Bound::Preemptions(3), || {
        let (stage, drops, signal) = (Stage::new(1), Drops::default(), Signal::new());
        let job = stage.job(1);
        let task = job.spawn_future(signal.wait(drops.payload()));
        let canceller = {
            let job = job.clone();
            thread::spawn(move || {
                job.cancel();
            })
        };
        play_out(stage);
        canceller.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play_out(stage);
        assert!(task.is_finished(), "a cancel was lost");
        assert!(matches!(block_on(task), Err(JoinError::Cancelled)));
        assert_eq!((drops.count(), job.stats().cancelled), (1, 1));
        stage.assert_none_stranded(&job);
        drop(job);
        stage.end();
    });
}

#[test]
fn nothing_lost_when_a_wake_meets_a_cancel() {
    check(Bound::Preemptions(2), || {
        let (stage, drops, signal) = (Stage::new(1), Drops::default(), Signal::new());
        let job = stage.job(1);
        let task = job.spawn_future(signal.clone().wait(drops.payload()));
        play_out(stage);
        let giver = {
            let signal = signal.clone();
            thread::spawn(move || signal.give())
        };
        let said = task.cancel();
        play_out(stage);
        giver.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play_out(stage);
        assert!(said && task.is_finished(), "nobody polls it before the cancel");
        assert!(matches!(block_on(task), Err(JoinError::Cancelled)));
        assert_eq!((drops.count(), job.stats().cancelled), (1, 1));
        stage.assert_none_stranded(&job);
        drop(job);
        stage.end();
    });
}

#[test]
fn join_is_safe_when_a_future_awaits_a_task_of_its_own_job() {
    check(Bound::Preemptions(2), || {
        let (stage, drops) = (Stage::new(2), Drops::default());
        let job = stage.job(1);
        let (inner, payload) = (job.clone(), drops.payload());
        let task = job.spawn_future(async move { inner.spawn(move || payload).await.unwrap() });
        let other = thread::spawn(move || while stage.play(1, usize::MAX) > 0 {});
        play_out(stage);
        other.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play_out(stage);
        assert!(task.is_finished(), "a future was not woken, or waits beside a free permit");
        drop(block_on(task).unwrap());
        assert_eq!((drops.count(), job.stats().completed), (1, 2));
        stage.assert_none_stranded(&job);
        drop(job);
        stage.end();
    });
}

#[test]
fn limit_is_used_by_a_future_that_has_awaited_a_task_of_another_job() {
    // The permit of the future's job is free when the future is woken, or its worker is about to give it back.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, other) = (stage.job(1), stage.job(1));
        let awaited = other.spawn(|| ());
        let task = job.spawn_future(async move { awaited.await.unwrap() });
        let worker = thread::spawn(move || stage.play(1, 1));
        stage.play(0, 1);
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        play_out(stage);
        stage.assert_none_stranded(&job);
        assert!(task.is_finished(), "a future was not woken, or waits beside a free permit");
        block_on(task).unwrap();
        drop((job, other));
        stage.end();
    });
}

#[test]
fn limit_holds_once_a_future_says_that_it_has_settled() {
    // The last task ends while the future is on its way to wait for that: no later one would wake it.
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        stage.runs_elsewhere(&job);
        job.pause();
        let theirs = job.clone();
        let other = thread::spawn(move || stage.ends_elsewhere(&theirs));
        block_on(job.settled());
        assert_eq!(job.stats().running, 0, "settled while a task of a paused job runs");
        other.join().unwrap();
        job.resume();
        drop(job);
        stage.end();
    });
}

#[test]
fn nothing_lost_when_the_last_end_meets_a_wait_as_a_future() {
    check(Bound::Preemptions(3), || {
        let (stage, drops) = (Stage::new(1), Drops::default());
        let (job, payload) = (stage.job(1), drops.payload());
        job.execute(move || drop(payload));
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        block_on(job.idle());
        assert_eq!(drops.count(), 1, "idle before its task has ended");
        worker.join().unwrap();
        drop(job);
        stage.end();
    });
}

#[test]
fn nothing_is_left_of_a_wait_as_a_future_that_is_given_up() {
    check(Bound::Preemptions(3), || {
        let (stage, drops) = (Stage::new(1), Drops::default());
        let (job, payload) = (stage.job(1), drops.payload());
        job.execute(move || drop(payload));
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        let bell = Bell::new();
        let waker = Waker::from(bell.clone());
        let mut idle = job.idle();
        let _ = Pin::new(&mut idle).poll(&mut Context::from_waker(&waker));
        drop((idle, waker));
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&bell), 1, "a waker is left in the parking lot");
        drop(job);
        stage.end();
    });
}

#[test]
fn serial_in_order_for_a_future_that_comes_back_beside_a_push() {
    // A future that has awaited a task goes ahead of the tasks that have not started.
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, other, order) =
            (stage.job(1), stage.job(1), Arc::new(std::sync::Mutex::new(vec![])));
        other.pause();
        let (awaited, first) = (other.clone(), order.clone());
        let task = job.spawn_future(async move {
            awaited.spawn(|| ()).await.unwrap();
            first.lock().unwrap().push(0);
        });
        play_out(stage);
        job.pause();
        let writes = |line| {
            let order = order.clone();
            move || order.lock().unwrap().push(line)
        };
        job.execute(writes(1));
        other.resume();
        let (theirs, second) = (job.clone(), writes(2));
        let pusher = thread::spawn(move || theirs.execute(second));
        play_out(stage);
        pusher.join().unwrap();
        job.resume();
        play_out(stage);
        block_on(task).unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        drop((job, other));
        stage.end();
    });
}

#[test]
fn nothing_lost_when_a_cancel_meets_the_start_of_a_future_without_a_handle() {
    // The worker is the only thread with a reference to the cell, but the list of pending futures has the future, too.
    check(Bound::Preemptions(3), || {
        let (stage, drops) = (Stage::new(1), Drops::default());
        let (job, payload) = (stage.job(1), drops.payload());
        let (left, mut polled) = (Arc::new(std::sync::Mutex::new(None)), false);
        let waker = left.clone();
        drop(job.spawn_future(poll_fn(move |cx| {
            let _ = &payload;
            if !std::mem::replace(&mut polled, true) {
                *left.lock().unwrap() = Some(cx.waker().clone());
            }
            Poll::<()>::Pending
        })));
        play_out(stage);
        let waker: Waker = waker.lock().unwrap().take().unwrap();
        waker.wake();
        let theirs = job.clone();
        let other = thread::spawn(move || theirs.cancel());
        play_out(stage);
        other.join().unwrap();
        play_out(stage);
        assert_eq!(drops.count(), 1, "a cancelled job has a pending future");
        stage.assert_none_stranded(&job);
        drop(job);
        stage.end();
    });
}
