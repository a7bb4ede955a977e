//! join_is_safe when all spare workers are in use: a wait leaves its worker's seat, and only the last thread may not wait.

mod common;

use common::event::Latch;
use common::{LONG, message_of, within};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tollgate::{JoinError, Pool};

fn pool(workers: usize, spares: usize) -> Pool {
    Pool::builder().workers(workers).max_spare_workers(spares).build().unwrap()
}

#[test]
fn a_task_waits_without_a_spare_beside_another_worker() {
    within(LONG, || {
        let pool = pool(2, 0);
        let (outer, inner) = (pool.job(1), pool.job(1));
        for i in 0..100 {
            let inner = inner.clone();
            let waits = outer.spawn(move || inner.spawn(move || i).join().unwrap());
            assert_eq!(waits.join().unwrap(), i);
        }
        assert_eq!(pool.stats().spare_workers, 0);
    });
}

/// Four threads: three of them wait, whichever, and the fourth may not.
#[test]
fn only_the_last_thread_may_not_wait() {
    within(LONG, || {
        let pool = pool(2, 2);
        let (held, job) = (pool.job(0), pool.job(usize::MAX));
        let waits = || {
            let awaited = held.spawn(|| ());
            job.spawn(move || catch_unwind(AssertUnwindSafe(|| awaited.join())))
        };
        let waits: Vec<_> = (0..4).map(|_| waits()).collect();
        let refused = loop {
            if let Some(refused) = waits.iter().position(tollgate::TaskHandle::is_finished) {
                break refused;
            }
            std::thread::yield_now();
        };
        held.set_limit(1);
        for (index, task) in waits.into_iter().enumerate() {
            match task.join().unwrap() {
                Ok(outcome) => outcome.unwrap(),
                Err(payload) => {
                    assert_eq!(index, refused);
                    let said = message_of(&*payload);
                    assert!(said.contains("all 2 spare workers"), "{said}");
                }
            }
        }
        // Each seat has a thread again.
        job.spawn(|| ()).join().unwrap();
    });
}

/// Inside `blocking` the one spare worker has the task's place already, so a wait there needs no further one.
#[test]
fn a_task_waits_inside_blocking_with_one_spare() {
    within(LONG, || {
        let pool = pool(1, 1);
        let (outer, inner) = (pool.job(1), common::job_without_inline_tasks(&pool));
        for _ in 0..3 {
            let inner = inner.clone();
            let waits = move || tollgate::blocking(|| inner.spawn(|| 7).join().unwrap());
            assert_eq!(outer.spawn(|| tollgate::blocking(waits)).join().unwrap(), 7);
        }
    });
}

/// The end of a scope may not wait, for its thread is the last one. Then there is one spare more, which runs what the scope's task
/// waits for.
#[test]
fn a_scope_that_may_not_wait_lets_its_tasks_end() {
    within(LONG, || {
        let pool = pool(2, 0);
        let (outer, inner, last) = (pool.job(1), pool.job(1), pool.job(1));
        let begun = Latch::new();
        let (waits, told) = (begun.opening(), last.clone());
        let scope = outer.spawn(move || {
            let scope = || {
                inner.scope(|s| {
                    s.execute(|| {
                        begun.open();
                        last.spawn(|| ()).join().unwrap();
                    });
                    waits.wait();
                });
            };
            catch_unwind(AssertUnwindSafe(scope))
                .map_err(|payload| message_of(&*payload).to_owned())
        });
        if let Err(said) = scope.join().unwrap() {
            assert!(said.contains("spare workers"), "{said}");
        }
        // Each seat has a thread again.
        told.spawn(|| ()).join().unwrap();
    });
}

/// The seats that were left are taken again, and the pool is as wide as before.
#[test]
fn seats_that_were_left_are_taken_again() {
    within(LONG, || {
        let pool = pool(3, 1);
        let (held, job) = (pool.job(0), pool.job(usize::MAX));
        for _ in 0..20 {
            let waits = [(); 3].map(|()| {
                let awaited = held.spawn(|| ());
                job.spawn(move || awaited.join().unwrap())
            });
            let is_left = || {
                let stats = job.stats();
                stats.running + stats.ready + stats.backlog > 0
            };
            while is_left() {
                std::thread::yield_now();
            }
            held.set_limit(1);
            waits.into_iter().for_each(|task| task.join().unwrap());
            held.set_limit(0);
            // Three tasks run at once.
            let latch = Latch::new();
            let together: Vec<_> = (0..3)
                .map(|_| {
                    let opening = latch.opening();
                    job.spawn(move || opening.wait())
                })
                .collect();
            while job.stats().running < 3 {
                std::thread::yield_now();
            }
            latch.open();
            together.into_iter().for_each(|task| task.join().unwrap());
        }
    });
}

#[test]
fn a_drain_ends_when_seats_were_left() {
    within(LONG, || {
        for workers in [2, 3] {
            let pool = pool(workers, 0);
            let (outer, inner) = (pool.job(usize::MAX), pool.job(1));
            let tasks: Vec<_> = (0..workers - 1)
                .map(|_| {
                    let inner = inner.clone();
                    outer.spawn(move || inner.spawn(|| ()).join())
                })
                .collect();
            pool.shutdown();
            for task in tasks {
                // The drain lets running tasks push on, and their joins end.
                let joined = task.join().unwrap();
                assert!(matches!(joined, Ok(()) | Err(JoinError::Cancelled)));
            }
        }
    });
}
