//! The cell of a future: its references, its count, and the wakers that outlive it.

#![cfg(tollgate_loom)]

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Payload};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use tollgate::model::Stage;
use tollgate::{Job, JoinError, TaskHandle};

/// Plays the worker until nothing is left.
fn play_out(stage: Stage) {
    while stage.play(0, usize::MAX) > 0 {}
}

/// Where a future leaves the waker of its first poll, and of no other. No part of the model: it is filled before threads start.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Option<Option<Waker>>>>);

impl Left {
    fn leave(&self, cx: &Context<'_>) {
        self.0.lock().unwrap().get_or_insert_with(|| Some(cx.waker().clone()));
    }

    fn take(&self) -> Waker {
        let left = self.0.lock().unwrap().as_mut().and_then(Option::take);
        left.expect("the future was polled, and its waker was not taken before")
    }
}

/// A future that is pending until all flags are set, and then gives a payload.
fn wait_for(
    flags: &[Arc<AtomicBool>],
    left: &Left,
    payload: Payload,
) -> impl Future<Output = Payload> + Send + use<> {
    let (flags, left, mut payload) = (flags.to_vec(), left.clone(), Some(payload));
    poll_fn(move |cx| {
        left.leave(cx);
        if flags.iter().all(|flag| flag.load(Ordering::Acquire)) {
            return Poll::Ready(payload.take().expect("it is polled once more at most"));
        }
        Poll::Pending
    })
}

/// Awaits a task that has ended.
fn outcome(mut task: TaskHandle<Payload>) -> Result<Payload, JoinError> {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let waker = Waker::from(Arc::new(Nobody));
    match Pin::new(&mut task).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("the task has not ended"),
    }
}

fn on_stage(payloads: usize, model: impl Fn(Stage, &Job, &Drops)) {
    let (stage, drops) = (Stage::new(1), Drops::default());
    let job = stage.job(1);
    model(stage, &job, &drops);
    assert_eq!(drops.count(), payloads, "each payload is dropped once");
    stage.assert_none_stranded(&job);
    let stats = job.stats();
    assert_eq!((stats.running, stats.ready, stats.backlog), (0, 0, 0));
    drop(job);
    stage.end();
}

/// The handle is dropped or not, the future ends, and the last waker is woken or dropped, all at the same time.
fn the_last_waker_meets_the_end(wakes: bool, detached: bool) {
    on_stage(1, |stage, job, drops| {
        let (flag, left) = (Arc::new(AtomicBool::new(false)), Left::default());
        let mut task = Some(job.spawn_future(wait_for(&[flag.clone()], &left, drops.payload())));
        play_out(stage);
        let waker = left.take();
        flag.store(true, Ordering::Release);
        waker.wake_by_ref();
        let foreign = thread::spawn(move || if wakes { waker.wake() } else { drop(waker) });
        if detached {
            drop(task.take());
        }
        play_out(stage);
        drop(task.map(|task| outcome(task).unwrap()));
        foreign.join().unwrap();
        stage.assert_none_waits_beside_room(job);
        play_out(stage);
        assert_eq!(job.stats().completed, 1);
    });
}

#[test]
fn nothing_lost_when_the_last_waker_meets_the_end() {
    check(Bound::None, || the_last_waker_meets_the_end(false, false));
}

#[test]
fn nothing_lost_when_the_last_waker_meets_the_end_of_a_detached_future() {
    check(Bound::None, || the_last_waker_meets_the_end(false, true));
}

#[test]
fn nothing_lost_when_a_late_wake_meets_the_end() {
    check(Bound::None, || the_last_waker_meets_the_end(true, false));
}

#[test]
fn nothing_lost_when_a_late_wake_meets_the_end_of_a_detached_future() {
    check(Bound::None, || the_last_waker_meets_the_end(true, true));
}

