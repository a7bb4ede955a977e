//! `Job::scope`: tasks that borrow, waited for whatever happens (part of *join_is_safe* and *nothing_lost*).

mod common;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tollgate::{Job, JoinError, Pool, ScopedHandle};

use common::event::{Gauge, Latch};
use common::{LONG, Tokens, panic_of, pool, unwind, with_workers, within};

#[test]
fn tasks_borrow_from_the_stack() {
    with_workers(|pool, _| {
        let words: Vec<String> = (0..100).map(|i| "x".repeat(i)).collect();
        let mut lengths = vec![0; 100];
        pool.job(3).scope(|s| {
            for (word, length) in words.iter().zip(&mut lengths) {
                s.execute(move || *length = word.len());
            }
        });
        assert!(lengths.into_iter().eq(0..100));
    });
}

#[test]
fn returns_what_the_closure_returns() {
    let pool = pool(1);
    assert_eq!(pool.job(1).scope(|_| 5), 5);
}

#[test]
fn never_runs_more_than_the_limit() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let gauge = Gauge::new();
            let job = pool.job(limit);
            job.scope(|s| {
                for _ in 0..200 {
                    s.execute(|| drop(gauge.enter()));
                }
            });
            assert_eq!(gauge.started(), 200);
            assert!(gauge.most() <= limit, "{} at a limit of {limit}", gauge.most());
        }
    });
}

#[test]
fn serial_in_order_from_outside_and_inside() {
    with_workers(|pool, _| {
        let run = |job: &Job| {
            let order = Mutex::new(Vec::new());
            job.scope(|s| {
                for i in 0..100 {
                    let order = &order;
                    s.execute(move || order.lock().unwrap().push(i));
                }
            });
            assert!(order.into_inner().unwrap().into_iter().eq(0..100));
        };
        let job = pool.job(1);
        run(&job);
        let inner = job.clone();
        job.spawn(move || run(&inner)).join().unwrap();
    });
}

#[test]
fn waits_for_tasks_that_tasks_push() {
    with_workers(|pool, _| {
        let count = AtomicUsize::new(0);
        pool.job(2).scope(|s| {
            for _ in 0..10 {
                s.execute(|| {
                    for _ in 0..10 {
                        s.execute(|| {
                            count.fetch_add(1, SeqCst);
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 100);
    });
}

#[test]
fn a_handle_gives_the_result() {
    with_workers(|pool, _| {
        let text = String::from("abc");
        let doubled = pool.job(2).scope(|s| {
            let handles: Vec<_> =
                text.chars().map(|letter| s.spawn(move || format!("{letter}{letter}"))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect::<String>()
        });
        assert_eq!(doubled, "aabbcc");
    });
}

#[test]
fn a_result_may_borrow() {
    let pool = pool(2);
    let text = String::from("toll gate");
    let job = pool.job(1);
    let first = job.scope(|s| s.spawn(|| text.split(' ').next().unwrap()).join().unwrap());
    assert_eq!(first, "toll");
}

#[test]
fn results_that_nobody_takes_are_dropped_before_it_returns() {
    with_workers(|pool, _| {
        struct Tells<'a>(&'a AtomicUsize);
        impl Drop for Tells<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        for _ in 0..100 {
            let dropped = AtomicUsize::new(0);
            pool.job(4).scope(|s| {
                for _ in 0..4 {
                    drop(s.spawn(|| Tells(&dropped)));
                }
            });
            assert_eq!(dropped.into_inner(), 4);
        }
    });
}

#[test]
fn passes_on_the_first_panic_after_all_have_ended() {
    with_workers(|pool, _| {
        let ran = AtomicUsize::new(0);
        let said = panic_of(|| {
            pool.job(1).scope(|s| {
                s.execute(|| unwind("first"));
                for _ in 0..10 {
                    s.execute(|| {
                        ran.fetch_add(1, SeqCst);
                    });
                }
                s.execute(|| unwind("second"));
            });
        });
        assert_eq!(said, "first");
        assert_eq!(ran.into_inner(), 10);
    });
}

#[test]
fn a_panic_of_the_closure_waits_for_the_tasks() {
    with_workers(|pool, _| {
        let latch = Latch::new();
        let ended = AtomicBool::new(false);
        let opening = latch.opening();
        let said = panic_of(|| {
            pool.job(1).scope(|s| {
                s.execute(|| {
                    opening.wait();
                    ended.store(true, SeqCst);
                });
                latch.open();
                unwind("the closure's")
            });
        });
        assert_eq!(said, "the closure's");
        assert!(ended.into_inner());
    });
}

#[test]
fn a_panic_that_was_joined_is_not_passed_on() {
    with_workers(|pool, _| {
        let outcome = pool.job(1).scope(|s| s.spawn(|| unwind("joined")).join());
        match outcome {
            Err(JoinError::Panicked(payload)) => assert_eq!(payload.message().unwrap(), "joined"),
            _ => panic!("it panicked"),
        }
        let said = panic_of(|| pool.job(1).scope(|s| drop(s.spawn(|| unwind("dropped")))));
        assert_eq!(said, "dropped");
    });
}

#[test]
fn inside_a_task_of_the_same_job() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            let inner = job.clone();
            let sum = job.spawn(move || {
                let sum = AtomicUsize::new(0);
                inner.scope(|s| {
                    for i in 0..10 {
                        let sum = &sum;
                        s.execute(move || {
                            sum.fetch_add(i, SeqCst);
                        });
                    }
                });
                sum.into_inner()
            });
            assert_eq!(sum.join().unwrap(), 45);
            job.wait();
            assert_eq!(job.stats().completed, 11, "with a limit of {limit}");
        }
    });
}

#[test]
fn inside_a_task_of_another_job() {
    with_workers(|pool, _| {
        let (outer, inner) = (pool.job(1), pool.job(1));
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let inner = inner.clone();
                outer.spawn(move || inner.scope(|s| s.spawn(|| i * 2).join().unwrap()))
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), i * 2);
        }
    });
}

