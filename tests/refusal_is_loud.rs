//! refusal_is_loud: bad input is an error value or a documented panic whose message says what to do; never a hang, never a
//! silent drop. After each, the pool runs its next task.

mod common;

use std::panic::panic_any;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::event::{Gauge, Latch, stay};
use common::{LONG, Tokens, message_of, panic_of, pool, unwind, with_workers, within};
use tollgate::{BuildError, Job, JoinError, Pool, Rejected};

/// The pool runs its next task, on each of its workers, by each way in.
fn runs_its_next_task(pool: &Pool) {
    let (job, gauge, latch) = (pool.job(pool.workers()), Gauge::new(), Latch::new());
    (0..pool.workers()).for_each(|_| job.execute(stay(&gauge, &latch)));
    gauge.until_running(pool.workers());
    latch.open();
    assert_eq!(job.spawn(|| "next").join().unwrap(), "next");
}

fn a_new_pool_runs_its_next_task() {
    runs_its_next_task(&pool(2));
}

/// An error as a user reads it: it says something, and is an `Error`.
fn reads_as(error: &dyn std::error::Error, word: &str) {
    let text = error.to_string();
    assert!(text.contains(word), "'{text}' does not say '{word}'");
}

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
    if !in_child("a_thread_that_cannot_start_after_others_have") {
        return;
    }
    let room = libc::rlimit { rlim_cur: 5 * STACK as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &room) }, 0);
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
    if !in_child("a_thread_that_cannot_start_for_a_spare_worker") {
        return;
    }
    let pool = Pool::builder().workers(1).stack_size(STACK).build().unwrap();
    let most = common::proc::mapped_bytes() + STACK / 2;
    let room = libc::rlimit { rlim_cur: most as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &room) }, 0);
    let (job, other) = (pool.job(1), pool.job(1));
    let waits = job.spawn(move || panic_of(|| other.spawn(|| ()).join()));
    let said = waits.join().unwrap();
    assert!(said.contains("no thread for a spare worker"), "{said}");
    runs_its_next_task(&pool);
    pool.shutdown();
}

/// The workers of a pool that was never built have ended: the last one to use its hooks has dropped them.
fn until_nothing_is_left(hooks: &Tokens) {
    while hooks.dropped() < hooks.made() {
        thread::yield_now();
    }
}

/// In the parent: runs the named test of this file in a process of its own, which must end well, and says false. In the
/// child: true.
fn in_child(test: &str) -> bool {
    if std::env::var_os("TOLLGATE_CHILD").is_some() {
        return true;
    }
    let output = child(test);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

fn child(test: &str) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("TOLLGATE_CHILD", "1");
    command.output().expect("this very program starts")
}

#[test]
fn a_limit_over_the_greatest() {
    with_workers(|pool, _| {
        const OVER: usize = Job::MAX_LIMIT + 1;
        assert!(pool.workers() < Job::MAX_LIMIT);
        let job = pool.job(3);
        for limit in [OVER, usize::MAX - 1] {
            for message in [
                panic_of(|| pool.job(limit)),
                panic_of(|| pool.job_builder().limit(limit).build()),
                panic_of(|| job.set_limit(limit)),
            ] {
                assert!(
                    message.contains("limit") && message.contains(&Job::MAX_LIMIT.to_string()),
                    "'{message}'"
                );
            }
        }
        assert_eq!(job.limit(), 3, "a refused limit changed the limit");
        for limit in [Job::MAX_LIMIT, usize::MAX] {
            job.set_limit(limit);
            assert_eq!((job.limit(), pool.job(limit).limit()), (limit, limit));
            assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
        }
        runs_its_next_task(pool);
    });
}

