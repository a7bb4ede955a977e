//! Clears and cancels of a job that lies several levels below the job whose queue its task stands in.

use std::thread;

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{
    LONG, SECOND, Tokens, all_cancelled, pool_with_clock, with_workers, within, workers_pass,
};
use tollgate::{Job, JoinError, ManualClock, Pool, TaskHandle};

/// The first task stands in the queue of the outermost job, and the others stand in the queue of their own job.
#[test]
fn a_clear_takes_a_task_out_of_the_queue_of_each_job_above() {
    with_workers(|pool, _| {
        for depth in 1..4 {
            let outermost = pool.job(1);
            let held = outermost.try_acquire().unwrap();
            let job = (0..depth).fold(outermost.clone(), |job, _| job.job(2));
            let tasks = (0..3).map(|_| job.spawn(|| ())).collect();
            job.clear();
            assert_eq!(job.stats().backlog, 0);
            drop(held);
            assert!(all_cancelled(tasks), "{depth} levels below");
            assert_eq!(job.spawn(move || depth).join().unwrap(), depth);
            outermost.wait();
        }
    });
}

/// Only the outermost job is paused, and its queue has the first task.
#[test]
fn a_cancelled_job_is_idle_although_a_job_far_above_is_paused() {
    with_workers(|pool, _| {
        for depth in 1..4 {
            for by_handle in [false, true] {
                let outermost = pool.job(4);
                outermost.pause();
                let job = (0..depth).fold(outermost.clone(), |job, _| job.job(2));
                let tokens = Tokens::new();
                let tasks = [(); 3].map(|()| {
                    let token = tokens.token();
                    job.spawn(move || drop(token))
                });
                if by_handle {
                    assert!(tasks.iter().all(tollgate::TaskHandle::cancel));
                } else {
                    job.cancel();
                }
                job.wait();
                assert_eq!((job.stats().cancelled, tokens.dropped()), (3, 3));
                assert!(all_cancelled(tasks.into()));
                outermost.resume();
                outermost.wait();
            }
        }
    });
}

/// A way to stop the outermost job, and the way to resume it.
type Stop = (fn(&Job), fn(&Job, &ManualClock));

const STOPS: [Stop; 3] = [
    (Job::pause, |job, _| job.resume()),
    (|job| job.set_limit(0), |job, _| job.set_limit(2)),
    (|job| job.hold_off(SECOND), |_, clock| clock.advance(SECOND)),
];

/// No task starts or ends meanwhile, so only the thread that stops the job can drop the cancelled task.
#[test]
fn a_stop_drops_what_was_cancelled_in_the_queues_of_all_jobs_below() {
    within(LONG, || {
        for (stop, let_go) in STOPS {
            for depth in 0..3 {
                let (pool, clock) = pool_with_clock(2);
                let outermost = pool.job(2);
                let full = (0..depth).fold(outermost.clone(), |job, _| job.job(2)).job(1);
                let (gauge, latch, tokens) = (Gauge::new(), Latch::new(), Tokens::new());
                full.execute(stay(&gauge, &latch));
                gauge.until_running(1);
                let (cancelled, token) = (full.job(1), tokens.token());
                cancelled.execute(move || drop(token)); // stands in the queue of the full job
                cancelled.cancel();
                workers_pass(&pool, 1); // a worker has looked for the tasks of the cancelled job
                assert_eq!(tokens.dropped(), 0);
                stop(&outermost);
                while tokens.dropped() == 0 {
                    thread::yield_now();
                }
                cancelled.wait();
                assert_eq!(cancelled.stats().cancelled, 1);
                latch.open();
                let_go(&outermost, &clock);
                outermost.wait();
                assert_eq!(full.stats().completed, 1);
            }
        }
    });
}

/// Pauses the job after its task was ready, and returns when a worker has put the task back into the queue.
fn put_back(pool: &Pool, job: &Job) -> TaskHandle<()> {
    let (gauge, latch, busy) = (Gauge::new(), Latch::new(), pool.job(usize::MAX));
    (0..pool.workers()).for_each(|_| busy.execute(stay(&gauge, &latch)));
    gauge.until_running(pool.workers());
    let task = job.spawn(|| ());
    assert_eq!(job.stats().backlog, 0);
    job.pause();
    latch.open();
    while (job.stats().ready, job.stats().backlog) != (0, 1) {
        thread::yield_now();
    }
    task
}

#[test]
fn a_task_that_was_ready_and_was_put_back_is_cleared_and_waited_for() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let task = put_back(pool, &job);
        assert!(!job.is_idle());
        job.clear();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        job.wait();
        job.resume();
        let task = put_back(pool, &job);
        assert!(task.cancel());
        job.wait();
        job.resume();
        let task = put_back(pool, &job);
        job.resume();
        task.join().unwrap();
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 2));
    });
}

#[test]
fn a_close_refuses_pushes_into_jobs_at_each_level_below() {
    with_workers(|pool, _| {
        let outermost = pool.job(2);
        let jobs: Vec<_> = (0..4)
            .scan(outermost.clone(), |above, _| {
                *above = above.job(2);
                Some(above.clone())
            })
            .collect();
        assert!(jobs.iter().all(|job| job.try_spawn(|| ()).is_ok()));
        outermost.close();
        assert!(jobs.iter().all(|job| job.is_closed() && job.try_spawn(|| ()).is_err()));
        outermost.wait();
    });
}
