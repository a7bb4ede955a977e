//! serial_in_order: if the limit is 1 throughout, workers start the tasks of one pusher in the order of its pushes, but for tasks that
//! a task of the same job joins.

mod common;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::event::Latch;
use common::rng::Rng;
use common::{unwind, with_workers};
use tollgate::{Job, Rate};

/// The order in which tasks started: who pushed each, and its number among that pusher's.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(usize, usize)>>>);

impl Log {
    fn note(&self, pusher: usize, number: usize) {
        self.0.lock().unwrap().push((pusher, number));
    }

    /// Each pusher's tasks must be in order, and `count` of them in all.
    fn check(&self, count: usize) {
        let log = self.0.lock().unwrap();
        assert_eq!(log.len(), count);
        let pushers = log.iter().map(|(pusher, _)| pusher + 1).max().unwrap_or(0);
        let mut last = vec![None; pushers];
        for &(pusher, number) in &*log {
            assert!(
                last[pusher] < Some(number),
                "{number} of pusher {pusher} started after {:?}",
                last[pusher]
            );
            last[pusher] = Some(number);
        }
    }
}

/// Pushes tasks in bursts, so that some find the job idle, some saturated, and some on the brink.
fn push_in_bursts(job: &Job, log: &Log, pusher: usize, count: usize, mut rng: Rng) {
    for number in 0..count {
        let log = log.clone();
        match rng.below(3) {
            0 => drop(job.spawn(move || log.note(pusher, number))),
            1 => drop(job.try_spawn(move || log.note(pusher, number)).unwrap()),
            _ => job.execute(move || log.note(pusher, number)),
        }
        if rng.one_in(10) {
            for _ in 0..rng.below(2_000) {
                std::hint::spin_loop();
            }
        }
        if rng.one_in(200) {
            job.wait();
        }
    }
}

#[test]
fn one_pusher() {
    with_workers(|pool, _| {
        let (job, log) = (pool.job(1), Log::default());
        push_in_bursts(&job, &log, 0, 20_000, Rng::from_env());
        job.wait();
        log.check(20_000);
    });
}

#[test]
fn several_pushers_each_in_its_order() {
    with_workers(|pool, _| {
        let (job, log) = (pool.job(1), Log::default());
        thread::scope(|scope| {
            for pusher in 0..3 {
                let (job, log, rng) = (&job, &log, Rng::from_env());
                scope.spawn(move || push_in_bursts(job, log, pusher, 3_000, rng));
            }
        });
        job.wait();
        log.check(9_000);
    });
}

#[test]
fn beside_other_busy_jobs() {
    with_workers(|pool, _| {
        let jobs: Vec<(Job, Log)> = (0..20).map(|_| (pool.job(1), Log::default())).collect();
        let flood = pool.job(usize::MAX);
        for number in 0..500 {
            for (job, log) in &jobs {
                let log = log.clone();
                job.execute(move || log.note(0, number));
                flood.execute(thread::yield_now);
            }
        }
        for (job, log) in &jobs {
            job.wait();
            log.check(500);
        }
        flood.wait();
    });
}

/// A slow item makes its puller give back the rest of a chunk. The next chunk is smaller, so the next slow item makes its puller
/// give back the middle of the input.
#[test]
fn items_of_an_input_that_are_given_back() {
    with_workers(|pool, _| {
        let (job, log, rng) = (pool.job(1), Log::default(), Mutex::new(Rng::from_env()));
        let run = |number| {
            log.note(0, number);
            if rng.lock().unwrap().one_in(20) {
                let began = Instant::now();
                while began.elapsed() < Duration::from_micros(60) {}
            }
        };
        job.for_each(0..10_000, run).unwrap();
        log.check(10_000);
    });
}

/// A task is one pusher: what it pushes into a serial job, its own or another, starts in that order.
#[test]
fn pushed_from_inside_a_task() {
    with_workers(|pool, _| {
        for own in [true, false] {
            for limit in [1, usize::MAX] {
                let (serial, log) = (pool.job(1), Log::default());
                let outer = if own { serial.clone() } else { pool.job(limit) };
                for pusher in 0..20 {
                    let (serial, log) = (serial.clone(), log.clone());
                    outer.execute(move || {
                        for number in 0..200 {
                            let log = log.clone();
                            match number % 2 {
                                0 => serial.execute(move || log.note(pusher, number)),
                                _ => drop(serial.spawn(move || log.note(pusher, number))),
                            }
                        }
                    });
                }
                outer.wait();
                serial.wait();
                log.check(20 * 200);
            }
        }
    });
}

