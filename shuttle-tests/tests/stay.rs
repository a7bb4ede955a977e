//! Tasks that stay: each ends only when another has started. A hand-over, a wake-up or a look that comes one task late
//! leaves all threads blocked, which shuttle reports as a deadlock.

#![cfg(tollgate_shuttle)]

use shuttle::sync::Barrier;
use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::spawn_apart;
use std::sync::Arc;
use tollgate::{Job, Pool};

/// A task that ends when `barrier` lets it through.
fn stays(barrier: &Arc<Barrier>) -> impl FnOnce() + Send + use<> {
    let barrier = barrier.clone();
    move || _ = barrier.wait()
}

fn pair() -> Arc<Barrier> {
    Arc::new(Barrier::new(2))
}

#[test]
fn limit_is_used_by_a_pair_behind_a_task_that_ends() {
    // Not unlimited, for it has a parent: each task needs a hand-over.
    in_a_pool(3, |pool| {
        let parent = pool.job(3);
        let (job, barrier) = (parent.job(2), pair());
        job.execute(|| ());
        (0..4).for_each(|_| job.execute(stays(&barrier)));
        job.wait();
        assert_eq!(job.stats().completed, 5);
    });
}

/// Runs a task that ends, then a task that stays until a third task has started. The third task is pushed as the first one ends.
fn pushes_as_the_last_task_starts(pool: &Pool, job: &Job) {
    let (barrier, other) = (pair(), pool.job(1));
    for round in 1..6 {
        job.pause();
        job.execute(|| ());
        job.execute(stays(&barrier));
        let (theirs, both) = (job.clone(), barrier.clone());
        let pusher = thread::spawn(move || theirs.execute(stays(&both)));
        job.resume();
        // A worker takes half of what is injected: with a third task, one of this job lies in the worker's own deque.
        other.execute(|| ());
        pusher.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 3 * round);
    }
    other.wait();
}

#[test]
fn limit_is_used_beside_the_last_task_of_a_batch() {
    // The pusher leaves its task to the worker that has a batch, just when that worker finds the queue empty.
    in_a_pool(2, |pool| pushes_as_the_last_task_starts(&pool, &pool.job(2)));
}

#[test]
fn limit_is_used_beside_a_ready_task_of_a_full_job() {
    // The worker runs a ready task under the permit that it holds, and gives up that task's reservation: there is room for
    // the one that was pushed meanwhile. A job that has a child is never unlimited.
    in_a_pool(2, |pool| {
        let job = pool.job(2);
        let child = job.job(1);
        pushes_as_the_last_task_starts(&pool, &job);
        drop(child);
    });
}

#[test]
fn limit_is_used_by_a_pair_of_a_full_job() {
    // A third task holds a permit throughout: the job is full whenever both of the pair run.
    in_a_pool(4, |pool| {
        let (job, barrier, last) = (pool.job(3), pair(), pair());
        job.execute(stays(&last));
        let (theirs, both) = (job.clone(), barrier.clone());
        let pusher = thread::spawn(move || (0..2).for_each(|_| theirs.execute(stays(&both))));
        (0..2).for_each(|_| job.execute(stays(&barrier)));
        job.execute(|| ());
        job.execute(stays(&last));
        pusher.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 7);
    });
}

