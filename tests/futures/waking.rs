//! Wakes at every time and from everywhere: none is lost, and none keeps others from their turn.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use tollgate::JoinError;

use crate::common::{LONG, pool, with_workers, within};
use crate::{join_all_now, yield_once};

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
