//! refusal_is_loud in a child of `fork`, which has a pool's memory and none of its workers.
#![cfg(unix)]

mod common;

use std::mem::ManuallyDrop;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

#[cfg(target_os = "linux")]
use common::proc::{sleeps, threads_named};
use common::{message_of, panic_of, pool, until_parked};
use tollgate::Pool;

/// Held by the test that runs. The workers of another test might have a lock at the fork, which would stay locked in the child.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `test` in a fork of this process, which must end within a minute.
fn in_fork(test: impl FnOnce()) {
    // The report of a panic takes a lock that another thread may have at the fork.
    std::panic::set_hook(Box::new(|_| ()));
    // SAFETY: the child runs `test` on its one thread, and ends without running the harness's code.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it ends the child if that hangs.
        unsafe { libc::alarm(60) };
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        let passed = passed.map_err(|panic| eprintln!("{}", message_of(&*panic))).is_ok();
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    drop(std::panic::take_hook());
    let mut status = 0;
    // SAFETY: it waits for the child, and writes the status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child was killed: status {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "the child failed");
}

/// A joined task of another job does not run inline in a forked child: a lock that another thread had at the fork stays locked there.
#[test]
fn a_task_that_forks_joins_no_task_of_another_job_in_the_child() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = pool(1);
    let (outer, inner) = (pool.job(1), pool.job(1));
    let task = outer.spawn(move || {
        in_fork(|| {
            let said = panic_of(|| inner.spawn(|| ()).join());
            assert!(said.contains("forked child"), "{said}");
        });
    });
    task.join().unwrap();
}

#[test]
fn a_forked_child_is_told_that_it_has_no_workers() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Workers of another test's pool may be about to end.
    let pool = Pool::builder().workers(2).thread_name(|i| format!("forks-{i}")).build().unwrap();
    let pool = ManuallyDrop::new(pool);
    let job = pool.job(1);
    job.spawn(|| ()).join().unwrap();
    job.wait();
    // At the fork no worker may have a lock, because the lock would stay locked in the child.
    until_parked(&pool, 2);
    #[cfg(target_os = "linux")]
    while !threads_named("forks-").into_iter().all(sleeps) {
        std::thread::yield_now();
    }
    let before = pool.job(0);
    let task = before.spawn(|| 1);
    in_fork(|| {
        let refused = |said: String| assert!(said.contains("forked child"), "{said}");
        refused(panic_of(|| job.wait()));
        refused(panic_of(|| job.wait_timeout(common::LONG)));
        let late = job.spawn(|| 1);
        refused(panic_of(|| late.join()));
        refused(panic_of(|| task.join()));
        refused(panic_of(|| job.scope(|s| s.execute(|| ()))));
        refused(panic_of(|| job.for_each(0..3, |_| ())));
        refused(panic_of(|| job.map(0..3, |i| i).next()));
        let full = pool.job_builder().limit(0).capacity(1).build();
        full.execute(|| ());
        refused(panic_of(|| full.execute(|| ())));
        refused(panic_of(|| full.acquire_blocking()));
        // Futures: each poll that would be pending.
        let mut cx = Context::from_waker(Waker::noop());
        let mut late = job.spawn(|| 1);
        refused(panic_of(|| pin!(&mut late).poll(&mut cx)));
        refused(panic_of(|| pin!(full.acquire()).poll(&mut cx)));
        refused(panic_of(|| pin!(full.idle()).poll(&mut cx)));
        let mut set = job.set();
        set.spawn(|| ());
        refused(panic_of(|| set.join_next()));
        #[cfg(feature = "futures")]
        {
            let mut results = job.map_async([1], |i| async move { i });
            refused(panic_of(|| futures::Stream::poll_next(pin!(&mut results), &mut cx)));
        }
        refused(panic_of(|| pool.shutdown()));
        refused(panic_of(|| pool.shutdown_timeout(common::LONG)));
        // Its drop does not wait.
        drop(ManuallyDrop::into_inner(pool));

        let own = common::pool(2);
        let tasks: Vec<_> = (0..100).map(|i| own.job(1).spawn(move || i)).collect();
        assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<i32>(), 4_950);
    });
}
