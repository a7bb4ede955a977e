//! Handles awaited, joined, cancelled and dropped, and futures as tasks.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Door, Fates, Gauge, block_on};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[test]
fn limit_is_used_when_handles_are_awaited() {
    in_a_pool(3, |pool| {
        let job = pool.job(2);
        let handles: Vec<_> = (0..4).map(|number| job.spawn(move || number)).collect();
        let theirs = job.clone();
        let other =
            thread::spawn(move || block_on(async move { theirs.spawn(|| 1).await.unwrap() }));
        let sum = block_on(async {
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.unwrap();
            }
            job.idle().await;
            sum
        });
        assert_eq!(sum + other.join().unwrap(), 7);
    });
}

#[test]
fn nothing_lost_when_an_end_meets_a_drop_or_a_cancel() {
    in_a_pool(3, |pool| {
        let (job, fates) = (pool.job(2), Fates::of(24));
        let handles = (0..24).map(|number| {
            let ticket = fates.ticket(number);
            (number, job.spawn(move || ticket))
        });
        let mut cancelled = 0;
        for (number, handle) in handles {
            match number % 3 {
                0 => drop(handle),
                1 => cancelled += u64::from(handle.cancel()),
                _ => drop(handle.join()),
            }
        }
        job.wait();
        fates.ran();
        assert_eq!(job.stats().cancelled, cancelled);
    });
}

#[test]
fn limit_is_used_when_futures_await_tasks_of_their_own_job() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        let futures: Vec<_> = (0..2)
            .map(|number| {
                let (inner, seen) = (job.clone(), gauge.clone());
                job.spawn_future(async move {
                    let task = inner.spawn(seen.task());
                    task.await.unwrap();
                    seen.visit();
                    number
                })
            })
            .collect();
        let sum: usize = futures.into_iter().map(|future| block_on(future).unwrap()).sum();
        job.wait();
        assert_eq!((sum, gauge.ran()), (1, 4));
    });
}

#[test]
fn nothing_lost_when_wakes_meet_first_polls() {
    in_a_pool(3, |pool| {
        let job = pool.job(4);
        let doors = [Door::new(), Door::new(), Door::new()];
        let futures = doors.each_ref().map(|door| job.spawn_future(door.clone().pass()));
        doors.iter().for_each(|door| door.open());
        for future in futures {
            future.join().unwrap();
        }
        job.wait();
        assert_eq!(job.stats().completed, 3);
    });
}

#[test]
fn nothing_lost_when_cancels_meet_first_polls() {
    in_a_pool(3, |pool| {
        let (job, other, fates) = (pool.job(4), pool.job(2), Fates::of(4));
        let doors: Vec<_> = (0..4).map(|_| Door::new()).collect();
        let mut futures: Vec<_> = (0..4)
            .map(|number| {
                let (ticket, door) = (fates.ticket(number), doors[number].clone());
                [&job, &other][number % 2].spawn_future(async move {
                    ticket.punch();
                    door.pass().await;
                })
            })
            .collect();
        let opener = thread::spawn(move || doors.iter().take(2).for_each(|door| door.open()));
        futures[0].cancel();
        futures[2].cancel();
        other.cancel();
        opener.join().unwrap();
        let ends = futures.drain(..).map(|future| future.join().is_err());
        let cancelled = ends.filter(|&cancelled| cancelled).count();
        job.wait();
        other.wait();
        assert!(cancelled >= 2, "the doors that stay shut let nobody through");
        assert!(fates.ran() <= 4);
    });
}

#[test]
fn nothing_lost_when_futures_that_never_end_are_cancelled() {
    in_a_pool(2, |pool| {
        let job = pool.job(2);
        let futures = [(); 2].map(|()| job.spawn_future(std::future::pending::<()>()));
        job.cancel();
        job.wait();
        assert_eq!(job.stats().cancelled, 2);
        drop(futures);
    });
}

