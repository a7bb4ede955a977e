//! `Job::clear` drops each task that waits, and its handle says so. Tasks that run, waiters for a permit, and tasks that are
//! pushed after the call are not affected.

mod common;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, SECOND, Tokens, all_cancelled, pool, with_clock, with_workers, within};
use tollgate::{Job, JoinError, Pool, Retry, TaskHandle};

/// A job of limit 1 whose one task stays until the latch opens. All later tasks stand in its queue.
fn busy(pool: &Pool) -> (Job, Latch) {
    let job = pool.job(1);
    let latch = keep_busy(&job);
    (job, latch)
}

fn keep_busy(job: &Job) -> Latch {
    let (gauge, latch) = (Gauge::new(), Latch::new());
    job.execute(stay(&gauge, &latch));
    gauge.until_running(1);
    latch
}

fn spawn_many(job: &Job, count: usize, tokens: &Tokens) -> Vec<TaskHandle<()>> {
    let spawn = |_| {
        let token = tokens.token();
        job.spawn(move || drop(token))
    };
    (0..count).map(spawn).collect()
}

#[test]
fn what_waits_is_dropped_and_what_is_pushed_later_runs() {
    with_workers(|pool, _| {
        let (job, latch) = busy(pool);
        let tokens = Tokens::new();
        for round in 1..4 {
            let stale = spawn_many(&job, 100, &tokens);
            (0..100).for_each(|_| job.execute(|| unreachable!("a cleared task runs")));
            job.clear();
            assert_eq!(job.stats().backlog, 0);
            assert!(!job.is_closed());
            if pool.workers() > 1 {
                assert!(all_cancelled(stale)); // although the job's one task still runs
                assert_eq!(tokens.dropped(), 100 * round);
            }
        }
        let fresh = spawn_many(&job, 100, &tokens);
        latch.open();
        assert!(fresh.into_iter().all(|task| task.join().is_ok()));
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled, tokens.dropped()), (101, 600, 400));
    });
}

#[test]
fn a_held_job_is_cleared_and_a_wait_for_it_returns() {
    with_workers(|pool, _| {
        for hold in [|job: &Job| job.set_limit(0), Job::pause] {
            let (job, tokens) = (pool.job(3), Tokens::new());
            hold(&job);
            let stale = spawn_many(&job, 50, &tokens);
            // Its handle leaves an empty cell, which is counted once.
            assert!(stale[7].cancel());
            let waits = thread::spawn({
                let job = job.clone();
                move || {
                    job.wait();
                    job.stats().cancelled
                }
            });
            job.clear();
            assert_eq!(waits.join().unwrap(), 50);
            assert!(all_cancelled(stale));
            job.clear();
            job.resume();
            job.set_limit(1);
            assert_eq!(job.spawn(|| 1).join().unwrap(), 1);
            job.wait();
            assert_eq!(job.stats().cancelled, 50);
        }
    });
}

#[test]
fn jobs_below_are_cleared_and_their_siblings_are_not() {
    with_workers(|pool, _| {
        let (host, latch) = busy(pool);
        let children: Vec<_> = (0..3).map(|_| host.job(2)).collect();
        let grandchild = children[0].job(1);
        let tokens = Tokens::new();
        // One task of each child stands in the queue of the host.
        let mut tasks: Vec<_> = children.iter().map(|job| spawn_many(job, 5, &tokens)).collect();
        let below = spawn_many(&grandchild, 5, &tokens);
        let own = spawn_many(&host, 5, &tokens);
        children[0].clear();
        assert_eq!((children[0].stats().backlog, grandchild.stats().backlog), (0, 0));
        assert_eq!(children[1].stats().backlog, 5);
        let later = children[0].spawn(|| "later");
        latch.open();
        assert!(all_cancelled(tasks.remove(0)) && all_cancelled(below));
        assert!(tasks.into_iter().flatten().chain(own).all(|task| task.join().is_ok()));
        assert_eq!(later.join().unwrap(), "later");
        host.wait();
        let latch = keep_busy(&host);
        let tasks: Vec<_> = children.iter().flat_map(|job| spawn_many(job, 5, &tokens)).collect();
        let below = spawn_many(&grandchild, 5, &tokens);
        host.clear();
        assert_eq!(host.stats_with_children().backlog, 0);
        let later: Vec<_> = children.iter().map(|job| job.spawn(|| ())).collect();
        latch.open();
        assert!(all_cancelled(tasks) && all_cancelled(below));
        assert!(later.into_iter().all(|task| task.join().is_ok()));
        host.wait();
        assert_eq!(host.stats_with_children().cancelled, 10 + 20);
        assert_eq!(tokens.made(), tokens.dropped());
    });
}

