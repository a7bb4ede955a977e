//! Rates that change while they are used up, and rates of several jobs above one another.

use std::time::Duration;

use crate::common::event::{Gauge, Latch, WaitsInDrop, stay};
use crate::common::{LONG, NANO, pool_with_clock, until_parked, unwind, within};
use crate::{SECOND, assert_started, assert_starts_after, push, settle, with_clock};
use tollgate::{Job, Rate, TaskHandle};

/// After a change, at most the new burst counts as used up.
#[test]
fn a_smaller_burst_forgets_what_was_used_beyond_it() {
    with_clock(|pool, clock| {
        let (job, gauge) =
            (pool.job_builder().rate(Rate::every(SECOND).burst(10)).build(), Gauge::new());
        push(&job, &gauge, 20);
        assert_started(&job, &gauge, 10);
        job.set_rate(Rate::every(SECOND).burst(2));
        assert_started(&job, &gauge, 10);
        for due in 11..=13 {
            assert_starts_after(clock, SECOND, &job, &gauge, due);
        }
        // After a pause, the burst is the new one.
        job.pause();
        clock.advance(100 * SECOND);
        job.resume();
        assert_started(&job, &gauge, 15);
        pool.shutdown_now();
    });
}

/// The remaining part of an interval is scaled to the new interval, and rounded up.
#[test]
fn a_changed_interval_is_scaled_and_rounded_up() {
    with_clock(|pool, clock| {
        let (job, gauge) = (pool.job_builder().rate(Rate::every(3 * NANO)).build(), Gauge::new());
        push(&job, &gauge, 3);
        assert_started(&job, &gauge, 1);
        clock.advance(2 * NANO);
        // A third of the interval is left, so it is a third of the new one: 2/3 ns.
        job.set_rate(Rate::every(2 * NANO));
        assert_started(&job, &gauge, 1);
        clock.advance(NANO);
        assert_started(&job, &gauge, 2);
        // The whole interval is left.
        job.set_rate(Rate::every(1_000 * SECOND));
        assert_starts_after(clock, 1_000 * SECOND, &job, &gauge, 3);
    });
}

#[test]
fn a_gap_becomes_shorter_at_once_and_longer_after_the_next_end() {
    with_clock(|pool, clock| {
        let gap = |seconds| Rate::gap_after_end(seconds * SECOND);
        let (job, gauge) = (pool.job_builder().limit(1).rate(gap(10)).build(), Gauge::new());
        push(&job, &gauge, 4);
        assert_started(&job, &gauge, 1);
        clock.advance(SECOND);
        job.set_rate(gap(4));
        assert_starts_after(clock, 4 * SECOND, &job, &gauge, 2);
        clock.advance(SECOND);
        job.set_rate(gap(50)); // three of the four seconds are left
        assert_starts_after(clock, 3 * SECOND, &job, &gauge, 3);
        assert_starts_after(clock, 50 * SECOND, &job, &gauge, 4);
    });
}

/// A further rate begins unused, and a rate that stays keeps what is used up.
#[test]
fn each_rate_of_a_list_keeps_its_place() {
    with_clock(|pool, clock| {
        let (second, hour) = (Rate::every(SECOND), Rate::every(3_600 * SECOND).burst(3));
        let (job, gauge) = (pool.job_builder().rate(second).build(), Gauge::new());
        push(&job, &gauge, 20);
        assert_started(&job, &gauge, 1);
        job.set_rates(&[second, hour]);
        assert_started(&job, &gauge, 1);
        for due in 2..=4 {
            clock.advance(SECOND);
            assert_started(&job, &gauge, due);
        }
        clock.advance(100 * SECOND);
        assert_started(&job, &gauge, 4);
        job.set_rates(&[second]);
        assert_started(&job, &gauge, 5);
        pool.shutdown_now();
    });
}

/// The end of a task counts at each job above that has a gap, whether or not the jobs between have rates.
#[test]
fn a_gap_of_a_parent_follows_each_task_below() {
    with_clock(|pool, clock| {
        let parent = pool.job_builder().limit(1).rate(Rate::gap_after_end(5 * SECOND)).build();
        let between = parent.job(9);
        let rated = between.job_builder().rate(Rate::every(NANO).burst(100)).build();
        for job in [&rated, &between.job(1), &rated] {
            let gauge = Gauge::new();
            push(job, &gauge, 1);
            gauge.until_ended(1);
            settle(&parent);
            let next = Gauge::new();
            push(&parent, &next, 1);
            assert_starts_after(clock, 5 * SECOND, &parent, &next, 1);
            clock.advance(5 * SECOND);
        }
        parent.wait();
    });
}

