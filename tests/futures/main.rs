//! Futures as tasks, and tasks as futures.
#![cfg(feature = "futures")]

#[path = "../common/mod.rs"]
mod common;

mod cancelling;
mod ended_waits;
mod handles;
mod jobs;
mod join_is_safe;
mod limit_holds;
mod nothing_lost;
mod serial_in_order;
mod streams;
mod waking;

use std::future::{Future, pending, poll_fn};
use std::task::Poll;

use futures::channel::oneshot;
use tollgate::{Job, TaskHandle};

use common::event::Gauge;

/// Pending once, after having woken itself.
fn yield_once() -> impl Future<Output = ()> + Send {
    let mut woken = false;
    poll_fn(move |cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Pushes futures that stay inside the gauge, each until its sender is sent to.
fn push_staying(
    job: &Job,
    gauge: &Gauge,
    count: usize,
) -> (Vec<oneshot::Sender<()>>, Vec<TaskHandle<()>>) {
    let push = |_| {
        let ((go, gone), gauge) = (oneshot::channel(), gauge.clone());
        let task = job.spawn_future(async move {
            let _running = gauge.enter();
            gone.await.unwrap();
        });
        (go, task)
    };
    (0..count).map(push).unzip()
}

fn let_go(staying: impl IntoIterator<Item = oneshot::Sender<()>>) {
    staying.into_iter().for_each(|go| go.send(()).unwrap());
}

/// A future that is inside the gauge, with the token, until it is dropped.
fn never_end(
    gauge: &Gauge,
    token: impl Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let gauge = gauge.clone();
    async move {
        let _token = token;
        let _running = gauge.enter();
        pending().await
    }
}

fn join_all_now<T>(tasks: Vec<TaskHandle<T>>) -> Vec<T> {
    tasks.into_iter().map(|task| task.join().unwrap()).collect()
}
