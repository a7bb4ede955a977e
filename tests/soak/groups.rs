//! Calls that push several tasks and wait for all of them: scopes, sets, lazy input, joins in a circle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tollgate::{Job, JoinError, TaskHandle, TryError};

use crate::common::rng::Rng;
use crate::common::unwind;
use crate::ledger::Ticket;
use crate::world::Slot;

/// Tasks that borrow, some of them joined.
pub fn scope(slot: &Slot, rng: &mut Rng) {
    let tickets: Vec<_> = (0..1 + rng.below(6)).map(|_| slot.ledger.ticket()).collect();
    let started: Vec<_> = tickets.iter().map(Ticket::started).collect();
    let ran = AtomicUsize::new(0);
    let task = |ticket: Ticket| {
        let _entry = ticket.enter();
        ran.fetch_add(1, SeqCst);
    };
    slot.job.scope(|scope| {
        for (ticket, started) in tickets.into_iter().zip(&started) {
            match rng.below(4) {
                0 | 1 => scope.execute(move || task(ticket)),
                2 => drop(scope.spawn(move || task(ticket))),
                _ => {
                    let ran = &ran;
                    let failing = scope.spawn(move || {
                        let entry = ticket.enter();
                        ran.fetch_add(1, SeqCst);
                        entry.will_panic();
                        unwind("a task of a scope that fails");
                    });
                    let result: Result<(), _> = failing.join();
                    assert_eq!(matches!(result, Err(JoinError::Panicked(_))), started.get());
                }
            }
        }
    });
    let all = started.iter().filter(|started| started.get()).count();
    assert_eq!(ran.into_inner(), all, "a scope came back before its tasks had ended");
}

/// A set of tasks, read to the end or dropped before.
pub fn set(slot: &Slot, rng: &mut Rng) {
    let (count, taken) = (rng.below(20), rng.below(30));
    let mut set = slot.job.set();
    let mut started = Vec::new();
    for i in 0..count {
        let ticket = slot.ledger.ticket();
        started.push(ticket.started());
        set.spawn(move || {
            drop(ticket.enter());
            i
        });
    }
    let mut seen = [false; 20];
    for _ in 0..taken {
        let Some((_, result)) = set.join_next_with_id() else { break };
        if let Ok(i) = result {
            assert!(started[i].get(), "a result of a task that has not run");
            assert!(!std::mem::replace(&mut seen[i], true), "a result came twice");
        }
    }
    if set.is_empty() && taken > count {
        let ran = started.iter().filter(|started| started.get()).count();
        assert_eq!(seen.iter().filter(|seen| **seen).count(), ran, "a result was lost");
    }
    (0..set.cancel_all()).for_each(|_| slot.ledger.count_cancelled_by_handle());
}

/// Numbers, of an input whose `next` or whose drop may panic at the end.
struct Input {
    left: std::ops::Range<usize>,
    next_panics: bool,
    drop_panics: bool,
}

impl Input {
    fn new(count: usize, rng: &mut Rng) -> Self {
        Self { left: 0..count, next_panics: rng.one_in(3), drop_panics: rng.one_in(3) }
    }

    fn panics(&self) -> bool {
        self.next_panics || self.drop_panics
    }
}

impl Iterator for Input {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let item = self.left.next();
        if item.is_none() && self.next_panics {
            unwind("an input that fails");
        }
        item
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.drop_panics {
            unwind("the drop of an input that fails");
        }
    }
}

/// Lazy input that is empty, of a job that is held and that nothing lets go.
pub fn nothing(slot: &Slot, rng: &mut Rng) {
    let held = slot.job.job(0);
    match rng.below(3) {
        0 => assert!(!matches!(held.map(0..0, |_| ()).next(), Some(Ok(())))),
        1 => {
            let mut results = held.map(std::iter::empty::<()>(), |_| ()).as_completed();
            assert!(!matches!(results.next(), Some(Ok(()))));
        }
        _ => _ = held.for_each(0..0, |_| unreachable!()),
    }
    assert_eq!((held.stats().completed, held.stats().panicked), (0, 0));
}

/// Tasks of jobs below, held until all are there, that join each other in a circle.
pub fn circle(slot: &Slot, rng: &mut Rng) {
    let jobs: Vec<_> = (0..2 + rng.below(3)).map(|_| slot.job.job(0)).collect();
    let next: Arc<Vec<Mutex<Option<TaskHandle<()>>>>> =
        Arc::new(jobs.iter().map(|_| Mutex::new(None)).collect());
    let [started, refused] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    for (i, job) in jobs.iter().enumerate() {
        let next = Arc::clone(&next);
        let (places, counts) = (Arc::clone(&next), [&started, &refused].map(Arc::clone));
        let task = job.spawn(move || {
            counts[0].fetch_add(1, SeqCst);
            let joined = next[(i + 1) % next.len()].lock().unwrap().take().unwrap();
            if catch_unwind(AssertUnwindSafe(|| joined.join())).is_err() {
                counts[1].fetch_add(1, SeqCst);
            }
        });
        *places[i].lock().unwrap() = Some(task);
    }
    jobs.iter().for_each(|job| job.set_limit(1));
    jobs.iter().for_each(Job::wait);
    // A cancel may drop some of them before they start, and then there is no circle.
    let whole = started.load(SeqCst) == jobs.len();
    assert_eq!(refused.load(SeqCst), usize::from(whole), "joins in a circle were refused");
}

