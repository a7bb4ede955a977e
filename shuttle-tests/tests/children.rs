//! A child's task needs a permit of the child and of each job above it. Siblings get their turns, and what is
//! done to a parent reaches down.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Fates, Gauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tollgate::model::sync::time;

#[test]
fn limit_holds_at_every_gate() {
    in_a_pool(4, |pool| {
        let parent = pool.job(2);
        let (whole, part) = (Gauge::new(2), Gauge::new(1));
        let (narrow, wide) = (parent.job(1), parent.job(3));
        for _ in 0..4 {
            let (all, own) = (whole.clone(), part.clone());
            narrow.execute(move || {
                own.visit();
                all.visit();
            });
            wide.execute(whole.task());
        }
        parent.execute(whole.task());
        parent.wait();
        assert_eq!((part.ran(), whole.ran()), (4, 9));
    });
}

#[test]
fn limit_holds_three_deep_while_the_outermost_moves() {
    in_a_pool(3, |pool| {
        let (outer, gauge) = (pool.job(3), Gauge::new(3));
        let middle = outer.job(2);
        let jobs = [middle.job(2), middle.job(1), outer.job(2)];
        let (theirs, seen) = (jobs.clone(), gauge.clone());
        let pusher = thread::spawn(move || {
            (0..6).for_each(|number| theirs[number % 3].execute(seen.task()));
        });
        outer.set_limit(1);
        outer.settled().wait();
        gauge.set_limit(1);
        jobs.iter().for_each(|job| job.execute(gauge.task()));
        pusher.join().unwrap();
        outer.wait();
        assert_eq!(gauge.ran(), 9);
    });
}

