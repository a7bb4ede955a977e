//! Waiting inside a task never deadlocks the pool: not at limit 1, not with one worker. A task that waits holds
//! no permit, and takes one back before it goes on.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::instruments::{Fates, Gauge, spawn_apart, unwind};
use shuttle_tests::{check, in_a_pool};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tollgate::{JoinError, Pool, TaskHandle};

/// Joins a task of the job, which joins a task of the job, and so on. Returns the depth.
fn chain(job: tollgate::Job, deep: usize) -> usize {
    if deep == 0 {
        return 0;
    }
    let inner = job.clone();
    job.spawn(move || chain(inner, deep - 1)).join().unwrap() + 1
}

/// Joins a task of the other job, which joins one of the first job, and so on. Returns the depth. The tasks are futures, because a closure
/// may run inline.
fn zigzag(here: tollgate::Job, there: tollgate::Job, deep: usize) -> usize {
    if deep == 0 {
        return 0;
    }
    let (next, own) = (there.clone(), here);
    there.spawn_future(async move { zigzag(next, own, deep - 1) }).join().unwrap() + 1
}

fn one_job_at_limit_1(pool: &Pool) {
    let job = pool.job(1);
    let handles: Vec<_> = (0..2)
        .map(|_| {
            let inner = job.clone();
            job.spawn(move || chain(inner, 3))
        })
        .collect();
    assert!(handles.into_iter().all(|handle| handle.join().unwrap() == 3));
}

#[test]
fn join_is_safe_at_limit_1_with_1_worker() {
    in_a_pool(1, |pool| one_job_at_limit_1(&pool));
}

#[test]
fn join_is_safe_at_limit_1_with_2_workers() {
    in_a_pool(2, |pool| one_job_at_limit_1(&pool));
}

fn two_jobs_at_limit_1(pool: &Pool) {
    let (one, other) = (pool.job(1), pool.job(1));
    let handles = [(&one, &other), (&other, &one)].map(|(here, there)| {
        let (own, next) = (here.clone(), there.clone());
        here.spawn(move || zigzag(own, next, 3))
    });
    assert!(handles.into_iter().all(|handle| handle.join().unwrap() == 3));
    one.wait();
    other.wait();
}

#[test]
fn join_is_safe_between_two_jobs_with_1_worker() {
    in_a_pool(1, |pool| two_jobs_at_limit_1(&pool));
}

#[test]
fn join_is_safe_between_two_jobs_with_2_workers() {
    in_a_pool(2, |pool| two_jobs_at_limit_1(&pool));
}

#[test]
fn join_is_safe_for_two_waits_and_one_spare() {
    // The second wait leaves its seat. The spare runs what both wait for.
    check(|| {
        let pool = Pool::builder().workers(2).max_spare_workers(1).build().unwrap();
        let (outer, inner) = (pool.job(2), pool.job(1));
        let tasks = [0, 1].map(|number| {
            let inner = inner.clone();
            outer.spawn(move || inner.spawn_future(async move { number }).join().unwrap())
        });
        assert_eq!(tasks.map(|task| task.join().unwrap()), [0, 1]);
    });
}

#[test]
fn join_is_safe_for_one_wait_beside_a_worker() {
    // There is no spare: one wait leaves its seat, and the other worker goes on. Then it takes that seat, or its own.
    check(|| {
        let pool = Pool::builder().workers(2).max_spare_workers(0).build().unwrap();
        let (outer, inner) = (pool.job(1), pool.job(1));
        for number in 0..2 {
            let inner = inner.clone();
            let task =
                outer.spawn(move || inner.spawn_future(async move { number }).join().unwrap());
            assert_eq!(task.join().unwrap(), number);
        }
    });
}

#[test]
fn join_is_safe_for_what_the_last_thread_must_run() {
    // Two threads, and both want to wait: one of them may, and the other one's join panics.
    check(|| {
        let pool = Pool::builder().workers(2).max_spare_workers(0).build().unwrap();
        let (outer, inner) = (pool.job(2), pool.job(1));
        let tasks = [(); 2].map(|()| {
            let inner = inner.clone();
            outer.spawn(move || {
                let task = inner.spawn_future(async {});
                catch_unwind(AssertUnwindSafe(|| task.join().unwrap())).is_ok()
            })
        });
        assert!(tasks.map(|task| task.join().unwrap()).contains(&true));
        inner.wait();
        assert_eq!(inner.stats().completed, 2);
    });
}

