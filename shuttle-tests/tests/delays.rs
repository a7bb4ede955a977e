//! Delayed tasks, deadlines and retries: a pool's clock moves while other threads push tasks, cancel them, and end the pool.

#![cfg(tollgate_shuttle)]

use shuttle::thread::{self, JoinHandle};
use shuttle_tests::check;
use shuttle_tests::instruments::{Fates, SECOND, pool_with_clock};
use std::sync::Arc;
use tollgate::{Job, JobStats, JoinError, Reason, Retry};

/// Starts a thread that pushes `number` tasks with a delay of a second.
fn delay_elsewhere(job: &Job, fates: &Arc<Fates>, number: usize) -> JoinHandle<()> {
    let (job, fates) = (job.clone(), fates.clone());
    thread::spawn(move || {
        for task in 0..number {
            drop(job.spawn_after(SECOND, fates.task(task)));
        }
    })
}

/// Reads the figures of `job`, and of its parent `host`, three times. Fails if a reading has no task.
fn assert_told(host: &Job, job: &Job) {
    let told = |stats: JobStats| stats.delayed + stats.backlog + stats.ready + stats.running > 0;
    for _ in 0..3 {
        assert!(told(job.stats()), "a task that has not ended is in no figure");
        assert!(told(host.stats_with_children()), "a task of a job below is in no figure");
        let says = job.explain();
        assert!(says.reasons() != [Reason::Idle], "{says}");
    }
}

#[test]
fn nothing_lost_when_cancels_meet_the_time() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(6));
        let tasks: Vec<_> =
            (0..6).map(|number| job.spawn_after(SECOND, fates.task(number))).collect();
        let canceller = thread::spawn(move || {
            let cancelled = tasks.iter().step_by(2).filter(|task| task.cancel()).count();
            drop(tasks);
            cancelled
        });
        clock.advance(SECOND);
        let cancelled = canceller.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.cancelled as usize, stats.delayed), (cancelled, 0), "{stats:?}");
        assert_eq!(fates.ran(), 6 - cancelled);
    });
}

#[test]
fn nothing_lost_when_a_jobs_cancel_meets_delays() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(6));
        let pusher = delay_elsewhere(&job, &fates, 6);
        let mover = thread::spawn(move || clock.advance(SECOND));
        job.cancel();
        pusher.join().unwrap();
        mover.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, stats.delayed), (6, 0), "{stats:?}");
        assert_eq!(fates.ran() as u64, stats.completed);
    });
}

#[test]
fn nothing_lost_when_a_jobs_cancel_meets_delays_and_no_time_passes() {
    check(|| {
        let (pool, _clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(3));
        let pusher = delay_elsewhere(&job, &fates, 3);
        job.cancel();
        pusher.join().unwrap();
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.cancelled, stats.delayed), (3, 0), "{stats:?}");
        assert_eq!(fates.ran(), 0);
    });
}

#[test]
fn nothing_lost_when_a_delay_begins_as_the_pool_ends() {
    // The job is open when the push begins. By the time the task is delayed, the job may be cancelled, and the workers gone.
    check(|| {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job(1);
        let pushes = job.clone();
        let pusher = thread::spawn(move || pushes.spawn_after(SECOND, || ()).join());
        job.cancel();
        drop(job);
        pool.shutdown_now();
        drop(pool);
        assert!(matches!(pusher.join().unwrap(), Err(JoinError::Cancelled)));
        drop(clock);
    });
}

#[test]
fn nothing_lost_when_drains_meet_delays() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(4));
        let tasks: Vec<_> =
            (0..4).map(|number| job.spawn_after(SECOND, fates.task(number))).collect();
        let canceller = thread::spawn(move || tasks.iter().filter(|task| task.cancel()).count());
        let mover = thread::spawn(move || clock.advance(SECOND));
        pool.shutdown();
        mover.join().unwrap();
        let cancelled = canceller.join().unwrap();
        assert_eq!(fates.ran() + cancelled, 4);
    });
}

#[test]
fn nothing_lost_when_drains_meet_cancels_of_delays() {
    // The clock does not move: only the cancels end the drain.
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let job = pool.job(1);
        let tasks: Vec<_> = (0..2).map(|_| job.spawn_after(SECOND, || ())).collect();
        let canceller = thread::spawn(move || assert!(tasks.iter().all(|task| task.cancel())));
        pool.shutdown();
        canceller.join().unwrap();
        assert_eq!(job.stats().cancelled, 2);
        drop(clock);
    });
}

