//! Who sleeps and who wakes whom: a push, or a permit handed on, against a worker that goes to sleep. A lost
//! wake-up is a deadlock, which loom reports.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tollgate::model::sleep::{Notified, Sleep, Woken};
use tollgate::model::sync::deque::{Injector, Steal};

/// An injector whose consumers sleep.
struct Hall {
    injector: Injector<usize>,
    sleep: Sleep,
    taken: AtomicUsize,
}

impl Hall {
    fn new(workers: usize) -> Arc<Self> {
        let sleep = Sleep::new(workers);
        Arc::new(Self { injector: Injector::new(), sleep, taken: AtomicUsize::new(0) })
    }

    fn push(&self, task: usize) {
        self.injector.push(task);
        let _ = self.sleep.notify();
    }

    fn has_ready(&self) -> bool {
        !self.injector.is_empty()
    }

    fn steal(&self) -> Option<usize> {
        loop {
            match self.injector.steal() {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => thread::yield_now(),
            }
        }
    }

    /// As a searching worker: finds one task, parking while there is none.
    fn find(&self, index: usize) -> Option<usize> {
        loop {
            if let Some(task) = self.steal() {
                if self.sleep.stop_searching() && self.has_ready() {
                    let _ = self.sleep.notify();
                }
                return Some(task);
            }
            match self.sleep.park(index, || self.has_ready(), || self.has_ready()) {
                Woken::Search => {}
                Woken::Leave => return None,
            }
        }
    }

    /// A worker that takes so many tasks, one after the other.
    fn worker(self: &Arc<Self>, index: usize, tasks: usize) -> thread::JoinHandle<()> {
        let hall = self.clone();
        thread::spawn(move || {
            hall.sleep.sit_down(index);
            for turn in 0..tasks {
                if turn > 0 {
                    hall.sleep.start_searching();
                }
                if hall.find(index).is_none() {
                    return;
                }
                hall.taken.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// A worker that takes tasks until the drain ends.
    fn life(self: &Arc<Self>, index: usize) -> thread::JoinHandle<()> {
        self.worker(index, usize::MAX)
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

#[test]
fn limit_is_used_when_a_push_meets_a_worker_going_to_sleep() {
    check(Bound::None, || {
        let hall = Hall::new(1);
        let worker = hall.worker(0, 1);
        hall.push(1);
        worker.join().unwrap();
        assert_eq!(hall.taken(), 1);
    });
}

#[test]
fn limit_is_used_when_one_sleeper_is_woken_twice() {
    check(Bound::Preemptions(3), || {
        let hall = Hall::new(1);
        let worker = hall.worker(0, 2);
        hall.push(1);
        hall.push(2);
        worker.join().unwrap();
        assert_eq!(hall.taken(), 2);
    });
}

#[test]
fn limit_is_used_when_two_pushers_meet_one_sleeper() {
    check(Bound::Preemptions(2), || {
        let hall = Hall::new(1);
        let worker = hall.worker(0, 2);
        let pusher = {
            let hall = hall.clone();
            thread::spawn(move || hall.push(1))
        };
        hall.push(2);
        pusher.join().unwrap();
        worker.join().unwrap();
        assert_eq!(hall.taken(), 2);
    });
}

#[test]
fn limit_is_used_by_both_of_two_sleepers() {
    // Each worker takes one task and is gone: the second task needs the second worker.
    check(Bound::Preemptions(3), || {
        let hall = Hall::new(2);
        let workers = [hall.worker(0, 1), hall.worker(1, 1)];
        hall.push(1);
        hall.push(2);
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(hall.taken(), 2);
    });
}

#[test]
fn nothing_lost_between_the_last_search_and_a_drain() {
    check(Bound::Preemptions(3), || {
        let hall = Hall::new(1);
        let worker = hall.life(0);
        hall.push(1);
        hall.sleep.drain(|| hall.has_ready());
        worker.join().unwrap();
        assert_eq!(hall.taken(), 1);
        assert_eq!(hall.sleep.seen(), Notified::TooLate);
    });
}

#[test]
fn nothing_lost_when_a_push_meets_the_end_of_a_drain() {
    // The pusher is told that it came too late, or its task is taken: never neither.
    check(Bound::Preemptions(3), || {
        let hall = Hall::new(1);
        let worker = hall.life(0);
        let pusher = {
            let hall = hall.clone();
            thread::spawn(move || {
                hall.injector.push(1);
                if hall.sleep.notify() == Notified::TooLate {
                    hall.steal().is_some()
                } else {
                    false
                }
            })
        };
        hall.sleep.drain(|| hall.has_ready());
        worker.join().unwrap();
        let dropped = usize::from(pusher.join().unwrap());
        assert_eq!(hall.taken() + dropped, 1);
    });
}

#[test]
fn nothing_lost_when_two_workers_are_drained() {
    check(Bound::Preemptions(3), || {
        let hall = Hall::new(2);
        let workers = [hall.life(0), hall.life(1)];
        hall.push(1);
        hall.sleep.drain(|| hall.has_ready());
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(hall.taken(), 1);
    });
}

#[test]
fn a_drain_waits_for_those_who_are_away() {
    check(Bound::Preemptions(3), || {
        let hall = Hall::new(1);
        hall.sleep.depart();
        let worker = hall.life(0);
        let away = {
            let hall = hall.clone();
            thread::spawn(move || {
                hall.push(1);
                hall.sleep.arrive(|| hall.has_ready());
            })
        };
        hall.sleep.drain(|| hall.has_ready());
        worker.join().unwrap();
        away.join().unwrap();
        assert_eq!(hall.taken(), 1);
    });
}
