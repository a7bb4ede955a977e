//! *permits_are_tasks*: a permit counts as a running task, and tasks and waiters of a job are admitted in one order.

#[path = "../common/mod.rs"]
mod common;
mod elsewhere;
mod ends;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use tollgate::{Acquire, Closed, Job, Permit, TryAcquireError};

use common::event::{Gauge, Latch, Wakes, stay};
use common::{LONG, backlog_of_three_pushed_inside, panic_of, pool, with_workers, within};

fn poll(acquire: &mut Acquire<'_>, waker: &Waker) -> Poll<Result<Permit, Closed>> {
    pin!(acquire).poll(&mut Context::from_waker(waker))
}

/// A waiter in the job's queue, and what counts its wake-ups.
fn queued(job: &Job) -> (Acquire<'_>, Arc<Wakes>) {
    let counting = Arc::new(Wakes::default());
    let mut acquire = job.acquire();
    assert!(poll(&mut acquire, &Waker::from(counting.clone())).is_pending(), "a permit was free");
    (acquire, counting)
}

fn granted(acquire: &mut Acquire<'_>) -> Permit {
    match poll(acquire, Waker::noop()) {
        Poll::Ready(permit) => permit.expect("the job is open"),
        Poll::Pending => panic!("the permit was not granted"),
    }
}

fn is_pending(acquire: &mut Acquire<'_>) -> bool {
    poll(acquire, Waker::noop()).is_pending()
}

#[test]
fn a_permit_counts_as_running_and_then_as_completed() {
    let pool = pool(1);
    let job = pool.job(3);
    let permits = [(), ()].map(|()| job.try_acquire().unwrap());
    assert_eq!(job.stats().running, 2);
    assert_eq!(permits[0].job(), job);
    assert!(format!("{:?}", permits[0]).contains("running: 2"));
    drop(permits);
    let stats = job.stats();
    assert_eq!((stats.running, stats.completed, stats.most_running), (0, 2, 2));
    assert!(job.wait_timeout(LONG));
}

#[test]
fn a_wait_for_the_job_waits_for_its_permits() {
    let pool = pool(1);
    let parent = pool.job(2);
    let job = parent.job(1);
    let permit = job.try_acquire().unwrap();
    assert!(!job.wait_timeout(Duration::from_millis(1)));
    assert!(!parent.wait_timeout(Duration::from_millis(1)));
    let waits = thread::spawn(move || parent.wait());
    drop(permit);
    waits.join().unwrap();
}

#[test]
fn the_limit_holds_for_tasks_and_permits_together() {
    with_workers(|pool, workers| {
        let job = pool.job(2);
        let permit = job.try_acquire().unwrap();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let tasks: Vec<_> = (0..3).map(|_| job.spawn(stay(&gauge, &latch))).collect();
        gauge.until_running(1);
        assert!(matches!(job.try_acquire(), Err(TryAcquireError::NoPermit)));
        assert_eq!(job.stats().running, 2);
        drop(permit);
        if workers > 1 {
            gauge.until_running(2);
        }
        latch.open();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert!(job.stats().most_running <= 2);
    });
}

/// The limit is above the number of workers, and still binds, because a permit needs no worker. So what the running task pushes waits
/// in the queue.
#[test]
fn a_limit_above_the_workers_binds_beside_a_permit() {
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(2);
        let permit = job.try_acquire().unwrap();
        assert_eq!(backlog_of_three_pushed_inside(&job), 3);
        drop(permit);
        job.wait();
    });
}

/// In the order: held, a task, a waiter, a task, a waiter.
#[test]
fn tasks_and_waiters_are_admitted_in_one_order() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let held = job.try_acquire().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = order.clone();
            move || order.lock().unwrap().push(name)
        };
        job.execute(note("first task"));
        let (mut first, first_woken) = queued(&job);
        job.execute(note("second task"));
        let (mut second, second_woken) = queued(&job);
        assert_eq!(job.stats().backlog, 4);
        drop(held);
        while first_woken.woken() == 0 {
            thread::yield_now();
        }
        let permit = granted(&mut first);
        assert_eq!(*order.lock().unwrap(), ["first task"]);
        assert!(is_pending(&mut second));
        drop(permit);
        // The poll has replaced its waker.
        drop(block_on(second).unwrap());
        assert_eq!(second_woken.woken(), 0);
        assert_eq!(*order.lock().unwrap(), ["first task", "second task"]);
        job.wait();
        assert_eq!(job.stats().completed, 5);
    });
}

#[test]
fn the_thread_that_gives_a_permit_back_wakes_the_next() {
    // The pool's one worker is busy: no worker comes between.
    let pool = pool(1);
    let (gauge, latch) = (Gauge::new(), Latch::new());
    pool.job(1).execute(stay(&gauge, &latch));
    gauge.until_running(1);
    for job in [pool.job(1), pool.job(1).job(5), pool.job(5).job(1)] {
        let held = if job.limit() == 1 { vec![job.try_acquire().unwrap()] } else { vec![] };
        let more: Vec<_> = std::iter::from_fn(|| job.try_acquire().ok()).collect();
        let (mut first, first_woken) = queued(&job);
        let (mut second, second_woken) = queued(&job);
        drop(held);
        drop(more);
        assert_eq!(first_woken.woken(), 1);
        let permit = granted(&mut first);
        assert_eq!(second_woken.woken(), 0);
        drop(permit);
        assert_eq!(second_woken.woken(), 1);
        drop(granted(&mut second));
        assert_eq!((job.stats().running, job.stats().backlog), (0, 0));
    }
    latch.open();
}

