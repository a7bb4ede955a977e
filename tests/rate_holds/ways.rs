//! The ways in which a task or a permit starts: each needs a token of the rate, once.

use crate::common::event::Gauge;
use crate::{SECOND, assert_started, push, settle, with_clock};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tollgate::Rate;

/// The rate bounds starts from wherever they come: a batch, a lease, a join, a scope, lazy input.
#[test]
fn no_way_in_goes_round_the_rate() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().rate(Rate::per_second(1)).build();
        let started = Arc::new(AtomicUsize::new(0));
        let task = |started: &Arc<AtomicUsize>| {
            let started = started.clone();
            move || _ = started.fetch_add(1, SeqCst)
        };
        let over = Arc::new(Mutex::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                job.scope(|scope| (0..3).for_each(|_| scope.execute(task(&started))));
                job.for_each(0..3, |_| task(&started)()).unwrap();
                let count = task(&started);
                assert_eq!(job.map(0..3, move |_| count()).count(), 3);
                let (inside, count) = (job.clone(), started.clone());
                let joins = job.spawn(move || {
                    count.fetch_add(1, SeqCst);
                    inside.spawn(move || count.fetch_add(1, SeqCst)).join().unwrap()
                });
                joins.join().unwrap();
                *over.lock().unwrap() = true;
            });
            while !*over.lock().unwrap() {
                let before = started.load(SeqCst);
                clock.advance(SECOND);
                for _ in 0..100 {
                    thread::yield_now();
                    assert!(started.load(SeqCst) <= before + 2, "more than one a second");
                }
            }
        });
        assert_eq!(started.load(SeqCst), 11);
    });
}

/// A permit needs leave as a task does, from whichever call it comes.
#[test]
fn a_permit_counts_as_a_start() {
    with_clock(|pool, clock| {
        let host = pool.job_builder().limit(4).rate(Rate::per_second(1).burst(2)).build();
        let (job, gauge) = (host.job(4), Gauge::new());
        drop((job.try_acquire().unwrap(), job.try_acquire().unwrap()));
        assert!(job.try_acquire().is_err());
        let held = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let permit = job.acquire_blocking().unwrap();
                    held.fetch_add(1, SeqCst);
                    drop(permit);
                });
            }
            while job.stats().backlog < 3 {
                thread::yield_now();
            }
            push(&job, &gauge, 1);
            for due in 1..=3 {
                assert_eq!((host.stats().running, held.load(SeqCst)), (0, due - 1));
                clock.advance(SECOND);
                while held.load(SeqCst) < due {
                    thread::yield_now();
                }
                settle(&host);
            }
        });
        // In one order with the task.
        assert_eq!(gauge.started(), 0);
        clock.advance(SECOND);
        assert_started(&job, &gauge, 1);
        assert_eq!(host.stats().completed + job.stats().completed, 6);
    });
}

#[test]
fn a_gap_follows_the_end_of_each_permit() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(2).rate(Rate::gap_after_end(5 * SECOND)).build();
        let (first, second) = (job.try_acquire().unwrap(), job.try_acquire().unwrap());
        drop(first);
        clock.advance(4 * SECOND);
        drop(second);
        clock.advance(5 * SECOND - Duration::from_nanos(1));
        assert!(job.try_acquire().is_err());
        clock.advance(Duration::from_nanos(1));
        assert!(job.try_acquire().is_ok());
    });
}

/// A task that waits has not ended, so no gap begins.
#[cfg(feature = "futures")]
#[test]
fn a_wait_begins_no_gap() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).rate(Rate::gap_after_end(SECOND)).build();
        let (other, gauge) = (pool.job(0), Gauge::new());
        let (waited_for, polled) = (other.spawn(|| ()), gauge.clone());
        let future = job.spawn_future(async move {
            drop(polled.enter());
            waited_for.await.unwrap();
        });
        gauge.until_ended(1);
        push(&job, &gauge, 1);
        gauge.until_ended(2); // while the future waits
        while job.stats().running > 0 {
            thread::yield_now();
        }
        other.set_limit(1);
        clock.advance(SECOND); // after the end of that task
        future.join().unwrap();
    });
}

/// Only the parent has a rate. The future keeps its permits while it is pending, and its next poll ends it.
#[cfg(feature = "futures")]
#[test]
fn a_gap_of_a_parent_follows_a_future_that_was_pending() {
    with_clock(|pool, clock| {
        let parent = pool.job_builder().limit(1).rate(Rate::gap_after_end(SECOND)).build();
        for job in [parent.clone(), parent.job(1), parent.job(2).job(1)] {
            let (wake, woken) = futures::channel::oneshot::channel();
            let (future, gauge) = (job.spawn_future(woken), Gauge::new());
            while job.stats().running == 0 {
                thread::yield_now();
            }
            crate::common::until_parked(pool, pool.workers());
            push(&parent, &gauge, 1);
            wake.send(()).unwrap();
            future.join().unwrap().unwrap();
            settle(&parent);
            crate::assert_starts_after(clock, SECOND, &parent, &gauge, 1);
            clock.advance(SECOND); // the gap after that task
        }
    });
}

/// A future takes a token once, at its first poll. No later poll needs it.
#[cfg(feature = "futures")]
#[test]
fn a_task_that_goes_on_needs_no_leave() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).rate(Rate::per_second(1)).build();
        let (other, gauge) = (pool.job(0), Gauge::new());
        let (waited_for, polled) = (other.spawn(|| ()), gauge.clone());
        let future = job.spawn_future(async move {
            drop(polled.enter());
            waited_for.await.unwrap();
            "went on"
        });
        gauge.until_ended(1);
        while job.stats().running > 0 {
            thread::yield_now(); // until it waits without a permit
        }
        clock.advance(SECOND);
        other.set_limit(1);
        assert_eq!(future.join().unwrap(), "went on");
        // Another task can take the token of this second.
        assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
    });
}

/// While a part of the burst is left, a puller of lazy input ends after each item, and its next one needs a token.
#[test]
fn each_item_of_lazy_input_uses_up_a_part_of_the_burst() {
    with_clock(|pool, clock| {
        let rate = Rate::per_second(1).burst(3);
        let each = pool.job_builder().limit(2).rate(rate).build();
        let mapped = pool.job_builder().limit(2).rate(rate).build();
        let [ran, mapped_ran] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        thread::scope(|scope| {
            let each_ends =
                scope.spawn(|| each.for_each(0..10, |_| _ = ran.fetch_add(1, SeqCst)).unwrap());
            let count = mapped_ran.clone();
            let map = move |_| _ = count.fetch_add(1, SeqCst);
            let map_ends = scope.spawn(|| assert_eq!(mapped.map(0..10, map).count(), 10));
            for due in 3..=10 {
                for (job, ran) in [(&each, &ran), (&mapped, &mapped_ran)] {
                    while ran.load(SeqCst) < due {
                        thread::yield_now();
                    }
                    settle(job);
                    assert_eq!(ran.load(SeqCst), due);
                }
                clock.advance(SECOND);
            }
            // A puller that finds the end of the input needs a token, too.
            while !(each_ends.is_finished() && map_ends.is_finished()) {
                clock.advance(SECOND);
                thread::yield_now();
            }
        });
    });
}
