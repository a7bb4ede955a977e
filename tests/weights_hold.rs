//! *weights_hold*: where weights count, running tasks weigh no more than the limit together, and no task that comes later
//! starves a heavy one.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::{slice, thread};

use common::event::{Gauge, Latch, stay};
use common::{LONG, panic_of, pool, unwind, with_workers, within};
use tollgate::{Job, JoinError, Pool, Rate, Reason, TryAcquireError};

fn weighted(pool: &Pool, limit: usize) -> Job {
    pool.job_builder().limit(limit).weighted().build()
}

/// Adds up the weights of the tasks that are inside.
#[derive(Clone, Default)]
struct Scales {
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    tasks: Arc<AtomicUsize>,
}

impl Scales {
    /// Makes a task that is inside for a moment. The weights inside may be at most `limit`, or that of one task.
    fn task(&self, weight: usize, limit: usize) -> impl FnOnce() + Send + use<> {
        let scales = self.clone();
        move || {
            let inside = scales.inside.fetch_add(weight, SeqCst) + weight;
            assert!(inside <= limit || inside == weight, "{inside} of {limit}");
            scales.most.fetch_max(inside, SeqCst);
            scales.tasks.fetch_add(1, SeqCst);
            thread::yield_now();
            scales.inside.fetch_sub(weight, SeqCst);
        }
    }
}

/// Notes the order in which tasks start.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