#[test]
fn a_raised_limit_admits_as_many_waiters() {
    let pool = pool(1);
    let job = pool.job(0);
    let (mut waiters, woken): (Vec<_>, Vec<_>) = (0..5).map(|_| queued(&job)).unzip();
    job.set_limit(3);
    assert_eq!(woken.iter().map(|woken| woken.woken()).collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
    let permits: Vec<_> = waiters[..3].iter_mut().map(granted).collect();
    assert!(waiters[3..].iter_mut().all(is_pending));
    assert_eq!(job.stats().running, 3);
    job.set_limit(1);
    let [first, second, third]: [Permit; 3] = permits.try_into().unwrap();
    drop(first);
    drop(second);
    assert!(waiters[3..].iter_mut().all(is_pending), "a permit was granted above the limit");
    drop(third);
    drop(granted(&mut waiters[3]));
    drop(granted(&mut waiters[4]));
}

#[test]
fn a_pause_holds_waiters_back() {
    let pool = pool(1);
    let job = pool.job(1);
    let held = job.try_acquire().unwrap();
    let (mut waiter, woken) = queued(&job);
    job.pause();
    drop(held);
    assert!(job.settled().wait_timeout(LONG));
    assert_eq!((woken.woken(), is_pending(&mut waiter)), (0, true));
    assert!(matches!(job.try_acquire(), Err(TryAcquireError::NoPermit)));
    job.resume();
    drop(granted(&mut waiter));
}

#[test]
fn a_waiter_that_is_dropped_leaves_the_queue() {
    let pool = pool(1);
    let job = pool.job(1);
    let held = job.try_acquire().unwrap();
    let (first, first_woken) = queued(&job);
    let (mut second, second_woken) = queued(&job);
    drop(first);
    drop(held);
    assert_eq!((first_woken.woken(), second_woken.woken()), (0, 1));
    assert_eq!(Arc::strong_count(&first_woken), 1, "the waker was kept");
    drop(granted(&mut second));
    let stats = job.stats();
    assert_eq!((stats.completed, stats.cancelled, stats.backlog), (2, 1, 0));
}

#[test]
fn a_permit_that_comes_to_a_waiter_which_is_dropped_goes_on() {
    let pool = pool(1);
    let job = pool.job(1);
    let held = job.try_acquire().unwrap();
    let (first, first_woken) = queued(&job);
    let (mut second, second_woken) = queued(&job);
    drop(held);
    assert_eq!((first_woken.woken(), second_woken.woken()), (1, 0));
    drop(first);
    assert_eq!(second_woken.woken(), 1);
    drop(granted(&mut second));
    // The permit of the dropped waiter was never a task.
    let stats = job.stats();
    assert_eq!((stats.running, stats.completed, stats.cancelled), (0, 2, 1));
}

#[test]
fn waiters_that_leave_a_long_queue_leave_no_memory() {
    // Each is dropped while another stands behind it and the permit is held throughout.
    let pool = pool(1);
    let job = pool.job(1);
    let _held = job.try_acquire().unwrap();
    let (_last, _) = queued(&job);
    for _ in 0..10_000 {
        drop(queued(&job));
    }
    assert!(job.stats().backlog < 100, "{} cells are left", job.stats().backlog);
}

#[test]
fn each_child_has_its_turn_at_the_parent() {
    let pool = pool(1);
    let parent = pool.job(1);
    let children = [(), ()].map(|()| parent.job(2));
    let held = parent.try_acquire().unwrap();
    let mut waiters: Vec<_> = [0, 0, 1, 1].map(|child| queued(&children[child])).into();
    drop(held);
    // The first of each child stands in the parent's queue, and the second follows when the first has left it.
    let mut order = Vec::new();
    while let Some(first) = waiters.iter().position(|(_, woken)| woken.woken() == 1) {
        assert_eq!(parent.stats().running, 1);
        let (mut waiter, woken) = waiters.remove(first);
        order.push(Arc::as_ptr(&woken));
        assert!(waiters.iter().all(|(_, woken)| woken.woken() == 0), "two were admitted");
        drop(granted(&mut waiter));
    }
    assert!(waiters.is_empty(), "a waiter was left");
    assert_eq!(order.len(), 4);
    let turns: Vec<_> = children.iter().map(|child| child.stats().completed).collect();
    assert_eq!(turns, [2, 2]);
}

#[test]
fn permits_are_send_and_static() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Permit>();
    fn check_future<T: Send + Sync>(_: &T) {}
    let pool = pool(1);
    check_future(&pool.job(1).acquire());
}

/// A permit that is given back goes to a waiter of the same job only if no sibling waits at a job above.
#[test]
fn a_sibling_s_task_goes_before_the_next_waiter_of_a_child() {
    with_workers(|pool, _| {
        for depth in 0..3 {
            let parent = pool.job(1);
            let (first, second) =
                ((0..depth).fold(parent.clone(), |job, _| job.job(2)).job(1), parent.job(1));
            let held = first.try_acquire().unwrap();
            let (mut waiter, _) = queued(&first);
            let (latch, gauge) = (Latch::new(), Gauge::new());
            second.execute(stay(&gauge, &latch));
            drop(held);
            gauge.until_running(1);
            assert!(is_pending(&mut waiter), "the parent's one permit was granted twice");
            latch.open();
            drop(block_on(waiter).unwrap());
        }
    });
}
