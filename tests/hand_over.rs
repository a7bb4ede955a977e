//! `JobBuilder::capacity(0)`: a push hands a task over together with its permits, or refuses it, or waits until it can.

mod common;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tollgate::{Closed, Job, JoinError, Pool, Rate, Reason, Rejected, Retry};

use common::event::{Gauge, Latch, pass_through, stay};
use common::{
    LONG, SECOND, Tokens, job_without_inline_tasks, panic_of, pool, with_clock, with_workers,
    within, workers_pass,
};

fn job_of(pool: &Pool, limit: usize) -> Job {
    pool.job_builder().limit(limit).capacity(0).build()
}

/// Takes all workers until the latch opens, so that a task that is pushed meanwhile does not begin.
fn take_workers(pool: &Pool) -> Latch {
    let (gauge, latch, job) = (Gauge::new(), Latch::new(), pool.job(usize::MAX));
    (0..pool.workers()).for_each(|_| job.execute(stay(&gauge, &latch)));
    gauge.until_running(pool.workers());
    latch
}

fn is_full<T>(pushed: Result<T, Rejected<impl Sized>>) -> bool {
    matches!(pushed, Err(Rejected::Full(_)))
}

#[test]
fn a_push_takes_a_free_permit_or_is_refused() {
    with_workers(|pool, _| {
        for limit in [1, 3] {
            let (job, gauge, latch) = (job_of(pool, limit), Gauge::new(), Latch::new());
            for taken in 1..=limit {
                job.try_execute(stay(&gauge, &latch)).unwrap();
                // It has its permit, whether or not a worker has begun it.
                assert_eq!((job.stats().running, job.stats().backlog), (taken, 0));
            }
            assert!(is_full(job.try_execute(|| ())) && is_full(job.try_spawn(|| ())));
            job.set_limit(limit + 1);
            job.try_execute(stay(&gauge, &latch)).unwrap();
            assert!(is_full(job.try_execute(|| ())));
            latch.open();
            job.wait();
            assert_eq!(job.try_spawn(|| 5).unwrap().join().unwrap(), 5);
            job.wait();
            let stats = job.stats();
            assert_eq!((stats.completed, stats.cancelled), (limit as u64 + 2, 0));
            assert!(stats.most_running <= limit + 1 && gauge.most() <= limit + 1);
        }
    });
}

#[test]
fn each_gate_must_be_open() {
    with_clock(|pool, clock| {
        let parent = pool.job(1);
        let job = parent.job_builder().limit(2).capacity(0).build();
        let held = parent.try_acquire().unwrap();
        assert!(is_full(job.try_execute(|| ())));
        assert_eq!(job.stats().running, 0);
        drop(held);
        for gate in [&parent, &job] {
            gate.pause();
            assert!(is_full(job.try_execute(|| ())));
            gate.resume();
            gate.hold_off(SECOND);
            assert!(is_full(job.try_execute(|| ())));
            clock.advance(SECOND);
        }
        job.set_rate(Rate::every(SECOND));
        job.try_spawn(|| ()).unwrap().join().unwrap();
        job.wait();
        assert!(is_full(job.try_execute(|| ())));
        clock.advance(SECOND);
        assert!(job.try_spawn(|| ()).unwrap().join().is_ok());
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (2, 0));
    });
}

#[test]
fn a_push_from_outside_waits_until_a_task_ends() {
    with_workers(|pool, workers| {
        let (job, gauge, latch) = (job_of(pool, 1), Gauge::new(), Latch::new());
        job.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let pushers: Vec<_> = (0..3)
            .map(|number| {
                let job = job.clone();
                thread::spawn(move || job.spawn(move || number).join())
            })
            .collect();
        while job.stats().backlog < 3 {
            thread::yield_now();
        }
        workers_pass(pool, workers - 1);
        assert_eq!((job.stats().running, job.stats().backlog), (1, 3));
        latch.open();
        for (number, pusher) in pushers.into_iter().enumerate() {
            assert_eq!(pusher.join().unwrap().unwrap(), number);
        }
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled, stats.most_running), (4, 0, 1));
    });
}

