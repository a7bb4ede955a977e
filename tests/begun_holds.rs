//! begun_holds: a job that keeps its permits never has more tasks begun than its limit, whatever its tasks wait for.

mod common;

use common::event::{Gauge, Latch, stay};
use common::{
    LONG, SECOND, backlog_of_three_pushed_inside, message_of, panic_of, pool, pool_with_clock,
    within, workers_pass,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tollgate::{Job, JoinError, Pool, Reason};

fn keeping(pool: &Pool, limit: usize) -> Job {
    pool.job_builder().name("keeping").limit(limit).keep_permits(true).build()
}

/// Pushes 200 tasks, each of which joins one of another job. Returns how many had begun at once.
fn most_begun(outer: &Job, inner: &Job) -> usize {
    let gauge = Gauge::new();
    let tasks: Vec<_> = (0..200)
        .map(|i| {
            let (inner, gauge) = (inner.clone(), gauge.clone());
            outer.spawn(move || {
                let _begun = gauge.enter();
                inner.spawn(move || i).join().unwrap()
            })
        })
        .collect();
    let sum: usize = tasks.into_iter().map(|task| task.join().unwrap()).sum();
    assert_eq!(sum, 19_900);
    gauge.most()
}

#[test]
fn never_more_tasks_begin_than_the_limit() {
    within(LONG, || {
        for (workers, limit) in [(1, 1), (1, 3), (2, 1), (2, 3), (4, 2), (2, 5)] {
            let pool = pool(workers);
            let (outer, inner) = (keeping(&pool, limit), pool.job(1));
            assert!(most_begun(&outer, &inner) <= limit);
            outer.wait();
            assert!(outer.stats().most_running <= limit);
        }
    });
}

/// The limit is above the number of workers, and still binds, because a task that waits needs no worker. So what the running task
/// pushes waits in the queue.
#[test]
fn a_limit_above_the_workers_binds_beside_a_task_that_waits() {
    within(LONG, || {
        let pool = pool(1);
        let (job, held) = (keeping(&pool, 2), pool.job(0));
        let awaited = held.spawn(|| ());
        let waits = job.spawn(move || awaited.join().unwrap());
        while !matches!(job.explain().first(), Reason::Waiting { .. }) {
            std::thread::yield_now();
        }
        assert_eq!(backlog_of_three_pushed_inside(&job), 3);
        held.set_limit(1);
        waits.join().unwrap();
        job.wait();
    });
}

/// The limit is reached: a task that waits counts, and no other one begins in its stead.
#[test]
fn a_task_that_waits_is_running() {
    within(LONG, || {
        for keeps in [false, true] {
            let pool = pool(2);
            let (job, held) =
                (pool.job_builder().limit(2).keep_permits(keeps).build(), pool.job(0));
            let begun = Arc::new(AtomicUsize::new(0));
            let tasks = [(); 4].map(|()| {
                let (awaited, begun) = (held.spawn(|| ()), begun.clone());
                job.spawn(move || {
                    begun.fetch_add(1, SeqCst);
                    awaited.join().unwrap();
                })
            });
            // Without the flag all four begin: the test below would see it.
            let most = if keeps { 2 } else { 4 };
            while begun.load(SeqCst) < most {
                std::thread::yield_now();
            }
            // Each task that waits has lent its seat: both workers find what there is to run.
            workers_pass(&pool, 2);
            assert_eq!(begun.load(SeqCst), most);
            let stats = job.stats();
            if keeps {
                assert_eq!((stats.running, stats.ready, stats.backlog), (2, 0, 2));
            }
            held.set_limit(4);
            tasks.into_iter().for_each(|task| task.join().unwrap());
            assert_eq!(begun.load(SeqCst), 4);
        }
    });
}

/// All workers are inside tasks of another job, so the third task stays in the injector.
#[test]
fn a_ready_task_is_counted_beside_one_that_waits() {
    within(LONG, || {
        let pool = pool(3);
        let (job, held, other) = (keeping(&pool, 2), pool.job(0), pool.job(3));
        let awaited = held.spawn(|| ());
        let task = job.spawn(move || awaited.join().unwrap());
        let waiting = Reason::Waiting { tasks: 1, awaited: None };
        while job.explain_task(&task).first() != &waiting {
            std::thread::yield_now();
        }
        let (gauge, latch) = (Gauge::new(), Latch::new());
        (0..3).for_each(|_| other.execute(stay(&gauge, &latch)));
        gauge.until_running(3);
        job.execute(|| ());
        let stats = job.stats();
        assert_eq!((stats.running, stats.ready, stats.backlog), (1, 1, 0));
        latch.open();
        held.set_limit(1);
        task.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 2);
    });
}

