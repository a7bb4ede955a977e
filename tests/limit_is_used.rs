//! limit_is_used: if a job has a task waiting, fewer than `limit` running, and a worker is idle, the task starts.
//!
//! A stranded task or a lost wake-up shows as a hang here, which the watchdog turns into a failure.

mod common;

use std::sync::{Mutex, mpsc};
use std::thread;

use common::event::{Gauge, Latch, pass_through, stay};
use common::rng::Rng;
use common::{LONG, pool, unwind, with_workers, within};
use tollgate::{Job, Pool};

/// Limits on each side of the number of workers.
fn limits(workers: usize) -> [usize; 5] {
    [1, workers.div_ceil(2), workers, workers + 3, usize::MAX]
}

/// Pushes as many tasks as can run at once, and comes back when all of them do.
fn fill(pool: &Pool, job: &Job, gauge: &Gauge, latch: &Latch) -> usize {
    let room = job.limit().min(pool.workers());
    for _ in 0..room {
        job.execute(stay(gauge, latch));
    }
    gauge.until_running(room);
    room
}

#[test]
fn all_permits_and_workers_are_used_at_once() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            let job = pool.job(limit);
            for _ in 0..100 {
                let (gauge, latch) = (Gauge::new(), Latch::new());
                fill(pool, &job, &gauge, &latch);
                latch.open();
                job.wait();
            }
        }
    });
}

#[test]
fn all_permits_are_used_by_tasks_pushed_from_inside() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            for same_job in [true, false] {
                let job = pool.job(limit);
                let pusher = if same_job { job.clone() } else { pool.job(1) };
                for _ in 0..50 {
                    let (gauge, latch) = (Gauge::new(), Latch::new());
                    let room = limit.min(workers);
                    let (inner, tasks) =
                        (job.clone(), (0..room).map(|_| stay(&gauge, &latch)).collect::<Vec<_>>());
                    pusher.execute(move || tasks.into_iter().for_each(|task| inner.execute(task)));
                    gauge.until_running(room);
                    latch.open();
                    job.wait();
                }
            }
        }
    });
}

/// A worker that takes a batch and blocks in one of its tasks must not keep the rest from the others.
#[test]
fn a_blocked_task_does_not_strand_the_rest_of_its_batch() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            let blocking = limit.min(workers) - 1;
            if blocking == 0 {
                continue;
            }
            for round in 0..40 {
                let job = pool.job(limit);
                let (blocked, quick, latch) = (Gauge::new(), Gauge::new(), Latch::new());
                for i in 0..100 {
                    // In front, at the end, or spread over the batch, by the round.
                    let blocks = match round % 3 {
                        0 => i < blocking,
                        1 => i >= 100 - blocking,
                        _ => i % 10 == 3 && i / 10 < blocking,
                    };
                    match blocks {
                        true => job.execute(stay(&blocked, &latch)),
                        false => job.execute(pass_through(&quick)),
                    }
                }
                quick.until_ended(100 - blocking);
                blocked.until_running(blocking);
                latch.open();
                job.wait();
            }
        }
    });
}

/// The same from inside: the tasks are in the deque of a worker that blocks.
#[test]
fn a_task_pushed_from_inside_starts_while_its_pusher_blocks() {
    with_workers(|pool, workers| {
        if workers == 1 {
            return;
        }
        for limit in [2, workers, usize::MAX] {
            for same_job in [true, false] {
                for many in [1, 2, 70] {
                    let job = pool.job(limit);
                    let inner = if same_job { job.clone() } else { pool.job(limit) };
                    for _ in 0..30 {
                        let (inner, (done, all_done)) = (inner.clone(), mpsc::channel());
                        let pusher = job.spawn(move || {
                            for _ in 0..many {
                                let done = done.clone();
                                inner.execute(move || done.send(()).unwrap());
                            }
                            drop(done);
                            // Not a join: nothing tells the pool that this task waits.
                            all_done.iter().count()
                        });
                        assert_eq!(pusher.join().unwrap(), many);
                    }
                }
            }
        }
    });
}

