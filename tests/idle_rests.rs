//! Waits for a job's rest: each waiter is released by the first rest after its call, although others push again at once.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::event::Latch;
use common::{LONG, pool, with_workers, within};

#[test]
fn a_rest_that_one_waiter_sees_releases_all() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let first = Latch::new();
        let opening = first.opening();
        job.execute(move || opening.wait());
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = [job.idle(), job.idle(), job.idle()];
        for wait in &mut waits {
            assert!(Pin::new(wait).poll(&mut cx).is_pending());
        }
        first.open();
        job.wait();
        // Busy again, before the others look.
        let second = Latch::new();
        let opening = second.opening();
        job.execute(move || opening.wait());
        for wait in &mut waits {
            assert!(Pin::new(wait).poll(&mut cx).is_ready(), "it missed the moment of rest");
        }
        // One that comes now waits for the next rest.
        let mut late = job.idle();
        assert!(Pin::new(&mut late).poll(&mut cx).is_pending());
        assert!(!job.wait_timeout(Duration::from_millis(1)));
        second.open();
        job.wait();
        assert!(Pin::new(&mut late).poll(&mut cx).is_ready());
    });
}

#[test]
fn four_threads_that_wait_and_push_again_all_go_on() {
    const ROUNDS: usize = 200;
    within(LONG, || {
        let pool = pool(2);
        for children in [false, true] {
            let job = pool.job(1);
            let inner = if children { job.job(1) } else { job.clone() };
            let rounds = Arc::new(AtomicUsize::new(0));
            let waiters = [(); 4].map(|()| {
                let (job, inner, rounds) = (job.clone(), inner.clone(), Arc::clone(&rounds));
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        inner.execute(|| ());
                        match round % 2 {
                            0 => job.wait(),
                            _ => assert!(job.wait_timeout(Duration::MAX), "it missed the rest"),
                        }
                        rounds.fetch_add(1, SeqCst);
                    }
                })
            });
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            assert_eq!(rounds.load(SeqCst), 4 * ROUNDS);
            assert_eq!(inner.stats().completed, 4 * ROUNDS as u64);
        }
    });
}

/// A waker that owns something else.
struct Owner(#[expect(dead_code, reason = "it is only dropped")] Mutex<Box<dyn Send>>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

/// The drop of a waker is user code: it may end another wait for the same job.
#[test]
fn the_waker_of_a_wait_may_own_another_wait() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        job.pause();
        job.execute(|| ());
        for is_dropped in [true, false] {
            let mut inner = Box::pin(job.idle());
            assert!(inner.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let waker = Waker::from(Arc::new(Owner(Mutex::new(Box::new(inner)))));
            let mut outer = Box::pin(job.idle());
            assert!(outer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            if is_dropped {
                drop(outer);
            } else {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(outer.as_mut().poll(&mut cx).is_pending(), "it replaces the waker");
            }
        }
        job.resume();
        job.wait();
    });
}
