//! Streams of results, lazy input, and waits as futures: results come while other items are slow, all pullers that the limit
//! allows are at work, and what is dropped leaves nothing behind.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Door, Gauge, block_on, unwind};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use tollgate::Job;

/// The next item of a stream.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// An input that promises nothing, so that no puller holds two of the items that wait for each other.
fn one_by_one(items: usize) -> impl Iterator<Item = usize> + Send {
    let mut numbers = 0..items;
    std::iter::from_fn(move || numbers.next())
}

/// Counts the items that `stream` runs, in a child of a job of limit 1, before a task of a sibling runs. The first item pushes
/// this task.
fn fair_to_a_sibling(stream: fn(&Job, Box<dyn Iterator<Item = usize> + Send>)) {
    in_a_pool(2, move |pool| {
        let parent = pool.job(1);
        let (busy, lone) = (parent.job(1), parent.job(1));
        let (pulled, at_start) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(24)));
        let (count, says) = (pulled.clone(), at_start.clone());
        let input = std::iter::from_fn(move || {
            let item = count.fetch_add(1, Relaxed);
            if item == 0 {
                let (count, says) = (count.clone(), says.clone());
                lone.execute(move || says.store(count.load(Relaxed), Relaxed));
            }
            (item < 24).then_some(item)
        });
        stream(&busy, Box::new(input));
        parent.wait();
        // A puller looks after each two items, and at the end of its turn.
        let before = at_start.load(Relaxed);
        assert!(before <= 6, "a task of a sibling waited for {before} items");
    });
}

#[test]
fn fair_to_a_sibling_beside_for_each() {
    fair_to_a_sibling(|job, input| job.for_each(input, drop).unwrap());
}

#[test]
fn fair_to_a_sibling_beside_a_map() {
    fair_to_a_sibling(|job, input| job.map(input, drop).for_each(|result| result.unwrap()));
}

#[test]
fn limit_is_used_by_items_that_stay() {
    // No item ends before as many are at work as the limit allows.
    in_a_pool(3, |pool| {
        let (job, barrier) = (pool.job(2), Barrier::new(2));
        job.for_each(one_by_one(6), |_| _ = barrier.wait()).unwrap();
        job.for_each(one_by_one(6), |_| _ = barrier.wait()).unwrap();
        assert_eq!(job.stats().completed, 12);
    });
}

#[test]
fn limit_is_used_by_items_that_stay_without_a_limit() {
    in_a_pool(2, |pool| {
        let (job, barrier) = (pool.job(usize::MAX), Barrier::new(2));
        job.for_each(one_by_one(6), |_| _ = barrier.wait()).unwrap();
        assert_eq!(job.stats().completed, 6);
    });
}

#[test]
fn limit_is_used_by_items_after_a_raise() {
    in_a_pool(2, |pool| {
        let (job, barrier) = (pool.job(1), Barrier::new(2));
        let theirs = job.clone();
        let raiser = thread::spawn(move || theirs.set_limit(2));
        job.for_each(one_by_one(4), |_| _ = barrier.wait()).unwrap();
        raiser.join().unwrap();
    });
}

