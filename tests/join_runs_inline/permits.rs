//! What admits the two tasks: limits, a rate, the order of a serial job, and the permits and the seat of the joining task.

use crate::common::event::{Gauge, Latch};
use crate::common::{LONG, SECOND, pool, pool_with_clock, within, workers_pass};
use crate::{inside, join_inside, runs_inline, with_two_jobs};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tollgate::{Job, JoinError, Pool, Rate};

/// The second task is joined before the rate allows its start.
#[test]
fn a_rate_holds_for_a_joined_task() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (outer, paced) = (pool.job(1), pool.job_builder().rate(Rate::every(SECOND)).build());
        paced.execute(|| ());
        paced.wait();
        let there = paced.clone();
        let task = outer.spawn(move || there.spawn(|| ()).join().unwrap());
        while outer.stats().running > 0 || paced.stats().backlog == 0 {
            thread::yield_now();
        }
        assert_eq!(paced.stats().completed, 1);
        clock.advance(SECOND);
        task.join().unwrap();
    });
}

/// At the second join, the joining task has re-acquired the parent's only permit. The parent's first task is ready and has not
/// started.
#[test]
fn a_joined_task_of_a_parent_overtakes_no_ready_task() {
    within(LONG, || {
        let pool = pool(1);
        let (parent, other) = (pool.job(1), pool.job(1));
        let child = parent.job(1);
        let order = inside(&child, move || {
            let order = Arc::new(Mutex::new(Vec::new()));
            let note = |number| {
                let order = order.clone();
                move || order.lock().unwrap().push(number)
            };
            let (first, second) = (note(1), note(2));
            let pushed = other.spawn(move || [parent.spawn(first), parent.spawn(second)]);
            let [first, second] = pushed.join().unwrap();
            second.join().unwrap();
            first.join().unwrap();
            order.lock().unwrap().clone()
        });
        assert_eq!(order, [1, 2]);
    });
}

#[test]
fn the_joining_task_keeps_its_permit_of_a_job_that_says_so() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job_builder().limit(1).keep_permits(true).build();
        let (inner, own) = (pool.job(1), outer.clone());
        let child = outer.job(1);
        assert_eq!(join_inside(&outer, &inner, move || own.stats().running), (1, true));
        // The joined task needs a second permit of a job that keeps them: it waits for a worker.
        outer.set_limit(2);
        assert!(!runs_inline(&outer, &child));
        // The joined task keeps its permit in its own waits.
        let keeps = pool.job_builder().limit(1).keep_permits(true).build();
        assert!(runs_inline(&inner, &keeps));
        keeps.wait();
        assert_eq!((outer.stats().running, keeps.stats().running), (0, 0));
    });
}

#[test]
fn a_limit_lowered_meanwhile_holds_for_the_joining_task() {
    with_two_jobs(|pool, outer, inner| {
        let (own, gauge) = (outer.clone(), Gauge::new());
        let seen = gauge.clone();
        let task = outer.spawn(move || {
            inner.spawn(move || own.set_limit(0)).join().unwrap();
            drop(seen.enter());
        });
        while outer.stats().limit == 1 {
            thread::yield_now();
        }
        workers_pass(pool, 1);
        assert_eq!((gauge.started(), outer.stats().running), (0, 0));
        outer.set_limit(1);
        task.join().unwrap();
        assert_eq!(gauge.started(), 1);
    });
}

/// The joined task runs under the parent's permit of the joining task, and pauses the job of the joining task. While the joining task
/// waits for a permit, it must not keep that of the parent.
#[test]
fn a_task_that_waits_for_its_permit_has_none_of_a_parent() {
    within(LONG, || {
        for pauses in [Job::pause as fn(&Job), |job| job.set_limit(0)] {
            let pool = pool(1);
            let parent = pool.job(1);
            let [outer, inner, third] = [(); 3].map(|()| parent.job(1));
            let own = outer.clone();
            let task = outer.spawn(move || {
                let there = own.clone();
                inner.spawn(move || pauses(&there)).join().unwrap();
                own.stats().running
            });
            while outer.stats().limit == 1 && !outer.is_paused() {
                thread::yield_now();
            }
            third.spawn(|| ()).join().unwrap();
            assert!(!task.is_finished());
            outer.set_limit(1);
            outer.resume();
            assert_eq!(task.join().unwrap(), 1);
            parent.wait();
            assert_eq!(parent.stats().running, 0);
        }
    });
}