#[test]
fn join_is_safe_at_the_end_of_a_scope_on_the_last_thread() {
    // The scope's task and the scope both wait. If the scope comes second, it starts a spare, although there may be none.
    check(|| {
        let pool = Pool::builder().workers(2).max_spare_workers(0).build().unwrap();
        let (outer, inner, last) = (pool.job(1), pool.job(1), pool.job(1));
        let begun = AtomicUsize::new(0);
        let scope = outer.spawn(move || {
            let scope = || {
                inner.scope(|s| {
                    s.execute(|| {
                        begun.fetch_add(1, Ordering::SeqCst);
                        last.execute(|| ());
                        last.wait();
                    });
                    while begun.load(Ordering::SeqCst) == 0 {
                        thread::yield_now();
                    }
                });
            };
            // The one or the other wait may be refused.
            drop(catch_unwind(AssertUnwindSafe(scope)));
            last.wait();
            last.stats().completed
        });
        assert_eq!(scope.join().unwrap(), 1);
    });
}

#[test]
fn join_is_safe_for_the_last_task_of_another_job() {
    // If a worker runs the joined task, its job is freed at once: the joining thread has no handle.
    in_a_pool(2, |pool| {
        let (outer, gauge) = (pool.job(2), Gauge::new(4));
        for _ in 0..4 {
            let (inner, seen) = (pool.job(1), gauge.clone());
            outer.execute(move || {
                let task = inner.spawn(seen.task());
                drop(inner);
                task.join().unwrap();
            });
        }
        outer.wait();
        assert_eq!(gauge.ran(), 4);
    });
}

#[test]
fn join_is_safe_for_a_task_that_needs_the_permit_of_the_joining_one() {
    // The task of the inner job may run inline. It joins a task that needs the permit of the outer one.
    for workers in [1, 2] {
        in_a_pool(workers, |pool| {
            let (outer, inner, gauge) = (pool.job(1), pool.job(1), Gauge::new(1));
            for _ in 0..2 {
                let (own, there, seen) = (outer.clone(), inner.clone(), gauge.clone());
                outer.execute(move || {
                    let back = move || own.spawn(seen.task()).join().unwrap();
                    there.spawn(back).join().unwrap();
                });
            }
            outer.wait();
            inner.wait();
            assert_eq!((gauge.ran(), outer.stats().completed), (2, 4));
        });
    }
}

#[test]
fn join_is_safe_for_a_permit_that_needs_the_seat_of_the_waiting_task() {
    // While the joined task runs, a second task of the outer job gets the permit, and stays until a third task has run. The first
    // task then waits for that permit, and the third task needs the seat of the first.
    in_a_pool(2, |pool| {
        let (outer, inner, third) = (pool.job(1), pool.job(1), pool.job(1));
        let stays = Arc::new(AtomicUsize::new(0));
        let (own, seen, ran) = (outer.clone(), stays.clone(), stays.clone());
        let task = outer.spawn(move || {
            let joined = inner.spawn(move || {
                own.execute(move || {
                    third.execute(move || _ = ran.fetch_add(2, Ordering::SeqCst));
                    seen.fetch_add(1, Ordering::SeqCst);
                    while seen.load(Ordering::SeqCst) < 3 {
                        thread::yield_now();
                    }
                });
                while stays.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
            });
            joined.join().unwrap();
        });
        task.join().unwrap();
    });
}

#[test]
fn join_is_safe_for_a_permit_of_a_parent_that_was_lent() {
    // The joined task uses the permit that the joining one has of the parent, and pauses the child of the joining one. The third
    // task needs the parent's permit before the child is resumed.
    in_a_pool(2, |pool| {
        let parent = pool.job(1);
        let [outer, inner, third] = [(); 3].map(|()| parent.job(1));
        let own = outer.clone();
        let task = outer.spawn(move || inner.spawn(move || own.pause()).join().unwrap());
        while !outer.is_paused() {
            thread::yield_now();
        }
        third.spawn(|| ()).join().unwrap();
        outer.resume();
        task.join().unwrap();
        parent.wait();
        assert_eq!(parent.stats().running, 0);
    });
}

