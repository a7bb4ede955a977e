//! Promise: join_is_safe, where the joined closure is of another job and runs inline in the task that joins it. All else is as if a
//! worker ran it.
//!
//! A pool has one worker unless its test needs a second one, so no other thread takes the joined task before the join.

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod figures;
mod jobs;
mod permits;
mod turns;

use common::event::{Gauge, pass_through};
use common::{LONG, pool, within};
use std::thread::{self, ThreadId};
use tollgate::{Job, Pool};

/// Runs `task` as a task of `job`, and returns its result.
fn inside<T: Send + 'static>(job: &Job, task: impl FnOnce() -> T + Send + 'static) -> T {
    job.spawn(task).join().unwrap()
}

/// Returns the id of the calling thread.
fn here() -> ThreadId {
    thread::current().id()
}

/// Joins `task` as a task of `inner` in a task of `outer`. Returns its result, and true if it ran inline.
fn join_inside<T: Send + 'static>(
    outer: &Job,
    inner: &Job,
    task: impl FnOnce() -> T + Send + 'static,
) -> (T, bool) {
    let inner = inner.clone();
    inside(outer, move || {
        let (result, thread) = inner.spawn(|| (task(), here())).join().unwrap();
        (result, thread == here())
    })
}

/// Returns true if a task of `outer` runs a task of `inner` inline.
fn runs_inline(outer: &Job, inner: &Job) -> bool {
    join_inside(outer, inner, || ()).1
}

/// Makes two jobs with a limit of 1.
fn two_jobs(pool: &Pool) -> (Job, Job) {
    (pool.job(1), pool.job(1))
}

/// Runs `test` with a pool of one worker and two jobs with a limit of 1, under the watchdog.
fn with_two_jobs(test: impl FnOnce(&Pool, Job, Job) + Send + 'static) {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = two_jobs(&pool);
        test(&pool, outer, inner);
    });
}

#[test]
fn a_closure_runs_on_the_thread_of_the_task_that_joins_it() {
    within(LONG, || {
        let pool = pool(1);
        let host = pool.job(2);
        let (page, image) = (host.job(1), host.job(1));
        for (outer, inner) in [(pool.job(1), pool.job(1)), (page.clone(), image), (host, page)] {
            assert!(runs_inline(&outer, &inner));
            assert!(runs_inline(&inner, &outer));
        }
    });
}

/// Pushes into both jobs, before the inline task, in it and after it.
#[test]
fn what_is_pushed_around_an_inline_task_runs_once() {
    within(LONG, || {
        for limits in [[1, 1], [1, 8], [8, 1], [8, 8]] {
            let pool = pool(1);
            let [outer, inner] = limits.map(|limit| pool.job(limit));
            let (own, there, gauge) = (outer.clone(), inner.clone(), Gauge::new());
            let seen = gauge.clone();
            inside(&outer, move || {
                let push = move |job: &Job| {
                    (0..20).for_each(|_| job.execute(pass_through(&seen)));
                };
                push(&own);
                let (from, to, pushes) = (there.clone(), own.clone(), push.clone());
                let task = there.spawn(move || {
                    pushes(&from);
                    pushes(&to);
                });
                task.join().unwrap();
                push(&own);
                push(&there);
            });
            outer.wait();
            inner.wait();
            assert_eq!(gauge.started(), 100);
            assert_eq!((outer.stats().completed, inner.stats().completed), (61, 41));
            assert_eq!((outer.stats().ready, inner.stats().ready), (0, 0));
        }
    });
}
