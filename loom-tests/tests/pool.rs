//! One whole pool, with its threads.

#![cfg(tollgate_loom)]

use loom::sync::{Arc, Condvar, Mutex};
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Gauge;
use tollgate::{Job, Pool};

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).max_spare_workers(0).build().unwrap()
}

#[test]
fn everything_holds_for_1_worker_1_job_2_tasks() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        job.execute(gauge.task());
        let last = job.spawn(gauge.task());
        last.join().unwrap();
        drop(job);
        drop(pool);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn everything_holds_for_1_worker_whose_job_is_waited_for() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        job.execute(gauge.task());
        job.execute(gauge.task());
        job.wait();
        assert_eq!(gauge.ran(), 2, "`wait` returned early");
        drop(job);
        drop(pool);
    });
}

#[test]
fn everything_holds_for_2_workers_2_jobs_3_tasks() {
    check(Bound::Preemptions(2), || {
        let pool = pool(2);
        let (narrow, wide) = (pool.job(1), pool.job(2));
        let (one, two) = (Gauge::new(1), Gauge::new(2));
        narrow.execute(one.task());
        wide.execute(two.task());
        narrow.execute(one.task());
        drop((narrow, wide));
        drop(pool);
        assert_eq!((one.ran(), two.ran()), (2, 1));
    });
}

/// Tasks, none of which ends before all have started. The second value counts those that have.
fn together<const N: usize>() -> ([impl FnOnce() + Send + use<N>; N], Arc<(Mutex<usize>, Condvar)>)
{
    let started = Arc::new((Mutex::new(0), Condvar::new()));
    let tasks = [(); N].map(|()| {
        let started = started.clone();
        move || {
            let (count, changed) = &*started;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            while *count < N {
                count = changed.wait(count).unwrap();
            }
        }
    });
    (tasks, started)
}

#[test]
fn limit_is_used_by_a_batch_beside_a_worker_that_goes_to_sleep() {
    // One worker takes the second task into its batch, and stays in the first. The other worker must find it there.
    check(Bound::Preemptions(2), || {
        let pool = pool(2);
        let (job, (tasks, started)) = (pool.job(2), together::<2>());
        job.pause();
        tasks.into_iter().for_each(|task| job.execute(task));
        job.resume();
        drop((job, pool));
        assert_eq!(*started.0.lock().unwrap(), 2);
    });
}

/// Behind a task that ends, one stays until the one that is pushed at that moment has started.
fn pushes_as_the_last_task_starts(make: fn(&Pool) -> (Job, Option<Job>)) {
    check(Bound::Preemptions(1), move || {
        let pool = pool(2);
        let (job, child) = make(&pool);
        let ([first, second], started) = together::<2>();
        job.pause();
        job.execute(|| ());
        job.execute(first);
        job.resume();
        job.execute(second);
        drop((job, child, pool));
        assert_eq!(*started.0.lock().unwrap(), 2);
    });
}

#[test]
fn limit_is_used_beside_the_last_task_of_a_batch() {
    // The pusher leaves its task to the worker that has a batch, just when that worker finds the queue empty.
    pushes_as_the_last_task_starts(|pool| (pool.job(2), None));
}

#[test]
fn limit_is_used_beside_a_ready_task_of_a_full_job() {
    // The worker runs a ready task under the permit that it holds, and gives up that task's reservation: there is room for
    // the one that was pushed meanwhile. A job that has a child is never unlimited.
    pushes_as_the_last_task_starts(|pool| {
        let job = pool.job(2);
        let child = job.job(1);
        (job, Some(child))
    });
}

#[test]
fn limit_is_used_by_a_batch_on_its_way_to_a_deque() {
    // One worker takes two of the three tasks out of the injector, and will block in the first until the second runs. The other
    // worker runs the third meanwhile, and looks for the last time while those two are in neither place.
    check(Bound::Preemptions(1), || {
        let pool = pool(2);
        let (pusher, job, other) = (pool.job(1), pool.job(2), pool.job(1));
        let (tasks, both) = together::<2>();
        let theirs = job.clone();
        pusher.execute(move || {
            tasks.into_iter().for_each(|task| theirs.execute(task));
            other.execute(|| ());
        });
        drop((pusher, job));
        drop(pool);
        assert_eq!(*both.0.lock().unwrap(), 2);
    });
}
