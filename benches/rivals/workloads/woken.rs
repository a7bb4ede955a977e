//! What does a future cost that waits once, and is woken by another thread?
//!
//! Each future sends its waker to one thread outside, which wakes it at once. Then the future ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::Semaphore;
use tollgate::Pool;

use super::{Plot, Sample, Scale, Target, Workload};
use crate::contender::Which;
use crate::measure::allocator::Allocator;
use crate::measure::clock::Stopwatch;
use crate::measure::count::{self, Tally};

const WORKERS: usize = 2;
const LIMIT: usize = 100;
const FUTURES: u64 = 100_000;

/// Sends its waker at the first poll, and is ready at the next.
struct Woken<'a> {
    wakers: &'a Sender<Waker>,
    sent: bool,
}

impl Future for Woken<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.sent {
            return Poll::Ready(());
        }
        self.sent = true;
        self.wakers.send(cx.waker().clone()).expect("the waking thread lives");
        Poll::Pending
    }
}

async fn woken(wakers: Sender<Waker>, number: u64) {
    Woken { wakers: &wakers, sent: false }.await;
    count::done(number);
}

fn run(which: Which, scale: Scale) -> Sample {
    let futures = scale.of(FUTURES);
    let (wakers, to_wake) = unbounded::<Waker>();
    let waking = thread::spawn(move || to_wake.into_iter().for_each(Waker::wake));
    let before = Tally::now();
    let span = if which == Which::Ours {
        let pool = Pool::builder().workers(WORKERS).build().expect("a pool starts");
        let job = pool.job(LIMIT);
        let stopwatch = Stopwatch::start();
        for number in 0..futures {
            drop(job.spawn_future(woken(wakers.clone(), number)));
        }
        before.wait_for(futures);
        stopwatch.stop()
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build();
        let runtime = runtime.expect("a runtime starts");
        let permits = Arc::new(Semaphore::new(LIMIT));
        let stopwatch = Stopwatch::start();
        for number in 0..futures {
            let (permits, wakers) = (Arc::clone(&permits), wakers.clone());
            drop(runtime.spawn(async move {
                let _permit = permits.acquire().await.expect("nobody closes the semaphore");
                woken(wakers, number).await;
            }));
        }
        before.wait_for(futures);
        stopwatch.stop()
    };
    drop(wakers);
    waking.join().expect("the waking thread ends");
    before.check(futures, (0..futures).sum());
    Sample::each(span, futures)
}

pub(super) const WOKEN: Workload = Workload {
    name: "woken_futures",
    question: "what does a future cost that another thread wakes once?",
    shape: "100k futures, each pending once and woken from outside, limit 100, 2 workers",
    unit: "ns a future",
    contenders: &[Which::Ours, Which::Tokio],
    targets: &[Target::Of(Which::Tokio, 0.6)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: usize::MAX,
    run,
    check_limits: |_| {},
};
