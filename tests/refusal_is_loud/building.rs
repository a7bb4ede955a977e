//! Pools that cannot be built, and threads that cannot start.

use tollgate::{BuildError, Job, Pool};

use crate::common::event::Gauge;
use crate::common::{LONG, Tokens, job_without_inline_tasks, panic_of, within};
use crate::{
    a_new_pool_runs_its_next_task, in_child, reads_as, runs_its_next_task, until_nothing_is_left,
};

#[test]
fn no_workers() {
    within(LONG, || {
        let error = Pool::builder().workers(0).build().unwrap_err();
        assert!(matches!(error, BuildError::NoWorkers), "{error:?}");
        reads_as(&error, "worker");
        a_new_pool_runs_its_next_task();
    });
}

#[test]
fn too_many_workers() {
    within(LONG, || {
        for workers in [usize::MAX, 1 << 40] {
            let error = Pool::builder().workers(workers).build().unwrap_err();
            let BuildError::TooManyWorkers { asked, most } = error else { panic!("{error:?}") };
            assert!(asked == workers && most < workers && most > 256, "{error:?}");
            reads_as(&error, &most.to_string());
            // One more than the most is too many as well; the most itself is not tried here: it is threads by the thousand.
            let error = Pool::builder().workers(most + 1).build().unwrap_err();
            assert!(matches!(error, BuildError::TooManyWorkers { .. }), "{error:?}");
        }
        a_new_pool_runs_its_next_task();
    });
}

#[test]
fn too_many_spare_workers() {
    within(LONG, || {
        let error = Pool::builder().workers(1).max_spare_workers(usize::MAX).build().unwrap_err();
        let BuildError::TooManySpareWorkers { asked: usize::MAX, most } = error else {
            panic!("{error:?}")
        };
        reads_as(&error, &most.to_string());
        assert!(Pool::builder().workers(1).max_spare_workers(most + 1).build().is_err());
        let pool = Pool::builder().workers(1).max_spare_workers(most).build().unwrap();
        runs_its_next_task(&pool);
    });
}

/// A stack too small for the pool itself is raised to what that needs, and more than there is room for is an error.
#[test]
fn stacks_of_odd_sizes() {
    within(LONG, || {
        for size in [0, 1, 20_000] {
            let pool = Pool::builder().workers(2).stack_size(size).build().unwrap();
            runs_its_next_task(&pool);
            assert!(pool.job(1).spawn(|| panic!("with its report")).join().is_err());
        }
        for size in [usize::MAX, usize::MAX / 2, isize::MAX as usize + 1] {
            let error = Pool::builder().workers(2).stack_size(size).build().unwrap_err();
            assert!(matches!(error, BuildError::Spawn(_)), "{size}: {error:?}");
        }
        a_new_pool_runs_its_next_task();
    });
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_thread_that_cannot_start() {
    within(LONG, || {
        // More than the address space has.
        let error = Pool::builder().workers(2).stack_size(1 << 47).build().unwrap_err();
        assert!(matches!(error, BuildError::Spawn(_)), "{error:?}");
        assert!(std::error::Error::source(&error).is_some(), "the cause is not passed on");
        a_new_pool_runs_its_next_task();
    });
}

/// Workers that did start end again when a later one cannot. Runs in a process of its own, whose address space is limited
/// to a few stacks.
#[test]
#[cfg(target_os = "linux")]
fn a_thread_that_cannot_start_after_others_have() {
    const STACK: usize = 1 << 30;
    if !in_child("building::a_thread_that_cannot_start_after_others_have") {
        return;
    }
    limit_address_space(5 * STACK);
    let (started, stopped, tokens) = (Gauge::new(), Gauge::new(), Tokens::new());
    let (starts, stops, hook) = (started.clone(), stopped.clone(), tokens.token());
    let error = Pool::builder()
        .workers(8)
        .stack_size(STACK)
        .on_worker_start(move |_| drop((starts.enter(), &hook)))
        .on_worker_stop(move |_| drop(stops.enter()))
        .build()
        .unwrap_err();
    assert!(matches!(error, BuildError::Spawn(_)), "{error:?}");
    assert_eq!(started.started(), stopped.started(), "a worker that started was left behind");
    until_nothing_is_left(&tokens);
    a_new_pool_runs_its_next_task();
}

/// A task that would wait is told that nobody can take its place, and the worker goes on. In a process of its own, as
/// above, with room for less than a further stack.
#[test]
#[cfg(target_os = "linux")]
fn a_thread_that_cannot_start_for_a_spare_worker() {
    const STACK: usize = 1 << 30;
    if !in_child("building::a_thread_that_cannot_start_for_a_spare_worker") {
        return;
    }
    let pool = Pool::builder().workers(1).stack_size(STACK).build().unwrap();
    limit_address_space(crate::common::proc::mapped_bytes() + STACK / 2);
    let (job, other) = (pool.job(1), job_without_inline_tasks(&pool));
    let waits = job.spawn(move || panic_of(|| other.spawn(|| ()).join()));
    let said = waits.join().unwrap();
    assert!(said.contains("no thread for a spare worker"), "{said}");
    runs_its_next_task(&pool);
    pool.shutdown();
}

/// A thread that could not start takes no place of the spare workers: a later wait may start one.
#[test]
#[cfg(target_os = "linux")]
fn a_spare_worker_starts_when_there_is_room_again() {
    const STACK: usize = 1 << 30;
    if !in_child("building::a_spare_worker_starts_when_there_is_room_again") {
        return;
    }
    let pool = Pool::builder().workers(1).max_spare_workers(1).stack_size(STACK).build().unwrap();
    let (job, other) = (pool.job(1), job_without_inline_tasks(&pool));
    let join = |job: &Job, other: &Job| {
        let other = other.clone();
        job.spawn(move || other.spawn(|| 7).join().unwrap()).join()
    };
    limit_address_space(crate::common::proc::mapped_bytes() + STACK / 2);
    for _ in 0..2 {
        assert!(join(&job, &other).unwrap_err().is_panic());
        assert_eq!(pool.stats().spare_workers, 0);
    }
    limit_address_space(usize::MAX);
    assert_eq!(join(&job, &other).unwrap(), 7);
    runs_its_next_task(&pool);
    pool.shutdown();
}

/// Limits the address space of this process to so many bytes: no memory can be mapped beyond them.
#[cfg(target_os = "linux")]
pub fn limit_address_space(bytes: usize) {
    let room = libc::rlimit { rlim_cur: bytes as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &room) }, 0);
}

/// A share is a part of a turn: none, or more than the greatest, is refused, and the pool takes the next job.
#[test]
fn shares_out_of_range() {
    within(LONG, || {
        let pool = Pool::builder().workers(1).build().unwrap();
        for share in [0, Job::MAX_SHARE + 1, u32::MAX] {
            let message = panic_of(|| pool.job_builder().share(share));
            assert!(message.contains(&format!("a share of {share} is out of range")), "{message}");
            assert!(message.contains("take one from 1 to 64"), "{message}");
        }
        assert_eq!(pool.job_builder().share(Job::MAX_SHARE).build().share(), Job::MAX_SHARE);
        runs_its_next_task(&pool);
    });
}
