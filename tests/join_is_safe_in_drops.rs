//! join_is_safe, where a capture of a cancelled task waits while it is dropped. A worker drops it between two turns, and takes
//! a spare worker for the wait.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use common::event::{Gauge, Latch, stay};
use common::{LONG, message_of, pool, with_workers, within};
use tollgate::{Job, JoinError, Pool, TaskHandle};

/// Does something when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

/// A task of the job keeps a worker until the latch opens.
fn kept_busy(job: &Job) -> Latch {
    let latch = Latch::new();
    let opening = latch.opening();
    job.execute(move || opening.wait());
    latch
}

/// A task that must not run, and waits for one of `other` when it is dropped; `told` is what that one returned.
fn waits_for_one_of(other: &Job) -> (impl FnOnce() + Send + 'static, Receiver<usize>) {
    let (tell, told) = channel();
    let other = other.clone();
    let captured = OnDrop(Some(move || {
        let sum = other.spawn(|| 20 + 3).join().unwrap();
        // Not everybody wants to know.
        let _ = tell.send(sum);
    }));
    let task = move || {
        let _captured = captured;
        unreachable!("it was cancelled");
    };
    (task, told)
}

/// As a task in a held job's queue, which a sweep drops.
#[test]
fn a_drop_in_a_cancelled_line_waits_for_a_task() {
    with_workers(|pool, _| {
        let (held, other) = (pool.job(0), pool.job(1));
        let dropped = [(); 5].map(|()| {
            let (task, dropped) = waits_for_one_of(&other);
            held.execute(task);
            dropped
        });
        held.cancel();
        held.wait();
        assert!(dropped.iter().all(|dropped| dropped.recv() == Ok(23)));
        other.wait();
        assert_eq!((held.stats().cancelled, other.stats().completed), (5, 5));
    });
}

/// As a ready task, which the only worker finds in a deque.
#[test]
fn a_drop_of_a_ready_task_waits_for_a_task() {
    within(LONG, || {
        let pool = pool(1);
        let (busy, ready, other) = (pool.job(1), pool.job(1), pool.job(1));
        let latch = kept_busy(&busy);
        let (task, dropped) = waits_for_one_of(&other);
        ready.execute(task);
        ready.cancel();
        latch.open();
        assert_eq!(dropped.recv(), Ok(23));
    });
}

/// As one that waited for the permit of the task that cancels them both: it is dropped as that permit goes back.
#[test]
fn a_drop_waits_where_a_permit_is_handed_on() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (pool.job(1), pool.job(1));
        let latch = Latch::new();
        let opening = latch.opening();
        let own = job.clone();
        job.execute(move || {
            opening.wait();
            own.cancel();
        });
        let (task, dropped) = waits_for_one_of(&other);
        job.execute(task);
        latch.open();
        assert_eq!(dropped.recv(), Ok(23));
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
    });
}

/// As the first two, in jobs below one of limit 1: what is waited for needs the permit that the dropped ones had in prospect, or
/// which is about to be handed on.
#[test]
fn a_drop_waits_for_a_sibling_s_task() {
    within(LONG, || {
        let pool = pool(1);
        let (parent, busy) = (pool.job(1), pool.job(1));
        for by_its_own in [false, true] {
            let (job, sibling) = (parent.job(1), parent.job(1));
            let latch = Latch::new();
            let opening = latch.opening();
            let own = job.clone();
            let first = if by_its_own { &job } else { &busy };
            first.execute(move || {
                opening.wait();
                own.cancel();
            });
            let (task, dropped) = waits_for_one_of(&sibling);
            job.execute(task);
            if !by_its_own {
                job.cancel();
            }
            latch.open();
            assert_eq!(dropped.recv(), Ok(23));
        }
    });
}

#[test]
fn a_drop_waits_for_a_job_that_is_cancelled_in_the_same_line() {
    within(LONG, || {
        let pool = pool(1);
        let (parent, busy) = (pool.job(0), pool.job(1));
        let (job, other) = (parent.job(1), parent.job(1));
        let latch = kept_busy(&busy);
        job.execute(|| unreachable!("it was cancelled"));
        let (tell, told) = channel();
        let waited = job.clone();
        let captured = OnDrop(Some(move || {
            waited.wait();
            tell.send(()).unwrap();
        }));
        other.execute(move || drop(captured));
        job.cancel();
        other.cancel();
        latch.open();
        told.recv().unwrap();
    });
}

