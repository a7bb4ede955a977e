//! Wakes at every time and from everywhere: none is lost, and none keeps others from their turn.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use tollgate::JoinError;

use crate::common::event::{Gauge, Latch, Wakes, stay};
use crate::common::{LONG, pool, with_workers, within};
use crate::{join_all_now, yield_once};
use futures::executor::block_on;

#[test]
fn a_wake_during_the_poll_is_not_lost() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let tasks: Vec<_> = (0..1_000)
            .map(|i| {
                job.spawn_future(async move {
                    for _ in 0..10 {
                        yield_once().await;
                    }
                    i
                })
            })
            .collect();
        assert_eq!(join_all_now(tasks), (0..1_000).collect::<Vec<_>>());
    });
}

#[test]
fn wakes_from_other_threads_at_any_time_are_not_lost_and_late_ones_do_nothing() {
    with_workers(|pool, _| {
        let job = pool.job(50);
        let (send, wakers) = mpsc::channel::<(Waker, Arc<AtomicBool>)>();
        let foreign = thread::spawn(move || {
            let mut kept = Vec::new();
            for (waker, flag) in wakers {
                flag.store(true, SeqCst);
                waker.wake_by_ref();
                kept.push(waker);
            }
            // Each of these has ended.
            kept.into_iter().for_each(Waker::wake);
        });
        let tasks: Vec<_> = (0..2_000)
            .map(|i| {
                let send = send.clone();
                job.spawn_future(async move {
                    let flag = Arc::new(AtomicBool::new(false));
                    let mut sent = false;
                    poll_fn(|cx| {
                        if !std::mem::replace(&mut sent, true) {
                            send.send((cx.waker().clone(), flag.clone())).unwrap();
                        }
                        if flag.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                    i
                })
            })
            .collect();
        drop(send);
        assert_eq!(join_all_now(tasks), (0..2_000).collect::<Vec<_>>());
        foreign.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 2_000);
    });
}

/// Wakes the task whose future it is part of when it is dropped.
#[derive(Default)]
struct WakesInDrop(Option<Waker>);

impl Drop for WakesInDrop {
    fn drop(&mut self) {
        self.0.take().unwrap().wake();
    }
}

#[test]
fn a_wake_from_the_futures_own_drop_does_nothing() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let ready = job.spawn_future(async {
            let mut waker = WakesInDrop::default();
            poll_fn(|cx| {
                waker.0 = Some(cx.waker().clone());
                Poll::Ready(())
            })
            .await;
        });
        ready.join().unwrap();
        let (tell, told) = mpsc::channel();
        let cancelled = job.spawn_future(async move {
            let mut waker = WakesInDrop::default();
            poll_fn(|cx| {
                waker.0 = Some(cx.waker().clone());
                tell.send(()).unwrap();
                Poll::<()>::Pending
            })
            .await;
        });
        told.recv().unwrap();
        assert!(cancelled.cancel());
        assert!(matches!(cancelled.join(), Err(JoinError::Cancelled)));
        job.wait();
    });
}

#[test]
fn those_who_wake_each_other_keep_nobody_from_a_turn() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(usize::MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let table = Arc::new(Mutex::new([const { None::<Waker> }; 3]));
        // Each wakes the next two; the third has its turn only if those above it in the deque let it.
        let players: Vec<_> = (0..3)
            .map(|i| {
                let (stop, table) = (stop.clone(), table.clone());
                let mut turns = 0;
                job.spawn_future(poll_fn(move |cx| {
                    turns += 1;
                    let others = {
                        let mut table = table.lock().unwrap();
                        table[i] = Some(cx.waker().clone());
                        [table[(i + 1) % 3].clone(), table[(i + 2) % 3].clone()]
                    };
                    others.into_iter().flatten().for_each(Waker::wake);
                    if stop.load(SeqCst) { Poll::Ready(turns) } else { Poll::Pending }
                }))
            })
            .collect();
        // None of these waits for the game to end.
        for _ in 0..50 {
            job.spawn(|| ()).join().unwrap();
            pool.job(1).spawn_future(yield_once()).join().unwrap();
        }
        stop.store(true, SeqCst);
        let turns = join_all_now(players);
        assert!(turns.iter().all(|turns| *turns > 10), "{turns:?}");
    });
}

/// Polls a future with one waker, and then with another. `event` makes it ready: only the second waker is woken, and the first one
/// was dropped before.
fn wakes_its_last_waker<F: Future>(future: F, event: impl FnOnce()) -> F::Output {
    let mut future = pin!(future);
    let [first, second] = [(); 2].map(|()| Arc::new(Wakes::default()));
    for count in [&first, &second] {
        let waker = Waker::from(count.clone());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&first), 1, "the first waker was kept");
    event();
    while second.woken() == 0 {
        thread::yield_now();
    }
    assert_eq!(first.woken(), 0, "the first waker was woken");
    block_on(future)
}

/// Polls a future once, and drops it. Its waker must go with it.
fn drops_its_waker(future: impl Future) {
    let count = Arc::new(Wakes::default());
    {
        let mut future = pin!(future);
        let waker = Waker::from(count.clone());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((Arc::strong_count(&count), count.woken()), (1, 0), "the waker was kept");
}

#[test]
fn a_wait_wakes_the_waker_of_its_last_poll() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let held = job.try_acquire().unwrap();
        let permit = wakes_its_last_waker(job.acquire(), || drop(held)).unwrap();
        job.pause();
        wakes_its_last_waker(job.settled(), || drop(permit));
        job.resume();
        let bounded = pool.job_builder().limit(0).capacity(1).build();
        let slot = block_on(bounded.reserve()).unwrap();
        drop(wakes_its_last_waker(bounded.reserve(), || drop(slot)).unwrap());
        let handing = pool.job_builder().limit(1).capacity(0).build();
        let held = handing.try_acquire().unwrap();
        drop(wakes_its_last_waker(handing.reserve(), || drop(held)).unwrap());
        let shut = pool.job(0);
        let task = shut.spawn(|| 5);
        assert_eq!(wakes_its_last_waker(task, || shut.set_limit(1)).unwrap(), 5);
        shut.wait();
        shut.set_limit(0);
        shut.execute(|| ());
        wakes_its_last_waker(shut.idle(), || shut.set_limit(1));
        shut.set_limit(0);
        let mut set = shut.set();
        let id = set.spawn(|| 6);
        let next = poll_fn(|cx| set.poll_join_next_with_id(cx));
        let (next, result) = wakes_its_last_waker(next, || shut.set_limit(1)).unwrap();
        assert_eq!((next, result.unwrap()), (id, 6));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        job.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        wakes_its_last_waker(pool.shutdown_async(), || latch.open());
    });
}

#[test]
fn a_wait_that_is_dropped_drops_its_waker() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let held = job.try_acquire().unwrap();
        drops_its_waker(job.acquire());
        job.pause();
        drops_its_waker(job.settled());
        drops_its_waker(job.idle());
        job.resume();
        let bounded = pool.job_builder().limit(0).capacity(1).build();
        bounded.execute(|| ());
        drops_its_waker(bounded.reserve());
        drops_its_waker(bounded.spawn_async(|| ()));
        let handing = pool.job_builder().limit(1).capacity(0).build();
        let permit = handing.try_acquire().unwrap();
        drops_its_waker(handing.reserve());
        drop(permit);
        let shut = pool.job(0);
        drops_its_waker(shut.spawn(|| ()));
        let mut set = shut.set::<()>();
        set.spawn(|| ());
        drops_its_waker(poll_fn(move |cx| set.poll_join_next_with_id(cx)));
        drop(held);
    });
}
