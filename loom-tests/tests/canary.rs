//! That the models are models: the library's atomics are loom's in this very build, a racy model fails, and
//! so does one that was cut short.

#![cfg(tollgate_loom)]

use loom::sync::Arc;
use loom_tests::check;
use loom_tests::check::{Bound, check_at_most, check_within};
use std::any::TypeId;
use tollgate::model::sync;

#[test]
fn the_facade_is_loom() {
    fn same<A: 'static, B: 'static>() -> bool {
        TypeId::of::<A>() == TypeId::of::<B>()
    }
    assert!(same::<sync::atomic::AtomicU64, loom::sync::atomic::AtomicU64>());
    assert!(same::<sync::atomic::AtomicPtr<u8>, loom::sync::atomic::AtomicPtr<u8>>());
    assert!(same::<sync::UnsafeCell<u8>, loom::cell::UnsafeCell<u8>>());
    assert!(same::<sync::Mutex<u8>, loom::sync::Mutex<u8>>());
    assert!(same::<sync::Condvar, loom::sync::Condvar>());
    assert!(!same::<sync::atomic::AtomicU64, std::sync::atomic::AtomicU64>());
}

#[test]
#[should_panic(expected = "an update was lost")]
fn a_racy_model_fails() {
    check(Bound::None, || {
        let counter = Arc::new(sync::atomic::AtomicU64::new(0));
        let add = |counter: &sync::atomic::AtomicU64| {
            let seen = counter.load(sync::atomic::Ordering::SeqCst);
            counter.store(seen + 1, sync::atomic::Ordering::SeqCst);
        };
        let other = {
            let counter = counter.clone();
            loom::thread::spawn(move || add(&counter))
        };
        add(&counter);
        other.join().unwrap();
        let sum = counter.load(sync::atomic::Ordering::SeqCst);
        assert_eq!(sum, 2, "an update was lost");
    });
}

#[test]
#[should_panic(expected = "ausality violation")]
fn an_unordered_write_fails() {
    check(Bound::None, || {
        let shared = Arc::new(loom_tests::instruments::Ledger::new());
        let ready = Arc::new(sync::atomic::AtomicBool::new(false));
        let (theirs, told) = (shared.clone(), ready.clone());
        let writer = loom::thread::spawn(move || {
            theirs.write(1);
            told.store(true, sync::atomic::Ordering::Relaxed);
        });
        if ready.load(sync::atomic::Ordering::Relaxed) {
            shared.read();
        }
        writer.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "CUT after")]
fn a_model_cut_short_fails() {
    check_at_most(1, Bound::None, || {
        let counter = Arc::new(sync::atomic::AtomicU64::new(0));
        let theirs = counter.clone();
        let other = loom::thread::spawn(move || {
            theirs.store(1, sync::atomic::Ordering::Relaxed);
        });
        counter.load(sync::atomic::Ordering::Relaxed);
        other.join().unwrap();
    });
}

#[test]
fn no_model_can_be_cut_short_unseen() {
    // loom itself counts a model as passed that it has stopped for its time: all go by `check`, which fails it.
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let by_itself = text.contains(concat!("loom::", "model"));
        assert!(!by_itself, "{} has a model that `check` does not run", path.display());
    }
}

#[test]
#[should_panic(expected = "CUT after")]
fn a_model_that_takes_too_long_fails() {
    // As `LOOM_MAX_DURATION` has it.
    check_within(std::time::Duration::ZERO, usize::MAX, Bound::None, || ());
}

#[test]
fn every_seeded_fault_is_on_the_list() {
    let listed: Vec<_> = loom_tests::faults::FAULTS.iter().map(|fault| fault.name).collect();
    let distinct: std::collections::BTreeSet<_> =
        listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(distinct.len(), listed.len(), "a fault is listed twice");
    assert_eq!(distinct, loom_tests::faults::seeded());
}
