//! Memory of futures in flight; alone in its process, which it looks at as a whole.
#![cfg(feature = "futures")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use futures::channel::oneshot;
use futures::executor::block_on;
use tollgate::JoinError;

use common::proc::resident_bytes;
use common::rng::Rng;
use common::{LONG, pool, within};

/// What is resident when the allocator has given back what it can.
fn resident_after_trim() -> usize {
    // SAFETY: it may be called at any time.
    unsafe { libc::malloc_trim(0) };
    resident_bytes()
}

const FUTURES: usize = 100_000;
const WAKERS: usize = 4;

/// 100,000 futures wait on channels; foreign threads wake them in random order and cancel half of them.
fn burst(pool: &tollgate::Pool, rng: &mut Rng) {
    let job = pool.job(FUTURES);
    let resolved = Arc::new(AtomicUsize::new(0));
    let (mut shares, mut tasks) = (Vec::new(), Vec::new());
    shares.resize_with(WAKERS, Vec::new);
    for i in 0..FUTURES {
        let (go, gone) = oneshot::channel::<usize>();
        tasks.push(job.spawn_future(async move { gone.await.unwrap() }));
        shares[rng.below(WAKERS)].push((i, go));
    }
    while job.stats().running < FUTURES {
        thread::yield_now();
    }
    let tasks = Arc::new(tasks);
    let threads: Vec<_> = shares
        .into_iter()
        .map(|mut share| {
            let (tasks, mut rng) = (tasks.clone(), rng.split());
            for i in (1..share.len()).rev() {
                share.swap(i, rng.below(i + 1));
            }
            thread::spawn(move || {
                let mut said = 0;
                for (i, go) in share {
                    if rng.one_in(2) {
                        said += usize::from(tasks[i].cancel());
                    }
                    // One that was cancelled may be gone.
                    let _ = go.send(i);
                }
                said
            })
        })
        .collect();
    let said: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let tasks = Arc::into_inner(tasks).unwrap();
    let mut cancelled = 0;
    block_on(async {
        for (i, task) in tasks.into_iter().enumerate() {
            match task.await {
                Ok(number) => assert_eq!(number, i),
                Err(JoinError::Cancelled) => cancelled += 1,
                Err(error) => panic!("{error}"),
            }
            resolved.fetch_add(1, SeqCst);
        }
    });
    job.wait();
    let stats = job.stats();
    assert_eq!((said, stats.cancelled as usize), (cancelled, cancelled));
    assert_eq!(stats.completed as usize + cancelled, FUTURES);
    assert_eq!((resolved.load(SeqCst), stats.running), (FUTURES, 0));
    assert!(cancelled > FUTURES / 3, "{cancelled} were cancelled");
}

#[test]
fn a_hundred_thousand_futures_resolve_once_each_and_give_their_memory_back() {
    within(LONG, || {
        let pool = pool(2);
        let mut rng = Rng::from_env();
        let before = resident_after_trim();
        burst(&pool, &mut rng);
        let after_one = resident_after_trim();
        for _ in 0..4 {
            burst(&pool, &mut rng);
        }
        let after_five = resident_after_trim();
        eprintln!("{} MiB, {} MiB, {} MiB", before >> 20, after_one >> 20, after_five >> 20);
        // The futures of one burst and their channels are some 40 MiB.
        assert!(after_five < before + (20 << 20), "memory is kept");
    });
}
