//! The three shutdowns, `Drop`, and what a push means before, during and after them.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, Tokens, WORKERS, pool, unwind, with_workers, within};
use tollgate::{Job, JoinError, Pool, Rejected, TaskHandle};

/// Comes back once the pool takes no more from outside: a shutdown has begun. Says how many it took until then.
fn until_outsiders_are_refused(probe: &Job) -> usize {
    let mut taken = 0;
    while probe.try_execute(|| ()).is_ok() {
        taken += 1;
        thread::yield_now();
    }
    taken
}

fn all_cancelled<T>(handles: Vec<TaskHandle<T>>) -> bool {
    handles.into_iter().all(|handle| matches!(handle.join(), Err(JoinError::Cancelled)))
}

/// Jobs with queues behind limits of every kind; as many tasks as are said.
fn jobs_with_queues(pool: &Pool, gauge: &Gauge) -> (Vec<Job>, usize) {
    let jobs: Vec<Job> = [1, 2, 8, usize::MAX].map(|limit| pool.job(limit)).into();
    for i in 0..2_000 {
        match i % 2 {
            0 => jobs[i % 4].execute(pass_through(gauge)),
            _ => drop(jobs[i % 4].spawn(pass_through(gauge))),
        }
    }
    (jobs, 2_000)
}

