//! The parking lot by itself: the order of its waiters, and what one that leaves takes along.

#![cfg(tollgate_loom)]

use loom_tests::check;
use loom_tests::check::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};
use tollgate::model::assert_none_waits;
use tollgate::model::parking::parking_lot;

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Three waiters of one key and one of another, with their entry numbers.
fn waiters() -> ([Arc<Count>; 4], [u64; 4]) {
    let counts = [(); 4].map(|()| Arc::new(Count::default()));
    let mut entries = [0; 4];
    for (number, count) in counts.iter().enumerate() {
        let key = if number < 3 { 8 } else { 16 };
        let waker = Waker::from(count.clone());
        entries[number] = parking_lot().enter(key, None, &waker, || true).expect("it is to wait");
    }
    (counts, entries)
}

fn woken(counts: &[Arc<Count>]) -> Vec<usize> {
    counts.iter().map(|count| count.0.load(Relaxed)).collect()
}

#[test]
fn the_waiter_that_came_first_is_woken_first() {
    check(Bound::None, || {
        let (counts, entries) = waiters();
        // Polled again, the first keeps its place.
        let waker = Waker::from(counts[0].clone());
        assert_eq!(parking_lot().enter(8, Some(entries[0]), &waker, || true), Some(entries[0]));
        parking_lot().wake_one(8);
        assert_eq!(woken(&counts), [1, 0, 0, 0]);
        parking_lot().wake_one(8);
        assert_eq!(woken(&counts), [1, 1, 0, 0]);
        parking_lot().wake(16);
        parking_lot().wake(8);
        assert_eq!(woken(&counts), [1; 4]);
        assert_none_waits();
    });
}

#[test]
fn one_that_leaves_takes_its_own_entry_along() {
    check(Bound::None, || {
        let (counts, entries) = waiters();
        parking_lot().leave(8, entries[1]);
        assert_eq!(Arc::strong_count(&counts[1]), 1, "its waker is kept");
        assert!(parking_lot().if_none_waits(8, || unreachable!("two wait")));
        parking_lot().wake(8);
        assert_eq!(woken(&counts), [1, 0, 1, 0]);
        parking_lot().leave(16, entries[3]);
        let mut none = false;
        assert!(!parking_lot().if_none_waits(16, || none = true));
        assert!(none);
        assert_none_waits();
    });
}