#[test]
fn join_is_safe_while_the_limit_holds() {
    // What a task does before its join and behind it is under a permit.
    in_a_pool(2, |pool| {
        let (job, other, gauge) = (pool.job(1), pool.job(1), Gauge::new(1));
        for _ in 0..2 {
            let (there, seen) = (other.clone(), gauge.clone());
            job.execute(move || {
                seen.visit();
                there.spawn(|| ()).join().unwrap();
                seen.visit();
            });
            job.execute(gauge.task());
        }
        job.wait();
        assert_eq!(gauge.ran(), 6);
    });
}

#[test]
fn join_is_safe_while_the_limit_moves() {
    in_a_pool(2, |pool| {
        let (job, other) = (pool.job(2), pool.job(1));
        for _ in 0..3 {
            let there = other.clone();
            job.execute(move || there.spawn(|| ()).join().unwrap());
        }
        job.set_limit(1);
        job.execute(|| ());
        job.pause();
        job.resume();
        job.wait();
        other.wait();
        assert_eq!((job.stats().completed, other.stats().completed), (4, 3));
    });
}

#[test]
fn join_is_safe_under_a_parent_at_limit_1() {
    in_a_pool(2, |pool| {
        let parent = pool.job(1);
        let jobs = [parent.job(1), parent.job(1)];
        for here in 0..2 {
            let there = jobs[1 - here].clone();
            jobs[here].execute(move || there.spawn(|| ()).join().unwrap());
            jobs[here].execute(|| ());
        }
        parent.wait();
        assert!(jobs.iter().all(|job| job.stats().completed == 3));
    });
}

#[test]
fn join_is_safe_for_a_wait_for_another_job() {
    in_a_pool(2, |pool| {
        let (job, other, gauge) = (pool.job(1), pool.job(1), Gauge::new(1));
        for _ in 0..2 {
            let (there, seen) = (other.clone(), gauge.clone());
            job.execute(move || {
                there.execute(seen.task());
                there.execute(seen.task());
                there.wait();
            });
        }
        job.wait();
        other.wait();
        assert_eq!(gauge.ran(), 4);
    });
}

#[test]
fn join_is_safe_when_what_it_waits_for_panics_or_is_cancelled() {
    in_a_pool(2, |pool| {
        let (job, other, fates) = (pool.job(1), pool.job(1), Fates::of(4));
        let joiners: Vec<_> = (0..4)
            .map(|number| {
                let (there, ticket) = (other.clone(), fates.ticket(number));
                job.spawn(move || {
                    let task = there.spawn(move || {
                        ticket.punch();
                        if number % 2 == 0 {
                            unwind();
                        }
                    });
                    task.join()
                })
            })
            .collect();
        let late = other.clone();
        let canceller = thread::spawn(move || late.cancel());
        let mut cancelled = 0;
        for (number, joiner) in joiners.into_iter().enumerate() {
            match joiner.join().unwrap() {
                Ok(()) => assert_eq!(number % 2, 1),
                Err(JoinError::Panicked(_)) => assert_eq!(number % 2, 0),
                Err(_) => cancelled += 1,
            }
        }
        canceller.join().unwrap();
        assert_eq!(fates.ran() + cancelled, 4);
    });
}

#[test]
fn join_is_safe_for_tasks_that_block_with_leave() {
    in_a_pool(1, |pool| {
        let (job, other) = (pool.job(2), pool.job(1));
        for _ in 0..2 {
            let there = other.clone();
            job.execute(move || {
                let task = there.spawn(|| ());
                // Waits without the pool's knowledge, but for this.
                tollgate::blocking(|| {
                    while !task.is_finished() {
                        thread::yield_now();
                    }
                });
            });
        }
        job.wait();
        assert_eq!(other.stats().completed, 2);
    });
}