#[test]
fn the_limit_changes_while_tasks_wait() {
    within(LONG, || {
        let pool = pool(2);
        let (outer, inner) = (keeping(&pool, 1), pool.job(1));
        for limit in [4, 2, 3, 1] {
            outer.set_limit(limit);
            assert!(most_begun(&outer, &inner) <= limit);
        }
    });
}

/// A lower limit counts the tasks that wait, too: none begins before enough of them have ended. A higher one lets tasks begin.
#[test]
fn a_limit_that_is_lowered_counts_the_tasks_that_wait() {
    within(LONG, || {
        for workers in [1, 2] {
            let pool = pool(workers);
            let (job, begun) = (keeping(&pool, 3), Gauge::new());
            let held = [(); 8].map(|()| pool.job(0));
            let tasks: Vec<_> = held
                .iter()
                .map(|held| {
                    let (awaited, begun) = (held.spawn(|| ()), begun.clone());
                    job.spawn(move || {
                        let _begun = begun.enter();
                        awaited.join().unwrap();
                    })
                })
                .collect();
            let mut tasks = tasks.into_iter().zip(&held);
            let mut end_next = || {
                let (task, held) = tasks.next().expect("a task is left");
                held.set_limit(1);
                task.join().unwrap();
            };
            begun.until_started(3);
            job.set_limit(1);
            // At three, at two, and at one the job has no permit for a further task.
            for ended in 1..3 {
                workers_pass(&pool, workers);
                end_next();
                begun.until_ended(ended);
                workers_pass(&pool, workers);
                assert_eq!((begun.started(), begun.running()), (3, 3 - ended));
            }
            end_next();
            begun.until_started(4);
            workers_pass(&pool, workers);
            assert_eq!((begun.started(), begun.running()), (4, 1));
            job.set_limit(2);
            begun.until_started(5);
            workers_pass(&pool, workers);
            assert_eq!((begun.started(), begun.running()), (5, 2));
            job.set_limit(8);
            begun.until_running(5);
            (0..5).for_each(|_| end_next());
            assert_eq!(begun.started(), 8);
        }
    });
}

fn chain(job: Job, depth: usize) -> usize {
    let next = job.clone();
    if depth == 0 { 0 } else { job.spawn(move || chain(next, depth - 1)).join().unwrap() + 1 }
}

#[test]
fn a_joined_task_of_the_same_job_runs_inline() {
    within(LONG, || {
        for workers in [1, 2] {
            let (pool, clock) = pool_with_clock(workers);
            let job = keeping(&pool, 1);
            assert_eq!(chain(job.clone(), 32), 32);
            // It is a part of the task that joins it: a pause, a lower limit or a hold-off does not hold it back.
            let holds: [fn(&Job); 3] =
                [Job::pause, |job| job.set_limit(0), |job| job.hold_off(SECOND)];
            for hold in holds {
                let own = job.clone();
                let task = job.spawn(move || {
                    let inner = own.spawn(|| 7);
                    hold(&own);
                    inner.join().unwrap()
                });
                assert_eq!(task.join().unwrap(), 7);
                job.resume();
                job.set_limit(1);
                clock.advance(SECOND);
            }
        }
    });
}