#[test]
fn a_future_waits_for_a_permit_or_leaves() {
    with_workers(|pool, _| {
        let (job, mut cx) = (job_of(pool, 1), Context::from_waker(Waker::noop()));
        let Poll::Ready(slot) = pin!(job.reserve()).poll(&mut cx) else {
            panic!("a permit is free")
        };
        assert_eq!(job.stats().running, 1);
        let mut stays = Box::pin(job.reserve());
        let mut leaves = Box::pin(job.reserve());
        assert!(leaves.as_mut().poll(&mut cx).is_pending());
        assert!(stays.as_mut().poll(&mut cx).is_pending());
        drop(leaves);
        drop(slot); // the permit goes to the future that stays
        let Poll::Ready(slot) = stays.as_mut().poll(&mut cx) else { panic!("no permit came") };
        assert_eq!(slot.unwrap().spawn(|| 7).join().unwrap(), 7);
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 0));
        assert_eq!(job.stats().backlog, 0);
    });
}

#[test]
fn a_close_ends_each_wait() {
    type End = fn(&Pool, &Job, &Job);
    let ends: [End; 4] = [
        |_, job, _| job.close(),
        |_, job, _| job.cancel(),
        |_, _, parent| parent.close(),
        |_, _, parent| parent.cancel(),
    ];
    for end in ends {
        with_workers(move |pool, _| {
            let parent = pool.job(usize::MAX);
            let job = parent.job_builder().limit(1).capacity(0).build();
            let (held, tokens) = (job.try_acquire().unwrap(), Tokens::new());
            let (inner, token) = (job.clone(), tokens.token());
            let pusher = thread::spawn(move || inner.spawn(move || drop(token)).join());
            let inner = job.clone();
            let future = thread::spawn(move || {
                let mut reserve = pin!(inner.reserve());
                let mut cx = Context::from_waker(Waker::noop());
                loop {
                    match reserve.as_mut().poll(&mut cx) {
                        Poll::Ready(reserved) => return reserved.map(drop),
                        Poll::Pending => thread::yield_now(),
                    }
                }
            });
            while job.stats().backlog < 2 {
                thread::yield_now();
            }
            end(pool, &job, &parent);
            assert!(matches!(pusher.join().unwrap(), Err(JoinError::Cancelled)));
            assert_eq!(future.join().unwrap(), Err(Closed));
            assert_eq!(tokens.dropped(), 1);
            drop(held);
            job.wait();
            // The permit, and the one task that was pushed.
            assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
        });
    }
}

#[test]
fn a_shutdown_ends_each_wait() {
    for end in [|pool: &Pool| pool.shutdown(), |pool: &Pool| _ = pool.shutdown_now()] {
        within(LONG, move || {
            let pool = pool(2);
            let (job, gauge, latch) = (job_of(&pool, 1), Gauge::new(), Latch::new());
            job.execute(stay(&gauge, &latch));
            gauge.until_running(1);
            let inner = job.clone();
            let pusher = thread::spawn(move || inner.spawn(|| ()).join());
            while job.stats().backlog < 1 {
                thread::yield_now();
            }
            thread::scope(|threads| {
                threads.spawn(|| end(&pool));
                // The pusher leaves before the task that it waits for has ended.
                assert!(matches!(pusher.join().unwrap(), Err(JoinError::Cancelled)));
                latch.open();
            });
            assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
        });
    }
}

