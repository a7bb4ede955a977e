//! The intrusive list: pushers against the one consumer. Each task comes out once, one pusher's tasks in
//! order, and a consumer that gives up while a push is half done is made good by that pusher.

#![cfg(tollgate_loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Ledger};
use tollgate::Job;
use tollgate::model::backlog::{Arrivals, Backlog, Consumer, Departures, LetGo, Popped};
use tollgate::model::{CellPtr, Stage, plain, record_of};

/// A backlog of its own, and a job for the cells to bear.
struct List {
    arrivals: Arrivals,
    departures: Departures,
    job: Job,
    stage: Stage,
    taken: std::sync::Mutex<Vec<usize>>,
    drops: Drops,
}

impl List {
    fn new() -> Arc<Self> {
        let stage = Stage::new(1);
        Arc::new(Self {
            arrivals: Arrivals::new(),
            departures: Departures::new(),
            job: stage.job(1),
            stage,
            taken: Default::default(),
            drops: Drops::default(),
        })
    }

    fn backlog(&self) -> Backlog<'_> {
        Backlog::new(&self.arrivals, &self.departures)
    }

    /// A task that notes its number.
    fn cell(list: &Arc<Self>, number: usize) -> CellPtr {
        let (list, payload) = (list.clone(), list.drops.payload());
        plain(record_of(&list.job), move || {
            list.taken.lock().unwrap().push(number);
            drop(payload);
        })
    }

    /// Pops until nothing is there or a push is half done.
    fn drain(&self, consumer: &mut Consumer<'_>) {
        while let Popped::Task(cell) = consumer.pop() {
            let _ = cell.run();
        }
    }

    /// What every pusher does once its push is whole: looks, and serves if nobody else does.
    fn make_good(&self) {
        if self.backlog().is_empty() {
            return;
        }
        let Some(mut consumer) = self.backlog().try_consume() else { return };
        loop {
            self.drain(&mut consumer);
            match consumer.let_go() {
                LetGo::Free => return,
                LetGo::LookAgain(again) => consumer = again,
            }
        }
    }

    /// At rest, with all threads joined: nothing is left, each came out once.
    fn assert_all_out(&self, expected: usize) -> Vec<usize> {
        assert!(self.backlog().is_empty(), "a task is left in the backlog, and nobody will come");
        assert_eq!(self.backlog().len(), 0);
        let taken = self.taken.lock().unwrap().clone();
        assert_eq!(taken.len(), expected, "{taken:?}");
        assert_eq!(self.drops.count(), expected);
        taken
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // The job is an owner of the pool, too, and goes after it.
        self.stage.end();
    }
}

#[test]
fn nothing_lost_between_a_pusher_and_the_consumer() {
    check(Bound::None, || {
        let list = List::new();
        let cells = [List::cell(&list, 1), List::cell(&list, 2)];
        let theirs = list.clone();
        let pusher = thread::spawn(move || {
            for cell in cells {
                theirs.backlog().push(cell);
            }
            theirs.make_good();
        });
        list.make_good();
        pusher.join().unwrap();
        assert_eq!(list.assert_all_out(2), [1, 2], "one pusher's tasks in order");
    });
}

#[test]
fn nothing_lost_when_a_push_is_half_done() {
    // The second pusher swaps the tail between the first one's swap and its link.
    check(Bound::Preemptions(3), || {
        let list = List::new();
        let cells = [List::cell(&list, 1), List::cell(&list, 2)];
        let [first, second] = cells.map(|cell| {
            let list = list.clone();
            thread::spawn(move || {
                list.backlog().push(cell);
                list.make_good();
            })
        });
        list.make_good();
        first.join().unwrap();
        second.join().unwrap();
        list.assert_all_out(2);
    });
}

#[test]
fn serial_in_order_for_each_of_two_pushers() {
    check(Bound::Preemptions(2), || {
        let list = List::new();
        let batches = [
            [List::cell(&list, 1), List::cell(&list, 2)],
            [List::cell(&list, 11), List::cell(&list, 12)],
        ];
        let [first, second] = batches.map(|cells| {
            let list = list.clone();
            thread::spawn(move || {
                for cell in cells {
                    list.backlog().push(cell);
                }
                list.make_good();
            })
        });
        first.join().unwrap();
        second.join().unwrap();
        let taken = list.assert_all_out(4);
        let of = |pusher: usize| taken.iter().filter(move |task| *task / 10 == pusher);
        assert!(of(0).is_sorted() && of(1).is_sorted(), "{taken:?}");
    });
}

#[test]
fn nothing_lost_among_those_who_were_refused() {
    // Two give a task back in front while the consumer takes.
    check(Bound::Preemptions(3), || {
        let list = List::new();
        let cells = [List::cell(&list, 1), List::cell(&list, 2)];
        let [first, second] = cells.map(|cell| {
            let list = list.clone();
            thread::spawn(move || {
                list.backlog().push_returned(cell);
                list.make_good();
            })
        });
        list.make_good();
        first.join().unwrap();
        second.join().unwrap();
        list.assert_all_out(2);
    });
}

#[test]
fn a_returned_task_goes_first() {
    check(Bound::None, || {
        let list = List::new();
        list.backlog().push(List::cell(&list, 2));
        let cell = List::cell(&list, 1);
        let theirs = list.clone();
        let other = thread::spawn(move || theirs.backlog().push_returned(cell));
        other.join().unwrap();
        list.make_good();
        assert_eq!(list.assert_all_out(2), [1, 2]);
    });
}

#[test]
fn what_the_pusher_wrote_the_consumer_reads() {
    // The pusher's thread makes the cells: only the push itself hands over what they hold.
    check(Bound::Preemptions(3), || {
        let list = List::new();
        let theirs = list.clone();
        let pusher = thread::spawn(move || {
            for line in [1, 2] {
                let (list, letter) = (theirs.clone(), Ledger::new());
                letter.write(line);
                let payload = theirs.drops.payload();
                let cell = plain(record_of(&theirs.job), move || {
                    list.taken.lock().unwrap().extend(letter.read());
                    drop(payload);
                });
                theirs.backlog().push(cell);
            }
            theirs.make_good();
        });
        list.make_good();
        pusher.join().unwrap();
        assert_eq!(list.assert_all_out(2), [1, 2]);
    });
}
