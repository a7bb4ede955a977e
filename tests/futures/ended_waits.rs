//! A wait of a future that is over no longer counts, even if the value that waited is kept: the future holds its permit again.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::Poll;

use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use tollgate::{Job, Pool, TaskHandle};

use crate::common::event::{Gauge, pass_through};
use crate::common::{LONG, pool, within, workers_pass};

/// The ends of a wait: what the future sends after its wait is over, and what ends its last wait, for something that is not of
/// this library.
type Over = (mpsc::Sender<()>, oneshot::Receiver<()>);

async fn stay(over: Over) {
    over.0.send(()).unwrap();
    over.1.await.unwrap();
}

/// Pushes the future that `waits` makes into a job with a limit of 1, ends its wait by `end`, and checks that it holds the permit
/// while it awaits something that is not of this library.
fn assert_held_again<F>(pool: &Pool, waits: impl FnOnce(Over) -> F, end: impl FnOnce())
where
    F: Future<Output = ()> + Send + 'static,
{
    let job = pool.job(1);
    let (tell, told) = mpsc::channel();
    let (go, gone) = oneshot::channel();
    let task = job.spawn_future(waits((tell, gone)));
    // The future holds no permit while it waits.
    job.spawn(|| ()).join().unwrap();
    end();
    told.recv().unwrap();
    let gauge = Gauge::new();
    let next = job.spawn(pass_through(&gauge));
    workers_pass(pool, 2);
    assert_eq!((gauge.started(), job.stats().running), (0, 1));
    go.send(()).unwrap();
    task.join().unwrap();
    next.join().unwrap();
    job.wait();
    assert_eq!(job.stats().most_running, 1);
}

/// A task of a held job. Raising the limit ends it.
fn held(pool: &Pool) -> (Job, TaskHandle<()>) {
    let held = pool.job(0);
    let task = held.spawn(|| ());
    (held, task)
}

#[test]
fn of_a_handle_that_is_kept() {
    within(LONG, || {
        let pool = pool(2);
        let (other, mut task) = held(&pool);
        let waits = |over| async move {
            (&mut task).await.unwrap();
            stay(over).await;
            drop(task);
        };
        assert_held_again(&pool, waits, || other.set_limit(1));
    });
}

#[test]
fn of_a_handle_that_is_joined() {
    within(LONG, || {
        let pool = pool(2);
        let (other, mut task) = held(&pool);
        let (ended, at_end) = oneshot::channel();
        let waits = |over| async move {
            poll_fn(|cx| {
                assert!(Pin::new(&mut task).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            at_end.await.unwrap();
            // The result is there, and the handle was not polled again.
            task.join().unwrap();
            stay(over).await;
        };
        let end = || {
            other.set_limit(1);
            other.wait();
            ended.send(()).unwrap();
        };
        assert_held_again(&pool, waits, end);
    });
}

#[test]
fn of_a_set_that_is_kept() {
    within(LONG, || {
        let pool = pool(2);
        let other = pool.job(0);
        let mut set = other.set();
        set.spawn(|| ());
        let waits = |over| async move {
            set.next().await.unwrap().unwrap();
            stay(over).await;
            drop(set);
        };
        assert_held_again(&pool, waits, || other.set_limit(1));
    });
}

#[test]
fn for_a_permit() {
    within(LONG, || {
        let pool = pool(2);
        let other = pool.job(1);
        let inner = other.clone();
        let permit = other.try_acquire().unwrap();
        let waits = |over| async move {
            let mut acquire = pin!(inner.acquire());
            let permit = acquire.as_mut().await.unwrap();
            stay(over).await;
            drop(permit);
        };
        assert_held_again(&pool, waits, || drop(permit));
    });
}

#[test]
fn for_a_slot() {
    within(LONG, || {
        let pool = pool(2);
        for capacity in [0, 1] {
            let other = pool.job_builder().limit(1).capacity(capacity).build();
            let inner = other.clone();
            let slot = other.reserve().now_or_never().unwrap().unwrap();
            let waits = |over| async move {
                let mut reserve = pin!(inner.reserve());
                let slot = reserve.as_mut().await.unwrap();
                stay(over).await;
                drop(slot);
            };
            assert_held_again(&pool, waits, || drop(slot));
        }
    });
}

#[test]
fn of_a_handle_that_another_future_awaits() {
    within(LONG, || {
        let pool = pool(2);
        let (held, mut task) = held(&pool);
        let (give, given) = oneshot::channel::<TaskHandle<()>>();
        let (polled, is_polled) = oneshot::channel();
        let second = pool.job(1).spawn_future(async move {
            let mut task = given.await.unwrap();
            poll_fn(|cx| {
                assert!(Pin::new(&mut task).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            polled.send(()).unwrap();
            task.await.unwrap();
        });
        let (ended, at_end) = oneshot::channel::<()>();
        let waits = |over| async move {
            poll_fn(|cx| {
                assert!(Pin::new(&mut task).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            at_end.await.unwrap();
            give.send(task).unwrap();
            is_polled.await.unwrap();
            stay(over).await;
        };
        assert_held_again(&pool, waits, || ended.send(()).unwrap());
        held.set_limit(1);
        second.join().unwrap();
    });
}