#[test]
fn scopes_and_lazy_input_run_inline_at_a_limit_of_1() {
    within(LONG, || {
        let pool = pool(2);
        let job = keeping(&pool, 1);
        let own = job.clone();
        let sum = job.spawn(move || {
            let sum = AtomicUsize::new(0);
            own.scope(|s| {
                for i in 0..100 {
                    let sum = &sum;
                    s.execute(move || _ = sum.fetch_add(i, SeqCst));
                }
            });
            own.for_each(0..100, |i| _ = sum.fetch_add(i, SeqCst)).unwrap();
            sum.into_inner() + own.map(0..100, |i| i).map(Result::unwrap).sum::<usize>()
        });
        // Other tasks wait for the worker.
        (0..100).for_each(|_| job.execute(|| ()));
        assert_eq!(sum.join().unwrap(), 3 * 4_950);
        assert_eq!(job.stats().most_running, 1);
    });
}

/// The default pool, and a limit of 4: all 1,000 end, although the limit bounds the tasks that have begun.
#[test]
fn a_thousand_closures_each_join_one_of_a_serial_job() {
    within(LONG, || {
        let pool = Pool::new().unwrap();
        let (outer, inner, gauge) = (keeping(&pool, 4), pool.job(1), Gauge::new());
        let tasks: Vec<_> = (0..1_000)
            .map(|i| {
                let (inner, gauge) = (inner.clone(), gauge.clone());
                outer.spawn(move || {
                    let _begun = gauge.enter();
                    inner.spawn(move || i).join().unwrap()
                })
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), i);
        }
        assert!(gauge.most() <= 4);
    });
}

#[test]
fn three_hundred_tasks_each_join_the_one_before() {
    within(LONG, || {
        for limit in [4, 1] {
            let pool = Pool::new().unwrap();
            let job = keeping(&pool, limit);
            let mut last = job.spawn(|| 0);
            for _ in 0..300 {
                let before = last;
                last = job.spawn(move || before.join().unwrap() + 1);
            }
            assert_eq!(last.join().unwrap(), 300);
            assert!(job.stats().most_running <= limit);
        }
    });
}

/// Each level joins the next one, which is of the next job.
fn deep(jobs: [Job; 3], depth: usize) -> usize {
    let next = [1, 2, 0].map(|i: usize| jobs[i].clone());
    if depth == 0 { 0 } else { jobs[0].spawn(move || deep(next, depth - 1)).join().unwrap() + 1 }
}

#[test]
fn a_chain_is_a_thousand_levels_deep_over_three_jobs() {
    within(LONG, || {
        let pool = Pool::new().unwrap();
        // Each level keeps its permit.
        assert_eq!(deep([(); 3].map(|()| keeping(&pool, 400)), 1_000), 1_000);
    });
}

/// Only the gate that says so keeps its permit.
#[test]
fn a_waiting_task_of_a_keeping_child_gives_back_the_parents_permit() {
    within(LONG, || {
        let pool = pool(1);
        let (parent, held) = (pool.job(1), pool.job(0));
        let child = parent.job_builder().limit(1).keep_permits(true).build();
        let awaited = held.spawn(|| ());
        let waits = child.spawn(move || awaited.join().unwrap());
        // Runs under the parent's permit; so the task above has begun, because the two start in order.
        let sibling = parent.job(1);
        while child.stats().running == 0 || parent.stats().running > 0 {
            std::thread::yield_now();
        }
        sibling.spawn(|| ()).join().unwrap();
        assert_eq!(child.stats().running, 1);
        let next = child.spawn(|| ());
        assert!(!next.is_finished());
        held.set_limit(1);
        waits.join().unwrap();
        next.join().unwrap();
    });
}

#[test]
fn a_keeping_parent_bounds_what_its_children_begin() {
    within(LONG, || {
        for workers in [1, 2] {
            let pool = pool(workers);
            let (parent, inner) = (keeping(&pool, 2), pool.job(1));
            let child = parent.job(usize::MAX);
            assert!(most_begun(&child, &inner) <= 2);
        }
    });
}