/// The child has no task of its own. So the child's delegate in the queue of the host is a task of the grandchild.
#[test]
fn a_task_of_a_grandchild_is_cleared_from_the_queue_of_the_host() {
    with_workers(|pool, _| {
        let (host, latch) = busy(pool);
        let (child, sibling, tokens) = (host.job(2), host.job(2), Tokens::new());
        let grandchild = child.job(2);
        let stale = spawn_many(&grandchild, 3, &tokens);
        let kept = sibling.spawn(|| "kept");
        assert_eq!(host.stats().backlog, 2); // one task of each child
        child.clear();
        assert_eq!(host.stats().backlog, 1);
        latch.open();
        assert!(all_cancelled(stale));
        assert_eq!(kept.join().unwrap(), "kept");
        assert_eq!(grandchild.spawn(|| "later").join().unwrap(), "later");
        host.wait();
        assert_eq!((grandchild.stats().cancelled, tokens.dropped()), (3, 3));
    });
}

#[test]
fn tasks_that_wait_for_their_time_are_dropped_at_once() {
    with_clock(|pool, clock| {
        let (job, tokens) = (pool.job(1), Tokens::new());
        let (later, again, bounded) = (tokens.token(), tokens.token(), tokens.token());
        let delayed = job.spawn_after(SECOND, move || drop(later));
        let mut attempts = 0;
        let policy = Retry::new().first_delay(SECOND);
        let (tried, first) = mpsc::channel();
        let retried = job.spawn_retry(policy, move || {
            let _ = &again;
            attempts += 1;
            tried.send(attempts).unwrap();
            Err::<(), _>(attempts)
        });
        assert_eq!(first.recv().unwrap(), 1);
        while job.stats().delayed < 2 {
            thread::yield_now();
        }
        job.pause();
        let within = job.spawn_within(SECOND, move || drop(bounded));
        job.clear();
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.delayed, stats.backlog, stats.cancelled), (0, 0, 3));
        assert_eq!(tokens.dropped(), 3);
        clock.advance(10 * SECOND);
        assert!(delayed.join().unwrap_err().is_cancelled());
        assert!(retried.join().unwrap_err().is_cancelled());
        assert!(matches!(within.join(), Err(JoinError::Cancelled)));
        job.resume();
        let next = job.spawn_after(SECOND, || "next");
        clock.advance(SECOND);
        assert_eq!(next.join().unwrap(), "next");
    });
}

#[test]
fn a_retried_task_in_an_attempt_is_tried_again() {
    with_clock(|pool, clock| {
        let job = pool.job(1);
        let (begun, begins) = mpsc::channel();
        let latch = Latch::new();
        let (opening, mut attempts) = (latch.opening(), 0);
        let task = job.spawn_retry(Retry::new().first_delay(SECOND), move || {
            attempts += 1;
            begun.send(()).unwrap();
            opening.wait();
            if attempts < 2 { Err(()) } else { Ok("went on") }
        });
        begins.recv().unwrap();
        job.clear();
        latch.open();
        while job.stats().delayed == 0 {
            thread::yield_now();
        }
        clock.advance(2 * SECOND);
        assert_eq!(task.join().unwrap().result, Ok("went on"));
    });
}

#[test]
fn waiters_for_permits_and_for_slots_keep_their_places() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(1).capacity(1).build();
        let held = job.try_acquire().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut acquire = pin!(job.acquire());
        assert!(acquire.as_mut().poll(&mut cx).is_pending());
        let thread = thread::spawn({
            let job = job.clone();
            move || drop(job.acquire_blocking().unwrap())
        });
        while job.stats().backlog < 2 {
            thread::yield_now();
        }
        let stale = job.spawn(|| unreachable!());
        let pusher = thread::spawn({
            let job = job.clone();
            move || job.spawn(|| "pushed when the slot was free").join()
        });
        job.clear();
        assert!(matches!(stale.join(), Err(JoinError::Cancelled)));
        drop(held);
        // If the pusher has the queue lock, the pusher admits the waiter a little later.
        let permit = loop {
            match acquire.as_mut().poll(&mut cx) {
                Poll::Ready(permit) => break permit.unwrap(),
                Poll::Pending => thread::yield_now(),
            }
        };
        drop(permit);
        thread.join().unwrap();
        assert_eq!(pusher.join().unwrap().unwrap(), "pushed when the slot was free");
        job.wait();
        // A permit that was given back counts as a completed task.
        assert_eq!((job.stats().completed, job.stats().cancelled), (4, 1));
    });
}