impl Order {
    fn task(&self, name: &'static str) -> impl FnOnce() + Send + use<> {
        let order = self.clone();
        move || order.0.lock().unwrap().push(name)
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// Comes back when each task that was ready before has had its worker.
fn until_served(pool: &Pool, workers: usize) {
    common::workers_pass(pool, workers);
    common::until_parked(pool, workers);
}

#[test]
fn running_tasks_weigh_no_more_than_the_limit() {
    with_workers(|pool, _| {
        let (cores, scales) = (weighted(pool, 4), Scales::default());
        let jobs: Vec<_> = [1, 2, 3, 4, 9].map(|weight| (weight, cores.weigh(weight))).into();
        thread::scope(|s| {
            for (weight, job) in &jobs {
                let scales = scales.clone();
                s.spawn(move || (0..100).for_each(|_| job.execute(scales.task(*weight, 4))));
            }
        });
        cores.wait();
        assert_eq!(scales.tasks.load(SeqCst), 500);
        let stats = cores.stats_with_children();
        assert_eq!((stats.completed, stats.panicked, stats.running), (500, 0, 0));
        assert_eq!(stats.most_running, 9, "the heaviest task runs alone");
    });
}

#[test]
fn the_first_task_reserves_what_comes_free() {
    with_workers(|pool, workers| {
        let (cores, order) = (weighted(pool, 3), Order::default());
        let (first, second) = (cores.try_acquire().unwrap(), cores.try_acquire().unwrap());
        let heavy = cores.weigh(3);
        heavy.execute(order.task("heavy"));
        // Each of these would fit.
        cores.execute(order.task("light"));
        cores.job(5).execute(order.task("sibling"));
        let waiter = cores.try_acquire();
        assert!(matches!(waiter, Err(TryAcquireError::NoPermit)), "{waiter:?}");
        until_served(pool, workers);
        assert_eq!(order.names(), [""; 0]);
        drop(first);
        until_served(pool, workers);
        assert_eq!(order.names(), [""; 0], "a task has overtaken the heavy one");
        drop(second);
        cores.wait();
        assert_eq!(order.names()[0], "heavy");
        assert_eq!(order.names().len(), 3);
        assert_eq!(cores.stats().running, 0);
    });
}

#[test]
fn light_siblings_do_not_starve_a_heavy_task() {
    /// A task that pushes its like until the heavy task has run.
    fn go_on(job: Job, heavy_ran: Arc<AtomicBool>) {
        if !heavy_ran.load(SeqCst) {
            job.clone().execute(move || go_on(job, heavy_ran));
        }
    }
    with_workers(|pool, _| {
        let (cores, heavy_ran) = (weighted(pool, 2), Arc::new(AtomicBool::new(false)));
        for _ in 0..3 {
            let light = cores.job(2);
            for _ in 0..20 {
                go_on(light.clone(), heavy_ran.clone());
            }
        }
        let heavy = cores.weigh(2);
        let ran = heavy_ran.clone();
        // Without a reservation, two permits would hardly ever be free at once.
        heavy.spawn(move || ran.store(true, SeqCst)).join().unwrap();
        cores.wait();
    });
}

#[test]
fn a_weight_above_the_limit_runs_alone() {
    with_workers(|pool, workers| {
        let (cores, order) = (weighted(pool, 2), Order::default());
        let light = cores.try_acquire().unwrap();
        let huge = cores.weigh(5);
        huge.execute(order.task("huge"));
        cores.execute(order.task("light"));
        until_served(pool, workers);
        assert_eq!(order.names(), [""; 0]);
        drop(light);
        cores.wait();
        assert_eq!(order.names(), ["huge", "light"]);
        assert_eq!(cores.stats().most_running, 5);
        let alone = huge.try_acquire().unwrap();
        assert!(cores.try_acquire().is_err());
        drop(alone);
        assert!(cores.try_acquire().is_ok());
    });
}

#[test]
fn a_limit_that_is_lowered_under_the_weight_lets_it_run_alone() {
    with_workers(|pool, workers| {
        let (cores, order) = (weighted(pool, 4), Order::default());
        let held = [cores.try_acquire().unwrap(), cores.try_acquire().unwrap()];
        let heavy = cores.weigh(3);
        heavy.execute(order.task("heavy"));
        cores.set_limit(2);
        until_served(pool, workers);
        assert_eq!(order.names(), [""; 0]);
        drop(held);
        cores.wait();
        assert_eq!(order.names(), ["heavy"]);
        // A limit of 0 holds, whatever the weight.
        cores.set_limit(0);
        heavy.execute(order.task("held"));
        until_served(pool, workers);
        assert_eq!(order.names(), ["heavy"]);
        cores.set_limit(1);
        cores.wait();
        assert_eq!(order.names(), ["heavy", "held"]);
    });
}

/// Opens a latch when it is called.
struct Opens(Latch);

impl Wake for Opens {
    fn wake(self: Arc<Self>) {
        self.0.open();
    }
}

/// A heavy task releases one permit first, and then the others. Only the last release leaves no more than the limit.
#[test]
fn a_job_has_settled_when_a_heavy_task_has_ended() {
    with_workers(|pool, _| {
        let cores = weighted(pool, 4);
        let heavy = cores.weigh(3);
        for limit in [0, 1, 2] {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            heavy.execute(stay(&gauge, &latch));
            gauge.until_running(1);
            cores.set_limit(limit);
            let (opens, mut settled) = (Latch::new(), pin!(cores.settled()));
            let (woken, waker) = (opens.opening(), Waker::from(Arc::new(Opens(opens))));
            assert!(settled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            latch.open();
            woken.wait();
            assert!(settled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
            assert_eq!(cores.stats().running, 0);
            cores.set_limit(4);
        }
    });
}

#[test]
fn a_raised_limit_starts_the_first_task() {
    with_workers(|pool, workers| {
        let cores = weighted(pool, 2);
        let held = cores.try_acquire().unwrap();
        let task = cores.weigh(2).spawn(|| ());
        until_served(pool, workers);
        assert!(!task.is_finished());
        cores.set_limit(3);
        task.join().unwrap();
        drop(held);
    });
}

#[test]
fn a_pause_holds_a_heavy_task() {
    with_workers(|pool, workers| {
        let cores = weighted(pool, 2);
        cores.pause();
        let heavy = cores.weigh(2);
        let task = heavy.spawn(|| ());
        assert!(heavy.try_acquire().is_err());
        until_served(pool, workers);
        assert!(!task.is_finished());
        cores.resume();
        task.join().unwrap();
        heavy.pause();
        let task = heavy.spawn(|| ());
        cores.spawn(|| ()).join().unwrap(); // a task that is not ready reserves nothing
        heavy.resume();
        task.join().unwrap();
    });
}

#[test]
fn a_task_that_waits_gives_all_its_permits_back() {
    with_workers(|pool, _| {
        let (cores, scales) = (weighted(pool, 3), Scales::default());
        let heavy = cores.weigh(3);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (cores, scales) = (cores.clone(), scales.clone());
                heavy.spawn(move || {
                    let task = cores.spawn(scales.task(1, 3));
                    task.join().unwrap();
                    scales.task(3, 3)();
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        cores.wait();
        assert_eq!(scales.tasks.load(SeqCst), 20);
        assert_eq!(cores.stats().running, 0);
    });
}

#[test]
fn a_task_joins_tasks_of_its_own_weighed_job() {
    with_workers(|pool, _| {
        let heavy = weighted(pool, 3).weigh(2);
        let inner = heavy.clone();
        let outer = heavy.spawn(move || {
            let tasks: Vec<_> = (0..10).map(|i| inner.spawn(move || i)).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).sum::<i32>()
        });
        assert_eq!(outer.join().unwrap(), 45);
        let mut sum = 0;
        heavy.scope(|s| {
            let parts: Vec<_> = (0..10).map(|i| s.spawn(move || i)).collect();
            sum = parts.into_iter().map(|part| part.join().unwrap()).sum();
        });
        assert_eq!(sum, 45);
        assert_eq!(heavy.map(0..10, |i| i).map(Result::unwrap).sum::<i32>(), 45);
    });
}

/// A light task takes its permit back although a heavy one, which does not fit, has waited for longer.
#[test]
fn a_task_that_fits_takes_its_permit_back_beside_one_that_does_not() {
    within(LONG, || {
        let pool = pool(2);
        let (cores, free) = (weighted(&pool, 2), pool.job(usize::MAX));
        let begin = |job: &Job| {
            let (go, gone) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let (come_back, is_back) = mpsc::channel();
            let inner = free.clone();
            let task = job.spawn(move || {
                let awaited = inner.spawn(move || gone.recv().unwrap());
                begin.send(()).unwrap();
                awaited.join().unwrap();
                come_back.send(()).unwrap();
            });
            begun.recv().unwrap();
            (task, go, is_back)
        };
        // Both tasks give their permits back and wait.
        let (heavy, let_heavy_go, _heavy_is_back) = begin(&cores.weigh(2));
        let (light, let_light_go, light_is_back) = begin(&cores);
        let held = [cores.acquire_blocking().unwrap(), cores.acquire_blocking().unwrap()];
        let_heavy_go.send(()).unwrap();
        while !format!("{cores:?}").contains("returning: true") {
            thread::yield_now();
        }
        let_light_go.send(()).unwrap();
        common::workers_pass(&pool, 2);
        let [first, second] = held;
        drop(first);
        // The second permit is given back only when the light task has its own.
        light_is_back.recv().unwrap();
        assert!(!heavy.is_finished());
        drop(second);
        heavy.join().unwrap();
        light.join().unwrap();
        cores.wait();
        assert_eq!(cores.stats().running, 0);
    });
}

#[test]
fn a_permit_takes_the_weight() {
    with_workers(|pool, _| {
        let cores = weighted(pool, 5);
        let heavy = cores.weigh(3);
        let permit = heavy.try_acquire().unwrap();
        assert_eq!((heavy.stats().running, cores.stats().running), (1, 3));
        assert!(matches!(heavy.try_acquire(), Err(TryAcquireError::NoPermit)));
        assert_eq!(cores.stats().running, 3, "a refused permit keeps nothing");
        let light = cores.try_acquire().unwrap();
        thread::scope(|s| {
            let waiter = s.spawn(|| heavy.acquire_blocking().unwrap());
            while cores.stats().backlog == 0 {
                thread::yield_now();
            }
            assert!(cores.try_acquire().is_err(), "a light permit overtakes the heavy waiter");
            drop(permit);
            let permit = waiter.join().unwrap();
            assert_eq!(cores.stats().running, 4);
            drop((permit, light));
        });
        assert_eq!(cores.stats().running, 0);
        // Threads that acquire never hold more than the limit.
        let held = AtomicUsize::new(0);
        thread::scope(|s| {
            for weight in [1, 2, 3, 5, 2, 1] {
                let (job, held) = (cores.weigh(weight), &held);
                s.spawn(move || {
                    for _ in 0..50 {
                        let permit = job.acquire_blocking().unwrap();
                        let sum = held.fetch_add(weight, SeqCst) + weight;
                        assert!(sum <= 5, "{sum} of 5");
                        held.fetch_sub(weight, SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!((cores.stats().running, cores.stats().most_running), (0, 5));
    });
}

#[test]
fn a_panic_gives_all_permits_back() {
    with_workers(|pool, _| {
        let cores = weighted(pool, 3);
        let heavy = cores.weigh(3);
        for _ in 0..5 {
            assert!(heavy.spawn(|| unwind("heavy")).join().is_err());
        }
        heavy.wait();
        assert_eq!((heavy.stats().panicked, cores.stats().running), (5, 0));
    });
}

#[test]
fn a_cancelled_job_reserves_nothing() {
    with_workers(|pool, workers| {
        let cores = weighted(pool, 2);
        let held = cores.try_acquire().unwrap();
        let heavy = cores.weigh(2);
        let task = heavy.spawn(|| unreachable!("it was cancelled"));
        let light = cores.spawn(|| ());
        until_served(pool, workers);
        assert!(!light.is_finished());
        heavy.cancel();
        light.join().unwrap();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        drop(held);
        cores.wait();
    });
}

#[test]
fn a_task_that_its_handle_has_cancelled_leaves_at_the_next_release() {
    with_workers(|pool, workers| {
        let cores = weighted(pool, 3);
        let held = [cores.try_acquire().unwrap(), cores.try_acquire().unwrap()];
        let task = cores.weigh(3).spawn(|| unreachable!("it was cancelled"));
        let light = cores.spawn(|| ());
        until_served(pool, workers);
        assert!(task.cancel());
        let [first, second] = held;
        drop(first);
        light.join().unwrap();
        drop(second);
        cores.wait();
        assert_eq!(cores.stats().running, 0);
    });
}

#[test]
fn a_child_has_its_parents_weight_at_each_gate_that_counts() {
    with_workers(|pool, _| {
        let all = weighted(pool, 10);
        let host = all.job(8); // counts tasks
        let heavy = host.job_builder().weight(3).weighted().limit(7).build();
        let (child, own) = (heavy.job(9), heavy.weigh(1));
        let running = || [&all, &host, &heavy].map(|job| job.stats().running);
        let permit = child.try_acquire().unwrap();
        assert_eq!(running(), [3, 1, 3]);
        let light = own.try_acquire().unwrap();
        assert_eq!(running(), [4, 2, 4]);
        let itself = heavy.try_acquire().unwrap();
        assert_eq!(running(), [7, 3, 7]);
        assert!(own.try_acquire().is_err());
        drop((permit, light, itself));
        assert_eq!(running(), [0, 0, 0]);
        for job in [&child, &own, &heavy, &host, &all] {
            (0..20).for_each(|_| job.execute(|| ()));
        }
        all.wait();
        assert_eq!(all.stats_with_children().completed, 100 + 3);
        assert_eq!(running(), [0, 0, 0]);
    });
}

#[test]
fn weights_and_rates_and_keys_go_together() {
    with_workers(|pool, _| {
        let builder = pool.job_builder().limit(4).weighted();
        let keys = builder.keyed(|key: &usize, builder| builder.weight(*key).limit(2));
        let scales = Scales::default();
        for i in 0..100 {
            let weight = 1 + i % 4;
            keys.job(&weight).execute(scales.task(weight, 4));
        }
        keys.parent().wait();
        assert_eq!(scales.tasks.load(SeqCst), 100);

        let paced = weighted(pool, 2);
        paced.set_rate(Rate::per_second(1_000_000).burst(10));
        paced.weigh(2).spawn(|| ()).join().unwrap();
        paced.wait();
        paced.set_rates(&[]); // weights still count
        let held = paced.try_acquire().unwrap();
        assert!(paced.weigh(2).try_acquire().is_err());
        drop(held);
        assert!(paced.weigh(2).try_acquire().is_ok());
    });
}

#[test]
fn a_task_takes_one_slot_whatever_it_weighs() {
    with_workers(|pool, _| {
        let cores = weighted(pool, 4);
        let heavy = cores.job_builder().weight(4).capacity(2).limit(0).build(); // held
        assert!(heavy.try_execute(|| ()).is_ok());
        assert!(heavy.try_execute(|| ()).is_ok());
        assert!(heavy.try_execute(|| ()).is_err());
        heavy.set_limit(1);
        heavy.wait();
    });
}

#[test]
fn a_drain_runs_heavy_tasks() {
    for workers in common::WORKERS {
        within(LONG, move || {
            let (pool, scales) = (pool(workers), Scales::default());
            let cores = weighted(&pool, 3);
            for weight in [1, 3, 7, 2] {
                let job = cores.weigh(weight);
                (0..25).for_each(|_| job.execute(scales.task(weight, 3)));
            }
            drop(cores);
            pool.shutdown();
            assert_eq!(scales.tasks.load(SeqCst), 100);
        });
    }
}

#[test]
fn it_is_explained() {
    with_workers(|pool, workers| {
        let cores = pool.job_builder().name("cores").limit(4).weighted().build();
        let held = [cores.try_acquire().unwrap(), cores.try_acquire().unwrap()];
        let (heavy, light) = (cores.weigh(3), cores.job(9));
        let task = heavy.spawn(|| ());
        until_served(pool, workers);
        let weight = Reason::Weight { job: cores.clone(), needs: 3, free: 2 };
        assert_eq!(heavy.explain_task(&task).reasons(), slice::from_ref(&weight));
        assert_eq!(heavy.explain().reasons(), slice::from_ref(&weight));
        let next = light.spawn(|| ());
        assert_eq!(light.explain_task(&next).reasons(), [weight, Reason::Behind { ahead: 1 }]);
        assert_eq!(
            light.explain().to_string(),
            "job \"cores\" has 2 of 3 permits free for its first task, and 1 task goes first"
        );
        drop(held);
        task.join().unwrap();
        next.join().unwrap();
    });
}

#[test]
fn bad_weights_are_refused_and_great_ones_are_cut() {
    within(LONG, || {
        let pool = pool(1);
        let cores = weighted(&pool, usize::MAX);
        assert!(panic_of(|| cores.weigh(0)).contains("a weight of 1 or more"));
        let greatest = cores.weigh(usize::MAX).try_acquire().unwrap();
        assert_eq!(cores.stats().running, Job::MAX_LIMIT);
        let last = cores.try_acquire().unwrap();
        assert!(cores.try_acquire().is_err());
        drop((greatest, last));
        cores.weigh(Job::MAX_LIMIT + 1).spawn(|| ()).join().unwrap();
        // A job that counts no weights takes one permit.
        let plain = pool.job(2);
        let permit = plain.weigh(100).try_acquire().unwrap();
        assert_eq!(plain.stats().running, 1);
        drop(permit);
    });
}

#[cfg(feature = "futures")]
mod futures {
    use super::*;
    use ::futures::channel::oneshot;

    #[test]
    fn a_pending_future_keeps_its_permits_unless_it_awaits_a_task() {
        with_workers(|pool, workers| {
            let cores = weighted(pool, 3);
            let heavy = cores.weigh(3);
            let (go, gone) = oneshot::channel::<()>();
            let future = heavy.spawn_future(async move { gone.await.unwrap() });
            until_served(pool, workers);
            assert_eq!(cores.stats().running, 3);
            let light = cores.spawn(|| 1);
            until_served(pool, workers);
            assert!(!light.is_finished());
            go.send(()).unwrap();
            future.join().unwrap();
            assert_eq!(light.join().unwrap(), 1);

            let inner = cores.clone();
            let awaits = heavy.spawn_future(async move { inner.spawn(|| 2).await.unwrap() });
            assert_eq!(awaits.join().unwrap(), 2);
            cores.wait();
            assert_eq!(cores.stats().running, 0);
        });
    }
}

/// Polls a wait for a permit once.
fn is_granted(acquire: &mut tollgate::Acquire<'_>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(acquire).poll(&mut context).is_ready()
}

#[test]
fn a_waiter_behind_a_heavy_task_gets_its_permit_when_the_task_is_cleared() {
    with_workers(|pool, workers| {
        let job = weighted(pool, 4);
        let _held = job.weigh(2).try_acquire().unwrap();
        let (heavy, light) = (job.weigh(4), job.clone());
        let task = heavy.spawn(|| ());
        until_served(pool, workers);
        let mut waiter = light.acquire();
        assert!(!is_granted(&mut waiter), "the heavy task is first");
        job.clear();
        assert!(is_granted(&mut waiter), "three permits of four are needed");
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
    });
}

#[test]
fn a_waiter_behind_a_heavy_one_that_leaves_gets_its_permit() {
    with_workers(|pool, _| {
        let job = weighted(pool, 4);
        let _held = job.weigh(2).try_acquire().unwrap();
        let heavy = job.weigh(4);
        let mut first = heavy.acquire();
        assert!(!is_granted(&mut first));
        let mut waiter = job.acquire();
        assert!(!is_granted(&mut waiter), "the heavy one is first");
        drop(first);
        assert!(is_granted(&mut waiter), "three permits of four are needed");
    });
}
