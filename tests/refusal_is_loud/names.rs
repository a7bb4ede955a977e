//! Names of workers that no thread can have, and functions that fail to make one.

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use tollgate::{BuildError, Pool};

use crate::common::event::Gauge;
use crate::common::{LONG, Tokens, panic_of, unwind, within};
use crate::{a_new_pool_runs_its_next_task, reads_as, runs_its_next_task, until_nothing_is_left};

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
                // Not a join, because a joined task may run inline, without a spare worker.
                other.execute(note);
                other.wait();
                tollgate::blocking(|| 3)
            });
            assert_eq!(waits.join().unwrap(), 3);
            assert_eq!(*calls.lock().unwrap(), [Some("tollgate-1".to_owned())]);
            runs_its_next_task(&pool);
            drop(pool);
        });
    }
}

/// The thread whose wait asked for the name is in its task again, and may wait a second time.
#[test]
fn a_task_waits_again_after_a_spare_workers_name_has_panicked() {
    within(LONG, || {
        let builder = Pool::builder().workers(1).thread_name(|index| match index {
            0 => "the one".to_owned(),
            _ => unwind("no name for that"),
        });
        let pool = builder.build().unwrap();
        let (job, other) = (pool.job(1), pool.job(1));
        let waits = job.spawn(move || {
            for _ in 0..2 {
                other.execute(|| ());
                other.wait();
            }
            other.stats().completed
        });
        assert_eq!(waits.join().unwrap(), 2);
        runs_its_next_task(&pool);
    });
}

/// Names are made by the pool's owner, who may ask the pool for its figures meanwhile.
#[test]
fn a_spare_workers_name_may_be_made_of_the_pools_figures() {
    within(LONG, || {
        let slot = Arc::new(OnceLock::<Pool>::new());
        let asked = Arc::downgrade(&slot);
        let builder = Pool::builder().workers(1).thread_name(move |index| {
            let slot = asked.upgrade();
            let spares = slot.and_then(|slot| Some(slot.get()?.stats().spare_workers));
            format!("{index}-{spares:?}")
        });
        assert!(slot.set(builder.build().unwrap()).is_ok());
        let pool = slot.get().unwrap();
        let (job, other) = (pool.job(1), pool.job(1));
        let (tell, told) = mpsc::channel();
        let waits = job.spawn(move || {
            other.execute(move || {
                tell.send(thread::current().name().map(str::to_owned)).unwrap();
            });
            other.wait();
        });
        waits.join().unwrap();
        assert_eq!(told.recv().unwrap().as_deref(), Some("1-Some(1)"));
    });
}