/// The task that has them dropped waits for nothing.
#[test]
fn a_drop_joins_the_task_that_is_in_the_midst_of_having_it_dropped() {
    within(LONG, || {
        let pool = pool(2);
        let (job, held) = (pool.job(1), pool.job(0));
        let slot = Slot::default();
        let (tell, told) = channel();
        let joined = Arc::clone(&slot);
        let captured = OnDrop(Some(move || {
            let handle = joined.lock().unwrap().take().expect("it is dropped later");
            tell.send(handle.join().is_ok()).unwrap();
        }));
        held.execute(move || drop(captured));
        let latch = Latch::new();
        let opening = latch.opening();
        let theirs = held.clone();
        let task = job.spawn(move || {
            opening.wait();
            theirs.cancel();
            theirs.set_limit(1);
        });
        *slot.lock().unwrap() = Some(task);
        latch.open();
        assert_eq!(told.recv(), Ok(true));
    });
}

/// Each wait lends a worker's seat, and the spare that takes it drops the next task.
#[test]
fn thousands_of_drops_wait() {
    within(LONG, || {
        let pool = pool(1);
        let (held, other) = (pool.job(0), pool.job(1));
        for _ in 0..3_000 {
            held.execute(waits_for_one_of(&other).0);
        }
        held.cancel();
        held.wait();
        other.wait();
        assert_eq!((held.stats().cancelled, other.stats().completed), (3_000, 3_000));
    });
}

/// A handle that a capture comes by later.
type Slot = Arc<Mutex<Option<TaskHandle<()>>>>;

/// A task that must not run, and joins what is in `slot` when it is dropped.
fn joins(slot: &Slot, tell: Sender<bool>) -> impl FnOnce() + Send + 'static {
    let slot = Arc::clone(slot);
    let captured = OnDrop(Some(move || {
        let handle = slot.lock().unwrap().take().expect("it is dropped later");
        tell.send(matches!(handle.join(), Err(JoinError::Cancelled))).unwrap();
    }));
    move || {
        let _captured = captured;
        unreachable!("it was cancelled");
    }
}

/// More than wait inside one another.
const PAIRS: usize = 40;

/// Pushes a task into `first` and one into `second`, whose drops would join one another's were they not taken in turn: each
/// of the first joins one of the second.
fn entangle(first: &Job, second: &Job) -> Receiver<bool> {
    let (tell, told) = channel();
    for _ in 0..PAIRS {
        let slot = Slot::default();
        first.execute(joins(&slot, tell.clone()));
        *slot.lock().unwrap() = Some(second.spawn(|| unreachable!("it was cancelled")));
    }
    told
}

#[test]
fn a_drop_joins_what_stands_behind_it_in_line() {
    with_workers(|pool, _| {
        let held = pool.job(0);
        let told = entangle(&held, &held);
        held.cancel();
        held.wait();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [true; PAIRS]);
        assert_eq!(held.stats().cancelled, 2 * PAIRS as u64);
    });
}

/// Each of so many joins the next one; how many were told `Cancelled`.
fn chain(pool: &Pool, length: usize) -> usize {
    let held = pool.job(0);
    let (tell, told) = channel();
    let mut slot = Slot::default();
    held.execute(joins(&slot, tell.clone()));
    for _ in 1..length {
        let next = Slot::default();
        *slot.lock().unwrap() = Some(held.spawn(joins(&next, tell.clone())));
        slot = next;
    }
    *slot.lock().unwrap() = Some(held.spawn(|| unreachable!("it was cancelled")));
    drop(tell);
    held.cancel();
    held.wait();
    assert_eq!(held.stats().cancelled, length as u64 + 1);
    told.iter().filter(|cancelled| *cancelled).count()
}

/// A chain of destructors that wait for each other needs a thread for each, and one that drops the next task. A wait that
/// would block the last thread fails as a join does, and the rest of the queue is dropped all the same.
#[test]
fn a_chain_of_drops_needs_a_thread_for_each() {
    for (workers, spares) in [(1, 1), (1, 40), (2, 3), (8, 300)] {
        within(LONG, move || {
            let pool = || {
                let pool = Pool::builder().workers(workers).max_spare_workers(spares);
                pool.build().unwrap()
            };
            let most = workers + spares - 1;
            assert_eq!(chain(&pool(), most), most, "{most} threads may wait");
            assert_eq!(chain(&pool(), most + 1), most, "the last thread may not");
        });
    }
}