#[test]
fn a_gap_follows_a_task_that_panics() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).rate(Rate::gap_after_end(5 * SECOND)).build();
        let gauge = Gauge::new();
        assert!(job.spawn(|| unwind("no such page")).join().is_err());
        settle(&job);
        push(&job, &gauge, 1);
        assert_starts_after(clock, 5 * SECOND, &job, &gauge, 1);
    });
}

/// A task that its handle has cancelled in the queue ends without having begun, so no gap follows.
#[test]
fn no_gap_follows_a_task_that_was_cancelled_in_the_queue() {
    type Push = fn(&Job) -> TaskHandle<()>;
    let pushes: &[Push] = &[
        |job| job.spawn(|| ()),
        |job| job.spawn_within(SECOND, || ()),
        #[cfg(feature = "futures")]
        |job| job.spawn_future(async {}),
    ];
    for push in pushes {
        with_clock(|pool, _| {
            let job = pool.job_builder().limit(1).rate(Rate::gap_after_end(5 * SECOND)).build();
            job.pause();
            let (cancelled, last) = (push(&job), job.spawn(|| "ran"));
            assert!(cancelled.cancel());
            job.resume();
            // No time passes.
            assert_eq!(last.join().unwrap(), "ran");
        });
    }
}

/// A worker may find a task at its deadline before the timer does. That task does not begin, so no gap follows.
#[test]
fn no_gap_follows_a_task_that_a_worker_drops_at_its_deadline() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (held, latch) = (pool.job(0), Latch::new());
        let (waits, dropped) = WaitsInDrop::until(&latch);
        let first = held.spawn_within(SECOND, move || drop(waits));
        let job = pool.job_builder().limit(1).rate(Rate::gap_after_end(5 * SECOND)).build();
        job.pause();
        let (late, last) = (job.spawn_within(SECOND, || ()), job.spawn(|| "ran"));
        std::thread::scope(|threads| {
            // The destructor of the first task keeps the thread that fires the entries of the timer.
            threads.spawn(|| clock.advance(SECOND));
            dropped.wait();
            job.resume();
            assert!(late.join().unwrap_err().is_expired());
            assert_eq!(last.join().unwrap(), "ran");
            latch.open();
        });
        assert!(first.join().unwrap_err().is_expired());
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
    });
}

/// A time that the clock cannot represent is a time that never comes.
#[test]
fn a_rate_without_an_end_lets_one_task_start() {
    with_clock(|pool, clock| {
        for rate in [Rate::every(Duration::MAX), Rate::gap_after_end(Duration::MAX)] {
            let made = pool.job_builder().limit(1).rate(rate).build();
            let changed = pool.job(1);
            changed.set_rate(rate);
            for job in [made, changed] {
                let gauge = Gauge::new();
                push(&job, &gauge, 2);
                assert_started(&job, &gauge, 1);
                clock.advance(1_000_000 * SECOND);
                assert_started(&job, &gauge, 1);
                job.cancel();
            }
        }
    });
}

/// The highest number of tasks at once is noted at each job, also if only a job below has a rate.
#[test]
fn tasks_at_a_rate_count_at_each_job_above() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(3);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let parent = pool.job(9);
        let between = parent.job(8);
        let job = between.job_builder().rate(Rate::every(SECOND).burst(3)).build();
        (0..3).for_each(|_| job.execute(stay(&gauge, &latch)));
        gauge.until_running(3);
        for job in [&job, &between, &parent] {
            assert_eq!((job.stats().running, job.stats().most_running), (3, 3), "{job:?}");
        }
        latch.open();
        parent.wait();
    });
}

/// The timer's entry for the old rate goes with that rate, and so does its handle of the job.
#[test]
fn a_job_whose_rate_is_removed_goes_with_its_last_handle() {
    with_clock(|pool, _| {
        let job = pool.job_builder().name("host").rate(Rate::every(SECOND)).build();
        job.spawn(|| ()).join().unwrap();
        for rates in [&[Rate::every(2 * SECOND)][..], &[], &[Rate::every(3 * SECOND)], &[]] {
            job.set_rates(rates);
        }
        drop(job);
        until_parked(pool, pool.workers());
        assert!(pool.jobs().is_empty(), "{:?}", pool.jobs());
    });
}