#[test]
fn a_task_that_no_worker_has_begun_does_not_start_in_a_held_job() {
    type Hold = (fn(&Job), fn(&Job));
    let holds: [Hold; 2] =
        [(Job::pause, Job::resume), (|job| job.set_limit(0), |job| job.set_limit(1))];
    for (hold, let_go) in holds {
        with_clock(move |pool, _| {
            let parent = pool.job(1);
            let job = parent.job_builder().limit(1).capacity(0).build();
            for gate in [&job, &parent] {
                let (latch, gauge) = (take_workers(pool), Gauge::new());
                let task = job.try_spawn(pass_through(&gauge)).unwrap();
                assert_eq!(job.stats().running, 1);
                hold(gate);
                latch.open();
                // It gives its permits back, and stands in a queue.
                while (parent.stats().running, job.stats().running, job.stats().backlog)
                    != (0, 0, 1)
                {
                    thread::yield_now();
                }
                assert_eq!(gauge.started(), 0);
                let_go(gate);
                task.join().unwrap();
                assert_eq!(gauge.started(), 1);
                parent.wait();
            }
            assert_eq!((job.stats().completed, job.stats().cancelled), (2, 0));
        });
    }
}

#[test]
fn a_task_that_no_worker_has_begun_waits_for_the_end_of_a_hold_off() {
    with_clock(|pool, clock| {
        let job = job_of(pool, 1);
        let latch = take_workers(pool);
        let task = job.try_spawn(|| "later").unwrap();
        job.hold_off(SECOND);
        latch.open();
        while job.stats().backlog < 1 {
            thread::yield_now();
        }
        assert!(!task.is_finished());
        clock.advance(SECOND);
        assert_eq!(task.join().unwrap(), "later");
    });
}

#[test]
fn a_cancel_drops_what_no_worker_has_begun() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        let job = parent.job_builder().limit(2).capacity(0).build();
        let (latch, tokens) = (take_workers(pool), Tokens::new());
        let (one, two) = (tokens.token(), tokens.token());
        let task = job.try_spawn(move || drop(one)).unwrap();
        let by_handle = job.try_spawn(move || drop(two)).unwrap();
        assert!(by_handle.cancel());
        job.cancel();
        latch.open();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        job.wait();
        assert_eq!(tokens.dropped(), 2);
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled, stats.running), (0, 2, 0));
        parent.wait();
        assert_eq!(parent.stats().running, 0);
    });
}

#[test]
fn inside_the_pool_spawn_waits_in_the_queue_and_try_refuses() {
    with_workers(|pool, _| {
        let job = job_of(pool, 1);
        let inner = job.clone();
        let outer = job.spawn(move || {
            assert!(is_full(inner.try_execute(|| ())));
            let said = panic_of(|| {
                let mut cx = Context::from_waker(Waker::noop());
                _ = pin!(inner.reserve()).poll(&mut cx);
            });
            assert!(said.contains("own job"), "{said}");
            (0..10).for_each(|_| inner.execute(|| ()));
            inner.spawn(|| 3).join().unwrap()
        });
        assert_eq!(outer.join().unwrap(), 3);
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (12, 0));
    });
}

#[test]
fn each_way_in_hands_over() {
    with_clock(|pool, clock| {
        let job = job_of(pool, 1);
        let ran = AtomicUsize::new(0);
        job.scope(|scope| {
            scope.execute(|| _ = ran.fetch_add(1, SeqCst));
            scope.execute(|| _ = ran.fetch_add(1, SeqCst)); // waits for the first one
            assert_eq!(scope.spawn(|| ran.fetch_add(1, SeqCst)).join().unwrap(), 2);
        });
        assert_eq!(job.spawn_named("named", || 1).join().unwrap(), 1);
        assert_eq!(job.spawn_within(SECOND, || 1).join().unwrap(), 1);
        let (tell, told) = mpsc::channel();
        let mut attempts = 0;
        let retried = job.spawn_retry(Retry::new().first_delay(SECOND), move || {
            attempts += 1;
            tell.send(()).unwrap();
            if attempts < 2 { Err(()) } else { Ok(attempts) }
        });
        told.recv().unwrap();
        while job.stats().delayed == 0 {
            thread::yield_now();
        }
        clock.advance(2 * SECOND);
        assert_eq!(retried.join().unwrap().result, Ok(2));
        let mut set = job.set();
        set.spawn(|| 1);
        assert_eq!(set.join_next().unwrap().unwrap(), 1);
        assert!(job.map(0..50, |i| i).map(Result::unwrap).eq(0..50));
        for said in [
            panic_of(|| job.spawn_after(SECOND, || ())),
            panic_of(|| job.spawn_at(clock.now(), || ())),
        ] {
            assert!(said.contains("capacity of 0"), "{said}");
        }
        assert_eq!(job.spawn_after(Duration::ZERO, || 2).join().unwrap(), 2);
        job.wait();
        assert_eq!(job.stats().most_running, 1);
    });
}

