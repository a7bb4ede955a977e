//! Waits that nothing ends, as the crate's documentation lists them: each keeps no worker, and `shutdown_timeout` returns.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::event::{Gauge, Latch, stay};
use common::{LONG, message_of, pool, until_parked, with_workers, within};
#[cfg(feature = "futures")]
use futures::{channel::oneshot, future::select};
use tollgate::{Job, Pool, Reason, TaskHandle};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn two_tasks_that_wait_for_each_others_jobs() {
    within(LONG, || {
        let pool = pool(1);
        let [one, two] = ["one", "two"].map(|name| pool.job_builder().name(name).limit(1).build());
        let (began, begun) = mpsc::channel();
        let latch = Latch::new();
        for (own, other) in [(&one, &two), (&two, &one)] {
            let (other, began, opening) = (other.clone(), began.clone(), latch.opening());
            own.execute(move || {
                opening.wait();
                began.send(()).unwrap();
                other.wait();
            });
        }
        latch.open(); // each job has a task now, so neither wait returns at once
        // Both begin on one worker, and the next task finds it free.
        begun.recv().unwrap();
        begun.recv().unwrap();
        assert_eq!(pool.job(1).spawn(|| 1).join().unwrap(), 1);
        assert!(!one.wait_timeout(SHORT));
        until_parked(&pool, 1);
        for (job, other) in [(&one, &two), (&two, &one)] {
            let waiting = Reason::Waiting { tasks: 1, awaited: Some(other.clone()) };
            // A thread lends its seat before it notes that its task waits.
            while job.explain().reasons() != std::slice::from_ref(&waiting) {
                std::thread::yield_now();
            }
        }
        assert_eq!(one.explain().to_string(), "1 task waits for job \"two\"");
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (2, 0));
        assert!(left.to_string().contains("2 of its tasks still run"), "{left}");
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_drain_beside_a_future_that_is_never_woken() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let task = job.spawn_future(std::future::pending::<()>());
        // Its worker has left it, and nothing else is to be done.
        while job.stats().running == 0 {
            std::thread::yield_now();
        }
        until_parked(&pool, 2);
        assert_eq!(job.explain_task(&task).reasons(), [Reason::Pending]);
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (0, 1));
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_destructor_of_a_cancelled_task_that_waits_for_its_own_job() {
    struct Waits(Job, Arc<AtomicUsize>);
    impl Drop for Waits {
        fn drop(&mut self) {
            while self.1.load(SeqCst) == 0 && !self.0.wait_timeout(SHORT) {}
        }
    }
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(0);
        let ended = Arc::new(AtomicUsize::new(0));
        let waits = Waits(job.clone(), ended.clone());
        job.execute(move || drop(waits));
        job.cancel();
        while job.stats().backlog > 0 {
            std::thread::yield_now();
        }
        // The destructor keeps no worker.
        assert_eq!(pool.job(1).spawn(|| 1).join().unwrap(), 1);
        assert_eq!(job.explain().reasons(), [Reason::Cancelled { job: job.clone() }]);
        ended.store(1, SeqCst);
        job.wait();
        assert_eq!(job.stats().cancelled, 1);
    });
}

/// Futures that each await the other's handle: neither is woken, and neither holds a permit.
#[test]
#[cfg(feature = "futures")]
fn futures_that_await_each_other() {
    within(LONG, || {
        let pool = pool(2);
        let jobs = [pool.job(1), pool.job(1)];
        let (ways, ends): (Vec<_>, Vec<_>) =
            (0..2).map(|_| oneshot::channel::<TaskHandle<()>>()).unzip();
        let mut tasks: Vec<_> = jobs
            .iter()
            .zip(ends)
            .map(|(job, end)| job.spawn_future(async move { _ = end.await.unwrap().await }))
            .collect();
        let looks: Vec<_> = jobs.iter().map(|job| job.spawn(|| ())).collect();
        tasks.rotate_left(1);
        for (way, task) in ways.into_iter().zip(tasks) {
            way.send(task).unwrap();
        }
        // Both have given their permits up, so these can start.
        looks.into_iter().for_each(|look| look.join().unwrap());
        until_parked(&pool, 2);
        for job in &jobs {
            assert_eq!(job.explain().reasons(), [Reason::Waiting { tasks: 1, awaited: None }]);
        }
        assert!(!jobs[0].wait_timeout(SHORT));
        jobs[0].cancel();
        jobs.iter().for_each(Job::wait);
    });
}

