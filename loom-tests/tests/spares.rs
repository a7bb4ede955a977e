//! Spare workers: threads that wait inside a task lend their seats, and each seat that is lent has its own spare.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Door;
use std::sync::Arc;
use tollgate::Pool;
use tollgate::model::spares::Spares;
use tollgate::model::sync::let_time_pass;
use tollgate::model::{Stage, Tasks, gate, record_of};

/// A spare that waits for one seat, and returns the seat's index.
fn spare(spares: &Arc<Spares>) -> thread::JoinHandle<Option<usize>> {
    let spares = spares.clone();
    thread::spawn(move || spares.wait_for_seat())
}

#[test]
fn join_is_safe_for_two_waits_beside_one_idle_spare() {
    // One spare takes one seat. A second seat that was lent to it would stay empty.
    check(Bound::Preemptions(3), || {
        let (stage, spares) = (Stage::new(2), Arc::new(Spares::new(2, 0)));
        let idle = spare(&spares);
        let theirs = spares.clone();
        let other = thread::spawn(move || stage.lend(&theirs, 1));
        let mut lent: Vec<usize> = stage.lend(&spares, 0).then_some(0).into_iter().collect();
        lent.extend(other.join().unwrap().then_some(1));
        while lent.is_empty() {
            thread::yield_now();
            lent.extend(stage.lend(&spares, 0).then_some(0));
        }
        let taken = idle.join().unwrap();
        assert_eq!(Vec::from_iter(taken), lent, "a seat is lent, and no spare takes it");
        stage.end();
    });
}

#[test]
fn join_is_safe_for_two_seats_lent_to_two_spares() {
    check(Bound::Preemptions(2), || {
        let (stage, spares) = (Stage::new(2), Arc::new(Spares::new(2, 0)));
        let idle = [spare(&spares), spare(&spares)];
        let mut lent = 0;
        while lent < 2 {
            if stage.lend(&spares, lent) {
                lent += 1;
            } else {
                thread::yield_now();
            }
        }
        let mut taken = idle.map(|spare| spare.join().unwrap().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
        stage.end();
    });
}

#[test]
fn idle_is_free_when_a_seat_is_lent_as_the_pool_ends() {
    // A seat that was lent in time is taken, and the other spare ends.
    check(Bound::Preemptions(2), || {
        let (stage, spares) = (Stage::new(1), Arc::new(Spares::new(1, 0)));
        let idle = [spare(&spares), spare(&spares)];
        let lent = stage.lend(&spares, 0);
        spares.close();
        let taken = idle.map(|spare| spare.join().unwrap());
        assert_eq!(taken.into_iter().flatten().count(), usize::from(lent));
        stage.end();
    });
}

#[test]
fn join_is_safe_when_a_seat_is_lent_as_the_spare_ends() {
    // The spare's time is over, just when a seat is lent to it: it takes the seat.
    check(Bound::None, || {
        let_time_pass(true);
        let (stage, spares) = (Stage::new(1), Arc::new(Spares::new(1, 0)));
        let idle = spare(&spares);
        let lent = stage.lend(&spares, 0);
        assert_eq!(
            idle.join().unwrap(),
            lent.then_some(0),
            "a seat is lent, and no spare takes it"
        );
        stage.end();
    });
}

#[test]
fn join_is_safe_for_a_seat_that_is_left_as_a_spare_comes_idle() {
    // Whether or not the spare is idle when the seat is lent, it takes the seat.
    check(Bound::None, || {
        let (stage, spares) = (Stage::new(1), Arc::new(Spares::new(2, 0)));
        let idle = spare(&spares);
        assert!(stage.lend(&spares, 0) || spares.leave(Some(0)).is_ok());
        assert_eq!(idle.join().unwrap(), Some(0), "a seat is left, and no thread takes it");
        spares.unblock();
        assert!(spares.is_unused());
        stage.end();
    });
}

#[test]
fn join_is_safe_for_the_last_of_two_that_leave_their_seats() {
    // One leaves its seat; the other one stays, and takes that seat when its task has ended.
    check(Bound::None, || {
        let (stage, spares) = (Stage::new(2), Arc::new(Spares::new(2, 0)));
        let leave = |seat| {
            let spares = spares.clone();
            thread::spawn(move || {
                let left = spares.leave(Some(seat)).is_ok();
                (!left).then(|| spares.wait_for_seat().unwrap())
            })
        };
        let both = [leave(0), leave(1)].map(|thread| thread.join().unwrap());
        assert!(matches!(both, [None, Some(0)] | [Some(1), None]), "{both:?}");
        spares.unblock();
        stage.end();
    });
}

#[test]
fn join_is_safe_for_a_seat_whose_spare_cannot_start() {
    // A seat was left. The thread of a new spare for it does not start. A thread whose task has ended takes the seat, whether it
    // becomes idle before the seat is offered again or after that.
    check(Bound::None, || {
        let (stage, spares) = (Stage::new(2), Arc::new(Spares::new(2, 0)));
        assert!(spares.leave(Some(0)).is_ok());
        let idle = spare(&spares);
        match spares.lend_beyond(None) {
            Some((_, seat)) => spares.give_up(Some(seat)),
            None => spares.unblock(),
        }
        assert_eq!(idle.join().unwrap(), Some(0), "a seat is given up, and no thread takes it");
        spares.unblock();
        assert!(spares.is_unused());
        stage.end();
    });
}

#[test]
fn join_is_safe_at_the_end_of_a_scope_on_the_last_thread() {
    // The scope's task and the scope wait on the two threads of the pool. If the scope comes second, its wait is refused. It starts
    // a spare although there may be none, and that spare runs what both wait for.
    check(Bound::Preemptions(1), || {
        let pool = Pool::builder().workers(2).max_spare_workers(0).build().unwrap();
        let (outer, inner, last) = (pool.job(1), pool.job(1), pool.job(1));
        let begun = Door::new();
        let ends = outer.spawn(move || {
            let tasks = Tasks::new();
            let ended = tasks.enter(|| {
                let waits = || {
                    begun.open();
                    last.execute(|| ());
                    last.wait();
                };
                // SAFETY: the task borrows what outlives `enter`, and this is called by `enter`.
                let task = unsafe { tasks.make::<true, _, _>(record_of(&inner), false, waits) };
                gate::push(record_of(&inner), task.cell());
                begun.pass();
            });
            drop(ended);
            tasks.pending()
        });
        assert_eq!(ends.join().unwrap(), 0, "a scope ends before its task");
    });
}
