//! Each accepted task runs exactly once or is reported cancelled exactly once, and its captures are dropped
//! exactly once.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Fates, unwind};
use tollgate::JoinError;

#[test]
fn nothing_lost_when_tasks_panic() {
    in_a_pool(3, |pool| {
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
    in_a_pool(3, |pool| {
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
    in_a_pool(3, |pool| {
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
            job.execute(fates.task(number));
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
fn nothing_lost_when_cancel_meets_pushes_from_inside() {
    in_a_pool(3, |pool| {
        let (job, fates) = (pool.job(3), Fates::of(7));
        let first = job.clone();
        let inner = [0, 1].map(|number| fates.ticket(number));
        job.execute(move || {
            let [ticket, last] = inner;
            ticket.punch();
            first.execute(move || last.punch());
        });
        for number in 2..7 {
            job.execute(fates.task(number));
        }
        job.cancel();
        job.wait();
        let stats = job.stats();
        assert_eq!(fates.ran() as u64, stats.completed);
        // The first task pushes the seventh, if it runs at all.
        let pushed = if fates.has_run(0) { 7 } else { 6 };
        assert_eq!(stats.completed + stats.cancelled, pushed, "{stats:?}");
    });
}

#[test]
fn nothing_lost_when_cancel_meets_refused_tasks() {
    // A task that is ready when its job is paused goes back to the queue.
    in_a_pool(3, |pool| {
        let (job, fates) = (pool.job(2), Fates::of(4));
        for number in 0..4 {
            job.execute(fates.task(number));
        }
        job.pause();
        job.cancel();
        job.wait();
        let stats = job.stats();
        assert_eq!(fates.ran() as u64, stats.completed);
        assert_eq!(stats.completed + stats.cancelled, 4, "{stats:?}");
    });
}

#[test]
fn nothing_lost_when_a_job_is_closed_against_pushes() {
    in_a_pool(3, |pool| {
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
            job.execute(fates.task(number));
        }
        job.close();
        let taken = pusher.join().unwrap() + 2;
        job.wait();
        assert_eq!(fates.ran(), taken, "what was accepted runs, and what was not does not");
    });
}

#[test]
fn nothing_lost_when_a_held_job_is_cancelled() {
    in_a_pool(3, |pool| {
        let (job, fates) = (pool.job(2), Fates::of(6));
        for number in 0..4 {
            job.execute(fates.task(number));
            if number == 2 {
                job.pause();
            }
        }
        let (theirs, tickets) = (job.clone(), [4, 5].map(|number| fates.ticket(number)));
        let pusher = thread::spawn(move || {
            for ticket in tickets {
                theirs.execute(move || ticket.punch());
            }
        });
        job.cancel();
        pusher.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 6, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_cancelled_tasks_leave_a_held_line_beside_pushers() {
    // Who waits for a held job drops what handles have cancelled, out of the line that others push into.
    in_a_pool(2, |pool| {
        let (job, fates) = (pool.job(1), Fates::of(6));
        job.pause();
        let pushers = [0, 3].map(|first| {
            let (job, tickets) = (job.clone(), fates.clone());
            thread::spawn(move || {
                for number in first..first + 3 {
                    let ticket = tickets.ticket(number);
                    let handle = job.spawn(move || ticket.punch());
                    if number % 3 != 1 {
                        assert!(handle.cancel());
                    }
                }
            })
        });
        let theirs = job.clone();
        let resumer = thread::spawn(move || {
            for pusher in pushers {
                pusher.join().unwrap();
            }
            theirs.resume();
        });
        job.wait();
        resumer.join().unwrap();
        job.wait();
        assert_eq!((fates.ran(), job.stats().cancelled), (2, 4));
    });
}

#[test]
fn nothing_lost_when_a_wait_meets_pushers_of_a_held_job() {
    // A push that is whole may be hidden behind one that is half done: the wait does not take the job for idle. Few schedules
    // stop a pusher there for long enough, so that there are several who may be, and several rounds.
    in_a_pool(1, |pool| {
        for _ in 0..4 {
            let (job, fates) = (pool.job(1), Fates::of(5));
            job.pause();
            let pushers = [0, 1, 2, 3].map(|number| {
                let (job, ticket) = (job.clone(), fates.ticket(number));
                thread::spawn(move || job.execute(move || ticket.punch()))
            });
            let theirs = job.clone();
            let resumer = thread::spawn(move || {
                pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
                theirs.resume();
            });
            job.execute(fates.task(4));
            job.wait();
            assert!(job.stats().completed >= 1, "`wait` returned early");
            resumer.join().unwrap();
            job.wait();
            assert_eq!(fates.ran(), 5);
        }
    });
}

#[test]
fn nothing_lost_when_a_drain_drops_what_a_wait_looks_at() {
    // Who waits looks under the lock that waking takes; who drops the line has the consumer right that the look wants.
    in_a_pool(1, |pool| {
        let (job, fates) = (pool.job(1), Fates::of(2));
        job.pause();
        for number in 0..2 {
            job.execute(fates.task(number));
        }
        let theirs = job.clone();
        let waiter = thread::spawn(move || theirs.wait());
        drop(pool);
        waiter.join().unwrap();
        assert_eq!(job.stats().cancelled, 2);
    });
}

#[test]
fn nothing_lost_when_the_last_handle_goes_early() {
    in_a_pool(3, |pool| {
        let fates = Fates::of(6);
        let jobs = [pool.job(1), pool.job(2)];
        for number in 0..6 {
            jobs[number % 2].execute(fates.task(number));
        }
        drop(jobs);
        drop(pool);
        assert_eq!(fates.ran(), 6);
    });
}

#[test]
fn nothing_lost_in_the_figures_of_a_held_job_that_two_wait_for() {
    in_a_pool(2, |pool| {
        let job = pool.job(0);
        let tasks = [(); 2].map(|()| job.spawn(|| ()));
        assert!(tasks.iter().all(tollgate::TaskHandle::cancel));
        let waits = |job: &tollgate::Job| {
            job.wait();
            assert_eq!(job.stats().cancelled, 2, "idle before its tasks were counted");
        };
        let theirs = job.clone();
        let other = thread::spawn(move || waits(&theirs));
        waits(&job);
        other.join().unwrap();
    });
}
