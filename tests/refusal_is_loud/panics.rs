//! Panics where no closure of a task has them: in hooks, and where payloads, captures and results are dropped.

use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use tollgate::{JoinError, Pool};

use crate::common::{LONG, WORKERS, message_of, pool, unwind, with_workers, within};
use crate::{a_new_pool_runs_its_next_task, child, runs_its_next_task};

#[test]
fn hooks_that_panic() {
    for workers in WORKERS {
        within(LONG, move || {
            let (started, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (starts, stops) = (Arc::clone(&started), Arc::clone(&stopped));
            let pool = Pool::builder()
                .workers(workers)
                .on_worker_start(move |index| {
                    starts.fetch_add(1, SeqCst);
                    unwind(&format!("start of {index}"));
                })
                .on_worker_stop(move |index| {
                    stops.fetch_add(1, SeqCst);
                    unwind(&format!("stop of {index}"));
                })
                .on_panic(|_| unwind("on_panic"))
                .build()
                .unwrap();
            runs_its_next_task(&pool);
            let job = pool.job(1);
            (0..20).for_each(|_| job.execute(|| unwind("a task that fails")));
            job.wait();
            assert_eq!(job.stats().panicked, 20);
            runs_its_next_task(&pool);
            drop(pool);
            assert_eq!((started.load(SeqCst), stopped.load(SeqCst)), (workers, workers));
        });
    }
}

#[test]
fn on_panic_sees_each_payload_that_no_handle_takes() {
    within(LONG, || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let builder = Pool::builder().workers(2).on_panic(move |payload| {
            sees.lock().unwrap().push(message_of(payload).to_owned());
        });
        let pool = builder.build().unwrap();
        let job = pool.job(1);
        job.execute(|| unwind("first"));
        assert!(job.spawn(|| unwind("goes to its handle")).join().is_err());
        job.execute(|| unwind("second"));
        job.wait();
        assert_eq!(*seen.lock().unwrap(), ["first", "second"]);
        runs_its_next_task(&pool);
    });
}

/// Panics when it is dropped, and counts that.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        unwind("again, in a drop");
    }
}

fn with_capture(bomb: Bomb) -> impl FnOnce() + Send + 'static {
    move || drop(bomb)
}

/// A payload that panics when it is dropped: a closure panics, and what it had captured does so again, where the pool
/// drops it.
#[test]
fn a_payload_that_panics_when_dropped() {
    with_workers(|pool, _| {
        let (job, drops) = (pool.job(1), Arc::new(AtomicUsize::new(0)));
        for _ in 0..10 {
            let (executed, detached) = (Bomb(Arc::clone(&drops)), Bomb(Arc::clone(&drops)));
            job.execute(move || panic_any(executed));
            drop(job.spawn(move || panic_any(detached)));
        }
        job.wait();
        assert_eq!(drops.load(SeqCst), 20);
        assert_eq!(job.stats().panicked, 20);
        runs_its_next_task(pool);
    });
}

/// Panics with a further payload of its kind when it is dropped, so many times.
struct Chain(u32);

impl Drop for Chain {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Chain(self.0 - 1));
        }
    }
}

/// The drop of a payload panics, and so does the drop of the payload of that panic.
#[test]
fn a_payload_whose_drop_panics_with_a_further_one() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        for length in 0..4 {
            job.execute(move || panic_any(Chain(length)));
            drop(job.spawn(move || panic_any(Chain(length))));
        }
        job.wait();
        assert_eq!(job.stats().panicked, 8);
        runs_its_next_task(pool);
    });
}