/// Blocks, when it is dropped, on something that is not the pool's and that a later drop in the same queue brings about.
#[test]
fn a_drop_blocks_for_what_a_later_drop_in_the_queue_sends() {
    with_workers(|pool, _| {
        let held = pool.job(0);
        let pairs = [(); PAIRS].map(|()| {
            let ((tell, told), (answer, answered)) = (channel(), channel());
            let blocks = OnDrop(Some(move || {
                tollgate::blocking(|| answer.send(told.recv().is_ok()).unwrap());
            }));
            held.execute(move || drop(blocks));
            let sends = OnDrop(Some(move || tell.send(()).unwrap()));
            held.execute(move || drop(sends));
            answered
        });
        held.cancel();
        held.wait();
        assert!(pairs.iter().all(|answered| answered.try_recv() == Ok(true)));
    });
}

#[test]
fn a_drop_joins_a_task_of_a_child_that_is_cancelled_with_it() {
    with_workers(|pool, _| {
        let held = pool.job(0);
        let child = held.job(1);
        let told = entangle(&held, &child);
        held.cancel();
        held.wait();
        assert_eq!(told.iter().take(PAIRS).collect::<Vec<_>>(), [true; PAIRS]);
    });
}

/// A drain cancels both jobs, and the workers drop their tasks before they leave.
#[test]
fn a_drop_joins_a_task_of_another_job_when_the_pool_ends() {
    with_workers(|pool, _| {
        let held = [pool.job(0), pool.job(0)];
        let both = [entangle(&held[0], &held[1]), entangle(&held[1], &held[0])];
        pool.shutdown();
        for told in both {
            assert_eq!(told.try_iter().collect::<Vec<_>>(), [true; PAIRS]);
        }
    });
}

/// A drain cancels a held job that a task waits for, and a capture of its task waits for a third.
#[test]
fn a_drop_waits_for_a_task_in_a_drain() {
    with_workers(|pool, _| {
        let (held, free, other) = (pool.job(0), pool.job(2), pool.job(1));
        let (task, dropped) = waits_for_one_of(&other);
        let held = held.spawn(task);
        let waits = free.spawn(move || matches!(held.join(), Err(JoinError::Cancelled)));
        pool.shutdown();
        assert!(waits.join().unwrap());
        assert_eq!(dropped.try_recv(), Ok(23));
    });
}

/// Nothing but the drop is hurt.
#[test]
fn a_drop_that_may_not_wait_is_told() {
    within(LONG, || {
        let pool = Pool::builder().workers(1).max_spare_workers(0).build().unwrap();
        let (held, other) = (pool.job(0), pool.job(1));
        let (tell, told) = channel();
        let pushed_to = other.clone();
        let captured = OnDrop(Some(move || {
            let joined = catch_unwind(AssertUnwindSafe(|| pushed_to.spawn(|| ()).join()));
            tell.send(message_of(&*joined.expect_err("nobody is there to run it")).to_owned())
                .unwrap();
        }));
        held.execute(move || drop(captured));
        held.cancel();
        let message = told.recv().unwrap();
        assert!(message.starts_with("what a task had captured cannot wait here"), "{message}");
        other.wait();
        assert_eq!(other.stats().completed, 1);
    });
}

/// The task that cancels and the worker that sweeps want the same queue lock.
#[test]
fn a_task_cancels_a_long_line_and_waits_for_it() {
    with_workers(|pool, _| {
        let (job, held) = (pool.job(1), pool.job(0));
        for _ in 0..20_000 {
            held.execute(|| unreachable!("it was cancelled"));
        }
        let theirs = held.clone();
        let task = job.spawn(move || {
            theirs.cancel();
            theirs.wait();
        });
        task.join().unwrap();
        assert_eq!(held.stats().cancelled, 20_000);
    });
}

/// The drain has swept the job before its workers leave. The cancel by a task of another pool finds nothing.
#[test]
fn a_task_cancels_what_is_held_in_a_pool_whose_workers_leave() {
    within(LONG, || {
        let (here, latch, gauge) = (pool(1), Latch::new(), Gauge::new());
        let stays = Mutex::new(Some(stay(&gauge, &latch)));
        let there = Pool::builder()
            .workers(1)
            .on_worker_stop(move |_| {
                if let Some(stay) = stays.lock().unwrap().take() {
                    stay();
                }
            })
            .build()
            .unwrap();
        let held = there.job(0);
        let (told, slot) = (entangle(&held, &held), held.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| there.shutdown());
            gauge.until_running(1);
            here.job(1).spawn(move || slot.cancel()).join().unwrap();
            latch.open();
        });
        held.wait();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [true; PAIRS]);
    });
}