#[test]
fn begun_holds_while_tasks_wait() {
    // A join of another job's task, one of the own job's, which runs inline, and a scope.
    for workers in [1, 2] {
        in_a_pool(workers, |pool| {
            let job = pool.job_builder().limit(1).keep_permits(true).build();
            let (other, begun) = (pool.job(1), Arc::new(AtomicUsize::new(0)));
            for _ in 0..2 {
                let (own, there, begun) = (job.clone(), other.clone(), begun.clone());
                job.execute(move || {
                    assert_eq!(begun.fetch_add(1, Ordering::SeqCst), 0, "a second task begins");
                    there.spawn(|| ()).join().unwrap();
                    own.spawn(|| ()).join().unwrap();
                    own.scope(|s| s.execute(|| ()));
                    begun.fetch_sub(1, Ordering::SeqCst);
                });
            }
            job.wait();
            other.wait();
            assert_eq!((job.stats().completed, other.stats().completed), (6, 2));
        });
    }
}

/// Waits when it is dropped, for a task that is cancelled beside it and for one that runs then; notes what came of it.
struct Waiter {
    beside: Arc<Mutex<Option<TaskHandle<()>>>>,
    other: tollgate::Job,
    notes: Arc<Mutex<Vec<bool>>>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let beside = self.beside.lock().unwrap().take().expect("it is dropped later");
        let cancelled = matches!(beside.join(), Err(JoinError::Cancelled));
        let runs = self.other.spawn(|| ()).join().is_ok();
        self.notes.lock().unwrap().push(cancelled && runs);
    }
}

#[test]
fn join_is_safe_in_drops() {
    in_a_pool(2, |pool| {
        let (held, other, notes) = (pool.job(0), pool.job(1), Arc::default());
        let child = held.job(1);
        for behind in [&held, &child] {
            let beside = Arc::new(Mutex::new(None));
            let waiter = Waiter {
                beside: Arc::clone(&beside),
                other: other.clone(),
                notes: Arc::clone(&notes),
            };
            held.execute(move || drop(waiter));
            *beside.lock().unwrap() = Some(behind.spawn(|| ()));
        }
        let theirs = held.clone();
        let waits = thread::spawn(move || theirs.wait());
        held.cancel();
        held.wait();
        waits.join().unwrap();
        assert_eq!(*notes.lock().unwrap(), [true; 2]);
        other.wait();
        assert_eq!(other.stats().completed, 2);
    });
}

/// Joins the task whose handle comes into it later, when it is dropped.
#[derive(Clone, Default)]
struct Behind(Arc<Mutex<Option<TaskHandle<()>>>>);

struct JoinOnDrop(Behind);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        let handle = self.0.0.lock().unwrap().take().expect("it is dropped later");
        drop(handle.join());
    }
}

/// Pushes two tasks into a held job: a capture of the first joins the second when it is dropped.
fn push_two(held: &tollgate::Job) {
    let behind = Behind::default();
    let first = JoinOnDrop(behind.clone());
    held.execute(move || drop(first));
    *behind.0.lock().unwrap() = Some(held.spawn(|| ()));
}

#[test]
fn join_is_safe_in_drops_when_a_pause_meets_a_drain() {
    // If the pool ended between the pause and the cancel that follows from it, no worker would drop the second task.
    in_a_pool(1, |pool| {
        let job = pool.job(0);
        push_two(&job);
        job.set_limit(1);
        let theirs = job.clone();
        let pauser = thread::spawn(move || theirs.pause());
        pool.shutdown();
        pauser.join().unwrap();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 2, "{stats:?}");
    });
}

#[test]
fn join_is_safe_in_drops_when_cancels_meet_two_drains() {
    in_a_pool(1, |pool| {
        let (job, pool) = (pool.job(0), Arc::new(pool));
        push_two(&job);
        let (theirs, shared) = (job.clone(), Arc::clone(&pool));
        let canceller = thread::spawn(move || theirs.cancel());
        let other = thread::spawn(move || shared.shutdown());
        pool.shutdown();
        other.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(job.stats().cancelled, 2);
    });
}

#[test]
fn join_is_safe_after_a_spares_name_that_panics() {
    check(|| {
        let pool = Pool::builder().workers(1).thread_name(|index| match index {
            0 => "the one".to_owned(),
            _ => unwind(),
        });
        let pool = pool.build().unwrap();
        let (job, other) = (pool.job(1), pool.job(1));
        let waits =
            job.spawn(move || [1, 2].map(|number| spawn_apart(&other, move || number).join()));
        assert!(waits.join().unwrap().iter().all(Result::is_ok));
    });
}
