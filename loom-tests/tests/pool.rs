//! One whole pool, with its threads.

#![cfg(tollgate_loom)]

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Gauge, rest};
use tollgate::Pool;
use tollgate::model::Stage;

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

#[test]
fn limit_is_used_beside_the_last_task_of_a_batch() {
    // A first task ends. A second task stays until a third task has started. The third task is pushed as the first one ends. Its
    // pusher leaves it to the worker that has a batch, and that worker finds the queue empty just then.
    check(Bound::Preemptions(1), || {
        let pool = pool(2);
        let (job, ([first, second], started)) = (pool.job(2), together::<2>());
        job.pause();
        job.execute(|| ());
        job.execute(first);
        job.resume();
        job.execute(second);
        drop((job, pool));
        assert_eq!(*started.0.lock().unwrap(), 2);
    });
}

#[test]
fn limit_is_used_beside_a_ready_task_of_a_full_job() {
    // The worker runs the second ready task under the permit of the first, and gives up the second one's reservation. Then there
    // is room for the task that was pushed as the worker had found the queue empty.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(3);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        let turn = Arc::new((Mutex::new(0), Condvar::new()));
        for _ in 0..2 {
            let turn = turn.clone();
            stage.lay(0, &job, move || {
                let (begun, changed) = &*turn;
                let mut begun = begun.lock().unwrap();
                *begun += 1;
                changed.notify_all();
                while *begun == 2 {
                    begun = changed.wait(begun).unwrap();
                }
            });
        }
        let worker = thread::spawn(move || stage.play(0, 2));
        job.execute(gauge.task());
        let (begun, changed) = &*turn;
        let mut begun = begun.lock().unwrap();
        while *begun < 2 {
            begun = changed.wait(begun).unwrap();
        }
        let stats = job.stats();
        let room = stats.running + stats.ready < 2;
        assert!(!room || stats.backlog == 0, "a task waits beside a free permit: {stats:?}");
        *begun += 1;
        changed.notify_all();
        drop(begun);
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
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