/// Tasks of a job that keeps its permits, each of which joins one of another job: no more of them begin than the limit allows.
pub fn begun(slot: &Slot, rng: &mut Rng) {
    let limit = 1 + rng.below(3);
    let job = slot.job.job_builder().limit(limit).keep_permits(true).build();
    let inner = slot.job.job(1);
    let [begun, most] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    for _ in 0..rng.below(8) {
        let (inner, begun, most) = (inner.clone(), Arc::clone(&begun), Arc::clone(&most));
        job.execute(move || {
            most.fetch_max(begun.fetch_add(1, SeqCst) + 1, SeqCst);
            drop(inner.spawn(|| ()).join());
            begun.fetch_sub(1, SeqCst);
        });
    }
    job.wait();
    assert!(most.load(SeqCst) <= limit, "more tasks have begun than the limit allows");
    assert!(job.stats().most_running <= limit);
}

/// Items of a range, or of an iterator that is none; one of them may fail, and so may the iterator.
pub fn for_each(slot: &Slot, rng: &mut Rng) {
    let (count, bad) = (rng.below(60), rng.below(300));
    let mut panics = false;
    let ran = AtomicUsize::new(0);
    let item = |i: usize| {
        let entry = slot.ledger.ticket().enter();
        ran.fetch_add(1, SeqCst);
        if i == bad {
            entry.will_panic();
            unwind("an item that fails");
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| match rng.below(3) {
        0 => slot.job.for_each(0..count, item),
        1 => slot.job.for_each((0..count).filter(|_| true), item),
        _ => {
            let input = Input::new(count, rng);
            panics = input.panics();
            slot.job.for_each(input, item)
        }
    }));
    let ran = ran.into_inner();
    match result {
        Ok(Ok(())) => {
            assert_eq!(ran, count, "an item was lost");
            assert!(!panics, "a panic of the input was lost");
        }
        Ok(Err(_)) => assert!(ran <= count),
        Err(_) => assert!(bad < count || panics, "a panic of nobody's"),
    }
}

/// Results in order or as they come, read to the end or not.
pub fn map(slot: &Slot, rng: &mut Rng) {
    let (count, bad, taken) = (rng.below(60), rng.below(300), rng.below(100));
    let (ledger, input) = (Arc::clone(&slot.ledger), Input::new(count, rng));
    let panics = input.panics();
    let check = move |i| {
        let entry = ledger.ticket().enter();
        if i == bad {
            entry.will_panic();
            unwind("an item that fails");
        }
        i
    };
    let in_order = |results: &mut dyn Iterator<Item = Result<usize, JoinError>>| {
        let mut seen = 0;
        for (at, result) in results.take(taken).enumerate() {
            seen += usize::from(!matches!(result, Err(JoinError::Cancelled)));
            match result {
                Ok(i) => assert_eq!(i, at, "out of order"),
                Err(JoinError::Panicked(_)) => assert!(at == bad || panics, "a panic of nobody's"),
                Err(_) => {}
            }
        }
        assert!(seen <= count + usize::from(panics), "more results than items and one panic");
    };
    let as_they_come = |results: &mut dyn Iterator<Item = Result<usize, JoinError>>| {
        let mut seen = [false; 60];
        for i in results.take(taken).flatten() {
            assert!(!std::mem::replace(&mut seen[i], true), "a result came twice");
        }
    };
    match rng.below(4) {
        0 => in_order(&mut slot.job.map(input, check.clone())),
        1 => as_they_come(&mut slot.job.map(input, check.clone()).as_completed()),
        2 => slot.job.scope(|s| in_order(&mut s.map(input, &check))),
        _ => slot.job.scope(|s| as_they_come(&mut s.map(input, &check).as_completed())),
    }
}

/// Items of which one may be an error, in results or without.
pub fn fallible(slot: &Slot, rng: &mut Rng) {
    let (count, bad) = (rng.below(60), rng.below(120));
    let ledger = Arc::clone(&slot.ledger);
    let ran = Arc::new(AtomicUsize::new(0));
    let count_ran = ran.clone();
    let check = move |i| {
        let _entry = ledger.ticket().enter();
        count_ran.fetch_add(1, SeqCst);
        if i == bad { Err(i) } else { Ok(i) }
    };
    let outcome = if rng.one_in(2) {
        slot.job.try_for_each(0..count, |i| check(i).map(drop))
    } else {
        let results: Result<Vec<_>, _> = slot.job.try_map(0..count, check).collect();
        results.map(|results| assert!(results.into_iter().eq(0..count), "out of order"))
    };
    match outcome {
        Ok(()) => assert!(bad >= count && ran.load(SeqCst) == count, "an item was lost"),
        Err(TryError::Failed(i)) => assert!(i == bad && bad < count, "an error of nobody's"),
        Err(TryError::Join(error)) => assert!(error.is_cancelled(), "{error}"),
    }
}
