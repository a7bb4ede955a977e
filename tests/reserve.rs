//! `Job::reserve` and `spawn_async`: a future waits for a slot of a job with a capacity (part of *limit_is_used*).

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use common::event::Wakes;
use common::{LONG, Tokens, pool, with_workers, within};
use futures::executor::block_on;
use tollgate::{Closed, Job, Reserve, ReservedSlot};

fn poll(reserve: &mut Reserve<'_>, calls: &Arc<Wakes>) -> Poll<Result<ReservedSlot, Closed>> {
    let waker = Waker::from(calls.clone());
    Pin::new(reserve).poll(&mut Context::from_waker(&waker))
}

/// Waits for a slot of a job whose only slot is taken.
fn waiting(job: &Job) -> (Reserve<'_>, Arc<Wakes>) {
    let (mut reserve, calls) = (job.reserve(), Arc::default());
    assert!(poll(&mut reserve, &calls).is_pending());
    (reserve, calls)
}

#[test]
fn a_job_without_a_capacity_has_always_a_slot() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let task = block_on(job.reserve()).unwrap().spawn(|| 1);
        assert_eq!(task.join().unwrap(), 1);
        assert_eq!(block_on(async { job.spawn_async(|| 2).await.await }).unwrap(), 2);
    });
}

#[test]
fn no_more_tasks_wait_than_the_capacity() {
    with_workers(|pool, _| {
        for capacity in [1, 3] {
            let job = pool.job_builder().limit(2).capacity(capacity).build();
            let sum = block_on(async {
                let mut tasks = Vec::new();
                let started = Arc::new(AtomicUsize::new(0));
                for i in 0..500 {
                    let count = started.clone();
                    let task = move || {
                        count.fetch_add(1, SeqCst);
                        i
                    };
                    tasks.push(job.spawn_async(task).await);
                    // A task gives its slot back just before it is counted here, and two run at most.
                    let waiting = tasks.len() - started.load(SeqCst);
                    assert!(waiting <= capacity + 2, "{waiting} tasks wait");
                }
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                sum
            });
            assert_eq!(sum, 499 * 500 / 2);
        }
    });
}

#[test]
fn futures_that_wait_are_woken_in_order_one_by_one() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job_builder().limit(0).capacity(1).build(); // held
        let first = block_on(job.reserve()).unwrap();
        let (mut second, second_calls) = waiting(&job);
        let (mut third, third_calls) = waiting(&job);
        drop(first);
        assert_eq!((second_calls.woken(), third_calls.woken()), (1, 0));
        let Poll::Ready(Ok(slot)) = poll(&mut second, &second_calls) else { panic!("no slot") };
        assert!(poll(&mut third, &third_calls).is_pending());
        drop(slot);
        assert_eq!((second_calls.woken(), third_calls.woken()), (1, 1));
        assert!(matches!(poll(&mut third, &third_calls), Poll::Ready(Ok(_))));
    });
}

#[test]
fn a_dropped_wait_passes_its_wake_up_on() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job_builder().limit(0).capacity(1).build(); // held
        let slot = block_on(job.reserve()).unwrap();
        let (second, second_calls) = waiting(&job);
        let (mut third, third_calls) = waiting(&job);
        drop(slot);
        assert_eq!((second_calls.woken(), third_calls.woken()), (1, 0));
        drop(second);
        assert_eq!(third_calls.woken(), 1);
        assert!(matches!(poll(&mut third, &third_calls), Poll::Ready(Ok(_))));
        // A future that was not woken passes nothing on.
        let held = block_on(job.reserve()).unwrap();
        let (fourth, _) = waiting(&job);
        let (_fifth, fifth_calls) = waiting(&job);
        drop(fourth);
        assert_eq!(fifth_calls.woken(), 0);
        drop(held);
        assert_eq!(fifth_calls.woken(), 1);
    });
}

