//! Which tasks run inline: tasks of each kind, and of jobs of each kind.

use crate::common::{LONG, SECOND, capture, pool, pool_with_clock, within};
use crate::{here, inside, join_inside, runs_inline, two_jobs, with_two_jobs};
use std::time::Duration;
use tollgate::{Adaptive, Priority, Rate};

/// At each start of a task, such a job checks more than its limit. Only a worker makes that check.
#[test]
fn no_task_of_a_job_with_a_rate_a_weight_an_adaptive_limit_or_another_class_runs_inline() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        let outer = pool.job(1);
        let adaptive = Adaptive::new(1..=4);
        for inner in [
            pool.job_builder().limit(4).rate(Rate::per_second(100)).build(),
            pool.job_builder().limit(4).weighted().build(),
            pool.job_builder().adaptive(adaptive).build(),
            pool.job_builder().priority(Priority::High).build(),
            pool.job_builder().limit(4).rate(Rate::per_second(100)).build().job(1),
        ] {
            assert!(!runs_inline(&outer, &inner), "{inner:?}");
        }
    });
}

/// Between the end of the delay and the timer's push the task has no place in the queue. So a join does not know which tasks go first.
#[test]
fn a_delayed_task_of_another_job_does_not_run_inline() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (outer, inner) = two_jobs(&pool);
        let there = inside(&outer, move || {
            let task = inner.spawn_after(SECOND, here);
            clock.advance(SECOND);
            assert_eq!(inner.stats().delayed, 0);
            task.join().unwrap() == here()
        });
        assert!(!there);
    });
}

#[test]
fn a_retried_task_is_joined_by_a_task_of_another_job() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        let (outer, inner) = two_jobs(&pool);
        let there = inner.clone();
        let tried = inside(&outer, move || {
            let policy = tollgate::Retry::new().attempts(3).first_delay(Duration::ZERO);
            let mut left = 2;
            let fails = move || {
                left -= 1;
                if left > 0 { Err(()) } else { Ok(here()) }
            };
            there.spawn_retry(policy, fails).join().unwrap().result.is_ok_and(|id| id != here())
        });
        assert!(tried);
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_may_join_and_a_future_never_runs_inline() {
    with_two_jobs(|_, outer, inner| {
        let there = inner.clone();
        let polled = outer.spawn_future(async move { there.spawn(here).join().unwrap() == here() });
        assert!(polled.join().unwrap());
        let future =
            inside(&outer, move || inner.spawn_future(async { here() }).join().unwrap() == here());
        assert!(!future);
    });
}

#[test]
fn tasks_of_a_scope_of_another_job_run_inline() {
    with_two_jobs(|_, outer, inner| {
        let there = inner.clone();
        let sum = inside(&outer, move || {
            let numbers = [1, 2, 3];
            there.scope(|s| {
                let sum = s.spawn(|| (numbers.iter().sum::<i32>(), here()));
                let (sum, thread) = sum.join().unwrap();
                assert_eq!(thread, here());
                sum
            })
        });
        assert_eq!(sum, 6);
        inner.wait();
    });
}

#[test]
fn a_task_whose_job_goes_with_it_runs_inline() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job(1);
        inside(&outer, || {
            for _ in 0..100 {
                let inner = tollgate::current_job().unwrap();
                let (tell, told) = capture();
                let child = inner.job(1).job(1);
                let task = child.spawn(move || {
                    drop(tell);
                    here()
                });
                drop(child);
                assert_eq!(task.join().unwrap(), here());
                assert!(told());
            }
        });
        assert_eq!(outer.stats_with_children().completed, 101);
    });
}

#[test]
fn keyed_jobs_run_each_others_tasks_and_go() {
    within(LONG, || {
        let pool = pool(1);
        let hosts = pool.job_builder().keyed::<u32>(|_, job| job.limit(1));
        let page = hosts.job(&1);
        let image = hosts.job(&2);
        let task = page.spawn(move || {
            let task = image.spawn(here);
            drop(image);
            task.join().unwrap() == here()
        });
        drop(page);
        assert!(task.join().unwrap());
        hosts.parent().wait();
        hosts.evict_idle();
        assert!(hosts.is_empty());
    });
}

#[test]
fn jobs_with_a_capacity_a_clock_or_the_hand_over_run_inline_as_others() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job(1);
        let full = pool.job_builder().limit(1).capacity(1).build();
        let timed = pool.job_builder().limit(1).timed().build();
        let (first, second) = (full.clone(), timed.clone());
        inside(&outer, move || {
            for _ in 0..3 {
                // The slot is free from the start of the task on.
                let own = first.clone();
                let task = first.spawn(move || own.try_execute(|| ()).is_ok());
                assert!(task.join().unwrap());
                second.spawn(|| ()).join().unwrap();
            }
        });
        full.wait();
        assert_eq!(full.stats().completed, 6);
        let timings = timed.timings().unwrap();
        assert_eq!((timings.wait.count(), timings.run.count()), (3, 3));
        let hands = pool.job_builder().limit(2).capacity(0).build();
        join_inside(&outer, &hands, || ());
        hands.wait();
        assert_eq!((hands.stats().completed, hands.stats().running), (1, 0));
    });
}

/// A task that is joined with a timeout runs on another thread, even if the clock cannot represent the end of the timeout.
#[test]
fn a_join_with_a_timeout_runs_nothing_inline() {
    for timeout in [LONG, Duration::MAX] {
        with_two_jobs(move |_, outer, inner| {
            for joined in [inner, outer.clone()] {
                let (thread, own) = inside(&outer, move || {
                    let task = joined.spawn(here);
                    (task.join_timeout(timeout).expect("it ends").unwrap(), here())
                });
                assert_ne!(thread, own, "the task ran inline");
            }
        });
    }
}
