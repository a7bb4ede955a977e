//! Permits acquired inside tasks, by wakers of all kinds, and on tokio.

use super::*;
use std::task::Wake;

#[test]
fn a_task_acquires_a_permit_of_another_job_without_its_own() {
    within(LONG, || {
        let pool = pool(1);
        let (own, other) = (pool.job(1), pool.job(1));
        let held = other.try_acquire().unwrap();
        let theirs = other.clone();
        let task = own.spawn(move || theirs.acquire_blocking().map(|permit| permit.job().limit()));
        while other.stats().backlog == 0 {
            thread::yield_now();
        }
        // The one permit and the one worker are free meanwhile.
        assert_eq!(own.spawn(|| 7).join().unwrap(), 7);
        drop(held);
        assert_eq!(task.join().unwrap(), Ok(1));
    });
}

/// A task of another pool acquires a permit, or gives one back. The drain of the permit's own pool waits for it, and no other drain.
#[test]
fn a_permit_counts_in_its_own_pool_wherever_it_goes() {
    within(LONG, || {
        let [own, first, second] = [(); 3].map(|()| pool(1));
        let job = own.job(2);
        let acquires = job.clone();
        let permit = first.job(1).spawn(move || acquires.try_acquire().unwrap()).join().unwrap();
        first.shutdown();
        let given_back = job.try_acquire().unwrap();
        second.job(1).spawn(move || drop(given_back)).join().unwrap();
        second.shutdown();
        assert_eq!(own.shutdown_timeout(Duration::ZERO).unwrap_err().pending, 1);
        drop(permit);
        own.shutdown();
    });
}

#[test]
#[cfg(feature = "futures")]
fn a_future_awaits_a_permit_of_another_job_without_its_own() {
    within(LONG, || {
        let pool = pool(1);
        let (own, other) = (pool.job(1), pool.job(1));
        let held = other.try_acquire().unwrap();
        let theirs = other.clone();
        let task = own.spawn_future(async move { theirs.acquire().await.is_ok() });
        while other.stats().backlog == 0 {
            thread::yield_now();
        }
        assert_eq!(own.spawn(|| 7).join().unwrap(), 7);
        drop(held);
        assert!(task.join().unwrap());
    });
}

#[test]
fn a_task_may_not_wait_for_a_permit_of_its_own_job_or_a_relative() {
    let pool = pool(2);
    let parent = pool.job(20);
    let [own, sibling] = [(), ()].map(|()| parent.job(10));
    for target in [own.clone(), parent.clone(), sibling, own.job(1)] {
        let said = own.spawn({
            let target = target.clone();
            move || {
                let blocking = panic_of(|| target.acquire_blocking());
                let future = panic_of(|| block_on(target.acquire()));
                assert_eq!(blocking, future);
                assert!(target.try_acquire().is_ok(), "it never waits, so it may be called");
                blocking
            }
        });
        assert!(said.join().unwrap().contains("try_acquire"));
    }
}

/// Waits for the job inside its `wake`, which is foreign code like any other.
struct Waiting(Job);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        assert!(!self.0.wait_timeout(Duration::ZERO), "the permit is not given back yet");
    }
}

#[test]
fn a_waker_may_wait_for_the_job() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(0);
        let parent = pool.job(0);
        let child = parent.job(1);
        for (acquired, raised) in [(&job, &job), (&child, &parent)] {
            let mut acquire = acquired.acquire();
            let waker = Waker::from(Arc::new(Waiting(acquired.clone())));
            assert!(poll(&mut acquire, &waker).is_pending());
            raised.set_limit(1);
            drop(granted(&mut acquire));
        }
    });
}

#[test]
fn a_waker_that_panics_harms_no_other_waiter() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            common::unwind("a waker panics");
        }
    }
    let pool = pool(1);
    let job = pool.job(0);
    let mut first = job.acquire();
    assert!(poll(&mut first, &Waker::from(Arc::new(Panics))).is_pending());
    let (mut second, woken) = queued(&job);
    job.set_limit(2);
    assert_eq!(woken.woken(), 1);
    drop((granted(&mut first), granted(&mut second)));
    assert_eq!(job.stats().running, 0);
}

#[test]
fn on_tokio_the_limit_holds_beside_tasks_of_the_pool() {
    let pool = pool(2);
    let everything = pool.job(3);
    let jobs = [everything.job(2), everything.job(2)];
    let gauge = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let visit = |gauge: &(AtomicUsize, AtomicUsize)| {
        let inside = gauge.0.fetch_add(1, SeqCst) + 1;
        assert!(inside <= 3, "{inside} at once");
        thread::yield_now();
        gauge.0.fetch_sub(1, SeqCst);
        gauge.1.fetch_add(1, SeqCst);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..400 {
            let (job, gauge) = (jobs[number % 2].clone(), gauge.clone());
            if number % 4 == 0 {
                job.execute(move || visit(&gauge));
                continue;
            }
            tasks.spawn(async move {
                let permit = job.acquire().await.unwrap();
                visit(&gauge);
                if number % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                drop(permit);
            });
        }
        tasks.join_all().await;
    });
    everything.wait();
    assert_eq!(gauge.1.load(SeqCst), 400);
    for job in &jobs {
        assert!(job.stats().most_running <= 2);
    }
    assert!(everything.stats().most_running <= 3);
}
