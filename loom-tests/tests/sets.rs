//! Sets of tasks: the end of a task against its owner's wait for the next one.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::block_on;
use std::future::poll_fn;
use tollgate::model::Stage;

#[test]
fn sets_lose_nothing_when_an_end_meets_the_owners_wait() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let mut set = job.set();
        set.spawn(|| 7);
        let worker = thread::spawn(move || stage.play(0, 1));
        assert_eq!(set.join_next().unwrap().unwrap(), 7);
        assert!(set.join_next().is_none());
        worker.join().unwrap();
        drop(set);
        drop(job);
        stage.end();
    });
}

#[test]
fn sets_lose_nothing_when_an_end_meets_an_await() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let mut set = job.set();
        let id = set.spawn(|| 7);
        let worker = thread::spawn(move || stage.play(0, 1));
        let (ended, result) = block_on(poll_fn(|cx| set.poll_join_next_with_id(cx))).unwrap();
        assert_eq!((ended, result.unwrap()), (id, 7));
        worker.join().unwrap();
        drop(set);
        drop(job);
        stage.end();
    });
}

#[test]
fn sets_lose_nothing_when_two_ends_meet_the_owners_wait() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let mut set = job.set();
        let ids = [set.spawn(|| 1), set.spawn(|| 2)];
        let worker = thread::spawn(move || while stage.play(0, 1) > 0 {});
        for (i, id) in ids.into_iter().enumerate() {
            let (ended, result) = set.join_next_with_id().unwrap();
            assert_eq!((ended, result.unwrap()), (id, i + 1));
        }
        worker.join().unwrap();
        drop(set);
        drop(job);
        stage.end();
    });
}

#[test]
fn sets_lose_nothing_when_a_cancel_meets_a_start() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let mut set = job.set();
        set.spawn(|| 1);
        let worker = thread::spawn(move || stage.play(0, 1));
        set.cancel_all();
        let result = set.join_next().unwrap();
        worker.join().unwrap();
        assert!(set.join_next().is_none());
        drop(result);
        drop(set);
        drop(job);
        stage.end();
    });
}
