//! Waiting for a job as a future: `Job::idle` and `Job::settled`.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use tollgate::{Job, JoinError, Retry, TaskHandle};

use crate::common::event::{Gauge, Latch, Wakes, stay};
use crate::common::{LONG, pool, with_workers, within};

#[test]
fn idle_waits_for_the_job_and_all_below() {
    with_workers(|pool, _| {
        let parent = pool.job(4);
        let child = parent.job(2);
        let latch = Latch::new();
        let gauge = Gauge::new();
        for _ in 0..5 {
            child.execute(stay(&gauge, &latch));
        }
        let mut idle = pin!(parent.idle());
        let waker = Waker::from(Arc::new(Wakes::default()));
        assert!(idle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        latch.open();
        block_on(idle);
        assert_eq!(gauge.started(), 5);
        assert_eq!(child.stats().completed, 5);
    });
}

/// One future waits for a parent, and another one for its child. The first one then waits for the child, too: it takes no other
/// waiter's place. The rounds give the two jobs' waiters many pairs of entry numbers.
#[test]
fn idle_of_a_parent_leaves_the_waiters_of_a_child() {
    const ROUNDS: usize = 300;
    with_workers(|pool, _| {
        for round in 0..ROUNDS / pool.workers() {
            let parent = pool.job(2);
            let child = parent.job(1);
            let [own, below] = [parent.try_acquire().unwrap(), child.try_acquire().unwrap()];
            let [outer_wakes, inner_wakes] = [(); 2].map(|()| Arc::new(Wakes::default()));
            let wakers = [outer_wakes.clone(), inner_wakes.clone()].map(Waker::from);
            let [mut outer, mut inner] = wakers.each_ref().map(Context::from_waker);
            let (mut waits, mut waits_below) = (pin!(parent.idle()), pin!(child.idle()));
            assert!(waits.as_mut().poll(&mut outer).is_pending());
            assert!(waits_below.as_mut().poll(&mut inner).is_pending());
            drop(own);
            assert!(waits.as_mut().poll(&mut outer).is_pending());
            drop(below);
            assert_ne!(
                inner_wakes.woken(),
                0,
                "the wait for the child was not woken in round {round}"
            );
            assert_ne!(
                outer_wakes.woken(),
                0,
                "the wait for the parent was not woken in round {round}"
            );
            block_on(waits_below);
            block_on(waits);
        }
    });
}

/// The last task of a held job ends without a worker, in each of these ways. A wait for the job is woken by that end.
#[test]
fn idle_is_woken_when_a_handle_cancels_the_last_task_of_a_held_job() {
    type Push = fn(&Job) -> Box<dyn FnOnce() + '_>;
    let pushes: [Push; 6] = [
        |job| cancels(job.spawn(|| ())),
        |job| cancels(job.spawn_named("named", || ())),
        |job| cancels(job.spawn_within(LONG, || ())),
        |job| cancels(job.spawn_retry(Retry::new(), || Ok::<_, ()>(()))),
        |job| cancels(job.spawn_future(async {})),
        |job| {
            let mut acquire = Box::pin(job.acquire());
            assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            Box::new(move || drop(acquire))
        },
    ];
    fn cancels<T: Send + 'static>(task: TaskHandle<T>) -> Box<dyn FnOnce()> {
        Box::new(move || assert!(task.cancel()))
    }
    with_workers(move |pool, _| {
        let parent = pool.job(0);
        for job in [pool.job(0), parent.job(1), parent.job(0)] {
            for push in pushes {
                let cancel = push(&job);
                let mut idle = pin!(job.idle());
                let count = Arc::new(Wakes::default());
                let waker = Waker::from(count.clone());
                assert!(idle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                cancel();
                assert_ne!(count.woken(), 0, "the wait was not woken");
                block_on(idle);
            }
        }
    });
}

#[test]
fn idle_inside_a_future_holds_no_permit_and_refuses_its_own_job() {
    with_workers(|pool, _| {
        let (job, other) = (pool.job(1), pool.job(1));
        let (inner, back) = (other.clone(), job.clone());
        let task = job.spawn_future(async move {
            // The other's task needs this one's permit to end.
            let (tell, told) = oneshot::channel();
            inner.execute(move || tell.send(back.spawn(|| 8).join().unwrap()).unwrap());
            inner.idle().await;
            told.await.unwrap()
        });
        assert_eq!(task.join().unwrap(), 8);
        let own = job.clone();
        let refused = job.spawn_future(async move { own.idle().await });
        match refused.join() {
            Err(JoinError::Panicked(payload)) => {
                assert!(payload.message().unwrap().contains("waits for its own job"));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn settled_tells_when_the_excess_has_ended() {
    within(LONG, || {
        let pool = pool(4);
        let job = pool.job(4);
        let gauge = Gauge::new();
        let latches: Vec<_> = (0..4).map(|_| Latch::new()).collect();
        for latch in &latches {
            job.execute(stay(&gauge, latch));
        }
        gauge.until_running(4);
        job.set_limit(2);
        let mut settled = pin!(job.settled());
        let waker = Waker::from(Arc::new(Wakes::default()));
        let mut cx = Context::from_waker(&waker);
        assert!(settled.as_mut().poll(&mut cx).is_pending());
        latches[0].open();
        gauge.until_running(3);
        assert!(!job.settled().wait_timeout(Duration::from_millis(1)));
        let blocking = {
            let job = job.clone();
            thread::spawn(move || job.settled().wait())
        };
        latches[1].open();
        block_on(settled);
        blocking.join().unwrap();
        assert!(job.stats().running <= 2);
        // So is a limit that is raised meanwhile.
        job.set_limit(1);
        let mut settled = pin!(job.settled());
        assert!(settled.as_mut().poll(&mut cx).is_pending());
        job.set_limit(2);
        block_on(settled);
    });
}

/// The future lowers the limit so far that its own permit is too many, and gives that permit back while it waits.
#[test]
fn settled_inside_a_future_holds_no_permit() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let own = job.clone();
        let task = job.spawn_future(async move {
            own.set_limit(0);
            own.settled().await;
        });
        while job.limit() > 0 {
            thread::yield_now();
        }
        job.settled().wait();
        assert_eq!(job.stats().running, 0);
        job.set_limit(1);
        task.join().unwrap();
    });
}