#[test]
fn nothing_lost_when_waits_meet_the_time() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(3));
        for number in 0..3 {
            drop(job.spawn_after(SECOND, fates.task(number)));
        }
        let mover = thread::spawn(move || clock.advance(SECOND));
        job.wait();
        assert_eq!(fates.ran(), 3);
        mover.join().unwrap();
    });
}

#[test]
fn nothing_lost_in_the_figures_of_a_task_whose_time_comes() {
    // The task moves from the timer to the queue of a paused job. A reader must see it in one of the two, or on the way.
    check(|| {
        let (pool, clock) = pool_with_clock(1);
        let host = pool.job(1);
        let (job, fates) = (host.job(1), Fates::of(1));
        drop(job.spawn_after(SECOND, fates.task(0)));
        job.pause();
        let mover = thread::spawn(move || clock.advance(SECOND));
        assert_told(&host, &job);
        mover.join().unwrap();
        job.resume();
        job.wait();
        assert_eq!(fates.ran(), 1);
    });
}

#[test]
fn nothing_lost_in_the_figures_of_a_task_that_is_tried_again() {
    // The task runs, fails, and waits for its next attempt. The clock stands still, so it is in one of the figures all the time.
    check(|| {
        let (pool, clock) = pool_with_clock(1);
        let host = pool.job(1);
        let job = host.job(1);
        let mut attempts = 0;
        let task = job.spawn_retry(Retry::new().seed(1), move || {
            attempts += 1;
            if attempts > 1 { Ok(()) } else { Err(()) }
        });
        assert_told(&host, &job);
        while job.stats().delayed == 0 {
            thread::yield_now();
        }
        clock.advance(3_600 * SECOND);
        assert_eq!(task.join().unwrap().result, Ok(()));
    });
}

#[test]
fn deadlines_hold_while_tasks_start_and_are_cancelled() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(1), Fates::of(6));
        let tasks: Vec<_> =
            (0..6).map(|number| job.spawn_within(SECOND, fates.task(number))).collect();
        let canceller = thread::spawn(move || {
            let cancelled: Vec<_> = tasks.iter().map(|task| task.cancel()).step_by(3).collect();
            (tasks, cancelled)
        });
        clock.advance(SECOND);
        let (tasks, _) = canceller.join().unwrap();
        job.wait();
        let stats = job.stats();
        let ends: Vec<_> = tasks.into_iter().map(|task| task.join()).collect();
        let ran = ends.iter().filter(|end| end.is_ok()).count();
        assert!(ends.iter().all(|end| !matches!(end, Err(JoinError::Panicked(_)))));
        assert_eq!((fates.ran(), stats.completed as usize), (ran, ran));
        assert_eq!(stats.completed + stats.cancelled, 6, "{stats:?}");
    });
}

#[test]
fn deadlines_hold_for_those_who_wait_for_a_held_job() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let (job, fates) = (pool.job(0), Fates::of(3));
        for number in 0..3 {
            drop(job.spawn_within(SECOND, fates.task(number)));
        }
        let mover = thread::spawn(move || clock.advance(SECOND));
        job.wait();
        mover.join().unwrap();
        assert_eq!((fates.ran(), job.stats().cancelled), (0, 3));
    });
}

#[test]
fn nothing_lost_when_cancels_meet_attempts() {
    check(|| {
        let (pool, clock) = pool_with_clock(2);
        let job = pool.job(1);
        let policy = Retry::new().attempts(3).first_delay(SECOND).jitter(0.0).seed(1);
        let tasks: Vec<_> = (0..3).map(|_| job.spawn_retry(policy, || Err::<(), ()>(()))).collect();
        let canceller = thread::spawn(move || {
            let cancelled: Vec<_> = tasks.iter().map(|task| task.cancel()).collect();
            tasks
                .into_iter()
                .zip(cancelled)
                .map(|(task, cancelled)| (task.join(), cancelled))
                .collect()
        });
        clock.advance(SECOND);
        let ends: Vec<(Result<_, _>, bool)> = canceller.join().unwrap();
        job.wait();
        for (end, cancelled) in ends {
            assert_eq!(matches!(end, Err(JoinError::Cancelled)), cancelled);
        }
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, stats.delayed), (3, 0), "{stats:?}");
    });
}