/// A task that is refused although its pusher has its permits gives them back.
#[test]
fn the_permits_of_a_task_that_is_not_pushed_are_free_again() {
    with_clock(|pool, _| {
        let parent = pool.job(4);
        let job = parent.job_builder().limit(4).capacity(0).build();
        // The deadline has come.
        assert!(job.spawn_within(Duration::ZERO, || ()).join().unwrap_err().is_expired());
        assert_eq!((job.stats().running, parent.stats().running), (0, 0));
        // The job is closed after the permits were acquired.
        let reserve = || {
            let mut cx = Context::from_waker(Waker::noop());
            match pin!(job.reserve()).poll(&mut cx) {
                Poll::Ready(slot) => slot.unwrap(),
                Poll::Pending => panic!("a permit is free"),
            }
        };
        let (spawn, execute) = (reserve(), reserve());
        #[cfg(feature = "futures")]
        let future = reserve();
        job.close();
        assert!(spawn.spawn(|| ()).join().unwrap_err().is_cancelled());
        execute.execute(|| ());
        #[cfg(feature = "futures")]
        assert!(future.spawn_future(async {}).join().unwrap_err().is_cancelled());
        job.wait();
        parent.wait();
        assert_eq!((job.stats().running, parent.stats().running), (0, 0));
        assert_eq!(job.stats().completed, 0);
    });
}

#[test]
fn a_timed_task_waits_from_its_push_on() {
    with_clock(|pool, clock| {
        let job = pool.job_builder().limit(1).capacity(0).timed().build();
        let latch = take_workers(pool);
        let task = job.try_spawn(|| ()).unwrap();
        clock.advance(SECOND);
        latch.open();
        task.join().unwrap();
        let timings = job.timings().unwrap();
        assert_eq!((timings.wait.count(), timings.run.count()), (1, 1));
        assert!(timings.wait.longest().unwrap() >= SECOND);
    });
}

#[test]
fn many_pushers_share_few_permits() {
    with_workers(|pool, _| {
        let parent = pool.job(2);
        let job = parent.job_builder().limit(3).capacity(0).build();
        let (gauge, given_back) = (Gauge::new(), Arc::new(AtomicUsize::new(0)));
        thread::scope(|threads| {
            for pusher in 0..4 {
                let (job, gauge, given_back) = (&job, &gauge, &given_back);
                threads.spawn(move || {
                    for _ in 0..200 {
                        if pusher % 2 == 0 {
                            job.execute(pass_through(gauge));
                        } else if job.try_execute(pass_through(gauge)).is_err() {
                            given_back.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
            for _ in 0..50 {
                job.pause();
                thread::yield_now();
                job.resume();
                parent.set_limit(1);
                parent.set_limit(2);
            }
        });
        parent.wait();
        let (stats, given_back) = (job.stats(), given_back.load(SeqCst));
        assert_eq!((stats.completed as usize, stats.cancelled), (800 - given_back, 0));
        assert_eq!(gauge.started(), 800 - given_back);
        assert!(gauge.most() <= 2);
        assert_eq!((stats.running, stats.ready, stats.backlog), (0, 0, 0));
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_is_handed_over_and_keeps_its_permit() {
    with_workers(|pool, _| {
        let job = job_of(pool, 1);
        let (tell, told) = mpsc::channel();
        let mut polls = 0;
        let future = std::future::poll_fn(move |cx| {
            polls += 1;
            tell.send(cx.waker().clone()).unwrap();
            if polls == 1 { Poll::Pending } else { Poll::Ready("done") }
        });
        let task = job.try_spawn_future(future).unwrap();
        let waker = told.recv().unwrap();
        assert!(is_full(job.try_spawn_future(async {})) && is_full(job.try_execute(|| ())));
        waker.wake();
        assert_eq!(task.join().unwrap(), "done");
        job.wait();
        assert!(job.try_spawn_future(async {}).unwrap().join().is_ok());
    });
}

/// A weight above the limit runs alone: its task has all that it needs, and does not go back to the queue.
#[test]
fn a_weight_above_the_limit_is_handed_over_once() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job_builder().limit(2).weighted().weight(5).capacity(0).build();
        for _ in 0..100 {
            job.spawn(|| ()).join().unwrap();
            job.wait();
        }
        assert_eq!(pool.stats().refused, 0);
    });
}

/// The tasks of two pushers go from permit to permit. A task that has waited inside takes its permit back before the next of them.
#[test]
fn a_joiner_is_not_starved_by_pushers() {
    with_workers(|pool, _| {
        let (job, other) = (job_of(pool, 1), pool.job(1));
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ended.load(SeqCst) {
                        job.execute(thread::yield_now);
                    }
                });
            }
            let joins = (0..20).try_for_each(|_| {
                let other = other.clone();
                job.spawn(move || other.spawn(|| ()).join().unwrap()).join()
            });
            // A panic must come after this, because the pushers go on until then.
            ended.store(true, SeqCst);
            joins.unwrap();
        });
    });
}

