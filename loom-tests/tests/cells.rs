//! The pool of cells: magazines that threads exchange through the depot. No cell is in two hands, and who gets
//! one comes after who gave it back.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use tollgate::model::cache;
use tollgate::model::slabs::{SLAB, Slabs};

const SMALL: usize = 0;

/// Who has which cell. Its own locks are not part of the model.
#[derive(Default)]
struct Hands {
    out: Mutex<BTreeSet<usize>>,
    /// For each cell a mark that loom lets only one holder after the other write.
    marks: Mutex<BTreeMap<usize, Arc<loom::cell::UnsafeCell<()>>>>,
}

// SAFETY: the marks are there for loom to check just that.
unsafe impl Sync for Hands {}
// SAFETY: as above.
unsafe impl Send for Hands {}

impl Hands {
    fn take(&self) -> NonNull<u8> {
        let cell = cache::take(SMALL);
        let address = cell.addr().get();
        assert!(self.out.lock().unwrap().insert(address), "a cell is in two hands");
        self.mark(address);
        cell
    }

    fn give(&self, cell: NonNull<u8>) {
        let address = cell.addr().get();
        self.mark(address);
        assert!(self.out.lock().unwrap().remove(&address));
        cache::give(SMALL, cell.as_ptr());
    }

    fn mark(&self, address: usize) {
        let mark = self.marks.lock().unwrap().entry(address).or_default().clone();
        mark.with_mut(|_| ());
    }

    /// Takes some and gives them back, in the order taken.
    fn turn(&self, count: usize) {
        let taken: Vec<_> = (0..count).map(|_| self.take()).collect();
        for cell in taken {
            self.give(cell);
        }
    }
}

#[test]
fn no_cell_is_in_two_hands() {
    check(Bound::Preemptions(3), || {
        let hands = Arc::new(Hands::default());
        let others = [4, 2].map(|count| {
            let hands = hands.clone();
            thread::spawn(move || {
                hands.turn(count);
                hands.turn(3);
                cache::clear();
            })
        });
        for other in others {
            other.join().unwrap();
        }
        cache::empty_reserve();
    });
}

#[test]
fn a_cell_may_be_given_back_by_another_thread() {
    check(Bound::Preemptions(3), || {
        let hands = Arc::new(Hands::default());
        let sent = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let (theirs, out) = (hands.clone(), sent.clone());
        let maker = thread::spawn(move || {
            for _ in 0..2 {
                out.lock().unwrap().push(theirs.take().addr());
            }
            theirs.turn(1);
            cache::clear();
        });
        let (theirs, inbox) = (hands.clone(), sent.clone());
        let breaker = thread::spawn(move || {
            let come = std::mem::take(&mut *inbox.lock().unwrap());
            for address in come {
                theirs.give(at(address));
            }
            theirs.turn(3);
            cache::clear();
        });
        maker.join().unwrap();
        breaker.join().unwrap();
        let left = std::mem::take(&mut *sent.lock().unwrap());
        for address in left {
            hands.give(at(address));
        }
        cache::clear();
        cache::empty_reserve();
    });
}

fn at(address: std::num::NonZeroUsize) -> NonNull<u8> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(address.get())).unwrap()
}

#[test]
fn idle_is_free_after_a_burst() {
    // A worker that parks after a burst returns what the reserve has.
    check(Bound::Preemptions(3), || {
        let hands = Arc::new(Hands::default());
        let theirs = hands.clone();
        let other = thread::spawn(move || {
            theirs.turn(8);
            cache::clear();
        });
        hands.turn(8);
        other.join().unwrap();
        cache::clear();
        cache::tidy();
        assert_eq!(cache::empty_reserve(), 0, "the reserve is kept after a burst");
    });
}

#[test]
fn a_group_that_goes_back_is_not_started_again() {
    // Of the newest group one slab was started. Its only cell is given back first.
    check(Bound::None, || {
        let mut slabs = Slabs::new(cache::LARGE);
        let mut taken = vec![slabs.take()];
        let slab = |cell: &NonNull<u8>| cell.addr().get() / SLAB;
        while taken.iter().map(slab).collect::<BTreeSet<_>>().len() < 3 {
            taken.push(slabs.take());
        }
        slabs.take_back(taken.pop().expect("three were taken at least").as_ptr());
        taken.push(slabs.take());
        taken.into_iter().for_each(|cell| slabs.take_back(cell.as_ptr()));
        assert!(slabs.none_in_use());
    });
}