#[test]
fn limit_is_used_by_a_pair_after_a_resume() {
    in_a_pool(3, |pool| {
        let (job, barrier) = (pool.job(2), pair());
        job.pause();
        let (theirs, both) = (job.clone(), barrier.clone());
        let pusher = thread::spawn(move || (0..2).for_each(|_| theirs.execute(stays(&both))));
        (0..2).for_each(|_| job.execute(stays(&barrier)));
        job.resume();
        pusher.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn limit_is_used_by_a_pair_that_lies_in_a_batch() {
    // An unlimited job: the second of each pair lies where the worker of the first has put it.
    in_a_pool(2, |pool| {
        let (job, barrier) = (pool.job(2), pair());
        for _ in 0..2 {
            job.pause();
            (0..4).for_each(|_| job.execute(stays(&barrier)));
            job.resume();
            job.wait();
        }
        assert_eq!(job.stats().completed, 8);
    });
}

#[test]
fn limit_is_used_by_a_stolen_batch_beside_a_pause() {
    // The pause comes while the second worker steals from the first one's batch: it refuses what was stolen.
    in_a_pool(2, |pool| {
        let (job, barrier) = (pool.job(2), pair());
        job.pause();
        (0..6).for_each(|_| job.execute(stays(&barrier)));
        job.resume();
        job.pause();
        job.resume();
        job.wait();
        assert_eq!(job.stats().completed, 6);
    });
}

#[test]
fn limit_is_used_by_a_pair_pushed_while_a_batch_runs_out() {
    // A pusher relies on the worker that has a batch. That worker stays in its last task until the pusher's has started.
    in_a_pool(2, |pool| {
        let (job, barrier) = (pool.job(2), pair());
        let (theirs, both) = (job.clone(), barrier.clone());
        let pusher = thread::spawn(move || {
            for _ in 0..3 {
                theirs.execute(|| ());
                theirs.execute(stays(&both));
            }
        });
        for _ in 0..3 {
            job.execute(|| ());
            job.execute(stays(&barrier));
        }
        pusher.join().unwrap();
        job.wait();
        assert_eq!(job.stats().completed, 12);
    });
}

#[test]
fn limit_is_used_by_what_a_task_pushes_and_stays_for() {
    in_a_pool(2, |pool| {
        for limit in [2, usize::MAX] {
            let (job, barrier) = (pool.job(limit), pair());
            for _ in 0..2 {
                let (inner, both) = (job.clone(), barrier.clone());
                job.execute(move || {
                    inner.execute(stays(&both));
                    both.wait();
                });
                job.wait();
            }
            assert_eq!(job.stats().completed, 4);
        }
    });
}

#[test]
fn limit_is_used_by_a_pair_of_two_jobs() {
    in_a_pool(2, |pool| {
        let (jobs, barrier) = ([pool.job(1), pool.job(1)], pair());
        let pushers = jobs.clone().map(|job| {
            let both = barrier.clone();
            thread::spawn(move || (0..3).for_each(|_| job.execute(stays(&both))))
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        jobs.iter().for_each(Job::wait);
    });
}

#[test]
fn limit_is_used_by_a_pair_of_two_depths() {
    in_a_pool(3, |pool| {
        let outer = pool.job(2);
        let (middle, beside, barrier) = (outer.job(2), outer.job(1), pair());
        let inner = middle.job(1);
        let (theirs, both) = (inner.clone(), barrier.clone());
        let pusher = thread::spawn(move || (0..3).for_each(|_| theirs.execute(stays(&both))));
        (0..3).for_each(|_| beside.execute(stays(&barrier)));
        pusher.join().unwrap();
        outer.wait();
        assert_eq!((inner.stats().completed, beside.stats().completed), (3, 3));
    });
}

#[test]
fn limit_is_used_by_a_pusher_that_waits_for_a_slot() {
    // The task that runs ends only when the pusher's next one has started, for which the pusher needs its slot.
    in_a_pool(2, |pool| {
        let job = pool.job_builder().limit(2).capacity(1).build();
        let barrier = pair();
        let pushers = [0, 1].map(|_| {
            let (theirs, both) = (job.clone(), barrier.clone());
            thread::spawn(move || (0..2).for_each(|_| theirs.execute(stays(&both))))
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}

/// A task of a full job joins one of another job, which ends only when the full job's next task has started.
fn joins_what_stays(pool: &Pool, job: &Job) {
    let (other, barrier) = (pool.job(1), pair());
    let (there, both) = (other.clone(), barrier.clone());
    let joiner = job.spawn(move || there.spawn(stays(&both)).join().unwrap());
    job.execute(stays(&barrier));
    joiner.join().unwrap();
    job.wait();
    other.wait();
}

#[test]
fn join_is_safe_for_what_stays_until_the_permit_is_used() {
    in_a_pool(2, |pool| {
        joins_what_stays(&pool, &pool.job(1));
        let parent = pool.job(1);
        joins_what_stays(&pool, &parent.job(1));
    });
}

#[test]
fn join_is_safe_for_two_that_return_together() {
    // Both wait, the limit falls to 0 and rises to 2: one wake-up must bring back both.
    in_a_pool(2, |pool| {
        let (job, other, gate) = (pool.job(2), pool.job(2), pair());
        let (back, held) = (pair(), Arc::new(Barrier::new(3)));
        for _ in 0..2 {
            let (there, both) = (other.clone(), back.clone());
            let told = stays(&held);
            job.execute(move || {
                there.spawn(told).join().unwrap();
                both.wait();
            });
        }
        held.wait();
        job.set_limit(0);
        job.set_limit(2);
        job.wait();
        // The backlog, held up meanwhile, is served again.
        (0..2).for_each(|_| job.execute(stays(&gate)));
        job.wait();
        assert_eq!(job.stats().completed, 4);
    });
}

#[test]
fn limit_is_used_beside_one_that_has_returned() {
    // While the joiner waits for its permit, the limit rises and the task that holds the permit ends. Once the joiner is
    // back, the next task must start beside it.
    in_a_pool(3, |pool| {
        let (job, other, barrier, runs) = (pool.job(1), pool.job(1), pair(), pair());
        let (there, both, begun) = (other.clone(), barrier.clone(), runs.clone());
        job.execute(move || {
            // Ends only when the task behind the joiner holds the permit.
            there.spawn(stays(&begun)).join().unwrap();
            both.wait();
        });
        let (theirs, awaited) = (job.clone(), other.clone());
        job.execute(move || {
            runs.wait();
            while awaited.stats().completed == 0 {
                thread::yield_now();
            }
            (0..3).for_each(|_| thread::yield_now());
            theirs.set_limit(2);
        });
        job.execute(stays(&barrier));
        job.wait();
        assert_eq!(job.stats().completed, 3);
    });
}

#[test]
fn join_is_safe_beside_tasks_that_push_on() {
    // A worker that runs on under its permit must let the task return that waits for it.
    in_a_pool(1, |pool| {
        fn push_on(job: Job, returned: Arc<std::sync::atomic::AtomicBool>) {
            if !returned.load(std::sync::atomic::Ordering::Relaxed) {
                let (next, told) = (job.clone(), returned);
                job.execute(move || push_on(next, told));
                thread::yield_now();
            }
        }
        let (job, other) = (pool.job(1), pool.job(1));
        let returned = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (there, tells) = (other.clone(), returned.clone());
        job.execute(move || {
            spawn_apart(&there, || ()).join().unwrap();
            tells.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for _ in 0..2 {
            let (next, told) = (job.clone(), returned.clone());
            job.execute(move || push_on(next, told));
        }
        job.wait();
        other.wait();
    });
}

#[test]
fn join_is_safe_for_two_waits_beside_one_idle_spare() {
    in_a_pool(2, |pool| {
        let (job, other, barrier) = (pool.job(2), pool.job(2), pair());
        // From now on one spare is idle.
        let there = other.clone();
        job.spawn(move || _ = spawn_apart(&there, || ()).join().unwrap()).join().unwrap();
        for _ in 0..2 {
            let (there, both) = (other.clone(), barrier.clone());
            job.execute(move || _ = spawn_apart(&there, stays(&both)).join().unwrap());
        }
        job.wait();
        other.wait();
        assert_eq!(other.stats().completed, 3);
    });
}

#[test]
fn limit_is_used_by_all_that_wait_for_a_job() {
    // One end wakes all of them.
    in_a_pool(2, |pool| {
        let (job, both) = (pool.job(1), pair());
        job.execute(stays(&both));
        let waiters = [0, 1].map(|_| {
            let theirs = job.clone();
            thread::spawn(move || theirs.wait())
        });
        both.wait();
        job.wait();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn limit_is_used_by_a_pusher_beside_one_that_waits_for_its_permit() {
    // A task of another pool is woken for a slot, and must wait for its permit first, which a task holds that stays until
    // the other pusher has its slot.
    in_a_pool(2, |pool| {
        let away = shuttle_tests::pool(2);
        let bounded = pool.job_builder().limit(1).capacity(1).build();
        let (narrow, barrier) = (away.job(1), pair());
        bounded.pause();
        bounded.execute(|| ());
        let theirs = bounded.clone();
        let blocked = narrow.spawn(move || theirs.execute(|| ()));
        narrow.execute(stays(&barrier));
        let theirs = bounded.clone();
        let pusher = thread::spawn(move || theirs.execute(|| ()));
        bounded.resume();
        pusher.join().unwrap();
        barrier.wait();
        blocked.join().unwrap();
        narrow.wait();
        bounded.wait();
        assert_eq!(bounded.stats().completed, 3);
    });
}