fn chain(job: &Job, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let mut below = 0;
    job.scope(|s| s.execute(|| below = chain(job, depth - 1)));
    below + 1
}

#[test]
fn a_chain_a_thousand_deep() {
    for workers in [1, 2] {
        for limit in [1, usize::MAX] {
            within(LONG, move || {
                let pool = pool(workers);
                let job = pool.job(limit);
                let inner = job.clone();
                assert_eq!(job.spawn(move || chain(&inner, 1_000)).join().unwrap(), 1_000);
            });
        }
    }
}

fn chain_of_joins(job: &Job, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    job.scope(|s| s.spawn(|| chain_of_joins(job, depth - 1)).join().unwrap()) + 1
}

#[test]
fn a_chain_of_joined_handles_a_thousand_deep() {
    for workers in [1, 2] {
        within(LONG, move || {
            let pool = pool(workers);
            let job = pool.job(1);
            let inner = job.clone();
            assert_eq!(job.spawn(move || chain_of_joins(&inner, 1_000)).join().unwrap(), 1_000);
        });
    }
}

#[test]
fn a_fan_of_ten_thousand_under_limit_one() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let count = job.spawn(move || {
            let count = AtomicUsize::new(0);
            inner.scope(|s| {
                for _ in 0..10_000 {
                    s.execute(|| {
                        count.fetch_add(1, SeqCst);
                    });
                }
            });
            count.into_inner()
        });
        assert_eq!(count.join().unwrap(), 10_000);
        job.wait();
        assert_eq!(job.stats().most_running, 1);
    });
}

#[test]
fn a_closed_job_cancels_at_once() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(1);
        job.close();
        job.scope(|s| {
            let token = tokens.token();
            assert!(matches!(s.spawn(move || drop(token)).join(), Err(JoinError::Cancelled)));
            let token = tokens.token();
            s.execute(move || drop(token));
        });
        assert_eq!(tokens.dropped(), 2);
        assert_eq!(job.stats().cancelled, 2);
    });
}

#[test]
fn cancelling_the_job_ends_the_wait() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(0); // held
        let refused = job.scope(|s| {
            let handles: Vec<_> = (0..20)
                .map(|_| {
                    let token = tokens.token();
                    s.spawn(move || drop(token))
                })
                .collect();
            job.cancel();
            handles
                .into_iter()
                .map(ScopedHandle::join)
                .filter(|outcome| matches!(outcome, Err(JoinError::Cancelled)))
                .count()
        });
        assert_eq!((refused, tokens.dropped()), (20, 20));
        assert_eq!(job.stats().cancelled, 20);
    });
}

#[test]
fn says_so_when_there_is_no_spare_worker() {
    within(LONG, || {
        let pool = Pool::builder().workers(1).max_spare_workers(0).build().unwrap();
        let (outer, inner) = (pool.job(1), pool.job(0));
        let tokens = Tokens::new();
        let token = tokens.token();
        let inside = inner.clone();
        let outcome = outer.spawn(move || inside.scope(|s| s.execute(move || drop(token)))).join();
        match outcome {
            Err(JoinError::Panicked(payload)) => {
                assert!(payload.message().unwrap().contains("max_spare_workers"));
            }
            _ => panic!("it could not wait"),
        }
        assert_eq!(tokens.dropped(), 1);
    });
}