/// The worker that hands a permit on may not be the one that runs the task: it has something else to do first.
#[test]
fn a_permit_given_back_by_a_worker_that_then_blocks_is_used() {
    with_workers(|pool, workers| {
        if workers == 1 {
            return;
        }
        for _ in 0..100 {
            let (serial, other) = (pool.job(1), pool.job(usize::MAX));
            let (gauge, blocked, first, last) =
                (Gauge::new(), Gauge::new(), Latch::new(), Latch::new());
            let (outside, opening, blocker) =
                (other.clone(), first.opening(), stay(&blocked, &last));
            serial.execute(move || {
                opening.wait();
                outside.execute(blocker);
            });
            serial.execute(pass_through(&gauge));
            first.open();
            gauge.until_ended(1);
            blocked.until_running(1);
            last.open();
            other.wait();
        }
    });
}

#[test]
fn a_raise_from_0_starts_what_waits() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            for waiting in [1, workers, 100] {
                let (job, gauge, latch) = (pool.job(0), Gauge::new(), Latch::new());
                for _ in 0..waiting {
                    job.execute(stay(&gauge, &latch));
                }
                job.set_limit(limit);
                gauge.until_running(waiting.min(limit).min(workers));
                latch.open();
                job.wait();
            }
        }
    });
}

#[test]
fn a_raise_starts_more_while_the_first_block() {
    with_workers(|pool, workers| {
        let (job, gauge, latch) = (pool.job(1), Gauge::new(), Latch::new());
        for _ in 0..workers {
            job.execute(stay(&gauge, &latch));
        }
        for limit in 1..=workers {
            job.set_limit(limit);
            gauge.until_running(limit);
        }
        latch.open();
        job.wait();
    });
}

#[test]
fn a_resume_starts_what_waits() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            let job = pool.job(limit);
            for _ in 0..20 {
                let (gauge, latch) = (Gauge::new(), Latch::new());
                job.pause();
                for _ in 0..limit.min(workers) {
                    job.execute(stay(&gauge, &latch));
                }
                job.resume();
                gauge.until_running(limit.min(workers));
                latch.open();
                job.wait();
            }
        }
    });
}

/// Three tasks have waited inside, and want their permits back while their job is held. One change of the job lets all three go
/// on: none of them ends before all run.
#[test]
fn one_change_lets_all_tasks_that_have_waited_go_on() {
    with_workers(|pool, _| {
        for round in 0..20 {
            let (job, joined) = (pool.job(3), pool.job(3));
            let (begun, back, latch) = (Gauge::new(), Gauge::new(), Latch::new());
            joined.pause();
            for _ in 0..3 {
                let (task, begins) = (joined.spawn(|| ()), pass_through(&begun));
                let stays = stay(&back, &latch);
                job.execute(move || {
                    begins();
                    task.join().unwrap();
                    stays();
                });
            }
            begun.until_ended(3);
            while job.stats().running > 0 {
                thread::yield_now();
            }
            let by_pause = round % 2 == 0;
            if by_pause {
                job.pause()
            } else {
                job.set_limit(0)
            }
            joined.resume();
            joined.wait();
            while !format!("{job:?}").contains("returning: true") {
                thread::yield_now();
            }
            if by_pause {
                job.resume()
            } else {
                job.set_limit(3)
            }
            back.until_running(3);
            latch.open();
            job.wait();
        }
    });
}

/// A queue that froze after its limit had been at 0 is one of the oldest faults of this kind of pool.
#[test]
fn moves_of_the_limit_lose_no_wake() {
    with_workers(|pool, workers| {
        let mut rng = Rng::from_env();
        let job = pool.job(2);
        for _ in 0..20 {
            let gauge = Gauge::new();
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..500).for_each(|_| job.execute(pass_through(&gauge))));
                }
                for _ in 0..100 {
                    match rng.below(4) {
                        0 => job.pause(),
                        1 => job.resume(),
                        2 => job.set_limit(0),
                        _ => job.set_limit(1 + rng.below(workers + 1)),
                    }
                }
                job.resume();
                job.set_limit(1);
            });
            gauge.until_ended(1_000);
            job.wait();
        }
    });
}

#[test]
fn a_panic_gives_its_permit_back() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            let (job, latch) = (pool.job(limit), Latch::new());
            for i in 0..300 {
                match i % 2 {
                    0 => job.execute(|| unwind("a task that fails")),
                    _ => drop(job.spawn(|| unwind("a task that fails"))),
                }
            }
            job.wait();
            assert_eq!(job.stats().panicked, 300);
            fill(pool, &job, &Gauge::new(), &latch);
        }
    });
}

