//! join_is_safe for futures: one that awaits something of the library's holds no permit meanwhile.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;

use futures::channel::oneshot;
use futures::future::select;
use futures::stream::{FuturesUnordered, StreamExt};
use tollgate::{Job, JoinError, TaskHandle};

use crate::common::event::{Gauge, Latch, pass_through, stay};
use crate::common::{LONG, Tokens, panic_of, pool, with_workers, within, workers_pass};
use crate::{join_all_now, yield_once};

#[test]
fn a_future_awaits_tasks_of_its_own_job_at_limit_1() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let gauge = Gauge::new();
        let (inner, inside) = (job.clone(), gauge.clone());
        let task = job.spawn_future(async move {
            let mut sum = 0;
            for i in 0..200 {
                let gauge = inside.clone();
                let running = inside.enter();
                drop(running);
                sum += if i % 2 == 0 {
                    inner
                        .spawn(move || {
                            let _running = gauge.enter();
                            i
                        })
                        .await
                } else {
                    inner
                        .spawn_future(async move {
                            let _running = gauge.enter();
                            yield_once().await;
                            i
                        })
                        .await
                }
                .unwrap();
            }
            sum
        });
        assert_eq!(task.join().unwrap(), 19_900);
        assert_eq!(gauge.most(), 1);
        job.wait();
        assert_eq!((job.stats().running, job.stats().completed), (0, 201));
    });
}

/// Awaits a chain of tasks of one job, each awaiting the next.
fn chain(job: &Job, deep: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    let job = job.clone();
    Box::pin(async move {
        if deep == 0 {
            return 0;
        }
        1 + job.spawn_future(chain(&job, deep - 1)).await.unwrap()
    })
}

#[test]
fn a_chain_a_thousand_deep_ends() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        assert_eq!(job.spawn_future(chain(&job, 1_000)).join().unwrap(), 1_000);
        assert_eq!(pool.stats().spare_workers, 0);
    });
}

#[test]
fn futures_of_two_jobs_of_limit_1_await_each_others() {
    with_workers(|pool, _| {
        let (left, right) = (pool.job(1), pool.job(1));
        let mut tasks = Vec::new();
        for _ in 0..100 {
            for (own, other) in [(&left, &right), (&right, &left)] {
                let other = other.clone();
                tasks.push(own.spawn_future(async move { other.spawn(|| 1).await.unwrap() }));
            }
        }
        assert_eq!(join_all_now(tasks).iter().sum::<i32>(), 200);
    });
}

#[test]
fn awaiting_a_task_beside_something_else_holds_no_permit_either() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let (go, gone) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let task = job.spawn_future(async move {
            // The second poll looks at `gone` alone, and leaves the handle pending unpolled.
            let first = inner.spawn(move || told.recv().unwrap());
            let both = FuturesUnordered::<Pin<Box<dyn Future<Output = i32> + Send>>>::new();
            both.push(Box::pin(async { first.await.unwrap() }));
            both.push(Box::pin(async { gone.await.unwrap() }));
            both.fold(0, |sum, one| async move { sum + one }).await
        });
        go.send(20).unwrap();
        // It runs although the future above is not at its end.
        job.spawn(|| ()).cancel();
        tell.send(3).unwrap();
        assert_eq!(task.join().unwrap(), 23);
    });
}

#[test]
fn a_future_that_stops_awaiting_a_task_holds_its_permit_again() {
    within(LONG, || {
        let pool = pool(2);
        let held = pool.job(0);
        let job = pool.job(1);
        let never = held.spawn(|| ());
        let (go, gone) = oneshot::channel::<()>();
        let (last, at_last) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let task = job.spawn_future(async move {
            let never = match select(never, gone).await {
                futures::future::Either::Right((_, never)) => never,
                futures::future::Either::Left(_) => unreachable!("the job is held"),
            };
            drop(never);
            tell.send(()).unwrap();
            at_last.await.unwrap();
        });
        let gauge = Gauge::new();
        let next = job.spawn(pass_through(&gauge));
        // Without a permit, while it awaits the handle.
        next.join().unwrap();
        go.send(()).unwrap();
        told.recv().unwrap();
        let next = job.spawn(pass_through(&gauge));
        workers_pass(&pool, 2);
        assert_eq!((gauge.started(), job.stats().running), (1, 1));
        last.send(()).unwrap();
        task.join().unwrap();
        next.join().unwrap();
        held.cancel();
    });
}

