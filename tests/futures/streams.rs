//! `Job::map_async`: a stream of the results of futures.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::thread;

use futures::FutureExt;
use futures::Stream;
use futures::channel::mpsc::unbounded;
use futures::channel::oneshot::{self, Receiver, Sender};
use futures::executor::block_on;
use futures::stream::StreamExt;
use tollgate::JoinError;

use crate::common::event::Wakes;
use crate::common::{Tokens, pool, with_workers};
use crate::yield_once;

#[test]
fn results_come_in_order_and_as_completed() {
    with_workers(|pool, _| {
        let job = pool.job(3);
        let results = job.map_async(0..1_000, |i| async move {
            if i % 3 == 0 {
                yield_once().await;
            }
            i
        });
        let all: Vec<i32> = block_on(results.map(Result::unwrap).collect());
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
        let results = job.map_async(0..1_000, |i| async move { i }).as_completed();
        let mut all: Vec<i32> = block_on(results.map(Result::unwrap).collect());
        all.sort_unstable();
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
        assert!(job.stats().most_running <= 3);
    });
}

#[test]
fn no_more_is_pulled_than_the_limit_allows() {
    with_workers(|pool, _| {
        let job = pool.job(3);
        let pulled = Arc::new(AtomicUsize::new(0));
        let count = pulled.clone();
        let input = (0..).inspect(move |_| {
            count.fetch_add(1, SeqCst);
        });
        let mut results = job.map_async(input, |i| async move { i });
        for i in 0..50 {
            assert_eq!(block_on(results.next()).unwrap().unwrap(), i);
            assert!(pulled.load(SeqCst) <= i + 4);
        }
        drop(results);
        job.wait();
        assert_eq!(job.stats().completed + job.stats().cancelled, pulled.load(SeqCst) as u64);
    });
}

#[test]
fn a_stream_is_an_input_and_is_waited_for() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let (send, input) = unbounded();
        let results = job.map_async(input, |i: usize| async move { i * 2 });
        let foreign = thread::spawn(move || {
            for i in 0..500 {
                send.unbounded_send(i).unwrap();
            }
        });
        let sum = block_on(results.fold(0, |sum, one| async move { sum + one.unwrap() }));
        foreign.join().unwrap();
        assert_eq!(sum, 249_500);
    });
}

#[test]
fn dropping_the_stream_cancels_the_rest() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(4);
        let made = tokens.clone();
        let mut results = job.map_async(0.., move |_| {
            let token = made.token();
            async move {
                let _token = token;
                pending::<()>().await;
            }
        });
        let waker = Waker::from(Arc::new(Wakes::default()));
        assert!(results.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(results);
        job.wait();
        assert_eq!((tokens.made(), tokens.dropped()), (4, 4));
    });
}

#[test]
fn a_cancelled_job_ends_the_stream_with_one_more_item() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let mut results = job.map_async(0.., |i| async move { i });
        assert_eq!(block_on(results.next()).unwrap().unwrap(), 0);
        job.cancel();
        let rest: Vec<_> = block_on(results.collect());
        assert!(matches!(rest.last(), Some(Err(JoinError::Cancelled))), "{rest:?}");
        assert!(rest.len() <= 2);
    });
}

/// The futures under way are bounded by the least limit of the job and its ancestors. A held job is asked for one.
#[test]
fn no_more_is_pulled_than_the_least_limit_above_allows() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        let above = parent.job(5);
        for (job, most) in [
            (above.job(usize::MAX), 2),
            (above.job(1), 1),
            (parent.job(0), 1),
            (pool.job(3).job(9), 3),
            (pool.job(usize::MAX).job(usize::MAX), 1_024),
        ] {
            let (pulled, waker) = (AtomicUsize::new(0), Waker::from(Arc::new(Wakes::default())));
            let mut results = job.map_async(0.., |_| {
                pulled.fetch_add(1, SeqCst);
                pending::<()>()
            });
            let mut context = Context::from_waker(&waker);
            assert!(results.poll_next_unpin(&mut context).is_pending());
            assert!(results.poll_next_unpin(&mut context).is_pending());
            drop(results);
            assert_eq!(pulled.into_inner(), most, "{job:?}");
            job.cancel();
            job.wait();
        }
    });
}

/// The two sides of a channel for each of several futures.
type Doors = (Vec<Option<Sender<()>>>, Vec<Option<Receiver<()>>>);

