//! A job whose backlog has a capacity: those who wait for room to push, against those who make it, and against its close.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, block_on, rest};
use std::future::Future;
use std::task::{Context, Waker};
use tollgate::model::Stage;

#[test]
fn limit_is_used_when_a_pusher_waits_for_room() {
    // The room is given back by the start of a task, while the pusher is on its way to wait.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        job.execute(gauge.task());
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_when_two_pushers_wait_for_room() {
    // Nothing runs: room comes back when a task is cancelled, by one pusher after the other.
    check(Bound::Preemptions(1), || {
        let stage = Stage::new(1);
        let job = stage.bounded(1, 1);
        job.pause();
        let first = job.spawn(|| ());
        let pushers = [(), ()].map(|()| {
            let theirs = job.clone();
            thread::spawn(move || assert!(theirs.spawn(|| ()).cancel()))
        });
        assert!(first.cancel());
        for pusher in pushers {
            pusher.join().unwrap();
        }
        drop(first);
        job.resume();
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_when_a_future_waits_for_room() {
    // As above, with a future instead of a thread that blocks.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        block_on(job.reserve()).unwrap().execute(gauge.task());
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_when_a_wait_for_room_is_given_up() {
    // The slot comes back while one future is on its way to give its wait up, and another one stays.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.bounded(0, 1);
        let slot = block_on(job.reserve()).unwrap();
        let gives_up = {
            let mut reserve = Box::pin(job.reserve());
            let waker = Waker::noop();
            assert!(reserve.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            reserve
        };
        let stays = thread::spawn({
            let job = job.clone();
            move || drop(block_on(job.reserve()).unwrap())
        });
        let gives = thread::spawn(move || drop(slot));
        drop(gives_up);
        gives.join().unwrap();
        stays.join().unwrap();
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_a_future_that_waits_for_room() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.bounded(0, 1);
        let slot = block_on(job.reserve()).unwrap();
        let theirs = job.clone();
        let waits = thread::spawn(move || assert!(block_on(theirs.reserve()).is_err()));
        job.close();
        waits.join().unwrap();
        drop(slot);
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_a_pusher_who_waits_for_room() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.bounded(1, 1), Drops::default());
        let payloads = [drops.payload(), drops.payload()];
        let theirs = job.clone();
        let pusher = thread::spawn(move || {
            for payload in payloads {
                theirs.execute(move || drop(payload));
            }
        });
        job.close();
        pusher.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 2);
        assert_eq!(drops.count(), 2);
        rest(stage, job);
    });
}
