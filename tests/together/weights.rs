//! Weights beside a capacity, a rate, a pause and permits that are kept.

use crate::common::{with_workers, workers_pass};
use tollgate::Rejected;

/// The refused push frees the empty cell of the cancelled task. The next task weighs less, and starts without a further permit.
#[test]
fn a_light_task_starts_when_a_push_frees_the_cell_of_a_cancelled_heavy_task() {
    with_workers(|pool, workers| {
        let job = pool.job_builder().limit(4).weighted().weight(3).capacity(1).build();
        let light = job.weigh(1);
        let held = job.weigh(2).try_acquire().unwrap();
        let inside = (job.clone(), light.clone());
        // A task may exceed the capacity of a job of its own pool.
        let push = pool.job(1).spawn(move || {
            let (job, light) = inside;
            (job.spawn(|| ()), light.spawn(|| "light"), job.spawn(|| "heavy"))
        });
        let (cancelled, next, last) = push.join().unwrap();
        assert!(cancelled.cancel());
        workers_pass(pool, workers);
        assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
        assert_eq!(next.join().unwrap(), "light");
        assert!(!last.is_finished());
        drop(held);
        assert_eq!(last.join().unwrap(), "heavy");
    });
}

/// The heavy task stands in the queue of the job that counts weights, and reserves what is free.
#[test]
fn a_permit_of_a_child_does_not_go_before_a_heavy_task() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(4).weighted().build();
        let held = job.weigh(2).try_acquire().unwrap();
        let heavy = job.weigh(3).spawn(|| ());
        while job.stats().backlog == 0 {
            std::thread::yield_now();
        }
        for child in [job.weigh(1), job.job(1).job(1)] {
            assert!(child.try_acquire().is_err());
        }
        drop(held);
        heavy.join().unwrap();
        job.wait();
        assert!(job.job(1).job(1).try_acquire().is_ok());
    });
}

#[test]
fn a_weight_holds_for_jobs_at_each_level_below() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(9).weighted().build();
        let mut below = job.weigh(3);
        for _ in 0..4 {
            let permit = below.try_acquire().unwrap();
            assert_eq!(job.stats().running, 3);
            drop(permit);
            below = below.job(2);
        }
    });
}
