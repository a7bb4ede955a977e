//! Each accepted task runs exactly once or is reported cancelled exactly once, and its captures are dropped
//! exactly once.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::instruments::{Fates, unwind};
use shuttle_tests::{check, pool};
use tollgate::JoinError;

#[test]
fn nothing_lost_when_tasks_panic() {
    check(|| {
        let pool = pool(3);
        let (job, fates) = (pool.job(2), Fates::of(8));
        let handles: Vec<_> = (0..8)
            .map(|number| {
                let ticket = fates.ticket(number);
                job.spawn(move || {
                    ticket.punch();
                    if number % 3 == 0 { unwind() } else { number }
                })
            })
            .collect();
        for (number, handle) in handles.into_iter().enumerate() {
            match handle.join() {
                Ok(result) => assert_eq!(result, number),
                Err(error) => {
                    assert!(matches!(error, JoinError::Panicked(_)) && number % 3 == 0);
                }
            }
        }
        job.wait();
        assert_eq!((fates.ran(), job.stats().panicked), (8, 3));
    });
}

#[test]
fn nothing_lost_when_handles_cancel() {
    check(|| {
        let pool = pool(3);
        let (job, fates) = (pool.job(2), Fates::of(6));
        let mut handles: Vec<_> = (0..6)
            .map(|number| {
                let ticket = fates.ticket(number);
                job.spawn(move || ticket.punch())
            })
            .collect();
        let theirs = handles.split_off(3);
        let canceller =
            thread::spawn(move || theirs.into_iter().filter(|handle| handle.cancel()).count());
        let mine = handles.iter().filter(|handle| handle.cancel()).count();
        let cancelled = mine + canceller.join().unwrap();
        job.wait();
        let reported = handles.into_iter().filter_map(|handle| handle.join().err()).count();
        assert_eq!(reported, mine);
        assert_eq!(fates.ran(), 6 - cancelled);
    });
}

#[test]
fn nothing_lost_when_a_job_is_cancelled_against_pushes() {
    check(|| {
        let pool = pool(3);
        let (job, fates) = (pool.job(2), Fates::of(9));
        let (theirs, tickets) = (job.clone(), fates.clone());
        let pusher = thread::spawn(move || {
            (0..5)
                .map(|number| {
                    let ticket = tickets.ticket(number);
                    theirs.spawn(move || ticket.punch())
                })
                .collect::<Vec<_>>()
        });
        for number in 5..9 {
            let ticket = fates.ticket(number);
            job.execute(move || ticket.punch());
        }
        job.cancel();
        let handles = pusher.join().unwrap();
        job.wait();
        let ran_there = handles.into_iter().filter_map(|handle| handle.join().ok()).count();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 9, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
        assert!(ran_there as u64 <= stats.completed);
    });
}

#[test]
fn nothing_lost_when_a_job_is_closed_against_pushes() {
    check(|| {
        let pool = pool(3);
        let (job, fates) = (pool.job(1), Fates::of(6));
        let (theirs, tickets) = (job.clone(), fates.clone());
        let pusher = thread::spawn(move || {
            let taken = (0..4).filter(|&number| {
                let ticket = tickets.ticket(number);
                theirs.try_execute(move || ticket.punch()).is_ok()
            });
            taken.count()
        });
        for number in 4..6 {
            let ticket = fates.ticket(number);
            job.execute(move || ticket.punch());
        }
        job.close();
        let taken = pusher.join().unwrap() + 2;
        job.wait();
        assert_eq!(fates.ran(), taken, "what was accepted runs, and what was not does not");
    });
}

#[test]
fn nothing_lost_when_a_held_job_is_cancelled() {
    check(|| {
        let pool = pool(3);
        let (job, fates) = (pool.job(2), Fates::of(6));
        for number in 0..6 {
            let ticket = fates.ticket(number);
            job.execute(move || ticket.punch());
            if number == 2 {
                job.pause();
            }
        }
        job.cancel();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 6, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_the_last_handle_goes_early() {
    check(|| {
        let pool = pool(3);
        let fates = Fates::of(6);
        let jobs = [pool.job(1), pool.job(2)];
        for number in 0..6 {
            let ticket = fates.ticket(number);
            jobs[number % 2].execute(move || ticket.punch());
        }
        drop(jobs);
        drop(pool);
        assert_eq!(fates.ran(), 6);
    });
}