#[test]
fn it_comes_back_ahead_of_the_backlog() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(1));
        let order = Arc::new(Mutex::new(Vec::new()));
        let (latch, gauge) = (Latch::new(), Gauge::new());
        let awaited = other.spawn(|| ());
        let note = |name: &'static str| {
            let order = order.clone();
            move || order.lock().unwrap().push(name)
        };
        other.pause();
        let (awaited, first) = (other.spawn(move || drop(awaited)), note("came back"));
        let task = job.spawn_future(async move {
            awaited.await.unwrap();
            first();
        });
        // The future waits, and this one has the permit.
        job.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        for _ in 0..3 {
            job.execute(note("of the backlog"));
        }
        let other_thread = {
            let (other, latch) = (other.clone(), latch);
            thread::spawn(move || {
                other.resume();
                // The worker is busy; the awaited task runs when the latch is open.
                latch.open();
            })
        };
        other_thread.join().unwrap();
        task.join().unwrap();
        job.wait();
        assert!(order.lock().unwrap().contains(&"came back"));
    });
}

#[test]
fn one_that_waits_without_a_permit_can_be_cancelled() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let (held, job) = (pool.job(0), pool.job(1));
        let (never, token) = (held.spawn(|| ()), tokens.token());
        let task = job.spawn_future(async move {
            let _token = token;
            never.await.unwrap();
        });
        job.spawn(|| ()).join().unwrap(); // the permit is free
        job.set_limit(0); // and no other will be
        assert!(task.cancel());
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        assert_eq!(tokens.dropped(), 1);
        job.wait();
        held.cancel();
    });
}

#[test]
fn a_task_that_awaits_itself_is_told_so() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let (send, handle) = oneshot::channel::<TaskHandle<()>>();
        let (tell, told) = mpsc::channel();
        let task = job.spawn_future(async move {
            let own = handle.await.unwrap();
            let own = std::panic::AssertUnwindSafe(own.map_to_message());
            tell.send(own.0.await).unwrap();
        });
        send.send(task).unwrap_or_else(|_| unreachable!());
        assert!(told.recv().unwrap().contains("awaits itself"));
    });
}

trait MapToMessage {
    fn map_to_message(self) -> impl Future<Output = String> + Send;
}

impl MapToMessage for TaskHandle<()> {
    async fn map_to_message(mut self) -> String {
        poll_fn(move |cx| Poll::Ready(panic_of(|| drop(Pin::new(&mut self).poll(cx))))).await
    }
}

#[test]
fn a_drain_ends_what_waits_in_line_in_a_paused_job() {
    within(LONG, || {
        let pool = pool(2);
        let (job, other) = (pool.job(1), pool.job(1));
        let (go, gone) = mpsc::channel::<()>();
        let awaited = other.spawn(move || gone.recv().unwrap());
        let task = job.spawn_future(async move { awaited.await.unwrap() });
        job.spawn(|| ()).join().unwrap(); // the future waits by now
        job.pause();
        go.send(()).unwrap();
        pool.shutdown();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
    });
}

/// A future that waits for something else might still raise the limit: the drain does not wait for that.
#[test]
fn a_drain_cancels_a_held_job_beside_a_future() {
    with_workers(|pool, _| {
        let (job, held, third) = (pool.job(1), pool.job(0), pool.job(1));
        let (go, gone) = oneshot::channel::<()>();
        let theirs = held.clone();
        let raises = job.spawn_future(async move {
            gone.await.unwrap();
            theirs.set_limit(1);
        });
        let task = held.spawn(|| 7);
        let waits = third.spawn(move || task.join().ok());
        thread::scope(|scope| {
            let drain = scope.spawn(|| pool.shutdown());
            // It ends before the future does.
            assert_eq!(waits.join().unwrap(), None);
            go.send(()).unwrap();
            drain.join().unwrap();
        });
        raises.join().unwrap();
    });
}

#[test]
fn a_drain_drops_the_futures_in_flight_of_a_held_job() {
    with_workers(|pool, _| {
        let (job, tokens) = (pool.job(1), Tokens::new());
        let token = tokens.token();
        let task = job.spawn_future(async move {
            let _token = token;
            std::future::pending::<()>().await;
        });
        while job.stats().running == 0 {
            thread::yield_now();
        }
        job.pause();
        pool.shutdown();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        assert_eq!((tokens.dropped(), job.stats().cancelled), (1, 1));
    });
}