#[test]
fn a_task_that_joins_itself_is_told() {
    with_workers(|pool, _| {
        let latch = Latch::new();
        let opening = latch.opening();
        let told = AtomicBool::new(false);
        pool.job(2).scope(|s| {
            let slot = Arc::new(Mutex::new(None::<ScopedHandle<'_, ()>>));
            let (own, told, opening) = (slot.clone(), &told, &opening);
            let task = s.spawn(move || {
                opening.wait();
                let own = own.lock().unwrap().take().unwrap();
                let said = panic_of(|| own.join());
                told.store(said.contains("joins itself"), SeqCst);
            });
            *slot.lock().unwrap() = Some(task);
            latch.open();
        });
        assert!(told.into_inner());
    });
}

#[test]
fn captures_are_dropped_once() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let job = pool.job(3);
        let inner = job.clone();
        let owner = tokens.clone();
        job.spawn(move || {
            inner.scope(|s| {
                for i in 0..1_000 {
                    let token = owner.token();
                    if i % 2 == 0 {
                        s.execute(move || drop(token));
                    } else {
                        drop(s.spawn(move || token));
                    }
                }
            });
        })
        .join()
        .unwrap();
        assert_eq!((tokens.made(), tokens.dropped()), (1_000, 1_000));
    });
}

#[test]
fn handles_say_what_they_are() {
    let pool = pool(1);
    pool.job(1).scope(|s| {
        let task = s.spawn(|| ());
        assert!(format!("{s:?}").starts_with("Scope"), "{s:?}");
        assert!(format!("{task:?}").starts_with("ScopedHandle"), "{task:?}");
        task.join().unwrap();
    });
}

#[test]
fn shares_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<tollgate::Scope<'static, 'static>>();
    shared::<ScopedHandle<'static, Arc<u8>>>();
}

#[test]
fn leaves_no_turns_behind_in_a_job_that_is_paused() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        for job in [pool.job(1), parent.job(1)] {
            let own = job.clone();
            let scope = job.spawn(move || {
                // The task that waits runs them itself, and their turns stay in line.
                own.scope(|s| (0..5).for_each(|_| s.execute(|| ())));
                own.pause();
            });
            scope.join().unwrap();
            job.wait();
            assert_eq!((job.stats().completed, job.stats().cancelled), (6, 0));
        }
    });
}

/// A task has panicked before the scope's closure does. The panic of the task is the first one.
#[test]
fn a_panic_of_a_task_is_passed_on_before_a_later_one_of_the_closure() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let said = panic_of(|| {
            job.scope(|s| {
                s.execute(|| unwind("the task's"));
                job.wait();
                unwind("the closure's")
            });
        });
        assert_eq!(said, "the task's");
    });
}

/// The outcome of the task is in the handle that is dropped.
#[test]
fn a_handle_that_goes_after_its_task_passes_on_the_panic() {
    with_workers(|pool, _| {
        let said = panic_of(|| {
            pool.job(1).scope(|s| {
                let task = s.spawn(|| unwind("kept"));
                while !task.is_finished() {
                    std::thread::yield_now();
                }
                drop(task);
            });
        });
        assert_eq!(said, "kept");
    });
}

/// Runs a scope of 1,000 tasks in a task of their job, beside a task of another job that waits for the only worker. Returns how
/// many tasks of the scope had run when that task started.
fn ran_before_another_job(pool: &Pool, job: &Job) -> usize {
    let (other, own) = (pool.job(1), job.clone());
    let [ran, before] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let (counts, seen) = (ran.clone(), before.clone());
    let scope = job.spawn(move || {
        let count = counts.clone();
        other.execute(move || seen.store(count.load(SeqCst), SeqCst));
        own.scope(|s| (0..1_000).for_each(|_| s.execute(|| _ = counts.fetch_add(1, SeqCst))));
        other.wait();
    });
    scope.join().unwrap();
    assert_eq!(ran.load(SeqCst), 1_000);
    before.load(SeqCst)
}

/// After 16 tasks inline, and a turn of 16 tasks at most, the worker is the other job's.
#[test]
fn a_scope_lets_the_worker_go_if_another_job_waits() {
    within(LONG, || {
        let pool = pool(1);
        let before = ran_before_another_job(&pool, &pool.job(1));
        assert!(before <= 32, "{before}");
    });
}

/// A task that keeps the only permit must run all tasks of its scope inline, because no other thread can.
#[test]
fn a_scope_of_a_task_that_keeps_its_permit_runs_all_tasks_inline() {
    within(LONG, || {
        let pool = pool(1);
        let keeping = pool.job_builder().limit(1).keep_permits(true).build();
        assert_eq!(ran_before_another_job(&pool, &keeping), 1_000);
    });
}
