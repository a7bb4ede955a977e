//! What explanations, lists and figures say of futures, of delayed tasks, and of tasks in the queues of other jobs.

use crate::common::{LONG, SECOND, pool, pool_with_clock, with_workers, within};
use tollgate::Reason;

#[test]
fn each_delayed_task_is_explained_by_its_own_time() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job(1);
        let tasks = [3, 1, 2].map(|seconds| (seconds, job.spawn_after(seconds * SECOND, || ())));
        let times = tasks.each_ref().map(|(seconds, task)| match job.explain_task(task).first() {
            Reason::Delayed { until } => (*until, *seconds),
            other => panic!("{other:?}"),
        });
        let [third, first, second] = times.map(|(until, _)| until);
        assert_eq!((third - first, second - first), (2 * SECOND, SECOND));
        clock.advance(3 * SECOND);
        job.wait();
    });
}

/// The task of the job without a name stands in the queue of its parent.
#[test]
fn a_job_is_listed_while_its_one_task_waits_for_a_permit_of_its_parent() {
    with_workers(|pool, _| {
        let parent = pool.job(1);
        let (held, job) = (parent.try_acquire().unwrap(), parent.job(2));
        let task = job.spawn(|| ());
        assert!(pool.jobs().contains(&job));
        drop(held);
        task.join().unwrap();
        parent.wait();
        assert!(!pool.jobs().contains(&job));
    });
}

/// A task that runs inline has permits of its own at the jobs that are not above the joining task.
#[test]
fn a_task_that_runs_inline_counts_at_each_job_above() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, host) = (pool.job(1), pool.job(2));
        let page = host.job(1);
        let there = page.clone();
        outer.spawn(move || there.spawn(|| ()).join().unwrap()).join().unwrap();
        assert_eq!((page.stats().most_running, host.stats().most_running), (1, 1));
    });
}

/// The pool finds the job by its child, the job of a key, which is not listed itself.
#[test]
fn a_job_is_listed_whose_only_child_is_the_job_of_a_key() {
    with_workers(|pool, _| {
        let hosts = pool.job_builder().limit(1).keyed::<u8>(|_, builder| builder);
        let (parent, _host) = (hosts.parent(), hosts.job(&1));
        let held = parent.try_acquire().unwrap();
        assert!(pool.jobs().is_empty());
        let task = parent.spawn(|| ());
        assert_eq!(pool.jobs(), std::slice::from_ref(parent));
        drop(held);
        task.join().unwrap();
        parent.wait();
        assert!(pool.jobs().is_empty());
    });
}
