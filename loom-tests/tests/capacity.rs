//! A job whose backlog has a capacity: those who wait for room to push, against those who make it, and against its close.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, rest};
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