#[test]
fn limit_is_used_by_items_of_a_map_that_stay() {
    in_a_pool(3, |pool| {
        let (job, barrier) = (pool.job(2), Arc::new(Barrier::new(2)));
        let results = job.map(0..8, move |number| {
            barrier.wait();
            number
        });
        let results: Vec<_> = results.map(Result::unwrap).collect();
        assert_eq!(results, [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn a_result_comes_while_the_next_item_is_slow() {
    // Each item but the first ends only when the result before it was taken.
    in_a_pool(3, |pool| {
        let (job, doors) = (pool.job(2), [(); 4].map(|()| Door::new()));
        doors[0].open();
        let theirs = doors.clone();
        let mut results = job.map(0..4, move |number: usize| {
            block_on(theirs[number].clone().pass());
            number
        });
        for number in 0..4 {
            assert_eq!(results.next().unwrap().unwrap(), number);
            doors.get(number + 1).into_iter().for_each(|door| door.open());
        }
        assert!(results.next().is_none());
    });
}

#[test]
fn a_result_comes_although_later_ones_were_ready_first() {
    // The first item ends behind the second, and the third only when the first result was taken.
    in_a_pool(3, |pool| {
        let (job, second, taken) = (pool.job(3), Door::new(), Arc::new(Barrier::new(2)));
        let (opens, told) = (second.clone(), taken.clone());
        let mut results = job.map(0..3, move |number| {
            match number {
                0 => block_on(second.clone().pass()),
                1 => opens.open(),
                _ => _ = told.wait(),
            }
            number
        });
        assert_eq!(results.next().unwrap().unwrap(), 0);
        taken.wait();
        assert_eq!(results.map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn a_result_comes_as_it_is_ready() {
    // The first item ends only when the second one's result was taken.
    in_a_pool(2, |pool| {
        let (job, taken) = (pool.job(2), Arc::new(Barrier::new(2)));
        let told = taken.clone();
        let results = job.map(0..2, move |number| {
            if number == 0 {
                told.wait();
            }
            number
        });
        let mut results = results.as_completed();
        assert_eq!(results.next().unwrap().unwrap(), 1);
        taken.wait();
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(results.next().is_none());
    });
}

#[test]
fn nothing_lost_of_more_results_than_there_is_room_for() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let seen = gauge.clone();
        let mut results = job.map(0..14, move |number| {
            seen.visit();
            number
        });
        for number in 0..14 {
            // The pullers come to an end for want of room, now and then.
            (0..number % 5).for_each(|_| thread::yield_now());
            assert_eq!(results.next().unwrap().unwrap(), number);
        }
        assert!(results.next().is_none());
        assert_eq!(gauge.ran(), 14);
    });
}

#[test]
fn nothing_lost_of_a_map_inside_a_task() {
    in_a_pool(2, |pool| {
        let job = pool.job(1);
        let inner = job.clone();
        let sum =
            job.spawn(move || inner.map(0..5, |number| number).map(Result::unwrap).sum::<i32>());
        assert_eq!(sum.join().unwrap(), 10);
    });
}

#[test]
fn nothing_lost_when_a_job_is_cancelled_under_a_map() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let seen = gauge.clone();
        let results = job.map(0.., move |_: usize| seen.visit());
        let theirs = job.clone();
        let canceller = thread::spawn(move || theirs.cancel());
        let said: Vec<_> = results.map(|result| result.is_ok()).collect();
        canceller.join().unwrap();
        let ran = said.iter().filter(|ok| **ok).count();
        assert_eq!((said.last(), ran), (Some(&false), gauge.ran()));
    });
}

#[test]
fn serial_in_order_of_futures_over_input() {
    in_a_pool(3, |pool| {
        let (job, gauge) = (pool.job(2), Gauge::new(2));
        let seen = gauge.clone();
        let mut results = job.map_async(0..6, move |number| {
            let seen = seen.clone();
            async move {
                seen.visit();
                number
            }
        });
        block_on(async {
            for number in 0..6 {
                assert_eq!(next(&mut results).await.unwrap().unwrap(), number);
            }
            assert!(next(&mut results).await.is_none());
        });
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn limit_holds_for_futures_over_input() {
    // No more futures are under way than the limit allows: the third is made when the first result was taken.
    in_a_pool(2, |pool| {
        let (job, doors) = (pool.job(2), [Door::new(), Door::new(), Door::new()]);
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (counts, theirs) = (made.clone(), doors.clone());
        let mut results = job.map_async(0..3_usize, move |number| {
            counts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            theirs[number].clone().pass()
        });
        block_on(async {
            let mut first = Box::pin(next(&mut results));
            poll_fn(|cx| {
                assert!(first.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(first);
            assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), 2);
            for door in &doors {
                door.open();
                next(&mut results).await.unwrap().unwrap();
            }
            assert!(next(&mut results).await.is_none());
        });
    });
}

#[test]
fn a_future_s_result_comes_as_it_is_ready() {
    in_a_pool(2, |pool| {
        let (job, doors) = (pool.job(2), [Door::new(), Door::new()]);
        let theirs = doors.clone();
        let results = job.map_async(0..2_usize, move |number| {
            let door = theirs[number].clone();
            async move {
                door.pass().await;
                number
            }
        });
        let mut results = results.as_completed();
        let late = doors[1].clone();
        let opener = thread::spawn(move || late.open());
        block_on(async {
            assert_eq!(next(&mut results).await.unwrap().unwrap(), 1);
            doors[0].open();
            assert_eq!(next(&mut results).await.unwrap().unwrap(), 0);
            assert!(next(&mut results).await.is_none());
        });
        opener.join().unwrap();
    });
}

#[test]
fn nothing_lost_when_futures_over_input_end_while_they_are_looked_at() {
    in_a_pool(3, |pool| {
        let job = pool.job(3);
        let mut results = job
            .map_async(0..5, |number| async move {
                if number == 2 {
                    unwind();
                }
                number
            })
            .as_completed();
        let (mut ended, mut panicked) = (0, 0);
        block_on(async {
            while let Some(result) = next(&mut results).await {
                if result.is_ok() { ended += 1 } else { panicked += 1 }
            }
        });
        assert_eq!((ended, panicked), (4, 1));
    });
}

#[test]
fn nothing_lost_when_futures_over_input_are_not_wanted_any_more() {
    in_a_pool(2, |pool| {
        let (job, door) = (pool.job(2), Door::new());
        let opened = door.clone();
        let mut results = job.map_async(0..4, move |number| {
            let door = opened.clone();
            async move {
                if number > 0 {
                    door.pass().await;
                }
            }
        });
        block_on(next(&mut results)).unwrap().unwrap();
        // The door stays shut: a future that is not cancelled never ends.
        drop(results);
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled > 0), (1, true), "{stats:?}");
    });
}

/// Waits for the job, in each of the ways that there are for it.
fn wait_in_four_ways(job: &Job) {
    let waiters = [0, 1].map(|way| {
        let theirs = job.clone();
        thread::spawn(move || match way {
            0 => block_on(theirs.idle()),
            _ => theirs.wait(),
        })
    });
    {
        // One that is given up leaves the others' entries where they are.
        let mut given_up = Box::pin(job.idle());
        block_on(poll_fn(|cx| {
            let _ = given_up.as_mut().poll(cx);
            Poll::Ready(())
        }));
    }
    block_on(job.idle());
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

#[test]
fn a_wait_as_a_future_ends_when_the_job_is_idle() {
    in_a_pool(2, |pool| {
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        (0..3).for_each(|_| job.execute(gauge.task()));
        wait_in_four_ways(&job);
        assert_eq!(gauge.ran(), 3, "idle before its tasks have ended");
    });
}

/// A task of one job that pushes the next into the other, so often.
fn goes_to_and_fro(here: Job, there: Job, gauge: Arc<Gauge>, more: usize) {
    let (next, back) = (there, here.clone());
    here.execute(move || {
        gauge.visit();
        if more > 0 {
            goes_to_and_fro(next, back, gauge, more - 1);
        }
    });
}

#[test]
fn a_wait_as_a_future_ends_when_all_below_are_idle() {
    // A task of one child pushes into the other, behind a wait that goes from one to the next.
    in_a_pool(2, |pool| {
        let (parent, gauge) = (pool.job(2), Gauge::new(2));
        let jobs = [parent.job(1), parent.job(2)];
        goes_to_and_fro(jobs[0].clone(), jobs[1].clone(), gauge.clone(), 5);
        wait_in_four_ways(&parent);
        assert_eq!(gauge.ran(), 6, "idle before its tasks have ended");
    });
}

#[test]
fn a_wait_ends_when_all_below_are_idle() {
    in_a_pool(2, |pool| {
        let (parent, gauge) = (pool.job(2), Gauge::new(2));
        let jobs = [parent.job(1), parent.job(2)];
        goes_to_and_fro(jobs[0].clone(), jobs[1].clone(), gauge.clone(), 5);
        parent.wait();
        assert_eq!(gauge.ran(), 6, "idle before its tasks have ended");
    });
}

#[test]
fn limit_holds_once_a_future_says_that_a_paused_job_has_settled() {
    // The last task ends while the future is on its way to wait for that: no later one would wake it.
    in_a_pool(2, |pool| {
        let job = pool.job(1);
        for _ in 0..4 {
            job.execute(|| ());
            job.pause();
            block_on(job.settled());
            assert_eq!(job.stats().running, 0, "settled while a task of a paused job runs");
            job.resume();
            job.wait();
        }
    });
}

#[test]
fn limit_holds_once_a_future_says_that_it_has_settled() {
    in_a_pool(3, |pool| {
        let job = pool.job(3);
        (0..6).for_each(|_| job.execute(thread::yield_now));
        job.set_limit(1);
        let theirs = job.clone();
        let other = thread::spawn(move || {
            block_on(theirs.settled());
            assert!(theirs.stats().running <= 1, "settled while more run than the limit allows");
        });
        block_on(job.settled());
        assert!(job.stats().running <= 1, "settled while more run than the limit allows");
        other.join().unwrap();
        job.pause();
        block_on(job.settled());
        assert_eq!(job.stats().running, 0, "settled while a task of a paused job runs");
        job.resume();
        job.wait();
    });
}

#[test]
fn nothing_is_left_of_a_map_that_is_dropped_beside_a_pause() {
    // A puller that is queued as the iterator is dropped must leave the queue of the paused job.
    in_a_pool(2, |pool| {
        let job = pool.job(2);
        for _ in 0..3 {
            let mut results = job.map(0..6, |number| number);
            assert_eq!(results.next().unwrap().unwrap(), 0);
            job.pause();
            drop(results);
            job.wait();
            job.resume();
        }
    });
}

/// An input without an end, whose drop panics.
struct Endless;

impl Iterator for Endless {
    type Item = ();

    fn next(&mut self) -> Option<()> {
        Some(())
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        unwind();
    }
}

#[test]
fn nothing_lost_when_an_iterator_goes_whose_input_s_drop_panics() {
    // The iterator cannot drop the input while a puller has the lock. Then the puller drops it, and its scope must not panic.
    in_a_pool(2, |pool| {
        let job = pool.job(2);
        job.scope(|s| s.map(Endless, |()| ()).next().unwrap().unwrap());
        job.map(Endless, |()| ()).next().unwrap().unwrap();
        job.wait();
        assert_eq!(job.stats().panicked, 0);
    });
}
