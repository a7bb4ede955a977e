//! The intrusive list: pushers against the one consumer. Each task comes out once, one pusher's tasks in
//! order, and a consumer that gives up while a push is half done is made good by that pusher.

#![cfg(tollgate_loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Ledger};
use tollgate::Job;
use tollgate::model::queue::{Arrivals, Consumer, Departures, Popped, Queue, Unlocked};
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

    fn queue(&self) -> Queue<'_> {
        Queue::new(&self.arrivals, &self.departures)
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
    fn serve_if_due(&self) {
        if self.queue().is_empty() {
            return;
        }
        let Some(mut consumer) = self.queue().try_lock() else { return };
        loop {
            self.drain(&mut consumer);
            match consumer.unlock() {
                Unlocked::Free => return,
                Unlocked::LookAgain(again) => consumer = again,
            }
        }
    }

    /// At rest, with all threads joined: nothing is left, each came out once.
    fn assert_all_out(&self, expected: usize) -> Vec<usize> {
        assert!(self.queue().is_empty(), "a task is left in the backlog, and nobody will come");
        assert_eq!(self.queue().len(), 0);
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
                theirs.queue().push(cell);
            }
            theirs.serve_if_due();
        });
        list.serve_if_due();
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
                list.queue().push(cell);
                list.serve_if_due();
            })
        });
        list.serve_if_due();
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
                    list.queue().push(cell);
                }
                list.serve_if_due();
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
                list.queue().push_returned(cell);
                list.serve_if_due();
            })
        });
        list.serve_if_due();
        first.join().unwrap();
        second.join().unwrap();
        list.assert_all_out(2);
    });
}

#[test]
fn a_returned_task_goes_first() {
    check(Bound::None, || {
        let list = List::new();
        list.queue().push(List::cell(&list, 2));
        let cell = List::cell(&list, 1);
        let theirs = list.clone();
        let other = thread::spawn(move || theirs.queue().push_returned(cell));
        other.join().unwrap();
        list.serve_if_due();
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
                theirs.queue().push(cell);
            }
            theirs.serve_if_due();
        });
        list.serve_if_due();
        pusher.join().unwrap();
        assert_eq!(list.assert_all_out(2), [1, 2]);
    });
}

/// What waits is `waiting` more, in one piece; then it is run.
fn run_the_rest(list: &Arc<List>, waiting: usize) {
    assert_eq!(list.queue().len(), waiting);
    list.serve_if_due();
}

#[test]
fn nothing_lost_when_one_is_taken_out_beside_a_pusher() {
    // Taken out of the middle, or as the last one, behind which a push may be half done. The others keep their order.
    check(Bound::None, || {
        let list = List::new();
        let [first, gone, last] = [1, 2, 3].map(|number| List::cell(&list, number));
        list.queue().push(first);
        let theirs = list.clone();
        let pusher = thread::spawn(move || {
            theirs.queue().push(gone);
            theirs.queue().push(last);
        });
        let mut consumer = list.queue().try_lock().expect("nobody else takes");
        let mut taken = Vec::new();
        let _ = consumer.take_out(|cell| cell == gone, &mut taken);
        assert!(!list.queue().is_empty(), "the line looks empty, and a task waits");
        assert!(matches!(consumer.unlock(), Unlocked::Free));
        pusher.join().unwrap();
        run_the_rest(&list, 3 - taken.len());
        for cell in &taken {
            cell.cancel();
        }
        let expected: &[_] = if taken.is_empty() { &[1, 2, 3] } else { &[1, 3] };
        assert_eq!(*list.taken.lock().unwrap(), expected);
        assert_eq!(list.drops.count(), 3);
    });
}

#[test]
fn nothing_lost_when_the_only_one_is_taken_out_beside_a_pusher() {
    check(Bound::None, || {
        let list = List::new();
        let [gone, last] = [1, 2].map(|number| List::cell(&list, number));
        list.queue().push(gone);
        let theirs = list.clone();
        let pusher = thread::spawn(move || theirs.queue().push(last));
        let mut consumer = list.queue().try_lock().expect("nobody else takes");
        let mut taken = Vec::new();
        let _ = consumer.take_out(|cell| cell == gone, &mut taken);
        assert!(matches!(consumer.unlock(), Unlocked::Free));
        pusher.join().unwrap();
        run_the_rest(&list, 2 - taken.len());
        for cell in &taken {
            cell.cancel();
        }
        let expected: &[_] = if taken.is_empty() { &[1, 2] } else { &[2] };
        assert_eq!(*list.taken.lock().unwrap(), expected);
        assert_eq!(list.drops.count(), 2);
    });
}

#[test]
fn nothing_lost_when_one_is_taken_out_of_those_who_were_refused() {
    check(Bound::None, || {
        let list = List::new();
        let [first, gone, last, other] = [1, 2, 3, 4].map(|number| List::cell(&list, number));
        for cell in [first, gone, other] {
            list.queue().push_returned(cell);
        }
        let theirs = list.clone();
        let pusher = thread::spawn(move || theirs.queue().push_returned(last));
        let mut consumer = list.queue().try_lock().expect("nobody else takes");
        let mut taken = Vec::new();
        let _ = consumer.take_out(|cell| cell == gone || cell == other, &mut taken);
        assert!(matches!(consumer.unlock(), Unlocked::Free));
        pusher.join().unwrap();
        assert_eq!(taken, [other, gone], "nothing keeps what was returned from being taken out");
        run_the_rest(&list, 2);
        for cell in &taken {
            cell.cancel();
        }
        assert_eq!(*list.taken.lock().unwrap(), [3, 1]);
        assert_eq!(list.drops.count(), 4);
    });
}

#[test]
fn limit_is_used_by_those_who_look_through_a_line() {
    // Who finds nothing of a job in a line takes it for idle: whatever was pushed before the look is seen, or the look
    // says that somebody is at it. A push may be whole and still hidden behind one that is half done.
    check(Bound::Preemptions(3), || {
        let list = List::new();
        let whole = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let cells = [List::cell(&list, 1), List::cell(&list, 2)];
        let pushers = cells.map(|cell| {
            let (list, whole) = (list.clone(), whole.clone());
            thread::spawn(move || {
                list.queue().push(cell);
                whole.fetch_add(1, loom::sync::atomic::Ordering::AcqRel);
            })
        });
        // A read-modify-write sees the newest value.
        let before = whole.fetch_add(0, loom::sync::atomic::Ordering::AcqRel);
        let consumer = list.queue().try_lock().expect("nobody else takes");
        let mut seen = Vec::new();
        let all = consumer.look_through(|cell| seen.push(cell));
        assert!(matches!(consumer.unlock(), Unlocked::Free));
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(all.is_none() || seen.len() >= before, "{before} were whole, seen {}", seen.len());
        seen.dedup();
        assert!(seen.iter().all(|cell| cells.contains(cell)) && seen.len() <= 2);
        run_the_rest(&list, 2);
        list.assert_all_out(2);
    });
}
