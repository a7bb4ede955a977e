//! The packed word: whoever asks, gives back, raises, lowers or pauses at once, no more permits are held than
//! the limit says.

#![cfg(tollgate_loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Gauge, Ledger};
use tollgate::model::permits::{Asked, Flag, Permits};

const WINDOW: u64 = 4;

/// Takes a permit the way a ready task does, visits, and gives it back. Tells whether it was granted.
fn try_one(permits: &Permits, gauge: &Gauge) -> bool {
    if !permits.reserve(WINDOW).granted() {
        return false;
    }
    if let Asked::Refused(_) = permits.start() {
        permits.unreserve();
        return false;
    }
    gauge.visit();
    let _ = permits.release();
    true
}

#[test]
fn limit_holds_for_three_threads() {
    check(Bound::Preemptions(3), || {
        let (permits, gauge) = (Arc::new(Permits::new(2)), Gauge::new(2));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (permits, gauge) = (permits.clone(), gauge.clone());
                thread::spawn(move || try_one(&permits, &gauge))
            })
            .collect();
        try_one(&permits, &gauge);
        for other in others {
            other.join().unwrap();
        }
        assert!(permits.load().at_rest());
        assert!(gauge.ran() >= 2, "a free permit was refused");
    });
}

#[test]
fn limit_holds_for_ready_tasks() {
    // Both were let through while the limit was 2; it is 1 when they start.
    check(Bound::None, || {
        let (permits, gauge) = (Arc::new(Permits::new(2)), Gauge::new(1));
        assert!(permits.reserve(WINDOW).granted());
        assert!(permits.reserve(WINDOW).granted());
        permits.set_limit(1);
        let start = |permits: &Permits, gauge: &Gauge| {
            while !permits.start().granted() {
                thread::yield_now();
            }
            gauge.visit();
            let _ = permits.release();
        };
        let (theirs, seen) = (permits.clone(), gauge.clone());
        let other = thread::spawn(move || start(&theirs, &seen));
        start(&permits, &gauge);
        other.join().unwrap();
        assert!(permits.load().at_rest());
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_1_orders_its_tasks() {
    // What one holder has written the next one reads: the ledger has no synchronisation of its own.
    check(Bound::None, || {
        let (permits, ledger) = (Arc::new(Permits::new(1)), Ledger::new());
        let take = |permits: &Permits, ledger: &Ledger, line| {
            if permits.acquire().granted() {
                ledger.write(line);
                let _ = permits.release();
            }
        };
        let (theirs, written) = (permits.clone(), ledger.clone());
        let other = thread::spawn(move || take(&theirs, &written, 1));
        take(&permits, &ledger, 2);
        other.join().unwrap();
        assert!(!ledger.read().is_empty());
    });
}

#[test]
fn limit_holds_after_it_was_lowered() {
    // Once `set_limit(1)` has returned nothing starts while one runs.
    check(Bound::Preemptions(3), || {
        let (permits, gauge) = (Arc::new(Permits::new(2)), Gauge::new(2));
        let (theirs, seen) = (permits.clone(), gauge.clone());
        let other = thread::spawn(move || {
            try_one(&theirs, &seen);
            try_one(&theirs, &seen);
        });
        permits.set_limit(1);
        let word = permits.load();
        if word.running() == 1 {
            // Theirs is inside, or about to leave: ours may start only after it.
            if let Asked::Granted(word) = permits.acquire() {
                assert_eq!(word.running(), 1);
                let _ = permits.release();
            }
        }
        other.join().unwrap();
        assert_eq!(permits.load().limit(), 1);
        assert!(permits.load().at_rest());
    });
}

#[test]
fn limit_is_used_after_it_was_raised() {
    // From 0 to 1 against two who ask: whoever asks after the call gets the permit.
    check(Bound::None, || {
        let (permits, gauge) = (Arc::new(Permits::new(0)), Gauge::new(1));
        let (theirs, seen) = (permits.clone(), gauge.clone());
        let other = thread::spawn(move || try_one(&theirs, &seen));
        permits.set_limit(1);
        let ours = try_one(&permits, &gauge);
        let granted = other.join().unwrap();
        assert!(ours || granted, "nobody got the permit after the raise");
        assert!(try_one(&permits, &gauge));
    });
}

#[test]
fn limit_holds_while_paused_and_resumed() {
    check(Bound::Preemptions(3), || {
        let (permits, gauge) = (Arc::new(Permits::new(1)), Gauge::new(1));
        let (theirs, seen) = (permits.clone(), gauge.clone());
        let other = thread::spawn(move || try_one(&theirs, &seen));
        permits.set(Flag::Paused);
        let before = permits.load().running();
        let after = permits.load().running();
        assert!(after <= before, "a task started after `pause` had returned");
        permits.clear(Flag::Paused);
        other.join().unwrap();
        assert!(permits.load().at_rest());
        assert!(try_one(&permits, &gauge), "resume left the job held");
    });
}

#[test]
fn limit_holds_against_one_who_takes_a_permit_back() {
    check(Bound::Preemptions(3), || {
        let (permits, gauge) = (Arc::new(Permits::new(1)), Gauge::new(1));
        let (theirs, seen) = (permits.clone(), gauge.clone());
        let returning = thread::spawn(move || {
            if theirs.reacquire(false, 1).granted() {
                seen.visit();
                let _ = theirs.release();
            }
        });
        let (theirs, seen) = (permits.clone(), gauge.clone());
        let asking = thread::spawn(move || try_one(&theirs, &seen));
        permits.set(Flag::Reclaiming);
        permits.clear(Flag::Reclaiming);
        returning.join().unwrap();
        asking.join().unwrap();
        assert!(permits.load().at_rest());
    });
}
