//! The lists of jobs: `Pool::jobs`, `Job::children`, and jobs as keys of a map.

mod common;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use common::event::Latch;
use common::{LONG, pool, pool_with_clock, until_parked, with_workers, within};
use tollgate::{Job, Pool};

fn names(jobs: &[Job]) -> BTreeSet<String> {
    jobs.iter().map(|job| job.name().unwrap_or("-").to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn jobs_with_a_name_are_listed_while_they_are_alive() {
    with_workers(|pool, _| {
        let host = pool.job_builder().name("host").build();
        let search = host.job_builder().name("search").build();
        let unnamed = (pool.job(1), host.job(1));
        assert_eq!(names(&pool.jobs()), set(&["host", "search"]));
        assert_eq!(pool.jobs().len(), 2, "each job once");
        drop((host, unnamed)); // the host's other child keeps it
        assert_eq!(names(&pool.jobs()), set(&["host", "search"]));
        // A task keeps its job without a handle.
        let latch = Latch::new();
        let opening = latch.opening();
        let task = search.spawn(move || opening.wait());
        drop(search);
        assert_eq!(names(&pool.jobs()), set(&["host", "search"]));
        latch.open();
        task.join().unwrap();
        while !pool.jobs().is_empty() {
            thread::yield_now();
        }
    });
}

#[test]
fn other_jobs_are_listed_while_tasks_wait() {
    let (pool, clock) = pool_with_clock(1);
    let (held, parent) = (pool.job(0), pool.job(usize::MAX));
    let (child, late) = (parent.job(0), parent.job(1));
    assert!(pool.jobs().is_empty());
    let above = pool.job(0);
    let below = above.job(5);
    held.execute(|| ());
    child.execute(|| ());
    below.execute(|| ()); // stands in the queue of the job above
    drop(late.spawn_after(common::SECOND, || ()));
    let listed = pool.jobs();
    clock.advance(common::SECOND);
    held.set_limit(1);
    parent.cancel();
    above.cancel();
    held.wait();
    above.wait();
    parent.wait();
    // All is checked after the delayed task has gone: while the clock holds it, the pool would not end.
    for job in [&held, &child, &late, &above, &below] {
        assert_eq!(listed.iter().filter(|other| *other == job).count(), 1, "{job:?}");
    }
    assert_eq!(listed.len(), 5, "{listed:?}");
    drop(listed);
    assert!(pool.jobs().is_empty());
}

#[test]
fn children_are_listed_while_they_are_alive() {
    with_workers(|pool, _| {
        let host = pool.job(6);
        assert!(host.children().is_empty());
        let (search, pages) = (host.job(2), host.job(3));
        let deep = pages.job(1);
        let mut children = host.children();
        children.sort_by_key(Job::limit);
        assert_eq!(children, [search.clone(), pages.clone()]);
        assert_eq!(pages.children(), [deep]);
        drop(children);
        drop(search);
        assert_eq!(host.children(), [pages]);
    });
}

#[test]
fn a_listed_handle_keeps_its_job() {
    let pool = pool(1);
    let host = pool.job(1);
    drop(host.job_builder().name("gone").build());
    let kept = host.job_builder().name("kept").build();
    let listed = host.children();
    drop(kept);
    assert_eq!(names(&host.children()), set(&["kept"]));
    assert_eq!(listed[0].spawn(|| 1).join().unwrap(), 1);
    drop(listed);
    // The worker may still have the permit of the task whose outcome the join has returned.
    host.wait();
    while !(host.children().is_empty() && pool.jobs().is_empty()) {
        thread::yield_now();
    }
}

/// The pool keeps a held job that has a task. A job that is no longer held goes with its last handle.
#[test]
fn a_job_that_was_held_is_not_listed_after_its_last_handle() {
    with_workers(|pool, workers| {
        let ways: [fn(&Job); 3] = [|_| (), |job| job.set_limit(0), |job| job.set_limit(usize::MAX)];
        for (limit, hold) in [0, 1, 2].into_iter().zip(ways) {
            let job = pool.job_builder().name("was held").limit(limit).build();
            hold(&job);
            job.pause();
            job.execute(|| ());
            job.resume();
            job.set_limit(3);
            job.wait();
            drop(job);
            until_parked(pool, workers); // The last task's permit is released.
            assert!(pool.jobs().is_empty());
        }
    });
}

/// A listed handle of a key's job could make a second job of that key, with a limit of its own.
#[test]
fn jobs_of_keys_are_not_listed() {
    let pool = pool(1);
    let hosts = pool
        .job_builder()
        .name("hosts")
        .keyed::<String>(|host, builder| builder.name(host).limit(0));
    let one = hosts.job("one");
    one.execute(|| ());
    assert_eq!(names(&pool.jobs()), set(&["hosts"]));
    assert!(hosts.parent().children().is_empty());
    let child = one.job_builder().name("child").build();
    assert_eq!(one.children(), [child]);
    assert!(!pool.jobs().contains(&one), "the parent of a listed job");
    one.cancel();
}

#[test]
fn jobs_are_keys_of_a_map() {
    let pool = pool(1);
    let (search, pages) = (pool.job(1), pool.job(1));
    let sizes = HashMap::from([(search.clone(), 1), (pages.clone(), 2)]);
    assert_eq!(sizes[&search.clone()], 1);
    assert_eq!(sizes[&pages], 2);
    assert!(!sizes.contains_key(&pool.job(1)));
}

#[test]
fn jobs_come_and_go_while_they_are_listed() {
    within(LONG, || {
        let pool = Pool::builder().workers(2).build().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    for round in 0..2_000 {
                        let job = pool.job_builder().name("root").limit(round % 3).build();
                        job.set_limit(1);
                        job.execute(|| ());
                        let child = job.job_builder().name("child").build();
                        drop(job);
                        child.execute(|| ());
                    }
                    done.store(true, SeqCst);
                });
            }
            while !done.load(SeqCst) {
                for job in pool.jobs() {
                    assert!(matches!(job.name(), Some("root" | "child")));
                    assert!(job.children().len() <= 1);
                    assert!(job.stats().limit > 0 || job.limit() <= 1);
                }
            }
        });
        pool.shutdown();
        assert!(pool.jobs().is_empty());
    });
}