/// Whoever asks for one handle too many is told so; the pool, which takes handles of its own, is not refused.
#[test]
fn more_handles_than_a_job_counts() {
    within(LONG, || {
        let pool = pool(2);
        let host = pool.job(1);
        let (job, sibling, gauge) = (host.job(2), host.job(2), Gauge::new());
        let message = panic_of(|| {
            loop {
                std::mem::forget(job.clone());
            }
        });
        assert!(message.contains("handles"), "'{message}'");
        for _ in 0..100 {
            job.execute(common::event::pass_through(&gauge));
            sibling.execute(common::event::pass_through(&gauge));
        }
        job.set_limit(0);
        job.set_limit(2);
        host.wait();
        assert_eq!((gauge.started(), gauge.most()), (200, 1));
        let message = job.spawn(|| panic_of(tollgate::current_job)).join().unwrap();
        assert!(message.contains("handles"), "'{message}'");
        assert!(panic_of(|| job.job(1)).contains("handles"));
        runs_its_next_task(&pool);
    });
}

#[test]
fn a_push_into_a_closed_job() {
    with_workers(|pool, _| {
        for end in [Job::close, |job: &Job| _ = job.cancel()] {
            let (job, tokens) = (pool.job(1), Tokens::new());
            end(&job);
            assert!(job.is_closed() && job.clone().is_closed());
            let (one, two, three, four) =
                (tokens.token(), tokens.token(), tokens.token(), tokens.token());
            let handle = job.spawn(move || drop(one));
            assert!(handle.is_finished());
            assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
            job.execute(move || drop(two));
            assert_eq!(job.stats().cancelled, 2);
            assert_eq!(tokens.dropped(), 2);
            let spawned = job.try_spawn(move || drop(three)).unwrap_err();
            let executed = job.try_execute(move || drop(four)).unwrap_err();
            assert!(
                matches!(&spawned, Rejected::Closed(_)) && matches!(&executed, Rejected::Closed(_))
            );
            reads_as(&spawned, "closed");
            reads_as(&executed, "closed");
            assert_eq!(tokens.dropped(), 2, "try_* drops the closure that it should give back");
            (spawned.into_inner())();
            (executed.into_inner())();
            assert_eq!(tokens.dropped(), 4);
            assert_eq!(job.stats().cancelled, 2, "what try_* gave back is not cancelled");
            job.wait();
        }
        runs_its_next_task(pool);
    });
}

#[test]
fn a_join_from_inside_ones_own_task() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let job = pool.job(limit);
            let (gives, takes) = mpsc::channel::<tollgate::TaskHandle<()>>();
            let (says, heard) = mpsc::channel();
            let handle = job.spawn(move || {
                let own = takes.recv().unwrap();
                says.send(panic_of(|| own.join())).unwrap();
            });
            gives.send(handle).unwrap();
            let message = heard.recv().expect("the join hangs or ends without a panic");
            assert!(message.contains("join"), "'{message}'");
            job.wait();
            assert_eq!(job.stats().completed, 1);
        }
        runs_its_next_task(pool);
    });
}

#[test]
fn a_wait_for_ones_own_job() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let job = pool.job(limit);
            for wait in [Job::wait, |job: &Job| _ = job.wait_timeout(LONG)] {
                let own = job.clone();
                let message = job.spawn(move || panic_of(|| wait(&own))).join().unwrap();
                assert!(message.contains("wait") && message.contains("job"), "'{message}'");
                // Not caught, it is the panic of that task.
                let own = job.clone();
                let result = job.spawn(move || wait(&own)).join();
                assert!(matches!(result, Err(JoinError::Panicked(_))));
            }
            job.wait();
            assert_eq!((job.stats().completed, job.stats().panicked), (2, 2));
        }
        runs_its_next_task(pool);
    });
}

#[test]
fn a_shutdown_from_inside_ones_own_pool() {
    for workers in common::WORKERS {
        within(LONG, move || {
            let pool = Arc::new(pool(workers));
            let job = pool.job(1);
            let calls: [fn(&Pool); 3] = [
                Pool::shutdown,
                |pool| _ = pool.shutdown_now(),
                |pool| _ = pool.shutdown_timeout(LONG),
            ];
            for call in calls {
                let inner = Arc::clone(&pool);
                let message = job.spawn(move || panic_of(|| call(&inner))).join().unwrap();
                assert!(message.contains("pool"), "'{message}'");
            }
            runs_its_next_task(&pool);
        });
    }
}