#[test]
fn lazy_input_goes_on() {
    with_workers(|pool, workers| {
        let job = pool.job(1);
        job.pause();
        let sum = AtomicUsize::new(0);
        thread::scope(|threads| {
            let (inner, sum) = (job.clone(), &sum);
            threads.spawn(move || {
                inner.for_each(0..100, |i| _ = sum.fetch_add(i, SeqCst)).unwrap();
            });
            while job.stats().backlog < 1 {
                thread::yield_now();
            }
            let stale = job.spawn(|| unreachable!());
            job.clear(); // the puller stands in the queue
            assert!(matches!(stale.join(), Err(JoinError::Cancelled)));
            job.resume();
        });
        assert_eq!(sum.into_inner(), 4_950);
        let clears = job.clone();
        let results = job.map(0..100, move |i| {
            clears.clear();
            i
        });
        assert!(results.map(Result::unwrap).eq(0..100));
        let scoped = pool.job(workers);
        scoped.pause();
        let ran = AtomicUsize::new(0);
        scoped.scope(|scope| {
            (0..10).for_each(|_| scope.execute(|| _ = ran.fetch_add(1, SeqCst)));
            scoped.clear();
            scoped.resume();
        });
        scoped.wait();
        assert_eq!((ran.into_inner(), scoped.stats().cancelled), (0, 10));
    });
}

#[test]
fn slots_of_cleared_tasks_are_free_again() {
    with_workers(|pool, _| {
        let job = pool.job_builder().limit(0).capacity(3).build(); // held
        for _ in 0..20 {
            (0..3).for_each(|_| job.try_execute(|| unreachable!()).unwrap());
            assert!(job.try_execute(|| ()).is_err());
            job.clear();
            job.wait();
        }
        assert_eq!(job.stats().cancelled, 60);
    });
}

/// Joins the task whose handle comes into it later, when it is dropped.
struct JoinOnDrop(Arc<Mutex<Option<TaskHandle<()>>>>, mpsc::Sender<Result<(), JoinError>>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        let handle = self.0.lock().unwrap().take().expect("it is dropped later");
        self.1.send(handle.join()).unwrap();
    }
}

#[test]
fn join_is_safe_in_the_drop_of_a_cleared_task() {
    with_workers(|pool, _| {
        let job = pool.job(0); // held
        let (joined, (tell, told)) = (Arc::default(), mpsc::channel());
        let first = JoinOnDrop(Arc::clone(&joined), tell);
        job.execute(move || drop(first));
        *joined.lock().unwrap() = Some(job.spawn(|| ()));
        job.clear();
        assert!(matches!(told.recv().unwrap(), Err(JoinError::Cancelled)));
        job.wait();
        assert_eq!(job.stats().cancelled, 2);
    });
}

/// The pool has one worker, so no other thread drops the cleared tasks before their joins.
#[test]
fn a_cleared_task_does_not_run_inline() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        for joining in [&outer, &inner] {
            let job = inner.clone();
            let task = joining.spawn(move || {
                job.pause();
                let tasks = [1, 2].map(|_| job.spawn(|| unreachable!("a cleared task runs")));
                job.clear();
                job.resume();
                tasks
                    .into_iter()
                    .rev()
                    .for_each(|task| assert!(task.join().unwrap_err().is_cancelled()));
            });
            task.join().unwrap();
        }
        inner.wait();
        assert_eq!((inner.stats().completed, inner.stats().cancelled), (1, 4));
    });
}

#[test]
fn a_task_may_clear_its_own_job() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (inner, latch) = (job.clone(), Latch::new());
        let opening = latch.opening();
        let clears = job.spawn(move || {
            opening.wait();
            inner.clear();
            inner.spawn(|| "fresh")
        });
        let stale: Vec<_> = (0..50).map(|_| job.spawn(|| ())).collect();
        latch.open();
        let fresh = clears.join().unwrap();
        assert_eq!(fresh.join().unwrap(), "fresh");
        assert!(all_cancelled(stale));
    });
}

#[test]
fn pushes_beside_clears_run_or_are_dropped_once() {
    with_workers(|pool, _| {
        for limit in [1, 3, usize::MAX] {
            let (host, tokens, gauge) = (pool.job(limit), Tokens::new(), Gauge::new());
            let jobs = [host.clone(), host.job(1), host.job(2)];
            thread::scope(|threads| {
                for job in &jobs {
                    let (tokens, gauge) = (&tokens, &gauge);
                    threads.spawn(move || {
                        for _ in 0..300 {
                            let (token, task) = (tokens.token(), pass_through(gauge));
                            job.execute(move || {
                                task();
                                drop(token);
                            });
                        }
                    });
                }
                (0..100).for_each(|i| jobs[i % 3].clear());
            });
            host.wait();
            let stats = host.stats_with_children();
            assert_eq!(stats.completed as usize, gauge.started());
            assert_eq!(stats.completed + stats.cancelled, 900);
            assert_eq!(tokens.dropped(), 900);
            assert!(gauge.most() <= limit);
        }
    });
}