/// A closure whose captures panic at its end, and one that is dropped without running, by each way out.
#[test]
fn captures_that_panic_when_dropped() {
    with_workers(|pool, _| {
        let drops = Arc::new(AtomicUsize::new(0));
        let bomb = || Bomb(Arc::clone(&drops));
        let job = pool.job(2);
        let (ran, detached) = (bomb(), bomb());
        let handle = job.spawn(move || drop(ran));
        assert!(matches!(handle.join(), Err(JoinError::Panicked(_))));
        job.execute(move || drop(detached));
        job.wait();
        assert_eq!((drops.load(SeqCst), job.stats().panicked), (2, 2));

        // Whether the drop's panic comes out of the call or stops there is not said; that it breaks nothing is.
        let held = pool.job(0);
        let quietly = |call: &mut dyn FnMut()| {
            _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call))
        };
        let by_handle = held.spawn(with_capture(bomb()));
        quietly(&mut || assert!(by_handle.cancel()));
        let by_job = held.spawn(with_capture(bomb()));
        held.execute(with_capture(bomb()));
        quietly(&mut || held.cancel());
        assert!(matches!(by_handle.join(), Err(JoinError::Cancelled)));
        assert!(matches!(by_job.join(), Err(JoinError::Cancelled)));
        held.wait();
        quietly(&mut || held.execute(with_capture(bomb())));
        quietly(&mut || drop(held.spawn(with_capture(bomb()))));
        assert_eq!((drops.load(SeqCst), held.stats().cancelled), (7, 5));
        runs_its_next_task(pool);

        // A result that nobody takes.
        let (before, after) = (bomb(), bomb());
        drop(job.spawn(move || before));
        job.wait();
        let unclaimed = job.spawn(move || after);
        job.wait();
        quietly(&mut || ());
        let mut unclaimed = Some(unclaimed);
        quietly(&mut || drop(unclaimed.take()));
        assert_eq!(drops.load(SeqCst), 9);
        runs_its_next_task(pool);
    });
}

/// Tasks that are dropped by a shutdown and panic in that.
#[test]
fn captures_that_panic_when_a_shutdown_drops_them() {
    within(LONG, || {
        for end in [|pool: &Pool| _ = pool.shutdown_now(), Pool::shutdown] {
            let (pool, drops) = (pool(2), Arc::new(AtomicUsize::new(0)));
            let held = pool.job(0);
            let handles: Vec<_> =
                (0..10).map(|_| held.spawn(with_capture(Bomb(Arc::clone(&drops))))).collect();
            end(&pool);
            assert_eq!((drops.load(SeqCst), held.stats().cancelled), (10, 10));
            assert!(
                handles
                    .into_iter()
                    .all(|handle| matches!(handle.join(), Err(JoinError::Cancelled)))
            );
            a_new_pool_runs_its_next_task();
        }
    });
}

/// A capture that is dropped while its closure unwinds, and panics in that, ends the process: Rust allows no other end, and
/// no pool can catch it. It is as loud as can be.
#[test]
#[cfg(unix)]
fn captures_that_panic_while_their_closure_unwinds_end_the_process() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "panics::captures_that_panic_while_their_closure_unwinds_end_the_process";
    if std::env::var_os("TOLLGATE_CHILD").is_none() {
        let output = child(NAME);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(said.contains("panic in a destructor during cleanup"), "{said}");
        return;
    }
    let (pool, bomb) = (pool(1), Bomb(Arc::default()));
    let ended = pool.job(1).spawn(move || {
        let _captured = &bomb;
        unwind("first");
    });
    _ = ended.join();
}

/// A capture that minds its manners, and panics in its drop only when nothing unwinds, is no trouble.
#[test]
fn captures_that_panic_unless_unwinding() {
    struct Careful;
    impl Drop for Careful {
        fn drop(&mut self) {
            if !thread::panicking() {
                unwind("in a drop");
            }
        }
    }
    with_workers(|pool, _| {
        let job = pool.job(1);
        for fails in [true, false] {
            let capture = Careful;
            let handle = job.spawn(move || {
                let _captured = &capture;
                if fails {
                    unwind("in the task");
                }
            });
            let Err(JoinError::Panicked(payload)) = handle.join() else { panic!("it panicked") };
            assert_eq!(payload.message().unwrap(), if fails { "in the task" } else { "in a drop" });
        }
        runs_its_next_task(pool);
    });
}