/// Joins so deep, and returns what the first join said that was refused.
fn refused(job: Job, depth: usize) -> Option<String> {
    let next = job.clone();
    let task = job.spawn(move || if depth == 0 { None } else { refused(next, depth - 1) });
    match catch_unwind(AssertUnwindSafe(|| task.join())) {
        Ok(joined) => joined.unwrap(),
        Err(payload) => Some(message_of(&*payload).to_owned()),
    }
}

#[test]
fn a_join_too_deep_to_run_inline_names_the_job() {
    within(LONG, || {
        let pool = pool(2);
        let job = keeping(&pool, 1);
        for (depth, is_refused) in [(31, false), (32, true), (100, true)] {
            let own = job.clone();
            let said = job.spawn(move || refused(own, depth)).join().unwrap();
            assert_eq!(said.is_some(), is_refused, "{said:?}");
            assert!(said.is_none_or(|said| said.contains("`keeping`")));
        }
        job.wait();
        assert_eq!(job.stats().running, 0);
    });
}

#[test]
fn a_wait_for_the_only_permit_names_the_job() {
    within(LONG, || {
        let pool = pool(2);
        let job = keeping(&pool, 1);
        let said = |call: fn(&Job)| {
            let own = job.clone();
            job.spawn(move || panic_of(|| call(&own))).join().unwrap()
        };
        let calls: [fn(&Job); 8] = [
            |job| job.wait(),
            |job| {
                let child = job.job(1);
                child.execute(|| ());
                child.wait();
            },
            |job| drop(job.job(1).spawn(|| ()).join()),
            |job| {
                let mut set = job.set();
                set.spawn(|| ());
                set.join_next();
            },
            |job| drop(job.acquire_blocking()),
            |job| {
                let child = job.job(1);
                child.scope(|s| s.execute(|| ()));
            },
            |job| _ = job.job(1).map(0..3, |i| i).next(),
            |job| job.job(1).for_each(0..3, |_| ()).unwrap(),
        ];
        for (index, call) in calls.into_iter().enumerate() {
            let said = said(call);
            assert!(said.contains("`keeping`"), "{index}: {said}");
            // A task that waits for its own job, or acquires a further permit of it, is refused in any job.
            assert_eq!(said.contains("keeps the only one"), ![0, 4].contains(&index), "{said}");
        }
        // Nothing is left behind.
        job.spawn(|| ()).join().unwrap();
        job.wait();
        assert_eq!(job.stats().running, 0);
    });
}

/// A set may have tasks of other jobs, which need other permits.
#[test]
fn a_wait_for_a_set_with_a_task_of_another_job_is_allowed() {
    within(LONG, || {
        let pool = pool(2);
        let (job, other) = (keeping(&pool, 1), pool.job(1));
        let own = job.clone();
        let ends = move || {
            let mut set = own.set();
            set.spawn(|| 1);
            set.spawn_in(&other, || 2);
            let first = set.join_next().unwrap().unwrap();
            let only_own = panic_of(|| set.join_next());
            (first, only_own)
        };
        let (first, said) = job.spawn(ends).join().unwrap();
        assert_eq!(first, 2);
        assert!(said.contains("keeps the only one"), "{said}");
        job.wait();
    });
}

/// A task that weighs as much as the limit has all the permits that there are.
#[test]
fn a_wait_of_the_heaviest_task_for_another_names_the_job() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job_builder().name("keeping").limit(2).weighted().keep_permits(true).build();
        let heavy = job.weigh(2);
        let own = job.clone();
        let said = heavy.spawn(move || panic_of(|| own.spawn(|| ()).join())).join().unwrap();
        assert!(said.contains("keeps the only one"), "{said}");
        job.wait();
    });
}

