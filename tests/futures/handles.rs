//! Handles as futures, for any executor.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use futures::executor::block_on;
use futures::future::{join, join_all};

use crate::common::event::Wakes;
use crate::common::{LONG, panic_of, pool, with_workers, within};

#[test]
fn any_executor_awaits_tasks() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        assert_eq!(block_on(job.spawn(|| 1)).unwrap(), 1);
        assert_eq!(futures_lite::future::block_on(job.spawn(|| 2)).unwrap(), 2);
        let smol = async_executor::Executor::new();
        assert_eq!(futures_lite::future::block_on(smol.run(job.spawn(|| 3))).unwrap(), 3);
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(tokio.block_on(job.spawn(|| 4)).unwrap(), 4);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(0);
        let mut task = job.spawn(|| 5);
        let counts = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
        for count in [&counts[0], &counts[1], &counts[1]] {
            let waker = Waker::from(count.clone());
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        job.set_limit(1);
        job.wait();
        while counts[1].woken() == 0 {
            thread::yield_now();
        }
        assert_eq!(counts.map(|count| count.woken()), [0, 1]);
        assert_eq!(block_on(&mut task).unwrap(), 5);
    });
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    with_workers(|pool, _| {
        let job = pool.job(0);
        let mut task = job.spawn(|| 6);
        let woken = Waker::from(Arc::new(Wakes::default()));
        {
            let wait = pin!(&mut task);
            assert!(wait.poll(&mut Context::from_waker(&woken)).is_pending());
        }
        job.set_limit(1);
        assert_eq!(task.join().unwrap(), 6);
    });
}

#[test]
fn a_handle_that_was_polled_gives_its_waker_back_when_dropped() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(0);
        let count = Arc::new(Wakes::default());
        let mut task = job.spawn(|| ());
        let waker = Waker::from(count.clone());
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(task);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
        job.cancel();
    });
}

#[test]
fn a_result_is_given_once() {
    within(LONG, || {
        let pool = pool(1);
        let mut task = pool.job(1).spawn(|| String::from("once"));
        assert_eq!(block_on(&mut task).unwrap(), "once");
        let message = panic_of(|| block_on(&mut task));
        assert!(message.contains("taken from its handle before"), "{message}");
        let message = panic_of(|| task.join());
        assert!(message.contains("taken from its handle before"), "{message}");
    });
}

#[test]
fn ten_thousand_are_awaited_at_once() {
    with_workers(|pool, _| {
        let job = pool.job(3);
        job.pause();
        let tasks = (0..10_000).map(|i| job.spawn(move || i));
        let all = join_all(tasks);
        let resume = job.clone();
        let (sums, ()) = block_on(join(all, async move { resume.resume() }));
        assert_eq!(sums.into_iter().map(Result::unwrap).sum::<i32>(), 49_995_000);
    });
}