/// A task was handed over while another task of its job waited inside. When the first one has ended, the second one takes its
/// permit back before any task of the queue.
#[test]
fn a_joiner_goes_before_the_queue_behind_a_task_that_was_handed_over() {
    within(LONG, || {
        let pool = pool(1);
        let (job, other) = (job_of(&pool, 1), job_without_inline_tasks(&pool));
        let (order, told) = mpsc::channel();
        let tell = |what: &'static str| {
            let order = order.clone();
            move || order.send(what).unwrap()
        };
        let (joined, blocker) = (Latch::new(), Latch::new());
        let (gauge, queued, end) = (Gauge::new(), tell("queued"), joined.opening());
        let (inside, runs, back) = (job.clone(), pass_through(&gauge), tell("joiner"));
        let inner = other.clone();
        let joiner = job.spawn(move || {
            let task = inner.spawn(move || {
                runs();
                end.wait();
                inside.execute(queued); // from inside: it stands in the queue
            });
            task.join().unwrap();
            back();
        });
        gauge.until_started(1);
        other.execute(stay(&gauge, &blocker)); // keeps the only seat until the joiner waits for its permit
        while job.try_execute(tell("handed")).is_err() {
            thread::yield_now(); // the joiner still has its permit
        }
        joined.open();
        while !format!("{job:?}").contains("returning: true") {
            thread::yield_now();
        }
        blocker.open();
        joiner.join().unwrap();
        job.wait();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["handed", "joiner", "queued"]);
    });
}

/// A task that has its permits waits for a worker alone. Its own permit is no reason.
#[test]
fn a_task_that_was_handed_over_is_explained_by_the_workers() {
    within(LONG, || {
        let (pool, latch, gauge) = (pool(1), Latch::new(), Gauge::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let job = job_of(&pool, 1);
        let task = job.spawn(|| ());
        let no_worker = Reason::NoWorker { busy: 1, workers: 1 };
        assert_eq!(job.explain_task(&task).first(), &no_worker);
        job.pause();
        assert_eq!(job.explain_task(&task).first(), &Reason::Paused { job: job.clone() });
        job.resume();
        latch.open();
        task.join().unwrap();
    });
}

/// The task of a scope has its permit before a worker takes the task.
#[test]
fn a_task_of_a_scope_is_handed_over() {
    within(LONG, || {
        let pool = pool(1);
        let latch = take_workers(&pool);
        let job = job_of(&pool, 1);
        let stats = job.scope(|scope| {
            scope.execute(|| ());
            let stats = job.stats();
            latch.open();
            stats
        });
        assert_eq!((stats.running, stats.ready, stats.backlog), (1, 0, 0));
    });
}
