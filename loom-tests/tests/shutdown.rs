//! The three ends of a pool: drained, told to drop what has not started, dropped from inside.

#![cfg(tollgate_loom)]

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, ThreadId};
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, Payload, block_on};
use std::sync::Arc;
use tollgate::Pool;

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).max_spare_workers(0).build().unwrap()
}

#[test]
fn nothing_lost_when_a_drain_meets_a_spawn() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, drops) = (pool.job(1), Drops::default());
        let (theirs, payload) = (job.clone(), drops.payload());
        let pusher = thread::spawn(move || theirs.execute(move || drop(payload)));
        pool.shutdown();
        pusher.join().unwrap();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 1);
        assert_eq!(drops.count(), 1);
        drop(job);
        drop(pool);
    });
}

/// A permit that is granted at all is granted before the drain ends, because the drain waits until it is given back.
#[test]
fn nothing_lost_when_a_drain_meets_a_try_acquire() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, drained) = (pool.job(1), Arc::new(AtomicBool::new(false)));
        let (theirs, ended) = (job.clone(), Arc::clone(&drained));
        let other = thread::spawn(move || {
            if let Ok(permit) = theirs.try_acquire() {
                assert!(!ended.load(Ordering::Relaxed), "a permit was granted after the drain");
                drop(permit);
            }
        });
        pool.shutdown();
        drained.store(true, Ordering::Relaxed);
        other.join().unwrap();
        assert!(job.try_acquire().is_err());
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_a_task_pushes_on_in_a_drain() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, gauge) = (pool.job(1), Gauge::new(1));
        let (inner, seen) = (job.clone(), gauge.clone());
        job.execute(move || inner.execute(seen.task()));
        drop(job);
        pool.shutdown();
        assert_eq!(gauge.ran(), 1);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_an_abort_meets_a_running_task() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, drops) = (pool.job(1), Drops::default());
        for _ in 0..2 {
            let payload = drops.payload();
            job.execute(move || drop(payload));
        }
        let dropped = pool.shutdown_now();
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 2);
        assert_eq!(stats.cancelled as usize, dropped);
        assert_eq!(drops.count(), 2);
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_a_held_job_is_drained() {
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        let (job, drops) = (pool.job(1), Drops::default());
        let payload = drops.payload();
        job.pause();
        job.execute(move || drop(payload));
        pool.shutdown();
        assert_eq!(job.stats().cancelled, 1);
        assert_eq!(drops.count(), 1);
        drop(job);
        drop(pool);
    });
}

/// Notes the thread that drops it.
struct Witness {
    _payload: Payload,
    dropper: Arc<std::sync::Mutex<Option<ThreadId>>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        *self.dropper.lock().unwrap() = Some(thread::current().id());
    }
}

#[test]
fn nothing_lost_when_a_pause_meets_a_drain() {
    check(Bound::Preemptions(2), || {
        let pool = pool(1);
        let (job, drops, dropper) = (pool.job(1), Drops::default(), Arc::default());
        let witness = Witness { _payload: drops.payload(), dropper: Arc::clone(&dropper) };
        job.execute(move || drop(witness));
        let theirs = job.clone();
        let pauser = thread::spawn(move || {
            theirs.pause();
            thread::current().id()
        });
        pool.shutdown();
        let outside = [thread::current().id(), pauser.join().unwrap()];
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 1);
        assert_eq!(drops.count(), 1);
        let dropper = dropper.lock().unwrap().unwrap();
        assert!(!outside.contains(&dropper), "no worker dropped the task");
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_a_cancel_comes_as_the_last_worker_leaves() {
    check(Bound::Preemptions(2), || {
        let pool = pool(1);
        let (job, drops, dropper) = (pool.job(0), Drops::default(), Arc::default());
        let witness = Witness { _payload: drops.payload(), dropper: Arc::clone(&dropper) };
        job.execute(move || drop(witness));
        let theirs = job.clone();
        let canceller = thread::spawn(move || {
            theirs.cancel();
            thread::current().id()
        });
        pool.shutdown();
        let outside = [thread::current().id(), canceller.join().unwrap()];
        assert_eq!(job.stats().cancelled, 1, "what is no task was counted as one");
        assert_eq!(drops.count(), 1);
        let dropper = dropper.lock().unwrap().unwrap();
        assert!(!outside.contains(&dropper), "no worker dropped the task");
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_the_pool_is_dropped_from_inside() {
    check(Bound::Preemptions(3), || {
        // Nobody can join the worker: the hook tells that it has run its last task.
        let (gone, tell) = (loom::sync::Arc::new(Notify::new()), Drops::default());
        let (worker_gone, payload) = (gone.clone(), tell.payload());
        let pool = Pool::builder()
            .workers(1)
            .on_worker_stop(move |_| {
                let _ = &payload;
                worker_gone.notify();
            })
            .build()
            .unwrap();
        let shared = Arc::new(std::sync::Mutex::new(Some(pool)));
        let job = shared.lock().unwrap().as_ref().unwrap().job(1);
        let inside = shared.clone();
        let last = job.spawn(move || {
            let pool = inside.lock().unwrap().take();
            drop(pool);
        });
        last.join().unwrap();
        drop(job);
        gone.wait();
    });
}

#[test]
fn nothing_lost_when_the_last_worker_leaves_as_a_future_waits_for_the_end() {
    // The lost wake-up of the end: the worker leaves while the future enters the parking lot.
    check(Bound::Preemptions(3), || {
        let pool = pool(1);
        block_on(pool.shutdown_async());
        drop(pool);
    });
}

/// The end cancels the future in the list of pending futures, or the future sees the end when it becomes pending.
#[test]
fn nothing_lost_when_an_abrupt_end_meets_a_future_that_becomes_pending() {
    check(Bound::Preemptions(2), || {
        let pool = pool(1);
        let job = pool.job(1);
        let future = job.spawn_future(std::future::pending::<()>());
        pool.shutdown_now();
        assert!(future.join().unwrap_err().is_cancelled());
        drop(job);
        drop(pool);
    });
}

#[test]
fn nothing_lost_when_a_pause_meets_a_resume_before_a_drain() {
    // The list of held jobs must say what the word says. A drain waits for ever for a held job that is not listed.
    check(Bound::Preemptions(2), || {
        let (pool, drops) = (pool(1), Drops::default());
        let (job, payload) = (pool.job(1), drops.payload());
        let theirs = job.clone();
        let other = thread::spawn(move || theirs.resume());
        job.pause();
        other.join().unwrap();
        job.execute(move || drop(payload));
        pool.shutdown();
        assert_eq!(drops.count(), 1);
        drop(job);
        drop(pool);
    });
}