#[test]
fn a_drain_runs_all_and_stops_the_workers() {
    for workers in WORKERS {
        within(LONG, move || {
            let (stopped, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let counter = Arc::clone(&stopped);
            let pool = Pool::builder()
                .workers(workers)
                .on_worker_stop(move |_| _ = counter.fetch_add(1, SeqCst));
            let pool = pool.build().unwrap();
            let gauge = Gauge::new();
            let (jobs, count) = jobs_with_queues(&pool, &gauge);
            pool.shutdown();
            assert_eq!((gauge.started(), gauge.running()), (count, 0));
            assert_eq!(stopped.load(SeqCst), workers, "a worker lives on after shutdown");
            for job in jobs {
                let stats = job.stats();
                assert_eq!((stats.completed, stats.running, stats.backlog), (500, 0, 0));
                counted.fetch_add(1, SeqCst);
            }
            assert_eq!(counted.load(SeqCst), 4);
            // Again, in all its forms: nothing is left to do.
            pool.shutdown();
            assert_eq!(pool.shutdown_now(), 0);
            assert!(pool.shutdown_timeout(Duration::ZERO));
        });
    }
}

#[test]
fn a_drop_drains() {
    within(LONG, || {
        for workers in WORKERS {
            let gauge = Gauge::new();
            let pool = pool(workers);
            let (jobs, count) = jobs_with_queues(&pool, &gauge);
            drop(pool);
            assert_eq!((gauge.started(), gauge.running()), (count, 0));
            drop(jobs);
        }
    });
}

#[test]
fn two_drains_at_once_both_wait_for_the_end() {
    with_workers(|pool, workers| {
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let job = pool.job(workers);
        for _ in 0..workers {
            job.execute(stay(&gauge, &latch));
        }
        gauge.until_running(workers);
        thread::scope(|scope| {
            let drains = [(); 2].map(|()| {
                scope.spawn(|| {
                    pool.shutdown();
                    gauge.running()
                })
            });
            until_outsiders_are_refused(&job);
            let early = drains.iter().any(|drain| drain.is_finished());
            latch.open();
            assert!(!early, "a drain ended before the tasks");
            assert_eq!(drains.map(|drain| drain.join().unwrap()), [0, 0]);
        });
    });
}

/// Every worker blocked, and 300 tasks queued behind them in jobs of every kind.
struct Blocked {
    jobs: [Job; 4],
    gauge: Gauge,
    latch: Latch,
    tokens: Tokens,
    running: Vec<TaskHandle<()>>,
    waiting: Vec<TaskHandle<()>>,
}

impl Blocked {
    fn workers_of(pool: &Pool) -> Self {
        let (gauge, latch, tokens) = (Gauge::new(), Latch::new(), Tokens::new());
        let jobs = [0, 1, pool.workers(), usize::MAX].map(|limit| pool.job(limit));
        let running = (0..pool.workers()).map(|_| jobs[3].spawn(stay(&gauge, &latch))).collect();
        gauge.until_running(pool.workers());
        let push = |i: usize| {
            let (token, task) = (tokens.token(), pass_through(&gauge));
            jobs[i % 4].spawn(move || {
                task();
                drop(token);
            })
        };
        let waiting = (0..300).map(push).collect();
        Self { jobs, gauge, latch, tokens, running, waiting }
    }

    /// The workers have been let go: what ran ended well, and nothing else started.
    fn nothing_else_ran(self) {
        let count = self.running.len();
        assert!(self.running.into_iter().all(|handle| handle.join().is_ok()));
        assert!(all_cancelled(self.waiting));
        assert_eq!(self.gauge.started(), count, "a task started after the pool was told to stop");
        for job in &self.jobs {
            job.wait();
            assert_eq!(job.stats().cancelled, 75);
        }
        assert_eq!(self.tokens.dropped(), 300);
    }
}

#[test]
fn shutdown_now_drops_what_has_not_started_and_says_how_many() {
    with_workers(|pool, _| {
        let blocked = Blocked::workers_of(pool);
        thread::scope(|scope| {
            let end = scope.spawn(|| (pool.shutdown_now(), blocked.gauge.running()));
            let held = until_outsiders_are_refused(&pool.job(0));
            let early = end.is_finished();
            blocked.latch.open();
            assert!(!early, "the call ended before the tasks that run");
            assert_eq!(end.join().unwrap(), (300 + held, 0));
        });
        blocked.nothing_else_ran();
    });
}

/// When the time is over, nothing starts any more, and nobody waits for what runs: not the call, not the pool's drop.
#[test]
fn shutdown_timeout_drops_what_has_not_started_when_the_time_is_over() {
    for time in [Duration::ZERO, Duration::from_millis(5)] {
        for workers in WORKERS {
            within(LONG, move || {
                let pool = pool(workers);
                let blocked = Blocked::workers_of(&pool);
                assert!(!pool.shutdown_timeout(time));
                refuses_pushes(&pool.job(1));
                drop(pool);
                assert_eq!(blocked.gauge.running(), workers);
                blocked.latch.open();
                blocked.nothing_else_ran();
            });
        }
    }
}

#[test]
fn shutdown_timeout_drains_if_there_is_time() {
    for time in [LONG, Duration::MAX] {
        with_workers(move |pool, _| {
            let gauge = Gauge::new();
            let (_jobs, count) = jobs_with_queues(pool, &gauge);
            assert!(pool.shutdown_timeout(time));
            assert_eq!((gauge.started(), gauge.running()), (count, 0));
        });
    }
}

#[test]
fn a_drain_cancels_what_is_held() {
    with_workers(|pool, _| {
        let (paused, zero, free) = (pool.job(2), pool.job(0), pool.job(1));
        paused.pause();
        let tokens = Tokens::new();
        let held: Vec<_> = (0..100)
            .map(|i| {
                let token = tokens.token();
                [&paused, &zero][i % 2].spawn(move || drop(token))
            })
            .collect();
        let ran: Vec<_> = (0..100).map(|i| free.spawn(move || i)).collect();
        pool.shutdown();
        assert!(held.iter().all(TaskHandle::is_finished));
        assert!(all_cancelled(held));
        assert!(ran.into_iter().all(|handle| handle.join().is_ok()));
        assert_eq!(tokens.dropped(), 100);
        for job in [&paused, &zero] {
            assert!(job.wait_timeout(Duration::ZERO));
            assert_eq!(
                (job.stats().completed, job.stats().cancelled, job.stats().backlog),
                (0, 50, 0)
            );
        }
    });
}

/// What a running task may still let go is not cancelled yet.
#[test]
fn a_drain_runs_what_a_task_resumes() {
    with_workers(|pool, _| {
        for by_limit in [true, false] {
            let pool = common::pool(pool.workers());
            let (held, gauge, latch) =
                (pool.job(if by_limit { 0 } else { 2 }), Gauge::new(), Latch::new());
            held.pause();
            let waiting: Vec<_> = (0..50).map(|i| held.spawn(move || i)).collect();
            let (free, opening, lets_go) = (pool.job(1), latch.opening(), held.clone());
            let entered = gauge.clone();
            free.execute(move || {
                let _running = entered.enter();
                opening.wait();
                lets_go.set_limit(3);
                lets_go.resume();
            });
            gauge.until_running(1);
            thread::scope(|scope| {
                scope.spawn(|| pool.shutdown());
                until_outsiders_are_refused(&free);
                latch.open();
            });
            assert!(
                waiting.into_iter().all(|handle| handle.join().is_ok()),
                "cancelled, though it could run"
            );
        }
    });
}

#[test]
fn tasks_push_on_during_a_drain_and_outsiders_do_not() {
    /// Pushes itself again and again, each time into the next job.
    fn relay(jobs: &Arc<[Job; 3]>, gauge: &Gauge, left: usize) {
        let (next, task) = (Arc::clone(jobs), pass_through(gauge));
        let gauge = gauge.clone();
        let push = move || {
            task();
            if left > 0 {
                relay(&next, &gauge, left - 1);
            }
        };
        match left % 4 {
            0 => drop(jobs[left % 3].spawn(push)),
            1 => jobs[left % 3].try_execute(push).expect("a task may push during a drain"),
            _ => jobs[left % 3].execute(push),
        }
    }
    with_workers(|pool, workers| {
        let jobs = Arc::new([1, workers, usize::MAX].map(|limit| pool.job(limit)));
        let (gauge, first, latch) = (Gauge::new(), Gauge::new(), Latch::new());
        let (inner, counted, begin) = (Arc::clone(&jobs), gauge.clone(), stay(&first, &latch));
        jobs[0].execute(move || {
            begin();
            relay(&inner, &counted, 1_000);
        });
        first.until_running(1);
        thread::scope(|scope| {
            scope.spawn(|| pool.shutdown());
            until_outsiders_are_refused(&jobs[1]);
            refuses_pushes(&jobs[2]);
            latch.open();
        });
        assert_eq!(gauge.started(), 1_001, "a task pushed by a task during a drain did not run");
    });
}

/// All four ways in refuse, each as it should.
fn refuses_pushes(job: &Job) {
    let tokens = Tokens::new();
    let cancelled = job.stats().cancelled;
    let (one, two, three, four) = (tokens.token(), tokens.token(), tokens.token(), tokens.token());
    let handle = job.spawn(move || drop(one));
    assert!(handle.is_finished());
    assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    job.execute(move || drop(two));
    assert_eq!(tokens.dropped(), 2, "a refused closure was kept");
    let back = job.try_spawn(move || drop(three)).expect_err("refused");
    assert!(matches!(back, Rejected::Closed(_)));
    let other = job.try_execute(move || drop(four)).expect_err("refused");
    assert!(matches!(other, Rejected::Closed(_)));
    assert_eq!(tokens.dropped(), 2, "try_* drops the closure that it should give back");
    (back.into_inner())();
    (other.into_inner())();
    assert_eq!(tokens.dropped(), 4);
    // The refused spawn and execute are reported; try_* gave theirs back.
    assert_eq!(job.stats().cancelled, cancelled + 2);
}

#[test]
fn a_job_outlives_its_pool() {
    for end in [Pool::shutdown, |pool: &Pool| _ = pool.shutdown_now(), |_: &Pool| ()] {
        within(LONG, move || {
            let pool = pool(2);
            let job = pool.job(2);
            job.spawn(|| ()).join().unwrap();
            end(&pool);
            drop(pool);
            refuses_pushes(&job);
            job.set_limit(5);
            assert_eq!(job.limit(), 5);
            job.pause();
            job.resume();
            job.wait();
            assert!(job.wait_timeout(Duration::ZERO));
            assert_eq!(job.cancel(), 0);
            assert!(job.is_closed());
            let again = job.clone();
            drop(job);
            assert_eq!(again.stats().completed, 1);
        });
    }
}

/// The last handle of a pool goes away inside one of its own tasks: the drop comes back, and all that can run runs.
#[test]
fn the_last_handle_may_be_dropped_inside_a_task() {
    for workers in WORKERS {
        within(LONG, move || {
            let (says, stopped) = mpsc::channel();
            let says = Mutex::new(says);
            let builder = Pool::builder().workers(workers);
            let pool = builder
                .on_worker_stop(move |index| says.lock().unwrap().send(index).unwrap())
                .build();
            let pool = Arc::new(pool.unwrap());
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let (last, opening, inner) = (Arc::clone(&pool), latch.opening(), gauge.clone());
            let (serial, wide) = (pool.job(1), pool.job(usize::MAX));
            let (same, other) = (serial.clone(), wide.clone());
            let dropper = serial.spawn(move || {
                opening.wait();
                assert_eq!(Arc::strong_count(&last), 1);
                drop(last);
                // A task still pushes, as in any drain.
                same.execute(pass_through(&inner));
                other.execute(pass_through(&inner));
            });
            (0..200).for_each(|i| [&serial, &wide][i % 2].execute(pass_through(&gauge)));
            let held = pool.job(0);
            let waiting = held.spawn(|| ());
            drop(pool);
            latch.open();
            dropper.join().unwrap();
            let mut indices: Vec<usize> = stopped.iter().take(workers).collect();
            indices.sort_unstable();
            assert_eq!(indices, (0..workers).collect::<Vec<_>>(), "each worker stops once");
            assert_eq!(gauge.started(), 202);
            assert!(matches!(waiting.join(), Err(JoinError::Cancelled)));
            until_outsiders_are_refused(&serial);
        });
    }
}

#[test]
fn a_pool_may_be_dropped_inside_a_task_of_another() {
    with_workers(|outer, workers| {
        let (gauge, inner) = (Gauge::new(), pool(workers));
        let job = inner.job(2);
        (0..100).for_each(|_| job.execute(pass_through(&gauge)));
        outer.job(1).spawn(move || drop(inner)).join().unwrap();
        assert_eq!((gauge.started(), gauge.running()), (100, 0));
        // A task of one pool is an outsider to the other.
        let outsider = outer.job(1).spawn(move || refuses_pushes(&job));
        outsider.join().unwrap();
    });
}

#[test]
fn each_worker_has_its_name_and_its_hooks_run_once() {
    for workers in WORKERS {
        within(LONG, move || {
            let log = Arc::new(Mutex::new((Vec::new(), Vec::new())));
            let (starts, stops) = (Arc::clone(&log), Arc::clone(&log));
            let pool = Pool::builder()
                .workers(workers)
                .thread_name(|index| format!("named-{index}"))
                .on_worker_start(move |index| {
                    assert_eq!(thread::current().name(), Some(format!("named-{index}").as_str()));
                    starts.lock().unwrap().0.push(index);
                })
                .on_worker_stop(move |index| stops.lock().unwrap().1.push(index))
                .build()
                .unwrap();
            assert_eq!(pool.workers(), workers);
            let name =
                pool.job(1).spawn(|| thread::current().name().map(str::to_owned)).join().unwrap();
            assert!(name.is_some_and(|name| name.starts_with("named-")));
            drop(pool);
            let (mut starts, mut stops) = std::mem::take(&mut *log.lock().unwrap());
            starts.sort_unstable();
            stops.sort_unstable();
            let each: Vec<usize> = (0..workers).collect();
            assert_eq!((starts, stops), (each.clone(), each));
        });
    }
}

/// Pools that end as soon as they have begun, with a push just before.
#[test]
fn a_shutdown_loses_no_wake() {
    within(LONG, || {
        for round in 0..600 {
            let pool = pool(1 + round % 3);
            let gauge = Gauge::new();
            let job = pool.job(1);
            let pushes = round % 5;
            (0..pushes).for_each(|_| job.execute(pass_through(&gauge)));
            if round % 2 == 0 {
                gauge.until_ended(pushes);
            }
            match round % 3 {
                0 => drop(pool),
                1 => pool.shutdown(),
                _ => assert!(pool.shutdown_timeout(LONG)),
            }
            assert_eq!(gauge.started(), pushes);
        }
    });
}

#[test]
fn a_drain_outlives_panics() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let handles: Vec<_> = (0..100).map(|_| job.spawn(|| unwind("a task that fails"))).collect();
        (0..100).for_each(|_| job.execute(|| unwind("a task that fails")));
        pool.shutdown();
        assert!(
            handles.into_iter().all(|handle| matches!(handle.join(), Err(JoinError::Panicked(_))))
        );
        assert_eq!(job.stats().panicked, 200);
    });
}

/// A task that waits for one that a pause holds would keep the drain from its end: the held one is cancelled.
#[test]
fn a_drain_ends_although_a_task_waits_for_a_held_one() {
    with_workers(|_, workers| {
        let pool = pool(workers);
        let (job, held) = (pool.job(2), pool.job(0));
        let awaited = held.spawn(|| ());
        let waiter = job.spawn(move || matches!(awaited.join(), Err(JoinError::Cancelled)));
        pool.shutdown();
        assert!(waiter.join().unwrap());
    });
}

/// Captures that ask, while they are dropped, whether their job is idle: it is not, for they are still there.
#[test]
fn captures_that_look_at_their_job_when_a_drain_drops_them() {
    struct Asks(Job);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert!(!self.0.wait_timeout(Duration::ZERO));
        }
    }
    with_workers(|_, workers| {
        let pool = pool(workers);
        let job = pool.job(0);
        for _ in 0..3 {
            let asks = Asks(job.clone());
            job.execute(move || drop(asks));
        }
        pool.shutdown();
        assert_eq!(job.stats().cancelled, 3);
    });
}