/// A cancelled task never begins, so a wait for it ends.
#[test]
fn a_wait_for_what_is_cancelled_is_allowed() {
    within(LONG, || {
        let pool = pool(2);
        let job = keeping(&pool, 1);
        let own = job.clone();
        let cancelled = job.spawn(move || {
            let task = own.spawn(|| ());
            own.cancel();
            matches!(task.join(), Err(JoinError::Cancelled))
        });
        assert!(cancelled.join().unwrap());
    });
}

/// A wait with a timeout ends in any case, so it is no error.
#[test]
fn a_wait_for_a_time_is_allowed() {
    within(LONG, || {
        let pool = pool(2);
        let job = keeping(&pool, 1);
        let own = job.clone();
        let idle = job.spawn(move || {
            let child = own.job(1);
            child.execute(|| ());
            child.wait_timeout(Duration::from_millis(1))
        });
        assert!(!idle.join().unwrap());
        job.wait();
    });
}

/// At a higher limit another task may give its permit back.
#[test]
fn a_wait_beside_another_permit_is_allowed() {
    within(LONG, || {
        let pool = pool(2);
        let job = keeping(&pool, 2);
        let child = job.job(1);
        let waits = job.spawn(move || child.spawn(|| 7).join().unwrap());
        assert_eq!(waits.join().unwrap(), 7);
        // Another worker may begin a task of the chain before the join.
        assert_eq!(chain(job, 32), 32);
    });
}

/// All begun tasks wait for permits that they keep themselves. The pool does not report that they wait for ever. A higher limit ends
/// their wait.
#[test]
fn tasks_that_wait_for_their_own_permits_go_on_when_the_limit_is_raised() {
    within(LONG, || {
        let pool = pool(2);
        let (job, gauge, latch) = (keeping(&pool, 2), Gauge::new(), Latch::new());
        let child = job.job(2);
        let waits = [(); 2].map(|()| {
            let (child, gauge, opening) = (child.clone(), gauge.clone(), latch.opening());
            job.spawn(move || {
                let _begun = gauge.enter();
                opening.wait();
                child.spawn(|| 7).join().unwrap()
            })
        });
        gauge.until_running(2);
        latch.open();
        while child.stats().backlog < 2 {
            std::thread::yield_now();
        }
        workers_pass(&pool, 2);
        assert_eq!((child.stats().completed, job.stats().running), (0, 2));
        job.set_limit(3);
        assert_eq!(waits.map(|task| task.join().unwrap()), [7, 7]);
    });
}

#[test]
fn a_job_that_does_not_keep_its_permits_is_as_before() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job_builder().limit(1).keep_permits(true).keep_permits(false).build();
        let other = pool.job(1);
        assert_eq!(chain(job.clone(), 100), 100);
        let (latch, own) = (Latch::new(), job.clone());
        let opening = latch.opening();
        let waits = job.spawn(move || {
            // Another task of the job runs meanwhile.
            other.spawn(move || opening.wait()).join().unwrap();
        });
        own.spawn(move || latch.open()).join().unwrap();
        waits.join().unwrap();
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_that_awaits_keeps_its_permits() {
    within(LONG, || {
        let pool = pool(2);
        let (outer, held) = (keeping(&pool, 2), pool.job(0));
        // The futures of jobs below keep their permits as well.
        let jobs = [outer.clone(), outer.job(6), outer.job(6).job(6)];
        let begun = Arc::new(AtomicUsize::new(0));
        let futures: Vec<_> = (0..12)
            .map(|number| {
                let (awaited, begun) = (held.spawn(|| ()), begun.clone());
                jobs[number % 3].spawn_future(async move {
                    let most = begun.fetch_add(1, SeqCst) + 1;
                    awaited.await.unwrap();
                    begun.fetch_sub(1, SeqCst);
                    most
                })
            })
            .collect();
        while begun.load(SeqCst) < 2 {
            std::thread::yield_now();
        }
        held.set_limit(1);
        let most = futures.into_iter().map(|future| future.join().unwrap()).max();
        assert_eq!(most, Some(2));
        assert_eq!(outer.stats().most_running, 2);
    });
}