#[test]
fn with_panics_and_cancels_between() {
    with_workers(|pool, _| {
        let mut rng = Rng::from_env();
        let (job, log) = (pool.job(1), Log::default());
        let (mut cancelled, mut handles) = (0, Vec::new());
        for number in 0..5_000 {
            let log = log.clone();
            let handle = job.spawn(move || {
                log.note(0, number);
                if number % 7 == 0 {
                    unwind("a task that fails");
                }
            });
            handles.push(handle);
            if rng.one_in(4) {
                cancelled += usize::from(handles.swap_remove(rng.below(handles.len())).cancel());
            }
        }
        job.wait();
        log.check(5_000 - cancelled);
    });
}

#[test]
fn across_pauses() {
    with_workers(|pool, _| {
        let (job, log) = (pool.job(1), Log::default());
        thread::scope(|scope| {
            let pusher = scope.spawn(|| push_in_bursts_without_waits(&job, &log, 5_000));
            while !pusher.is_finished() {
                job.pause();
                thread::yield_now();
                job.resume();
                // The limit that it has: order is promised while the limit is 1 throughout.
                job.set_limit(1);
            }
        });
        job.wait();
        log.check(5_000);
    });
}

fn push_in_bursts_without_waits(job: &Job, log: &Log, count: usize) {
    for number in 0..count {
        let log = log.clone();
        job.execute(move || log.note(0, number));
        if number % 50 == 0 {
            thread::yield_now();
        }
    }
}

/// What was ready when the first task blocked is not overtaken by what came later.
#[test]
fn behind_a_task_that_blocks() {
    with_workers(|pool, _| {
        for _ in 0..50 {
            let (job, log, latch) = (pool.job(1), Log::default(), Latch::new());
            for number in 0..200 {
                let (log, opening) = (log.clone(), latch.opening());
                job.execute(move || {
                    log.note(0, number);
                    if number % 67 == 0 {
                        opening.wait();
                    }
                });
            }
            latch.open();
            job.wait();
            log.check(200);
        }
    });
}

/// Pushes tasks into the paused job, every second of which joins a task of `other`. Resumes the job, and checks the order. While a
/// task waits, the next one becomes ready, and is so still when the first one has its permit again.
fn check_after_waits(job: &Job, other: &Job) {
    let log = Log::default();
    job.pause();
    for number in 0..20 {
        let (log, other) = (log.clone(), other.clone());
        job.execute(move || {
            log.note(0, number);
            if number % 2 == 0 {
                other.spawn(|| ()).join().unwrap();
            }
        });
    }
    job.resume();
    job.wait();
    log.check(20);
}

#[test]
fn after_a_task_that_waits_for_another_job() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            check_after_waits(&pool.job(1), &pool.job(limit));
        }
    });
}

/// While the first task waits inside, the second task passes the gate of their job. Then it waits for the permit of the parent, which
/// the joined task uses.
#[test]
fn after_a_task_that_waits_for_the_parent_or_a_sibling() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let parent = pool.job(limit);
            let (job, sibling) = (parent.job(1), parent.job(1));
            check_after_waits(&job, &parent);
            check_after_waits(&job, &sibling);
            check_after_waits(&job, &pool.job(1));
        }
    });
}

#[test]
fn after_a_task_that_waits_in_a_job_with_a_rate_or_weights() {
    with_workers(|pool, _| {
        let rate = Rate::per_second(1_000).burst(1_000);
        check_after_waits(&pool.job_builder().limit(1).rate(rate).build(), &pool.job(1));
        check_after_waits(&pool.job_builder().limit(1).weighted().build(), &pool.job(1));
    });
}

/// A task of the other job that runs inline waits, too. It has pushed a further task into its job, which becomes ready.
#[test]
fn after_a_task_that_waits_inside_a_wait() {
    with_workers(|pool, _| {
        let (job, middle, other) = (pool.job(1), pool.job(1), pool.job(1));
        let log = [Log::default(), Log::default()];
        job.pause();
        for number in 0..20 {
            let (log, middle, other) = (log.clone(), middle.clone(), other.clone());
            job.execute(move || {
                log[0].note(0, number);
                let within = middle.clone();
                let waits = middle.spawn(move || {
                    let lines = log[1].clone();
                    within.execute(move || lines.note(1, number));
                    log[1].note(0, number);
                    other.spawn(|| ()).join().unwrap();
                });
                waits.join().unwrap();
            });
        }
        job.resume();
        job.wait();
        middle.wait();
        log[0].check(20);
        log[1].check(40);
    });
}
