//! What becomes of a task: done, tried again, set aside, given back.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use fleet_testing::within;
use tollgate_nats::{Fleet, Outcome};

use crate::{SOON, block, explained, open, server};

const LEASE: Duration = Duration::from_secs(30);

#[test]
fn a_task_that_fails_goes_to_the_back_and_keeps_no_permit() {
    let server = server::start();
    let job = open(server.port, 1, LEASE);
    (0..3_u64).for_each(|number| block(job.push(&number)).unwrap());
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let runs = Arc::new(Mutex::new(Vec::new()));
    let (all, stop) = (Arc::clone(&runs), job.clone());
    // The limit is 1 and the lease is long: a permit that is kept would stop the test.
    let local = pool.job(1);
    let served = job.serve(&local, move |number: u64, lease| {
        let mut runs = all.lock().unwrap();
        runs.push((number, lease.attempt()));
        let result = if number == 0 && lease.attempt() < 3 { Err("not yet") } else { Ok(()) };
        if runs.len() == 5 {
            stop.stop();
        }
        async move { result }
    });
    block(served).unwrap();
    let mut runs = runs.lock().unwrap().clone();
    assert_eq!(runs[..4], [(0, 1), (1, 1), (2, 1), (0, 2)]);
    assert_eq!(runs.pop(), Some((0, 3)));
    let rest = block(job.explain()).unwrap();
    assert_eq!((rest.leases, rest.queued, rest.set_aside), (0, 0, 0), "{rest}");
}

#[test]
fn a_task_that_fails_too_often_or_does_not_decode_is_set_aside() {
    let server = server::start();
    let fleet = block(Fleet::connect(server::address(server.port))).unwrap();
    let job = block(fleet.job("fleet").limit(2).attempts(2).open()).unwrap();
    block(job.push("no number")).unwrap();
    block(job.push(&1)).unwrap();
    block(job.push(&2)).unwrap();
    block(job.push(&3)).unwrap();
    let pool = tollgate::Pool::builder().workers(2).build().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let (count, stop) = (Arc::clone(&runs), job.clone());
    let local = pool.job(2);
    let served = job.serve(&local, move |number: u64, _| {
        if count.fetch_add(1, SeqCst) + 1 == 5 {
            stop.stop();
        }
        async move {
            match number {
                1 => panic!("the task {number} panics"),
                2 => Outcome::Retry("the task\nfails".into()),
                _ => Outcome::SetAside("no use".into()),
            }
        }
    });
    block(served).unwrap();
    let mut aside = block(job.set_aside(10)).unwrap();
    aside.sort_by(|a, b| a.task.cmp(&b.task));
    let seen: Vec<_> = aside.iter().map(|task| (task.task.as_str(), task.attempts)).collect();
    assert_eq!(seen, [("\"no number\"", 1), ("1", 2), ("2", 2), ("3", 1)]);
    assert!(aside[0].reason.starts_with("the task does not decode: invalid type"), "{aside:?}");
    assert!(aside[1].reason.contains("panics"), "{aside:?}");
    assert_eq!((aside[2].reason.as_str(), aside[3].reason.as_str()), ("the task fails", "no use"));
    let rest = block(job.explain()).unwrap();
    assert_eq!((rest.leases, rest.queued, rest.set_aside), (0, 0, 4), "{rest}");
    assert_eq!(block(job.set_aside(1)).unwrap().len(), 1);
}

#[test]
fn a_drain_runs_what_was_taken_and_acknowledges_it() {
    let server = server::start();
    let job = open(server.port, 4, LEASE);
    (0..20_u64).for_each(|number| block(job.push(&number)).unwrap());
    let pool = tollgate::Pool::builder().workers(4).build().unwrap();
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (begins, ends, stop) = (Arc::clone(&begun), Arc::clone(&ended), job.clone());
    let local = pool.job(4);
    let served = job.serve(&local, move |_: u64, _| {
        if begins.fetch_add(1, SeqCst) == 3 {
            stop.stop();
        }
        let ends = Arc::clone(&ends);
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ends.fetch_add(1, SeqCst);
        }
    });
    block(served).unwrap();
    let (begun, ended) = (begun.load(SeqCst), ended.load(SeqCst));
    assert_eq!(begun, ended);
    let rest = block(job.explain()).unwrap();
    assert_eq!((rest.leases, rest.queued), (0, 20 - ended), "{rest}");
    assert!(ended < 20, "it went on");
}

#[test]
fn a_service_that_is_dropped_drains_in_the_background() {
    let server = server::start();
    let job = open(server.port, 4, LEASE);
    (0..4_u64).for_each(|number| block(job.push(&number)).unwrap());
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let begun = Arc::new(AtomicU64::new(0));
    let begins = Arc::clone(&begun);
    let local = pool.job(1);
    let served = job.serve(&local, move |_: u64, _| {
        begins.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(20))
    });
    let first = futures::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        std::thread::sleep(Duration::from_millis(1));
        if begun.load(SeqCst) > 0 { Poll::Ready(()) } else { Poll::Pending }
    });
    block(futures::future::select(Box::pin(served), first));
    explained(&job, "all permits are back", |state| state.leases == 0);
    let seen = block(job.explain()).unwrap();
    assert_eq!(seen.queued, 4 - begun.load(SeqCst), "{seen}");
}

#[test]
fn a_task_that_the_local_job_cancels_goes_back() {
    let server = server::start();
    let job = open(server.port, 4, LEASE);
    block(job.push(&7)).unwrap();
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let local = pool.job(1);
    let begun = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let begins = Arc::clone(&begun);
        let served = job.serve(&local, move |_: u64, _| {
            begins.fetch_add(1, SeqCst);
            futures::future::pending::<()>()
        });
        scope.spawn(|| block(served).unwrap());
        within(SOON, "it runs", || begun.load(SeqCst) == 1);
        local.cancel();
    });
    let seen = block(job.explain()).unwrap();
    assert_eq!((seen.leases, seen.queued), (0, 1), "{seen}");
}
