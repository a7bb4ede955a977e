//! That the scenarios are scenarios: the library's atomics are shuttle's in this very build, a racy
//! scenario fails, so does one that hangs, and a failing schedule fails again when it is replayed.

#![cfg(tollgate_shuttle)]

use shuttle::Runner;
use shuttle::scheduler::{RandomScheduler, UncontrolledNondeterminismCheckScheduler};
use shuttle::sync::Arc;
use shuttle_tests::check::{config, file_of, replay};
use shuttle_tests::{check, in_a_pool, pool};
use std::any::TypeId;
use std::panic::catch_unwind;
use tollgate::model::sync;

#[test]
fn the_facade_is_shuttle() {
    fn same<A: 'static, B: 'static>() -> bool {
        TypeId::of::<A>() == TypeId::of::<B>()
    }
    assert!(same::<sync::atomic::AtomicU64, shuttle::sync::atomic::AtomicU64>());
    assert!(same::<sync::atomic::AtomicPtr<u8>, shuttle::sync::atomic::AtomicPtr<u8>>());
    assert!(same::<sync::Mutex<u8>, shuttle::sync::Mutex<u8>>());
    assert!(same::<sync::Condvar, shuttle::sync::Condvar>());
    assert!(same::<sync::thread::Thread, shuttle::thread::Thread>());
    assert!(!same::<sync::atomic::AtomicU64, std::sync::atomic::AtomicU64>());
}

/// Two threads add by a load and a store.
fn race(each: u64) {
    let counter = Arc::new(sync::atomic::AtomicU64::new(0));
    let add = move |counter: &sync::atomic::AtomicU64| {
        let seen = counter.load(sync::atomic::Ordering::SeqCst);
        counter.store(seen + each, sync::atomic::Ordering::SeqCst);
    };
    let theirs = counter.clone();
    let other = shuttle::thread::spawn(move || add(&theirs));
    add(&counter);
    other.join().unwrap();
    let sum = counter.load(sync::atomic::Ordering::SeqCst);
    assert_eq!(sum, 2 * each, "an update was lost");
}

#[test]
#[should_panic(expected = "an update was lost")]
fn a_racy_scenario_fails() {
    check(|| race(1));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_task_that_never_starts_is_a_deadlock() {
    in_a_pool(2, |pool| {
        let job = pool.job(0);
        job.execute(|| ());
        job.wait();
    });
}

#[test]
fn a_failing_schedule_fails_again() {
    let first = catch_unwind(|| check(|| race(1))).expect_err("some schedule loses an update");
    let file = file_of("canary::a_failing_schedule_fails_again");
    let again =
        catch_unwind(|| replay(&file, || race(1))).expect_err("the same schedule loses it again");
    assert_eq!(first.downcast_ref::<String>(), again.downcast_ref::<String>());
}

#[test]
fn nothing_but_the_schedule_decides() {
    // Each schedule is run twice, and fails if the second run offers it other choices.
    let schedules =
        UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new_from_seed(1, 200));
    let runner = Runner::new(schedules, config());
    runner.run(|| {
        let pool = pool(3);
        let (wide, narrow) = (pool.job(2), pool.job(1));
        let handles: Vec<_> = (0..3).map(|n| wide.spawn(move || n)).collect();
        (0..3).for_each(|_| narrow.execute(|| ()));
        let sum: usize = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 3);
    });
}

#[test]
fn every_seeded_fault_is_seen_or_known_to_be_unseen() {
    let seen = shuttle_tests::faults::seen();
    let unseen = shuttle_tests::faults::UNSEEN.iter().map(|(name, _)| *name);
    let listed: Vec<_> = seen.iter().map(|fault| fault.name).chain(unseen).collect();
    let distinct: std::collections::BTreeSet<_> =
        listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(distinct.len(), listed.len(), "a fault is listed twice");
    assert_eq!(distinct, loom_tests::faults::seeded());
    let modelled = loom_tests::faults::modelled();
    for (name, _) in shuttle_tests::faults::UNSEEN {
        assert!(modelled.iter().any(|fault| fault.name == *name), "nothing notices {name}");
    }
}
