//! Jobs that are cleared while tasks are pushed, run and waited for: each task runs or is dropped once, and later ones run.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::Fates;

#[test]
fn nothing_lost_when_a_job_is_cleared_against_pushes() {
    in_a_pool(3, |pool| {
        let (job, fates) = (pool.job(2), Fates::of(10));
        let (theirs, tickets) = (job.clone(), fates.clone());
        let pusher =
            thread::spawn(move || (0..4).for_each(|number| theirs.execute(tickets.task(number))));
        (4..9).for_each(|number| job.execute(fates.task(number)));
        job.clear();
        let ticket = fates.ticket(9);
        let fresh = job.spawn(move || ticket.punch());
        assert!(fresh.join().is_ok(), "a task was dropped that was pushed after the clear");
        pusher.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 10, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_a_held_job_is_cleared_beside_a_wait() {
    in_a_pool(2, |pool| {
        let (job, fates) = (pool.job(0), Fates::of(3));
        (0..3).for_each(|number| job.execute(fates.task(number)));
        let theirs = job.clone();
        let waiter = thread::spawn(move || {
            theirs.wait();
            assert_eq!(theirs.stats().cancelled, 3, "idle before its tasks were counted");
        });
        job.clear();
        waiter.join().unwrap();
        assert_eq!(fates.ran(), 0);
    });
}

#[test]
fn limit_is_used_by_children_that_were_cleared() {
    in_a_pool(2, |pool| {
        let (parent, fates) = (pool.job(1), Fates::of(8));
        let children = [parent.job(2), parent.job(1)];
        for (number, child) in children.iter().cycle().take(6).enumerate() {
            child.execute(fates.task(number));
        }
        children[0].clear();
        let fresh: Vec<_> = (6..8)
            .map(|number| {
                let ticket = fates.ticket(number);
                children[number - 6].spawn(move || ticket.punch())
            })
            .collect();
        assert!(fresh.into_iter().all(|task| task.join().is_ok()));
        parent.wait();
        let [cleared, other] = children.map(|child| child.stats());
        assert_eq!((cleared.completed + cleared.cancelled, other.completed), (4, 4));
    });
}
