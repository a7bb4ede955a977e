//! Sets of tasks: the end of a task against its owner's wait for the next one.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{block_on, rest};
use std::future::poll_fn;
use tollgate::TaskSet;
use tollgate::model::Stage;

/// Has the owner of a set of so many tasks, each of which returns its number, take results beside a worker.
fn beside_a_worker(bound: Bound, tasks: usize, owner: fn(&mut TaskSet<usize>)) {
    check(bound, move || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let mut set = job.set();
        for i in 0..tasks {
            set.spawn(move || i);
        }
        let worker = thread::spawn(move || while stage.play(0, 1) > 0 {});
        owner(&mut set);
        worker.join().unwrap();
        assert!(set.join_next().is_none());
        drop(set);
        rest(stage, job);
    });
}

#[test]
fn sets_lose_nothing_when_an_end_meets_the_owners_wait() {
    beside_a_worker(Bound::Preemptions(3), 1, |set| {
        assert_eq!(set.join_next().unwrap().unwrap(), 0);
    });
}

#[test]
fn sets_lose_nothing_when_an_end_meets_an_await() {
    beside_a_worker(Bound::Preemptions(3), 1, |set| {
        let (_, result) = block_on(poll_fn(|cx| set.poll_join_next_with_id(cx))).unwrap();
        assert_eq!(result.unwrap(), 0);
    });
}

#[test]
fn sets_lose_nothing_when_two_ends_meet_the_owners_wait() {
    beside_a_worker(Bound::Preemptions(2), 2, |set| {
        for i in 0..2 {
            assert_eq!(set.join_next().unwrap().unwrap(), i);
        }
    });
}

#[test]
fn sets_lose_nothing_when_a_cancel_meets_a_start() {
    beside_a_worker(Bound::Preemptions(2), 1, |set| {
        set.cancel_all();
        drop(set.join_next().unwrap());
    });
}