/// Makes a channel for each of so many futures, which end when they are sent to.
fn doors(count: usize) -> Doors {
    (0..count).map(|_| oneshot::channel()).map(|(go, gone)| (Some(go), Some(gone))).unzip()
}

/// Two futures are under way, and one of them has ended, as the stream is changed to yield results in the order of completion.
#[test]
fn futures_under_way_are_kept_when_the_order_changes() {
    with_workers(|pool, _| {
        for ended in [false, true] {
            let job = pool.job(2);
            let (mut go, mut gone) = doors(4);
            let mut results = job.map_async(0..4, move |i: usize| {
                let gone = gone[i].take().unwrap();
                async move {
                    gone.await.unwrap();
                    i
                }
            });
            let mut open = |i: usize| go[i].take().unwrap().send(()).unwrap();
            let waker = Waker::from(Arc::new(Wakes::default()));
            assert!(results.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
            if ended {
                open(1);
                while job.stats().running > 1 {
                    thread::yield_now();
                }
            }
            let mut results = results.as_completed();
            if !ended {
                assert!(results.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
                open(1);
            }
            assert_eq!(block_on(results.next()).unwrap().unwrap(), 1);
            open(2);
            assert_eq!(block_on(results.next()).unwrap().unwrap(), 2);
            open(0);
            assert_eq!(block_on(results.next()).unwrap().unwrap(), 0);
            open(3);
            assert_eq!(block_on(results.next()).unwrap().unwrap(), 3);
            assert!(block_on(results.next()).is_none());
        }
    });
}

/// A stream moves from one task to another between two polls. The end of a future wakes the second task, in both orders.
#[test]
fn the_last_poller_of_a_stream_is_woken() {
    fn check(mut results: impl Stream<Item = Result<(), JoinError>> + Unpin, open: impl FnOnce()) {
        let counts = [(); 2].map(|()| Arc::new(Wakes::default()));
        for count in &counts {
            let waker = Waker::from(count.clone());
            assert!(results.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        open();
        let woken = || counts.each_ref().map(|count| count.woken());
        while woken() == [0, 0] {
            thread::yield_now();
        }
        assert_eq!(woken()[0], 0);
        block_on(results.next()).unwrap().unwrap();
    }
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (mut go, mut gone) = doors(1);
        let results = job.map_async(0..1, |_| gone[0].take().unwrap().map(Result::unwrap));
        check(results, || go[0].take().unwrap().send(()).unwrap());
        let (mut go, mut gone) = doors(1);
        let results = job.map_async(0..1, |_| gone[0].take().unwrap().map(Result::unwrap));
        check(results.as_completed(), || go[0].take().unwrap().send(()).unwrap());
    });
}

/// The cancel of a job above, or the end of the pool, cuts off an input that has no end.
#[test]
fn a_cancel_above_or_a_shutdown_ends_the_stream_with_one_more_item() {
    with_workers(|_, workers| {
        for as_completed in [false, true] {
            for shuts_down in [false, true] {
                let pool = pool(workers);
                let host = pool.job(3);
                let mut results = host.job(1).map_async(0.., |i| async move { i });
                assert_eq!(block_on(results.next()).unwrap().unwrap(), 0);
                if shuts_down {
                    pool.shutdown();
                } else {
                    host.cancel();
                }
                let rest: Vec<_> = if as_completed {
                    block_on(results.as_completed().take(10).collect())
                } else {
                    block_on(results.take(10).collect())
                };
                assert!(matches!(rest[..], [Err(JoinError::Cancelled)]), "{rest:?}");
            }
        }
    });
}

#[test]
fn a_close_does_not_stop_the_stream() {
    with_workers(|pool, _| {
        let host = pool.job(3);
        let job = host.job(2);
        let mut results = job.map_async(0..100, |i| async move { i });
        assert_eq!(block_on(results.next()).unwrap().unwrap(), 0);
        job.close();
        assert_eq!(block_on(results.next()).unwrap().unwrap(), 1);
        host.close();
        let rest: Vec<_> = block_on(results.map(Result::unwrap).collect());
        assert!(rest.into_iter().eq(2..100));
        let refused: Vec<_> = block_on(job.map_async(0..3, |i| async move { i }).collect());
        assert!(matches!(refused[..], [Err(JoinError::Cancelled)]));
    });
}
