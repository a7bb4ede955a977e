//! Jobs that the clock holds: pushers, workers and calls of `hold_off` against the thread that fires the pool's timer. A
//! thread of the model plays the timer's thread, by moving the pool's clock.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, Late, rest};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{ManualClock, Pool, Rate};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn held_off_holds_no_longer_than_its_time_beside_a_push() {
    // The lost opening: the time comes while a task is pushed.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.hold_off(SECOND);
        let (theirs, task) = (job.clone(), gauge.task());
        let pusher = thread::spawn(move || theirs.execute(task));
        clock.advance(SECOND);
        pusher.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
        drop(clock);
    });
}

#[test]
fn held_off_holds_when_it_is_extended_as_its_time_comes() {
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.hold_off(SECOND);
        job.execute(gauge.task());
        let (theirs, until) = (job.clone(), clock.clone());
        let other = thread::spawn(move || theirs.hold_off(2 * SECOND));
        clock.advance(SECOND);
        other.join().unwrap();
        // It is held until the second time, or until the third if the call came later. The task may be ready from between.
        assert!(job.held_until().is_some(), "the later time was forgotten");
        stage.play(0, usize::MAX);
        assert_eq!((gauge.ran(), job.stats().backlog), (0, 1), "it started before the later time");
        until.advance(2 * SECOND);
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
    });
}

#[test]
fn held_off_holds_for_a_worker_that_keeps_its_permit() {
    // The thread that has held the job off sees no task start, not even one that is next under a permit.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, late) = (stage.job(1), Late::new());
        (0..3).for_each(|_| job.execute(late.task()));
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.hold_off(SECOND);
        let running = job.stats().running;
        late.begin();
        worker.join().unwrap();
        let late = late.count();
        assert!(late <= running, "{late} tasks started in a job that is held off, {running} ran");
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_drain_meets_the_time() {
    // The drain must neither end before the task that the clock holds, nor wait when the task is gone.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).max_spare_workers(0).clock(&clock);
        let pool = pool.build().unwrap();
        let (job, gauge, drops) = (pool.job(1), Gauge::new(1), Drops::default());
        job.hold_off(SECOND);
        let (payload, seen) = (drops.payload(), gauge.clone());
        job.execute(move || {
            seen.visit();
            drop(payload);
        });
        let mover = thread::spawn(move || clock.advance(SECOND));
        pool.shutdown();
        mover.join().unwrap();
        assert_eq!((gauge.ran(), drops.count()), (1, 1));
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_an_abrupt_end_meets_a_hold_off() {
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).max_spare_workers(0).clock(&clock);
        let pool = pool.build().unwrap();
        let (job, drops) = (pool.job(1), Drops::default());
        let (theirs, payload) = (job.clone(), drops.payload());
        let holder = thread::spawn(move || {
            theirs.hold_off(SECOND);
            theirs.execute(move || drop(payload));
        });
        pool.shutdown_now();
        holder.join().unwrap();
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, drops.count()), (1, 1), "{stats:?}");
        drop(job);
        drop(pool);
    });
}

/// Lets a job start one task a second.
fn at_a_rate(job: &tollgate::Job) {
    job.set_rates(&[Rate::every(SECOND)]);
}

#[test]
fn rate_holds_for_two_workers() {
    // Two workers, each with a task below the same rate: one of the tasks starts, and the other waits in a queue.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(2, &clock);
        let (job, gauge) = (stage.job(2), Gauge::new(1));
        at_a_rate(&job);
        job.execute(gauge.task());
        let other = thread::spawn(move || stage.play(1, usize::MAX));
        job.execute(gauge.task());
        stage.play(0, usize::MAX);
        other.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!((gauge.ran(), job.stats().backlog), (1, 1), "not one of two tasks in a second");
        clock.advance(SECOND);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 2);
        // Until the timer is empty.
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn rate_holds_for_a_worker_that_keeps_its_permit() {
    // The worker has started one task when the rate is set. It starts at most one other.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let job = stage.job(1);
        let late = Late::new();
        (0..3).for_each(|_| job.execute(late.task()));
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        at_a_rate(&job);
        let running = job.stats().running;
        late.begin();
        worker.join().unwrap();
        let late = late.count();
        assert!(late <= running + 1, "{late} tasks started at once, {running} ran");
        (0..3).for_each(|_| {
            clock.advance(SECOND);
            stage.play(0, usize::MAX);
        });
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn rate_holds_no_longer_than_its_interval_beside_a_push() {
    // The time comes while a task is pushed, and a worker starts one.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(2), Gauge::new(1));
        at_a_rate(&job);
        job.execute(gauge.task());
        stage.play(0, usize::MAX);
        let (theirs, task) = (job.clone(), gauge.task());
        let pusher = thread::spawn(move || theirs.execute(task));
        let mover = clock.clone();
        let other = thread::spawn(move || mover.advance(SECOND));
        stage.play(0, usize::MAX);
        pusher.join().unwrap();
        other.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 2, "the second task was left behind");
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn rate_holds_and_nothing_is_used_up_where_a_parent_refuses() {
    // The parent's rate goes to one child. The other child must not have used its own rate up by then.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(2, &clock);
        let parent = stage.job(2);
        let children = [stage.child(&parent, 1), stage.child(&parent, 1)];
        let gauge = Gauge::new(1);
        at_a_rate(&parent);
        for child in &children {
            child.set_rates(&[Rate::every(10 * SECOND)]);
        }
        children[0].execute(gauge.task());
        // The second task may become ready when the first one has its permits, and not yet the token.
        let (theirs, task) = (children[1].clone(), gauge.task());
        let other = thread::spawn(move || {
            theirs.execute(task);
            stage.play(1, usize::MAX)
        });
        stage.play(0, usize::MAX);
        other.join().unwrap();
        stage.assert_none_waits_beside_room(&parent);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1);
        clock.advance(SECOND);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 2, "the second child's rate is used up");
        drop(children);
        clock.advance(10 * SECOND);
        rest(stage, parent);
    });
}

