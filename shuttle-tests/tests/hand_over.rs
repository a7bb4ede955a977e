//! Jobs with a capacity of 0: each task is handed over together with its permits, or refused, or its pusher waits.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::{Fates, Gauge};

#[test]
fn limit_holds_for_what_is_handed_over_by_many() {
    in_a_pool(3, |pool| {
        let parent = pool.job(2);
        let job = parent.job_builder().limit(3).capacity(0).build();
        let gauge = Gauge::new(2);
        let pushers: Vec<_> = (0..3)
            .map(|number| {
                let (job, gauge) = (job.clone(), gauge.clone());
                thread::spawn(move || {
                    let push = |_| match number {
                        0 => job.try_execute(gauge.task()).is_ok(),
                        _ => {
                            job.execute(gauge.task());
                            true
                        }
                    };
                    (0..3).map(push).filter(|accepted| *accepted).count()
                })
            })
            .collect();
        let accepted: usize = pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum();
        parent.wait();
        assert_eq!((gauge.ran(), job.stats().cancelled), (accepted, 0));
    });
}

#[test]
fn limit_holds_for_what_is_handed_over_before_a_pause() {
    in_a_pool(2, |pool| {
        let job = pool.job_builder().limit(2).capacity(0).build();
        let gauge = Gauge::new(2);
        (0..2).for_each(|_| job.execute(gauge.task()));
        job.pause();
        job.settled().wait();
        let stats = job.stats();
        assert_eq!((stats.running, gauge.ran() + stats.backlog), (0, 2), "{stats:?}");
        job.resume();
        job.wait();
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn nothing_lost_when_a_cancel_meets_hand_overs() {
    in_a_pool(2, |pool| {
        let (job, fates) = (pool.job_builder().limit(2).capacity(0).build(), Fates::of(6));
        let (theirs, tickets) = (job.clone(), fates.clone());
        let pusher =
            thread::spawn(move || (0..3).for_each(|number| theirs.execute(tickets.task(number))));
        (3..6).for_each(|number| job.execute(fates.task(number)));
        job.cancel();
        pusher.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 6, "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_pushers() {
    in_a_pool(2, |pool| {
        let (job, fates) = (pool.job_builder().limit(1).capacity(0).build(), Fates::of(2));
        let permit = job.try_acquire().unwrap();
        let pushers: Vec<_> = (0..2)
            .map(|number| {
                let (job, task) = (job.clone(), fates.task(number));
                thread::spawn(move || job.execute(task))
            })
            .collect();
        job.close();
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        drop(permit);
        job.wait();
        assert_eq!((fates.ran(), job.stats().cancelled), (0, 2));
    });
}