/// A task that blocks its thread on a handle keeps its permit and its worker.
#[test]
#[cfg(feature = "futures")]
fn a_task_that_blocks_on_a_handle_of_its_own_job() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let (give, given) = mpsc::channel::<TaskHandle<()>>();
        let (began, begun) = mpsc::channel();
        let blocks = job.spawn(move || {
            let next = given.recv().unwrap();
            began.send(()).unwrap();
            futures::executor::block_on(next).unwrap_err()
        });
        give.send(job.spawn(|| ())).unwrap();
        begun.recv().unwrap();
        assert_eq!(job.explain_task(&blocks).reasons(), [Reason::Running { running: 1 }]);
        assert_eq!(
            job.explain().reasons(),
            [Reason::Limit { job: job.clone(), running: 1, limit: 1 }]
        );
        job.cancel();
        assert!(blocks.join().unwrap().is_cancelled());
    });
}

/// Two tasks that each hold a permit and acquire one of the other's job.
#[test]
fn two_tasks_that_acquire_each_others_permits() {
    within(LONG, || {
        let pool = pool(2);
        let gates = [pool.job(1), pool.job(1)];
        let (began, begun) = mpsc::channel();
        let both = Arc::new(std::sync::Barrier::new(2));
        let tasks = [0, 1].map(|which| {
            let (gates, began, both) = (gates.clone(), began.clone(), Arc::clone(&both));
            pool.job(1).spawn(move || {
                let first = gates[which].try_acquire().unwrap();
                tollgate::blocking(|| both.wait());
                began.send(()).unwrap();
                let second = gates[1 - which].acquire_blocking();
                drop((first, second.is_ok()));
            })
        });
        begun.recv().unwrap();
        begun.recv().unwrap();
        for gate in &gates {
            let full = Reason::Limit { job: gate.clone(), running: 1, limit: 1 };
            // The acquire is about to stand in the queue.
            while gate.explain().first() != &full {
                std::thread::yield_now();
            }
        }
        gates[0].cancel();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

/// A task that blocks its thread on a handle of another job, and is the only worker that could run that task.
#[test]
#[cfg(feature = "futures")]
fn a_task_that_blocks_the_only_worker() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(1));
        let (began, begun) = mpsc::channel();
        let awaited = other.clone();
        let (give_up, given_up) = oneshot::channel::<()>();
        let blocks = job.spawn(move || {
            let task = awaited.spawn(|| ());
            began.send(()).unwrap();
            futures::executor::block_on(select(task, given_up));
        });
        begun.recv().unwrap();
        let no_worker = Reason::NoWorker { busy: 1, workers: 1 };
        assert_eq!(other.explain().reasons(), [no_worker]);
        assert_eq!(job.explain_task(&blocks).reasons(), [Reason::Running { running: 1 }]);
        give_up.send(()).unwrap();
        blocks.join().unwrap();
        other.wait();
        assert_eq!(other.stats().completed, 1);
    });
}

#[test]
fn a_drain_beside_a_permit_that_is_not_given_back() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let permit = job.try_acquire().unwrap();
        assert_eq!(job.explain().reasons(), [Reason::Running { running: 1 }]);
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (0, 1));
        drop(permit);
        job.wait();
        assert_eq!(job.stats().completed, 1);
    });
}

#[test]
fn a_drain_beside_tasks_that_never_end() {
    within(LONG, || {
        let pool = pool(2);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let job = pool.job(4);
        // One keeps its worker, one has lent its seat, one waits for both.
        job.execute(stay(&gauge, &latch));
        let lends = stay(&gauge, &latch);
        let lent = job.spawn(move || tollgate::blocking(lends));
        gauge.until_running(2);
        let (began, begun) = mpsc::channel();
        pool.job(1).execute(move || {
            began.send(()).unwrap();
            lent.join().unwrap();
        });
        begun.recv().unwrap();
        // The worker that is left has found nothing to do.
        until_parked(&pool, 1);
        let queued = pool.job(0).spawn(|| ());
        let left = pool.shutdown_timeout(SHORT).unwrap_err();
        assert_eq!((left.running, left.pending), (3, 0));
        assert!(queued.join().unwrap_err().is_cancelled());
        drop(pool); // does not wait, either
        assert_eq!(gauge.running(), 2);
        latch.open();
        job.wait();
        assert_eq!(job.stats().completed, 2);
    });
}

/// Tasks of jobs with these names, each of which joins the next one, and the last one the first.
fn circle(pool: &Pool, names: &[&str]) -> Vec<String> {
    let mut ways_in = Vec::new();
    let (says, said) = mpsc::channel();
    let mut handles: Vec<_> = names
        .iter()
        .map(|name| {
            let (give, given) = mpsc::channel::<TaskHandle<()>>();
            ways_in.push(give);
            let says = says.clone();
            pool.job_builder().name(*name).limit(1).build().spawn(move || {
                // A task that waits for its channel keeps its worker.
                let next = tollgate::blocking(|| given.recv().unwrap());
                match catch_unwind(AssertUnwindSafe(|| next.join())) {
                    Err(payload) => says.send(message_of(&*payload).to_owned()).unwrap(),
                    Ok(result) => assert!(result.is_ok()),
                }
            })
        })
        .collect();
    drop(says);
    handles.rotate_left(1);
    for (give, handle) in ways_in.into_iter().zip(handles) {
        give.send(handle).unwrap();
    }
    said.iter().collect()
}