#[test]
fn rate_holds_for_a_turn() {
    // One worker, which keeps its permit from task to task.
    check(Bound::None, || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.set_rate(Rate::every(SECOND).burst(2));
        (0..4).for_each(|_| job.execute(gauge.task()));
        for due in 2..=4 {
            while stage.play(0, usize::MAX) > 0 {}
            assert_eq!(gauge.ran(), due, "not two tasks, and one more each second");
            clock.advance(SECOND);
        }
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn serial_in_order_for_a_task_that_finds_no_token_in_a_turn() {
    // One worker has popped its second task when the other worker takes the last token of the parent's rate.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(2, &clock);
        let parent = stage.job(2);
        parent.set_rate(Rate::every(SECOND).burst(2));
        let (serial, sibling) = (stage.child(&parent, 1), stage.child(&parent, 1));
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..3 {
            let order = order.clone();
            serial.execute(move || order.lock().unwrap().push(number));
        }
        sibling.execute(|| ());
        let other = thread::spawn(move || stage.play(1, usize::MAX));
        stage.play(0, usize::MAX);
        other.join().unwrap();
        for _ in 0..4 {
            while stage.play(0, usize::MAX) > 0 {}
            clock.advance(SECOND);
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        drop((serial, sibling));
        rest(stage, parent);
    });
}

#[test]
fn limit_holds_after_a_pause_in_a_turn_at_a_rate() {
    // The rate lets three tasks start at once, but no task starts after the pause but those that held a permit.
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let job = stage.job(1);
        job.set_rate(Rate::every(SECOND).burst(3));
        let late = Late::new();
        (0..3).for_each(|_| job.execute(late.task()));
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.pause();
        let running = job.stats().running;
        late.begin();
        worker.join().unwrap();
        let late = late.count();
        assert!(late <= running, "{late} tasks started in a paused job, {running} ran");
        job.resume();
        while stage.play(0, usize::MAX) > 0 {}
        clock.advance(3 * SECOND);
        rest(stage, job);
    });
}

#[test]
fn rate_holds_for_a_permit_beside_a_task() {
    // A thread acquires a permit while a worker starts a task: one of the two has a token of the rate.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        at_a_rate(&job);
        job.execute(gauge.task());
        let worker = thread::spawn(move || while stage.play(0, usize::MAX) > 0 {});
        let permit = job.try_acquire();
        worker.join().unwrap();
        let acquired = usize::from(permit.is_ok());
        drop(permit);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran() + acquired, 1, "not one start in a second");
        clock.advance(SECOND);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1);
        clock.advance(SECOND);
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_beside_a_waiter_that_is_granted_at_a_rate() {
    // The thread that grants the permit counts the waiter as ready for a moment. Meanwhile the push finds no room at the parent.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let parent = stage.job(2);
        let (first, second) = (stage.child(&parent, 1), stage.child(&parent, 1));
        let gauge = Gauge::new(2);
        parent.set_rate(Rate::every(SECOND).burst(2));
        first.hold_off(SECOND);
        let mut acquire = Box::pin(first.acquire());
        let mut context = Context::from_waker(Waker::noop());
        assert!(acquire.as_mut().poll(&mut context).is_pending(), "the job is held off");
        let mover = clock.clone();
        let other = thread::spawn(move || mover.advance(SECOND));
        second.execute(gauge.task());
        other.join().unwrap();
        stage.assert_none_waits_beside_room(&parent);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1, "the task was left behind while the permit is held");
        assert!(acquire.as_mut().poll(&mut context).is_ready(), "the waiter was left behind");
        drop(acquire);
        drop((first, second));
        clock.advance(2 * SECOND);
        rest(stage, parent);
    });
}

#[test]
fn rate_holds_when_a_permit_is_given_back_beside_an_acquire() {
    // The end of a permit counts for the gap before another permit can be acquired.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let job = stage.job(1);
        job.set_rate(Rate::gap_after_end(SECOND));
        let permit = job.try_acquire().unwrap();
        let theirs = job.clone();
        let other = thread::spawn(move || theirs.try_acquire().is_ok());
        drop(permit);
        assert!(!other.join().unwrap(), "a permit was acquired within the gap");
        clock.advance(SECOND);
        drop(job.try_acquire().unwrap());
        clock.advance(SECOND);
        rest(stage, job);
    });
}