#[test]
fn hooks_that_panic() {
    for workers in common::WORKERS {
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
fn a_thread_name_that_panics() {
    within(LONG, || {
        let tokens = Tokens::new();
        let build = || {
            let hook = tokens.token();
            let builder = Pool::builder().workers(4).on_worker_start(move |_| _ = &hook);
            let builder = builder.thread_name(|index| match index {
                0..2 => "named".to_owned(),
                _ => unwind("no name for that"),
            });
            builder.build()
        };
        assert_eq!(panic_of(build), "no name for that");
        until_nothing_is_left(&tokens);
        a_new_pool_runs_its_next_task();
    });
}

/// A name that no thread can have is refused before there is a thread.
#[test]
#[cfg(target_os = "linux")]
fn a_thread_name_with_a_nul_byte() {
    within(LONG, || {
        let started = Gauge::new();
        let starts = started.clone();
        let builder =
            Pool::builder().workers(3).on_worker_start(move |_| drop(starts.enter())).thread_name(
                |index| if index == 2 { "odd\0name".to_owned() } else { "named".to_owned() },
            );
        let error = builder.build().unwrap_err();
        let BuildError::ThreadName { index: 2, name } = &error else { panic!("{error:?}") };
        assert_eq!(name, "odd\0name");
        reads_as(&error, "worker 2");
        assert_eq!(started.started(), 0);
        a_new_pool_runs_its_next_task();
    });
}

/// A spare's name is asked for while a task waits: whatever comes of that, the task gets what it waits for, and the
/// pool ends.
#[test]
fn a_spare_workers_name_that_panics_or_has_a_nul_byte() {
    let names: [fn(usize) -> String; 2] = [|_| unwind("no name for that"), |_| "\0".to_owned()];
    for name in names {
        within(LONG, move || {
            let builder = Pool::builder().workers(1).thread_name(move |index| match index {
                0 => "the one".to_owned(),
                _ => name(index),
            });
            let pool = builder.build().unwrap();
            let (job, other, calls) = (pool.job(1), pool.job(1), Arc::new(Mutex::new(Vec::new())));
            let says = Arc::clone(&calls);
            let waits = job.spawn(move || {
                let note =
                    move || says.lock().unwrap().push(thread::current().name().map(str::to_owned));
                other.spawn(note).join().unwrap();
                tollgate::blocking(|| 3)
            });
            assert_eq!(waits.join().unwrap(), 3);
            assert_eq!(*calls.lock().unwrap(), [Some("tollgate-1".to_owned())]);
            runs_its_next_task(&pool);
            drop(pool);
        });
    }
}

/// Names are made by the pool's owner, who may ask the pool for its figures meanwhile.
#[test]
fn a_spare_workers_name_may_be_made_of_the_pools_figures() {
    within(LONG, || {
        let slot = Arc::new(std::sync::OnceLock::<Pool>::new());
        let asked = Arc::downgrade(&slot);
        let builder = Pool::builder().workers(1).thread_name(move |index| {
            let slot = asked.upgrade();
            let spares = slot.and_then(|slot| Some(slot.get()?.stats().spare_workers));
            format!("{index}-{spares:?}")
        });
        assert!(slot.set(builder.build().unwrap()).is_ok());
        let pool = slot.get().unwrap();
        let (job, other) = (pool.job(1), pool.job(1));
        let name = || thread::current().name().map(str::to_owned);
        let waits = job.spawn(move || other.spawn(name).join().unwrap());
        assert_eq!(waits.join().unwrap().as_deref(), Some("1-Some(1)"));
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
        quietly(&mut || assert_eq!(held.cancel(), 2));
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

fn with_capture(bomb: Bomb) -> impl FnOnce() + Send + 'static {
    move || drop(bomb)
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
    const NAME: &str = "captures_that_panic_while_their_closure_unwinds_end_the_process";
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
            assert_eq!(message_of(&*payload), if fails { "in the task" } else { "in a drop" });
        }
        runs_its_next_task(pool);
    });
}