#[test]
fn a_cancelled_handle_keeps_no_permit_and_strands_nobody() {
    with_workers(|pool, workers| {
        let mut rng = Rng::from_env();
        for limit in limits(workers) {
            for round in 0..40 {
                let (job, gauge, first, rest) =
                    (pool.job(limit), Gauge::new(), Latch::new(), Latch::new());
                let room = fill(pool, &job, &gauge, &first);
                let mut kept = 0;
                for i in 0..100 {
                    let handle = job.spawn(pass_through(&gauge));
                    let keep = match round % 4 {
                        0 => i == 99,
                        1 => i == 0,
                        2 => false,
                        _ => rng.one_in(3),
                    };
                    match keep {
                        true => kept += 1,
                        false => assert!(
                            handle.cancel(),
                            "a task that had no permit or worker was not cancelled"
                        ),
                    }
                }
                first.open();
                job.wait();
                assert_eq!(gauge.started(), room + kept);
                fill(pool, &job, &Gauge::new(), &rest);
            }
        }
    });
}

#[test]
fn a_close_leaves_the_accepted_tasks_to_run() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            let (job, gauge, latch) = (pool.job(limit), Gauge::new(), Latch::new());
            let room = fill(pool, &job, &gauge, &latch);
            (0..100).for_each(|_| job.execute(pass_through(&gauge)));
            job.close();
            latch.open();
            job.wait();
            assert_eq!(gauge.started(), room + 100);
        }
    });
}

#[test]
fn the_last_handle_dropped_leaves_the_tasks_to_run() {
    with_workers(|pool, workers| {
        for limit in limits(workers) {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let job = pool.job(limit);
            let room = fill(pool, &job, &gauge, &latch);
            (0..100).for_each(|_| job.execute(pass_through(&gauge)));
            drop(job);
            latch.open();
            gauge.until_ended(room + 100);
        }
    });
}

/// One push at a time into a pool that has gone to sleep, or is about to.
#[test]
fn a_lone_push_wakes_a_worker() {
    with_workers(|pool, _| {
        let mut rng = Rng::from_env();
        let jobs = [pool.job(1), pool.job(2), pool.job(usize::MAX)];
        let (done, each_done) = mpsc::channel();
        for _ in 0..5_000 {
            let done = done.clone();
            rng.pick(&jobs).execute(move || done.send(()).unwrap());
            each_done.recv().unwrap();
            for _ in 0..rng.below(400) {
                std::hint::spin_loop();
            }
        }
    });
}

/// Pushers against finishers: in each burst the last finisher may look just before the last push.
#[test]
fn no_push_is_lost_between_pusher_and_finisher() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            thread::scope(|scope| {
                for mut rng in [1, 2].map(|_| Rng::from_env()) {
                    let job = &job;
                    scope.spawn(move || {
                        for _ in 0..300 {
                            let burst = 1 + rng.below(40);
                            let (done, all_done) = mpsc::channel();
                            for _ in 0..burst {
                                let done = done.clone();
                                job.execute(move || done.send(()).unwrap());
                            }
                            drop(done);
                            assert_eq!(all_done.iter().count(), burst);
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn many_small_jobs_from_many_threads_all_run() {
    within(LONG, || {
        let (pool, gauge) = (pool(8), Gauge::new());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for i in 0..3_000 {
                        let job = pool.job(1 + i % 3);
                        (0..4).for_each(|_| job.execute(pass_through(&gauge)));
                    }
                });
            }
        });
        gauge.until_ended(3 * 3_000 * 4);
    });
}

/// One that is still in its hook at the start does not count as somebody who looks for tasks.
#[test]
fn a_task_does_not_wait_for_a_worker_in_its_start_hook() {
    within(LONG, || {
        let (tell, told) = mpsc::channel();
        let told = Mutex::new(told);
        let pool = Pool::builder().workers(2).on_worker_start(move |index| {
            if index == 0 {
                told.lock().unwrap().recv().unwrap();
            }
        });
        let pool = pool.build().unwrap();
        while pool.stats().parked == 0 {
            thread::yield_now();
        }
        pool.job(1).execute(move || tell.send(()).unwrap());
    });
}