#[test]
fn nothing_lost_when_a_drain_meets_futures_in_flight() {
    in_a_pool(3, |pool| {
        let job = pool.job(2);
        let doors = [Door::new(), Door::new(), Door::new()];
        let futures = doors.each_ref().map(|door| job.spawn_future(door.clone().pass()));
        let opener = thread::spawn(move || doors.iter().for_each(|door| door.open()));
        pool.shutdown();
        opener.join().unwrap();
        for future in futures {
            future.join().unwrap();
        }
        assert_eq!(job.stats().completed, 3);
    });
}

#[test]
fn nothing_lost_when_pushers_wait_for_room() {
    in_a_pool(2, |pool| {
        let job = pool.job_builder().limit(1).capacity(2).build();
        let gauge = Gauge::new(1);
        let pushers = [0, 1].map(|_| {
            let (theirs, seen) = (job.clone(), gauge.clone());
            thread::spawn(move || (0..3).for_each(|_| theirs.execute(seen.task())))
        });
        (0..2).for_each(|_| job.execute(gauge.task()));
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.wait();
        assert_eq!(gauge.ran(), 8);
    });
}

#[test]
fn limit_is_used_when_waits_for_room_are_given_up() {
    in_a_pool(2, |pool| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let gauge = Gauge::new(1);
        // Each asks once, gives up, and then asks until it has a slot.
        let pushers = [0, 1].map(|_| {
            let (theirs, seen) = (job.clone(), gauge.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut once = Box::pin(theirs.reserve());
                    _ = once.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    drop(once);
                    block_on(theirs.reserve()).unwrap().execute(seen.task());
                }
            })
        });
        job.execute(gauge.task());
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.wait();
        assert_eq!(gauge.ran(), 5);
    });
}

#[test]
fn nothing_lost_when_a_close_meets_pushers_who_wait_for_room() {
    in_a_pool(2, |pool| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let fates = Fates::of(6);
        // Nothing starts, so that there is no room but for one.
        job.pause();
        let pushers = [0, 3].map(|first| {
            let (theirs, tickets) = (job.clone(), fates.clone());
            thread::spawn(move || {
                for number in first..first + 3 {
                    theirs.execute(tickets.task(number));
                }
            })
        });
        job.close();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.resume();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 6, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_a_close_meets_pushers_of_which_one_finds_room() {
    // A pusher that has its slot leaves the list of those to wake, and no other one does.
    in_a_pool(2, |pool| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let fates = Fates::of(7);
        job.pause();
        job.execute(fates.task(6));
        let pushers = [0, 2, 4].map(|first| {
            let (theirs, tickets) = (job.clone(), fates.clone());
            thread::spawn(move || {
                for number in first..first + 2 {
                    theirs.execute(tickets.task(number));
                }
            })
        });
        let theirs = job.clone();
        let resumer = thread::spawn(move || {
            theirs.resume();
            theirs.pause();
        });
        job.close();
        resumer.join().unwrap();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.resume();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 7, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_a_polled_handle_is_dropped_as_its_task_ends() {
    // The memory of the task may be another task's as soon as the handle has given its reference up.
    in_a_pool(2, |pool| {
        let job = pool.job(2);
        let theirs = job.clone();
        let dropper = thread::spawn(move || {
            for _ in 0..4 {
                let mut task = theirs.spawn(|| ());
                block_on(poll_fn(|cx| {
                    let _ = Pin::new(&mut task).poll(cx);
                    Poll::Ready(())
                }));
                drop(task);
            }
        });
        for number in 0..4 {
            assert_eq!(block_on(job.spawn(move || number)).unwrap(), number);
        }
        dropper.join().unwrap();
    });
}

#[test]
fn limit_is_used_by_a_future_that_awaits_a_task_of_another_job() {
    in_a_pool(2, |pool| {
        let (job, other) = (pool.job(1), pool.job(1));
        for _ in 0..3 {
            let theirs = other.clone();
            let task = job.spawn_future(async move { theirs.spawn(|| ()).await.unwrap() });
            block_on(task).unwrap();
        }
    });
}
