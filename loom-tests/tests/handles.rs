//! A task's two sides: the one that runs or drops it, and the handle that joins, cancels, or goes. The
//! outcome arrives once, and is dropped once.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{payload_task, with_payload};
use tollgate::JoinError;
use tollgate::model::{handle, record_of};

#[test]
fn nothing_lost_when_complete_meets_join() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            let payload = handle.join().unwrap();
            drop(payload);
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_complete_meets_drop() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            drop(handle);
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_complete_meets_cancel() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            let cancelled = handle.cancel();
            match handle.join() {
                Ok(payload) => {
                    assert!(!cancelled);
                    drop(payload);
                }
                Err(JoinError::Cancelled) => assert!(cancelled),
                Err(error) => panic!("{error}"),
            }
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_cancel_meets_the_queue_s_cancel() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || cell.cancel());
            handle.cancel();
            assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_cancel_and_drop_meet_complete() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            handle.cancel();
            drop(handle);
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_it_is_asked_for_and_then_joined() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let (cell, handle) = payload_task(job, drops);
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            if handle.is_finished() {
                drop(handle.join().unwrap());
            } else {
                drop(handle);
            }
            worker.join().unwrap();
        });
    });
}

#[test]
fn nothing_lost_when_a_panic_meets_join() {
    check(Bound::None, || {
        with_payload(|job, drops| {
            let payload = drops.payload();
            let (cell, handle) = handle::joint(record_of(job), move || -> () {
                std::panic::resume_unwind(Box::new(payload));
            });
            let worker = thread::spawn(move || {
                let _ = cell.run();
            });
            assert!(matches!(handle.join(), Err(JoinError::Panicked(_))));
            worker.join().unwrap();
        });
    });
}