#[test]
fn tasks_that_join_each_other_in_a_circle_are_refused() {
    with_workers(|pool, _| {
        for names in [vec!["one", "two"], vec!["one", "two", "three"], vec!["many"; 30]] {
            for _ in 0..20 {
                let said = circle(pool, &names);
                let [message] = &said[..] else { panic!("one join closes the circle: {said:?}") };
                assert!(message.contains("in a circle"), "{message}");
                for name in &names {
                    assert_eq!(
                        message.matches(&format!("`{name}`")).count(),
                        names.iter().filter(|other| *other == name).count(),
                        "{message}"
                    );
                }
            }
        }
    });
}

/// The first task runs the second one inline, and the third one joins the first: the circle leads through a task that waits for
/// an inline one.
#[test]
fn a_circle_through_a_task_that_runs_another_inline_is_refused() {
    within(LONG, || {
        let pool = pool(2);
        let (outer, third) = (pool.job(1), pool.job(1));
        let (give, given) = mpsc::channel::<TaskHandle<()>>();
        let (says, said) = mpsc::channel();
        let joins = |next: TaskHandle<()>, says: mpsc::Sender<String>| match catch_unwind(
            AssertUnwindSafe(|| next.join()),
        ) {
            Err(payload) => says.send(message_of(&*payload).to_owned()).unwrap(),
            Ok(result) => assert!(result.is_ok()),
        };
        let last = {
            let says = says.clone();
            third.spawn(move || joins(tollgate::blocking(|| given.recv().unwrap()), says))
        };
        let inner = outer.clone();
        let first = outer.spawn(move || {
            let here = std::thread::current().id();
            let second = inner.spawn(move || {
                assert_eq!(std::thread::current().id(), here, "it runs inline");
                joins(last, says);
            });
            second.join().unwrap();
        });
        give.send(first).unwrap();
        let said: Vec<_> = said.iter().collect();
        let [message] = &said[..] else { panic!("one join closes the circle: {said:?}") };
        assert!(message.contains("in a circle"), "{message}");
        outer.wait();
        third.wait();
    });
}

/// Both joins begin at the same time, as nearly as threads can.
#[test]
fn two_joins_that_close_a_circle_together_are_refused_once() {
    within(LONG, || {
        let pool = pool(2);
        for _ in 0..200 {
            let at = Arc::new(AtomicUsize::new(0));
            let places: [Arc<Mutex<Option<TaskHandle<bool>>>>; 2] = Default::default();
            let jobs = [pool.job(0), pool.job(0)]; // held
            let tasks = [0, 1].map(|which| {
                let (at, place) = (Arc::clone(&at), Arc::clone(&places[1 - which]));
                jobs[which].spawn(move || {
                    let other: TaskHandle<bool> = place.lock().unwrap().take().unwrap();
                    at.fetch_add(1, SeqCst);
                    while at.load(SeqCst) < 2 {
                        std::hint::spin_loop();
                    }
                    catch_unwind(AssertUnwindSafe(|| other.join().unwrap())).is_err()
                })
            });
            for (place, task) in places.iter().zip(tasks) {
                *place.lock().unwrap() = Some(task);
            }
            jobs.iter().for_each(|job| job.set_limit(1));
            jobs.iter().for_each(Job::wait);
            // One join was refused, and its task returns true. The other task returns that result.
            let ended = jobs.iter().map(|job| job.stats().completed).sum::<u64>();
            assert_eq!(ended, 2);
        }
    });
}

/// A task that is joined by another waits inside for a third, and so on in a row, and a join with a timeout closes the circle.
#[test]
fn a_circle_with_a_timeout_is_no_circle() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (give, given) = mpsc::channel::<TaskHandle<()>>();
        let (begin, begun) = mpsc::channel();
        let first = job.spawn(move || {
            begin.send(()).unwrap();
            let last = tollgate::blocking(|| given.recv().unwrap());
            assert!(last.join_timeout(SHORT).is_err());
        });
        // A first task that has not begun may run inline in the last one. Then the last one waits on the thread of the first.
        begun.recv().unwrap();
        let middle = pool.job(1).spawn(move || first.join().unwrap());
        give.send(pool.job(1).spawn(move || middle.join().unwrap())).unwrap();
        job.wait();
        assert_eq!((job.stats().completed, job.stats().panicked), (1, 0));
    });
}