#[test]
fn nothing_lost_when_the_handle_goes_while_the_future_ends_and_a_waker_stays() {
    check(Bound::None, || {
        let left = Left::default();
        on_stage(1, |stage, job, drops| {
            let flag = Arc::new(AtomicBool::new(true));
            let task = job.spawn_future(wait_for(&[flag], &left, drops.payload()));
            let dropper = thread::spawn(move || drop(task));
            play_out(stage);
            dropper.join().unwrap();
            // The waker keeps the cell, and not the outcome: the payload is counted now.
        });
        left.take().wake();
    });
}

#[test]
fn nothing_lost_by_wakers_that_outlive_the_pool() {
    check(Bound::None, || {
        let left = Left::default();
        on_stage(1, |stage, job, drops| {
            let flag = Arc::new(AtomicBool::new(true));
            drop(job.spawn_future(wait_for(&[flag], &left, drops.payload())));
            play_out(stage);
        });
        let waker = left.take();
        let other = waker.clone();
        let foreign = thread::spawn(move || {
            other.wake_by_ref();
            other.wake();
        });
        drop(waker.clone());
        waker.wake();
        foreign.join().unwrap();
    });
}

#[test]
fn nothing_lost_when_two_wake_by_reference() {
    check(Bound::Preemptions(3), || {
        on_stage(1, |stage, job, drops| {
            let flags = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
            let left = Left::default();
            let task = job.spawn_future(wait_for(&flags, &left, drops.payload()));
            play_out(stage);
            let waker = left.take();
            let threads = flags.map(|flag| {
                let waker = waker.clone();
                thread::spawn(move || {
                    flag.store(true, Ordering::Release);
                    waker.wake_by_ref();
                })
            });
            play_out(stage);
            for thread in threads {
                thread.join().unwrap();
            }
            play_out(stage);
            assert!(task.is_finished(), "a wake-up was lost");
            drop(outcome(task).unwrap());
        });
    });
}

#[test]
fn nothing_lost_when_a_job_s_cancel_meets_a_wake_and_the_end() {
    check(Bound::Preemptions(2), || {
        on_stage(1, |stage, job, drops| {
            let (flag, left) = (Arc::new(AtomicBool::new(false)), Left::default());
            let task = job.spawn_future(wait_for(&[flag.clone()], &left, drops.payload()));
            play_out(stage);
            let waker = left.take();
            let waking = thread::spawn(move || {
                flag.store(true, Ordering::Release);
                waker.wake();
            });
            let cancelling = {
                let job = job.clone();
                thread::spawn(move || {
                    job.cancel();
                })
            };
            play_out(stage);
            waking.join().unwrap();
            cancelling.join().unwrap();
            stage.assert_none_waits_beside_room(job);
            play_out(stage);
            let stats = job.stats();
            assert_eq!(stats.completed + stats.cancelled, 1);
            match outcome(task) {
                Ok(payload) => drop(payload),
                Err(error) => assert!(matches!(error, JoinError::Cancelled)),
            }
        });
    });
}

#[test]
fn join_is_safe_when_a_wait_ends_on_another_thread_while_its_future_ends() {
    check(Bound::Preemptions(3), || {
        on_stage(1, |stage, job, drops| {
            let (awaited, left, held) = (Arc::new(Mutex::new(None)), Left::default(), stage.job(0));
            *awaited.lock().unwrap() = Some(held.spawn(|| ()));
            let (slot, mut payload, keeper) =
                (awaited.clone(), Some(drops.payload()), left.clone());
            let mut polled = false;
            let task = job.spawn_future(poll_fn(move |cx| {
                keeper.leave(cx);
                if !std::mem::replace(&mut polled, true)
                    && let Some(task) = slot.lock().unwrap().as_mut()
                {
                    assert!(Pin::new(task).poll(cx).is_pending(), "its job is held");
                    return Poll::Pending;
                }
                Poll::Ready(payload.take().expect("it is ready once"))
            }));
            play_out(stage);
            let awaited = awaited.lock().unwrap().take();
            let foreign = thread::spawn(move || drop(awaited));
            left.take().wake();
            play_out(stage);
            foreign.join().unwrap();
            drop(outcome(task).unwrap());
            held.cancel();
            play_out(stage);
        });
    });
}