/// A task may have its permit of the child when the paused parent refuses the task.
#[test]
fn limit_holds_once_a_child_has_settled_beside_a_parent_that_refuses() {
    in_a_pool(2, |pool| {
        let (parent, gauge) = (pool.job(2), Gauge::new(2));
        let child = parent.job(2);
        (0..2).for_each(|_| child.execute(gauge.task()));
        parent.pause();
        child.pause();
        child.settled().wait();
        assert_eq!(child.stats().running, 0, "settled while a task of a paused job runs");
        child.resume();
        parent.resume();
        parent.wait();
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_by_siblings() {
    // A task of each child must run at once before any can end.
    in_a_pool(4, |pool| {
        let parent = pool.job(2);
        let (jobs, barrier) = ([parent.job(1), parent.job(1)], Arc::new(Barrier::new(2)));
        let pushers = jobs.clone().map(|job| {
            let barrier = barrier.clone();
            thread::spawn(move || {
                for _ in 0..6 {
                    let barrier = barrier.clone();
                    job.execute(move || _ = barrier.wait());
                }
            })
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        parent.wait();
        assert!(jobs.iter().all(|job| job.stats().completed == 6));
    });
}

#[test]
fn limit_is_used_by_each_child_in_turn() {
    in_a_pool(3, |pool| {
        let (parent, gauge) = (pool.job(1), Gauge::new(1));
        let jobs = [parent.job(1), parent.job(2), parent.job(1)];
        let (theirs, seen) = (jobs.clone(), gauge.clone());
        let pusher = thread::spawn(move || {
            (0..4).for_each(|number| theirs[number % 3].execute(seen.task()));
        });
        (0..4).for_each(|number| jobs[number % 3].execute(gauge.task()));
        parent.execute(gauge.task());
        pusher.join().unwrap();
        jobs.iter().for_each(tollgate::Job::wait);
        parent.wait();
        assert_eq!(gauge.ran(), 9);
    });
}

#[test]
fn limit_is_used_when_a_parent_is_held_and_let_go() {
    in_a_pool(3, |pool| {
        let (parent, gauge) = (pool.job(2), Gauge::new(2));
        let jobs = [parent.job(1), parent.job(1)];
        let (theirs, seen) = (jobs.clone(), gauge.clone());
        let pusher = thread::spawn(move || {
            (0..4).for_each(|number| theirs[number % 2].execute(seen.task()));
        });
        parent.pause();
        jobs.iter().for_each(|job| job.execute(gauge.task()));
        jobs[0].pause();
        parent.resume();
        jobs[0].resume();
        pusher.join().unwrap();
        parent.wait();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn a_wait_for_a_parent_waits_for_all_below() {
    // The parent's line runs empty, and fills again, between two tasks of its children.
    in_a_pool(4, |pool| {
        let parent = pool.job(2);
        let jobs = [parent.job(1), parent.job(3)];
        (0..8).for_each(|number| jobs[number % 2].execute(|| ()));
        parent.execute(|| ());
        parent.wait();
        assert!(jobs.iter().all(|job| job.stats().completed == 4), "`wait` returned early");
    });
}

#[test]
fn nothing_lost_when_a_parent_is_cancelled_against_pushes() {
    in_a_pool(3, |pool| {
        let (parent, fates) = (pool.job(2), Fates::of(8));
        let jobs = [parent.job(1), parent.job(1)];
        let (theirs, tickets) = (jobs.clone(), fates.clone());
        let pusher = thread::spawn(move || {
            for number in 0..4 {
                theirs[number % 2].execute(tickets.task(number));
            }
        });
        for number in 4..8 {
            jobs[number % 2].execute(fates.task(number));
        }
        parent.cancel();
        pusher.join().unwrap();
        parent.wait();
        let stats = jobs.each_ref().map(tollgate::Job::stats);
        let completed: u64 = stats.iter().map(|stats| stats.completed).sum();
        let cancelled: u64 = stats.iter().map(|stats| stats.cancelled).sum();
        assert_eq!(completed + cancelled, 8);
        assert_eq!(fates.ran() as u64, completed);
    });
}

#[test]
fn nothing_lost_when_one_sibling_is_cancelled() {
    in_a_pool(3, |pool| {
        let (parent, fates) = (pool.job(1), Fates::of(8));
        let jobs = [parent.job(1), parent.job(1)];
        for number in 0..8 {
            jobs[number % 2].execute(fates.task(number));
        }
        jobs[0].cancel();
        jobs[0].wait();
        parent.wait();
        let [gone, left] = jobs.each_ref().map(tollgate::Job::stats);
        assert_eq!((left.completed, gone.completed + gone.cancelled), (4, 4));
        assert_eq!(fates.ran() as u64, 4 + gone.completed);
    });
}

#[test]
fn nothing_lost_when_children_of_a_held_parent_are_cancelled_against_pushes() {
    // No worker comes by for what stands in the parent's line, or comes into it late: joins and waits end all the same.
    in_a_pool(2, |pool| {
        let (parent, fates) = (pool.job(1), Fates::of(6));
        parent.pause();
        let jobs = [parent.job(2), parent.job(2)];
        let pushers = [0, 1].map(|which| {
            let job = jobs[which].clone();
            let tickets = [0, 1].map(|number| fates.ticket(2 * which + number));
            thread::spawn(move || {
                let handles = tickets.map(|ticket| job.spawn(move || ticket.punch()));
                handles.map(|handle| assert!(handle.join().is_err()))
            })
        });
        // One that stays, of the parent's own.
        let tickets = [4, 5].map(|number| fates.ticket(number));
        let theirs = parent.clone();
        let other = thread::spawn(move || {
            tickets.into_iter().for_each(|ticket| theirs.execute(move || ticket.punch()));
        });
        let second = jobs[1].clone();
        let canceller = thread::spawn(move || {
            second.cancel();
            second.wait();
        });
        jobs[0].cancel();
        jobs[0].wait();
        canceller.join().unwrap();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        other.join().unwrap();
        parent.resume();
        parent.wait();
        assert_eq!((fates.ran(), parent.stats().completed), (2, 2));
        assert_eq!(jobs.map(|job| job.stats().cancelled), [2; 2]);
    });
}

#[test]
fn nothing_lost_when_a_parent_is_cancelled_while_a_child_is_made() {
    in_a_pool(2, |pool| {
        let (parent, fates) = (pool.job(2), Fates::of(2));
        let (theirs, ticket) = (parent.clone(), fates.ticket(0));
        let maker = thread::spawn(move || {
            // Held: nobody but the call that cancels comes by for its task.
            let child = theirs.job(0);
            let handle = child.spawn(move || ticket.punch());
            assert!(handle.join().is_err());
            child.wait();
            assert_eq!(child.stats().cancelled, 1);
        });
        parent.execute(fates.task(1));
        let theirs = parent.clone();
        let other = thread::spawn(move || theirs.cancel());
        parent.cancel();
        other.join().unwrap();
        maker.join().unwrap();
        parent.wait();
        let stats = parent.stats();
        assert_eq!(stats.completed + stats.cancelled, 1, "both cancels dropped the task");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

/// A lone task that comes beside two busy siblings, each task of which takes so long, waits for `most` tasks of theirs.
fn fair_to_a_lone_task(each: Duration, most: usize) {
    in_a_pool(3, move |pool| {
        let parent = pool.job(1);
        let (jobs, lone) = ([parent.job(1), parent.job(1)], parent.job(1));
        let started = Arc::new(AtomicUsize::new(0));
        for number in 0..24 {
            let started = started.clone();
            jobs[number % 2].execute(move || {
                started.fetch_add(1, Relaxed);
                time::advance(each);
            });
        }
        let at_start = Arc::new(AtomicUsize::new(usize::MAX));
        let (says, count) = (at_start.clone(), started.clone());
        let pusher = thread::spawn(move || {
            let counted = count.clone();
            lone.execute(move || says.store(counted.load(Relaxed), Relaxed));
            count.load(Relaxed)
        });
        let pushed = pusher.join().unwrap();
        parent.wait();
        let before = at_start.load(Relaxed).saturating_sub(pushed);
        assert!(before <= most, "a lone task waited for {before} others, {most} allowed");
        assert_eq!(started.load(Relaxed), 24);
    });
}

#[test]
fn fair_by_the_tasks_of_a_turn() {
    // Of four tasks, here: the rest of one sibling's turn, and the other's.
    fair_to_a_lone_task(Duration::ZERO, 8);
}

#[test]
fn fair_by_the_time_of_a_turn() {
    // One that a worker is about to start, and one of the other sibling.
    fair_to_a_lone_task(Duration::from_micros(100), 2);
}

#[test]
fn nothing_lost_in_the_figures_of_children_that_go() {
    // A child's counts move to its parent while the child is freed. A reader must see them in one of the two.
    in_a_pool(2, |pool| {
        let parent = pool.job(2);
        let theirs = parent.clone();
        let reader = thread::spawn(move || {
            let mut before = 0;
            for _ in 0..6 {
                let now = theirs.stats_with_children().completed;
                assert!(now >= before, "{now} tasks have ended, after {before}");
                before = now;
            }
        });
        (0..3).for_each(|_| parent.job(1).execute(|| ()));
        reader.join().unwrap();
        parent.wait();
        assert_eq!(parent.stats_with_children().completed, 3);
    });
}
