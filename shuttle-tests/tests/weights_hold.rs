//! Where weights count, running tasks weigh no more than the limit together, and no task that comes later starves a heavy one.

#![cfg(tollgate_shuttle)]

use shuttle::sync::mpsc;
use shuttle::thread;
use shuttle_tests::in_a_pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tollgate::{Job, Pool};

fn weighted(pool: &Pool, limit: usize) -> Job {
    pool.job_builder().limit(limit).weighted().build()
}

/// Adds up the weights of the tasks that are inside.
#[derive(Default)]
struct Scales {
    inside: AtomicUsize,
    ran: AtomicUsize,
}

impl Scales {
    fn visit(&self, weight: usize, limit: usize) {
        let inside = self.inside.fetch_add(weight, Relaxed) + weight;
        assert!(inside <= limit || inside == weight, "{inside} of {limit}");
        thread::yield_now();
        self.inside.fetch_sub(weight, Relaxed);
        self.ran.fetch_add(1, Relaxed);
    }
}

fn task(scales: &Arc<Scales>, weight: usize, limit: usize) -> impl FnOnce() + Send + use<> {
    let scales = scales.clone();
    move || scales.visit(weight, limit)
}

#[test]
fn weights_hold_for_tasks_of_all_weights() {
    in_a_pool(3, |pool| {
        let (cores, scales) = (weighted(&pool, 3), Arc::new(Scales::default()));
        let heavy = [cores.weigh(2), cores.weigh(3), cores.weigh(5)];
        let (theirs, seen) = (heavy.clone(), scales.clone());
        let pusher = thread::spawn(move || {
            for (job, weight) in theirs.iter().zip([2, 3, 5]) {
                job.execute(task(&seen, weight, 3));
            }
        });
        for _ in 0..3 {
            cores.execute(task(&scales, 1, 3));
        }
        heavy[0].execute(task(&scales, 2, 3));
        pusher.join().unwrap();
        cores.wait();
        assert_eq!(scales.ran.load(Relaxed), 7);
        assert_eq!(cores.stats().running, 0);
    });
}

#[test]
fn weights_hold_for_permits_beside_tasks() {
    in_a_pool(2, |pool| {
        let (cores, scales) = (weighted(&pool, 3), Arc::new(Scales::default()));
        let holders: Vec<_> = [1, 2, 3]
            .into_iter()
            .map(|weight| {
                let (job, scales) = (cores.weigh(weight), scales.clone());
                thread::spawn(move || {
                    let permit = job.acquire_blocking().unwrap();
                    scales.visit(weight, 3);
                    drop(permit);
                    if let Ok(permit) = job.try_acquire() {
                        scales.visit(weight, 3);
                        drop(permit);
                    }
                })
            })
            .collect();
        for weight in [2, 1] {
            cores.weigh(weight).execute(task(&scales, weight, 3));
        }
        holders.into_iter().for_each(|holder| holder.join().unwrap());
        cores.wait();
        assert!(scales.ran.load(Relaxed) >= 5);
    });
}

/// A heavy permit that does not fit has one of its permits for a moment.
#[test]
fn weights_hold_once_a_job_has_settled_beside_a_permit_that_does_not_fit() {
    in_a_pool(1, |pool| {
        let cores = weighted(&pool, 3);
        let heavy = cores.weigh(2);
        let held = heavy.try_acquire().unwrap();
        let asks = thread::spawn(move || assert!(heavy.try_acquire().is_err()));
        cores.set_limit(2);
        cores.settled().wait();
        assert!(cores.stats().running <= 2, "settled while more run than the limit allows");
        asks.join().unwrap();
        drop(held);
        assert_eq!(cores.stats().running, 0);
    });
}

/// The second permit comes back only when the light task has its own, which fits beside it.
#[test]
fn join_is_safe_beside_a_heavier_task_that_waits_for_its_permits() {
    in_a_pool(3, |pool| {
        let (cores, free) = (weighted(&pool, 2), pool.job(usize::MAX));
        let (come_back, is_back) = mpsc::channel();
        let begin = |job: &Job, come_back: Option<mpsc::Sender<()>>| {
            let (go, gone) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let inner = free.clone();
            let task = job.spawn(move || {
                let awaited = inner.spawn(move || gone.recv().unwrap());
                begin.send(()).unwrap();
                awaited.join().unwrap();
                if let Some(come_back) = come_back {
                    come_back.send(()).unwrap();
                }
            });
            begun.recv().unwrap();
            (task, go)
        };
        let (heavy, let_heavy_go) = begin(&cores.weigh(2), None);
        let (light, let_light_go) = begin(&cores, Some(come_back));
        let (first, second) =
            (cores.acquire_blocking().unwrap(), cores.acquire_blocking().unwrap());
        // In most schedules both wait for their permits, the heavy task first, when the first permit comes back.
        let_heavy_go.send(()).unwrap();
        (0..100).for_each(|_| thread::yield_now());
        let_light_go.send(()).unwrap();
        (0..100).for_each(|_| thread::yield_now());
        drop(first);
        is_back.recv().unwrap();
        drop(second);
        heavy.join().unwrap();
        light.join().unwrap();
        cores.wait();
        assert_eq!(cores.stats().running, 0);
    });
}

#[test]
fn nothing_lost_when_a_handle_cancels_a_heavy_task() {
    in_a_pool(2, |pool| {
        let (cores, scales) = (weighted(&pool, 2), Arc::new(Scales::default()));
        let held = cores.try_acquire().unwrap();
        let heavy = cores.weigh(2).spawn(task(&scales, 2, 2));
        assert!(heavy.cancel());
        // The push checks the queue, and admits the cancelled task, which does not fit and is first.
        cores.spawn(task(&scales, 1, 2)).join().unwrap();
        drop(held);
        cores.wait();
        assert_eq!(scales.ran.load(Relaxed), 1);
    });
}

#[test]
fn nothing_lost_when_heavy_tasks_are_cancelled() {
    in_a_pool(2, |pool| {
        let (cores, scales) = (weighted(&pool, 2), Arc::new(Scales::default()));
        let held = cores.try_acquire().unwrap();
        let heavy = cores.weigh(2);
        let handle = heavy.spawn(task(&scales, 2, 2));
        let doomed = heavy.clone();
        let canceller = thread::spawn(move || {
            _ = handle.cancel();
            doomed.cancel();
        });
        let light = cores.spawn(task(&scales, 1, 2));
        canceller.join().unwrap();
        light.join().unwrap(); // the permit that is free is enough
        drop(held);
        cores.wait();
        assert_eq!(scales.ran.load(Relaxed), 1);
    });
}
