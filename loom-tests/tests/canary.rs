//! That the models are models: the library's atomics are loom's in this very build, a racy model fails, and
//! so does one that was cut short.

#![cfg(tollgate_loom)]

use loom::sync::Arc;
use loom_tests::check;
use loom_tests::check::{Bound, check_at_most, check_within};
use std::any::TypeId;
use std::ops::Deref;
use tollgate::model::sync;

#[test]
fn the_facade_is_loom() {
    fn same<A: 'static, B: 'static>() -> bool {
        TypeId::of::<A>() == TypeId::of::<B>()
    }
    // These note which memory an access is in, and leave the access to loom's.
    type Inner<A> = <A as Deref>::Target;
    assert!(same::<Inner<sync::atomic::AtomicU64>, loom::sync::atomic::AtomicU64>());
    assert!(same::<Inner<sync::atomic::AtomicPtr<u8>>, loom::sync::atomic::AtomicPtr<u8>>());
    assert!(same::<Inner<sync::UnsafeCell<u8>>, loom::cell::UnsafeCell<u8>>());
    assert!(same::<sync::Mutex<u8>, loom::sync::Mutex<u8>>());
    assert!(same::<sync::Condvar, loom::sync::Condvar>());
}

/// Two threads use an atomic in memory from the stand-in allocator. The second to end frees it, as a reference count has it.
fn free_after_two(last: sync::atomic::Ordering) {
    use sync::atomic::{AtomicU64, Ordering};
    use sync::memory::{Layout, alloc, dealloc};
    #[derive(Clone, Copy)]
    struct Shared(*mut [AtomicU64; 2]);
    // SAFETY: whether the accesses are ordered is what loom finds out.
    unsafe impl Send for Shared {}
    impl Shared {
        fn end(self, last: Ordering) {
            // SAFETY: the memory is there until both threads have counted down.
            let [value, count] = unsafe { &*self.0 };
            value.fetch_add(1, Ordering::Relaxed);
            if count.fetch_sub(1, last) == 1 {
                // SAFETY: it came from `alloc` with this layout, and the other thread is done.
                unsafe { dealloc(self.0.cast(), Layout::new::<[AtomicU64; 2]>()) };
            }
        }
    }
    check(Bound::None, move || {
        // SAFETY: the layout is not of size zero.
        let shared = Shared(unsafe { alloc(Layout::new::<[AtomicU64; 2]>()) }.cast());
        // SAFETY: the memory is new.
        unsafe { shared.0.write([AtomicU64::new(0), AtomicU64::new(2)]) };
        let other = loom::thread::spawn(move || { shared }.end(last));
        shared.end(last);
        other.join().unwrap();
    });
}

#[test]
fn a_free_that_all_accesses_come_before_passes() {
    free_after_two(sync::atomic::Ordering::AcqRel);
}

#[test]
#[should_panic(expected = "ausality violation")]
fn a_free_that_an_access_is_not_ordered_before_fails() {
    free_after_two(sync::atomic::Ordering::Relaxed);
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