#[test]
fn a_clear_after_the_end_does_nothing() {
    within(LONG, || {
        let pool = pool(2);
        let (cancelled, open) = (pool.job(0), pool.job(1));
        drop(cancelled.spawn(|| ()));
        cancelled.cancel();
        cancelled.clear();
        cancelled.wait();
        assert_eq!(cancelled.stats().cancelled, 1);
        drop(pool);
        for job in [cancelled, open] {
            job.clear();
            job.wait();
        }
    });
}

#[test]
fn a_drain_ends_although_what_waits_is_cleared_meanwhile() {
    with_clock(|pool, _| {
        let (job, latch) = busy(pool);
        let stale: Vec<_> = (0..20).map(|_| job.spawn(|| ())).collect();
        let delayed = job.spawn_after(1_000 * SECOND, || ());
        thread::scope(|threads| {
            let drains = threads.spawn(|| pool.shutdown());
            job.clear();
            latch.open();
            drains.join().unwrap();
        });
        assert!(delayed.join().unwrap_err().is_cancelled());
        assert!(all_cancelled(stale));
    });
}

#[test]
fn is_paused_says_what_was_done_to_this_job() {
    with_workers(|pool, _| {
        let host = pool.job(1);
        let page = host.job(1);
        host.pause();
        host.pause();
        assert!(host.is_paused() && !page.is_paused());
        page.pause();
        host.resume();
        assert!(!host.is_paused() && page.is_paused());
        page.set_limit(0);
        page.resume();
        assert!(!page.is_paused());
    });
}

#[test]
fn is_idle_says_whether_a_wait_would_return() {
    with_clock(|pool, clock| {
        let host = pool.job(2);
        let page = host.job(1);
        assert!(host.is_idle() && page.is_idle());
        let latch = keep_busy(&page);
        assert!(!host.is_idle() && !page.is_idle());
        latch.open();
        host.wait();
        assert!(host.is_idle() && page.is_idle());
        let inner = host.clone();
        assert!(!page.spawn(move || inner.is_idle()).join().unwrap());
        host.wait();
        let permit = page.try_acquire().unwrap();
        assert!(!host.is_idle());
        drop(permit);
        let delayed = page.spawn_after(SECOND, || ());
        assert!(!host.is_idle());
        clock.advance(SECOND);
        delayed.join().unwrap();
        host.wait();
        assert!(host.is_idle());
        page.pause();
        let task = page.spawn(|| ());
        assert!(!page.is_idle() && !host.is_idle());
        assert!(task.cancel());
        assert!(page.is_idle() && host.is_idle()); // only an empty cell was left
        page.resume();
    });
}

#[cfg(feature = "futures")]
mod futures {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn a_future_that_was_polled_goes_on() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let (tell, told) = mpsc::channel();
            let mut polls = 0;
            let pending = job.spawn_future(poll_fn(move |cx| {
                polls += 1;
                tell.send(cx.waker().clone()).unwrap();
                if polls == 1 { Poll::Pending } else { Poll::Ready("went on") }
            }));
            let waker = told.recv().unwrap();
            let tokens = Tokens::new();
            let token = tokens.token();
            let stale = job.spawn_future(async move { drop(token) });
            job.clear();
            assert!(stale.join().unwrap_err().is_cancelled());
            assert_eq!(tokens.dropped(), 1);
            waker.wake();
            assert_eq!(pending.join().unwrap(), "went on");
        });
    }

    #[test]
    fn a_future_that_waits_for_its_permit_again_goes_on() {
        with_workers(|pool, _| {
            let (job, other) = (pool.job(1), pool.job(0)); // held
            let (tell, told) = mpsc::channel();
            let awaited = other.spawn(|| "awaited");
            let pending = job.spawn_future(async move {
                tell.send(()).unwrap();
                awaited.await.unwrap()
            });
            told.recv().unwrap();
            while job.stats().running > 0 {
                thread::yield_now(); // a future that awaits a handle holds no permit
            }
            job.pause();
            other.set_limit(1);
            while job.stats().backlog < 1 {
                thread::yield_now(); // it stands in the queue
            }
            let stale = job.spawn(|| ());
            job.clear();
            assert!(stale.join().unwrap_err().is_cancelled());
            job.resume();
            assert_eq!(pending.join().unwrap(), "awaited");
        });
    }
}
