//! serial_in_order for futures and closures side by side.

use std::sync::{Arc, Mutex};

use crate::common::with_workers;
use crate::yield_once;

#[test]
fn futures_and_closures_start_in_the_order_pushed() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let order = Arc::new(Mutex::new(Vec::new()));
        for i in 0..3_000 {
            let order = order.clone();
            match i % 3 {
                0 => job.execute(move || order.lock().unwrap().push(i)),
                1 => drop(job.spawn_future(async move { order.lock().unwrap().push(i) })),
                _ => drop(job.spawn_future(async move {
                    order.lock().unwrap().push(i);
                    yield_once().await;
                })),
            }
        }
        job.wait();
        assert_eq!(*order.lock().unwrap(), (0..3_000).collect::<Vec<_>>());
    });
}

/// Some futures await a task of another job, and others join one in their poll. While such a future waits, the next one becomes
/// ready.
#[test]
fn futures_that_wait_start_in_the_order_pushed() {
    with_workers(|pool, _| {
        let (job, other) = (pool.job(1), pool.job(1));
        let order = Arc::new(Mutex::new(Vec::new()));
        job.pause();
        for i in 0..300 {
            let (order, other) = (order.clone(), other.clone());
            drop(job.spawn_future(async move {
                order.lock().unwrap().push(i);
                match i % 4 {
                    0 => other.spawn(|| ()).await.unwrap(),
                    1 => other.spawn(|| ()).join().unwrap(),
                    2 => {
                        other.spawn(|| ()).join().unwrap();
                        yield_once().await;
                    }
                    _ => {}
                }
            }));
        }
        job.resume();
        job.wait();
        assert_eq!(*order.lock().unwrap(), (0..300).collect::<Vec<_>>());
    });
}