/// A thread that blocks and a future wait for slots of one job.
#[test]
fn threads_and_futures_share_the_slots() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let ran = Tokens::new();
        std::thread::scope(|threads| {
            for way in 0..4 {
                let (job, ran) = (&job, &ran);
                threads.spawn(move || {
                    for _ in 0..200 {
                        let token = ran.token();
                        let task = move || drop(token);
                        match way {
                            0 | 1 => block_on(async { job.reserve().await.unwrap().execute(task) }),
                            2 => job.execute(task),
                            _ => drop(block_on(job.spawn_async(task))),
                        }
                    }
                });
            }
        });
        job.wait();
        assert_eq!(job.stats().completed, 800);
        assert_eq!((ran.made(), ran.dropped()), (800, 800));
    });
}

#[test]
fn a_close_ends_the_wait() {
    within(LONG, || {
        for how in 0..3 {
            let mut pool = Some(pool(1));
            let job = pool.as_ref().unwrap().job_builder().limit(0).capacity(1).build(); // held
            job.execute(|| ());
            let (mut reserve, calls) = waiting(&job);
            match how {
                0 => job.close(),
                1 => job.cancel(),
                _ => drop(pool.take()),
            }
            assert!(calls.woken() > 0, "way {how}");
            assert!(matches!(poll(&mut reserve, &calls), Poll::Ready(Err(Closed))));
            assert!(matches!(block_on(job.reserve()), Err(Closed)));
            let task = block_on(job.spawn_async(|| unreachable!()));
            assert!(task.join().unwrap_err().is_cancelled());
        }
    });
}

/// With a limit of 1: the future that waits holds no permit, so the task in the only slot can start.
#[test]
#[cfg(feature = "futures")]
fn a_future_of_the_job_holds_no_permit_while_it_waits_for_a_slot() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let own = job.clone();
        let task = job.spawn_future(async move {
            let mut sum = 0;
            for i in 0..50 {
                sum += own.spawn_async(move || i).await.await.unwrap();
                let (one, two) = (own.reserve().await.unwrap().spawn(|| 1), own.spawn_async(|| 1));
                sum += two.await.await.unwrap() + one.await.unwrap();
            }
            sum
        });
        assert_eq!(task.join().unwrap(), 49 * 50 / 2 + 100);
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_owns_a_slot_until_its_first_poll() {
    use tollgate::Rejected;

    within(LONG, || {
        let pool = pool(1);
        let job = pool.job_builder().limit(0).capacity(1).build(); // held
        let (give, given) = futures::channel::oneshot::channel::<u32>();
        let first = job.try_spawn_future(given).unwrap();
        assert!(matches!(job.try_spawn_future(async { 2 }), Err(Rejected::Full(_))));
        assert!(matches!(job.try_spawn(|| 2), Err(Rejected::Full(_))));
        job.set_limit(2);
        // It is pending, so its slot is free again.
        let second = job.spawn_future(async { 2 });
        assert_eq!(second.join().unwrap(), 2);
        give.send(1).unwrap();
        assert_eq!(first.join().unwrap().unwrap(), 1);
        job.pause();
        let cancelled = job.try_spawn_future(async { 3 }).unwrap();
        assert!(cancelled.cancel());
        let slot = block_on(job.reserve()).unwrap();
        assert!(matches!(job.try_spawn_future(async { 4 }), Err(Rejected::Full(_))));
        let last = slot.spawn_future(async { 5 });
        job.resume();
        assert_eq!(last.join().unwrap(), 5);
        job.close();
        assert!(matches!(job.try_spawn_future(async { 6 }), Err(Rejected::Closed(_))));
    });
}

#[test]
fn a_slot_outlives_its_pool() {
    within(LONG, || {
        let slot = {
            let pool = pool(1);
            let job = pool.job_builder().capacity(1).build();
            block_on(pin!(job.reserve())).unwrap()
        };
        assert!(slot.spawn(|| 1).join().unwrap_err().is_cancelled());
    });
}