/// When the joined task ends, a second task of the outer job has the permit, and keeps it until a task of a third job has run.
#[test]
fn a_task_that_waits_for_its_permit_lends_its_seat() {
    within(LONG, || {
        let pool = pool(2);
        let (outer, inner, third) = (pool.job(1), pool.job(1), pool.job(1));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let own = outer.clone();
        let (theirs, opening) = (gauge.clone(), latch.opening());
        let task = outer.spawn(move || {
            let joined = inner.spawn(move || {
                let stays = theirs.clone();
                own.execute(move || {
                    let _running = stays.enter();
                    opening.wait();
                });
                theirs.until_running(1);
            });
            joined.join().unwrap();
        });
        gauge.until_running(1);
        // The other worker is in the second task, so this one needs the seat of the first.
        third.spawn(|| ()).join().unwrap();
        latch.open();
        task.join().unwrap();
    });
}

/// A task of another job joins the second of two tasks of a serial job.
#[test]
fn a_task_that_runs_inline_overtakes_no_task_of_its_serial_job() {
    within(LONG, || {
        for pool in [Pool::new().unwrap(), pool(1), pool(2)] {
            let (outer, serial) = (pool.job(4), pool.job(1));
            for _ in 0..200 {
                let serial = serial.clone();
                let order = outer.spawn(move || {
                    let order = Arc::new(Mutex::new(Vec::new()));
                    let [first, second] = [1, 2].map(|number| {
                        let order = order.clone();
                        serial.spawn(move || order.lock().unwrap().push(number))
                    });
                    second.join().unwrap();
                    first.join().unwrap();
                    order.lock().unwrap().clone()
                });
                assert_eq!(order.join().unwrap(), [1, 2]);
            }
        }
    });
}

/// A task that runs inline has a permit of its own job, and the joining task has none of its job meanwhile.
#[test]
fn a_task_that_runs_inline_has_the_permits_of_its_own_job() {
    within(LONG, || {
        let pool = pool(1);
        let parent = pool.job(1);
        for (outer, inner) in [
            (pool.job(1), pool.job(1)),
            (parent.job(1), parent.job(1)),
            (parent.job(1), parent.clone()),
        ] {
            let (own, there) = (outer.clone(), inner.clone());
            let seen = outer.spawn(move || {
                let (joining, joined) = (own.clone(), there.clone());
                let thread = thread::current().id();
                let task = there.spawn(move || {
                    let here = tollgate::current_job().unwrap();
                    let waits = joining.stats().running;
                    (here == joined, waits, joined.stats().running, thread::current().id())
                });
                let (is_own, waits, running, there) = task.join().unwrap();
                assert_eq!(own.stats().running, 1);
                (is_own, waits, running, there == thread)
            });
            assert_eq!(seen.join().unwrap(), (true, 0, 1, true));
            outer.wait();
            inner.wait();
            assert_eq!((outer.stats().running, inner.stats().running), (0, 0));
            assert_eq!((outer.stats().completed > 0, inner.stats().completed > 0), (true, true));
        }
    });
}

/// The job is paused, has a limit of 0, or is held off. A join starts none of its tasks.
#[test]
fn a_join_starts_nothing_that_its_job_does_not_admit() {
    within(LONG, || {
        let pool = pool(2);
        let outer = pool.job(1);
        let holds: [fn(&Job); 3] = [
            Job::pause,
            |job| job.set_limit(0),
            |job| {
                job.hold_off(Duration::from_secs(3_600));
            },
        ];
        for hold in holds {
            let inner = pool.job(1);
            hold(&inner);
            let there = inner.clone();
            let task =
                outer.spawn(move || matches!(there.spawn(|| ()).join(), Err(JoinError::Cancelled)));
            while outer.stats().running > 0 || inner.stats().backlog == 0 {
                thread::yield_now();
            }
            assert_eq!(inner.stats().completed, 0);
            inner.cancel();
            assert!(task.join().unwrap());
        }
    });
}
