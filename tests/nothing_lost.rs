//! nothing_lost: each accepted task runs exactly once or is reported cancelled exactly once, and its closure and captures
//! are dropped exactly once. A panic stays in its task.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::event::{Gauge, Latch, pass_through, stay};
use common::rng::Rng;
use common::{LONG, Tokens, unwind, with_workers, within};
use tollgate::{Job, JoinError, Pool, TaskHandle};

/// How often each of many tasks has run.
#[derive(Clone)]
struct Runs(Arc<Vec<AtomicU8>>);

impl Runs {
    fn of(count: usize) -> Self {
        Self(Arc::new((0..count).map(|_| AtomicU8::new(0)).collect()))
    }

    /// The closure of one task. It has a capture whose drop is counted, and gives its number back.
    fn task(&self, number: usize, tokens: &Tokens) -> impl FnOnce() -> usize + Send + 'static {
        let (runs, token) = (Arc::clone(&self.0), tokens.token());
        move || {
            let _token = token;
            runs[number].fetch_add(1, SeqCst);
            number
        }
    }

    fn count(&self, number: usize) -> u8 {
        self.0[number].load(SeqCst)
    }

    fn all(&self, times: u8) -> bool {
        self.0.iter().all(|run| run.load(SeqCst) == times)
    }
}

#[test]
fn each_task_runs_once() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let (job, runs, tokens) = (pool.job(limit), Runs::of(12_000), Tokens::new());
            thread::scope(|scope| {
                for pusher in 0..3 {
                    let (job, runs, tokens) = (&job, &runs, &tokens);
                    scope.spawn(move || {
                        for number in pusher * 4_000..(pusher + 1) * 4_000 {
                            let task = runs.task(number, tokens);
                            match number % 4 {
                                0 => job.execute(|| _ = task()),
                                1 => drop(job.spawn(task)),
                                2 => job.try_execute(|| _ = task()).unwrap(),
                                _ => drop(job.try_spawn(task).unwrap()),
                            }
                        }
                    });
                }
            });
            job.wait();
            assert!(runs.all(1), "a task ran twice or not at all");
            assert_eq!(tokens.dropped(), 12_000);
            let stats = job.stats();
            assert_eq!((stats.completed, stats.panicked, stats.cancelled), (12_000, 0, 0));
            assert_eq!((stats.running, stats.ready, stats.backlog), (0, 0, 0));
        }
    });
}

#[test]
fn a_tree_of_tasks_runs_whole() {
    fn grow(job: &Job, runs: &Runs, tokens: &Tokens, number: usize) {
        let task = runs.task(number, tokens);
        let (inner, runs, tokens) = (job.clone(), runs.clone(), tokens.clone());
        job.execute(move || {
            for child in [2 * number + 1, 2 * number + 2] {
                if child < runs.0.len() {
                    grow(&inner, &runs, &tokens, child);
                }
            }
            task();
        });
    }
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            let (job, runs, tokens) = (pool.job(limit), Runs::of(20_000), Tokens::new());
            grow(&job, &runs, &tokens, 0);
            job.wait();
            assert!(runs.all(1), "a task ran twice or not at all");
            assert_eq!(tokens.dropped(), 20_000);
        }
    });
}

/// Large, empty and over-aligned closures and results come through whole.
#[test]
fn closures_of_every_shape() {
    #[repr(align(128))]
    #[derive(Clone, Copy)]
    struct Aligned([u8; 128]);
    impl Aligned {
        fn check(&self, filled_with: u8) {
            assert_eq!(self as *const Self as usize % 128, 0, "misaligned");
            assert!(self.0.iter().all(|byte| *byte == filled_with));
        }
    }

    static EMPTY_RUNS: AtomicUsize = AtomicUsize::new(0);
    with_workers(|pool, _| {
        EMPTY_RUNS.store(0, SeqCst);
        let job = pool.job(3);
        let tokens = Tokens::new();
        for i in 0..200_u8 {
            let (large, aligned, token) = ([i; 10_000], Aligned([i; 128]), tokens.token());
            let large = job.spawn(move || large.map(|byte| byte ^ 255));
            let aligned = job.spawn(move || {
                aligned.check(i);
                (Aligned([!i; 128]), token)
            });
            let kept = job.spawn(move || Box::new([i; 300]));
            job.execute(|| _ = EMPTY_RUNS.fetch_add(1, SeqCst));
            assert!(large.join().unwrap().iter().all(|byte| *byte == i ^ 255));
            aligned.join().unwrap().0.check(!i);
            assert_eq!(*kept.join().unwrap(), [i; 300]);
        }
        job.wait();
        assert_eq!((EMPTY_RUNS.load(SeqCst), tokens.dropped()), (200, 200));
    });
}

#[test]
fn a_panic_stays_in_its_task() {
    for workers in common::WORKERS {
        within(LONG, move || {
            let started = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&started);
            let builder = Pool::builder()
                .workers(workers)
                .on_worker_start(move |_| _ = counted.fetch_add(1, SeqCst));
            let pool = builder.build().unwrap();
            let (job, tokens) = (pool.job(usize::MAX), Tokens::new());
            let threads = Arc::new(Mutex::new(HashSet::new()));
            for number in 0..1_000 {
                let (token, threads) = (tokens.token(), Arc::clone(&threads));
                let task = move || {
                    let _token = token;
                    threads.lock().unwrap().insert(thread::current().id());
                    if number % 2 == 0 {
                        unwind("a task that fails");
                    }
                };
                match number % 4 {
                    0 | 1 => job.execute(task),
                    _ => drop(job.spawn(task)),
                }
            }
            job.wait();
            assert_eq!(tokens.dropped(), 1_000);
            let stats = job.stats();
            assert_eq!((stats.completed, stats.panicked, stats.cancelled), (500, 500, 0));
            drop(pool);
            assert!(threads.lock().unwrap().len() <= workers, "a worker was replaced");
            assert_eq!(started.load(SeqCst), workers, "a worker was replaced");
        });
    }
}

/// A cancel that says true and a start exclude each other, also when they race.
#[test]
fn a_cancelled_handle_and_a_start_exclude_each_other() {
    with_workers(|pool, workers| {
        let mut rng = Rng::from_env();
        for limit in [1, workers, usize::MAX] {
            let (job, runs, tokens) = (pool.job(limit), Runs::of(5_000), Tokens::new());
            let mut cancelled = 0;
            let mut handles: Vec<(usize, TaskHandle<usize>)> = Vec::new();
            for number in 0..5_000 {
                handles.push((number, job.spawn(runs.task(number, &tokens))));
                if handles.len() == 8 {
                    for (number, handle) in handles.drain(..) {
                        if rng.one_in(2) && handle.cancel() {
                            cancelled += 1;
                            assert!(handle.is_finished(), "cancelled and not finished");
                            assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
                            assert_eq!(runs.count(number), 0, "cancelled and run");
                        } else {
                            assert_eq!(handle.join().unwrap(), number);
                            assert_eq!(runs.count(number), 1);
                        }
                    }
                }
            }
            job.wait();
            let stats = job.stats();
            assert_eq!((stats.completed, stats.cancelled), (5_000 - cancelled, cancelled));
            assert_eq!(tokens.dropped(), 5_000);
            assert!(!runs.all(0));
        }
    });
}

#[test]
fn a_cancelled_job_drops_and_counts_what_has_not_started() {
    with_workers(|pool, workers| {
        for limit in [0, 1, workers, usize::MAX] {
            let (job, gauge, tokens) = (pool.job(limit), Gauge::new(), Tokens::new());
            let latch = Latch::new();
            let room = limit.min(workers);
            for _ in 0..room {
                job.execute(stay(&gauge, &latch));
            }
            gauge.until_running(room);
            let runs = Runs::of(300);
            let handles: Vec<_> =
                (0..300).map(|number| job.spawn(runs.task(number, &tokens))).collect();
            job.cancel();
            assert!(job.is_closed());
            // The workers do the dropping: one that is free needs no other.
            if room == workers {
                latch.open();
            }
            for handle in handles {
                assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
            }
            job.cancel();
            latch.open();
            job.wait();
            assert!(runs.all(0), "a cancelled task ran");
            assert_eq!(tokens.dropped(), 300);
            let stats = job.stats();
            assert_eq!((stats.completed, stats.cancelled), (room as u64, 300));
        }
    });
}

/// Whatever the workers do during the call: after `wait` each task has run or is counted as cancelled.
#[test]
fn a_cancel_misses_nothing_that_it_drops() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            for round in 0..300 {
                let (job, gauge) = (pool.job(limit), Gauge::new());
                let mut last = None;
                for _ in 0..round % 20 {
                    last = Some(job.spawn(pass_through(&gauge)));
                }
                match round % 3 {
                    0 => drop(last.map(TaskHandle::join)),
                    1 => gauge.until_started(round % 20 / 2),
                    _ => drop(last),
                }
                let before = job.stats().completed as usize;
                job.cancel();
                job.wait();
                let stats = job.stats();
                let (ran, cancelled) = (stats.completed as usize, stats.cancelled as usize);
                assert_eq!(ran + cancelled, round % 20, "limit {limit}, {workers} workers");
                assert_eq!(ran, gauge.started(), "limit {limit}, {workers} workers");
                assert!(before <= ran, "a task that had ended counts as cancelled");
            }
        }
    });
}

/// Nothing has to be let go for it: the job is idle, and the captures are dropped.
#[test]
fn a_cancelled_task_of_a_held_job_is_gone() {
    with_workers(|pool, _| {
        for hold in [Job::pause, |job: &Job| job.set_limit(0)] {
            let (job, tokens) = (pool.job(1), Tokens::new());
            hold(&job);
            let handles: Vec<_> =
                (0..3).map(|_| tokens.token()).map(|token| job.spawn(move || token)).collect();
            assert!(handles.iter().all(TaskHandle::cancel));
            job.wait();
            assert_eq!((tokens.dropped(), job.stats().cancelled, job.stats().backlog), (3, 3, 0));
        }
    });
}

/// A worker adds more tokens to its job than it needs for the tasks that it pushes or takes: those are no ready tasks.
#[test]
fn figures_count_the_tasks_in_deques() {
    within(LONG, || {
        let pool = common::pool(1);
        let job = pool.job(usize::MAX);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let (inner, last) = (job.clone(), stay(&gauge, &latch));
        let pushes = move || {
            (0..3).for_each(|_| inner.execute(|| ()));
            last();
        };
        job.execute(pushes);
        gauge.until_running(1);
        let stats = job.stats();
        assert_eq!((stats.running, stats.ready, stats.backlog), (1, 3, 0));
        latch.open();
        job.wait();
        assert_eq!((job.stats().ready, job.stats().completed), (0, 4));
    });
}

/// Pushers, a canceller and the workers at once: what was accepted ran or was cancelled, and each handle agrees.
#[test]
fn a_cancel_against_pushes_loses_nothing() {
    with_workers(|pool, workers| {
        for limit in [1, workers, usize::MAX] {
            for _ in 0..20 {
                let (job, runs, tokens) = (pool.job(limit), Runs::of(600), Tokens::new());
                let given_back = thread::scope(|scope| {
                    let pushers = [0, 1].map(|pusher| {
                        let (job, runs, tokens) = (&job, &runs, &tokens);
                        scope.spawn(move || {
                            let mut given_back = 0;
                            for number in pusher * 300..(pusher + 1) * 300 {
                                let task = runs.task(number, tokens);
                                match number % 3 {
                                    0 => job.execute(|| _ = task()),
                                    1 => {
                                        given_back +=
                                            usize::from(job.try_execute(|| _ = task()).is_err())
                                    }
                                    _ => match job.spawn(task).join() {
                                        Ok(same) => {
                                            assert_eq!((same, runs.count(number)), (number, 1))
                                        }
                                        Err(JoinError::Cancelled) => {
                                            assert_eq!(runs.count(number), 0)
                                        }
                                        Err(error) => panic!("{error}"),
                                    },
                                }
                            }
                            given_back
                        })
                    });
                    for _ in 0..200 {
                        thread::yield_now();
                    }
                    job.cancel();
                    pushers.map(|pusher| pusher.join().unwrap()).iter().sum::<usize>()
                });
                job.wait();
                let ran: usize = (0..600).map(|number| usize::from(runs.count(number))).sum();
                let stats = job.stats();
                assert_eq!(stats.completed, ran as u64);
                assert_eq!(ran + stats.cancelled as usize + given_back, 600);
                assert_eq!(tokens.dropped(), 600);
            }
        }
    });
}

/// Captures that are dropped in turn push tasks, drop handles and jobs: nothing is held that this could need.
#[test]
fn a_capture_may_use_the_pool_when_it_is_dropped() {
    struct PushesWhenDropped(Job, mpsc::Sender<()>);
    impl Drop for PushesWhenDropped {
        fn drop(&mut self) {
            let says = self.1.clone();
            self.0.execute(move || says.send(()).unwrap());
        }
    }
    with_workers(|pool, workers| {
        let (held, other) = (pool.job(0), pool.job(workers));
        let (says, heard) = mpsc::channel();
        let mut handles = Vec::new();
        for i in 0..50 {
            let capture = PushesWhenDropped(other.clone(), says.clone());
            let last_handle_of_a_job = pool.job(1);
            let detached = last_handle_of_a_job.spawn(|| vec![1]);
            handles.push(held.spawn(move || drop((capture, last_handle_of_a_job, detached))));
            if i % 2 == 0 {
                assert!(handles.swap_remove(0).cancel());
            }
        }
        held.cancel();
        held.wait();
        drop(says);
        assert_eq!(heard.iter().count(), 50);
    });
}

#[test]
fn a_job_dropped_with_its_pool_still_accounts_for_its_tasks() {
    within(LONG, || {
        for workers in common::WORKERS {
            let (tokens, gauge) = (Tokens::new(), Gauge::new());
            let pool = common::pool(workers);
            for _ in 0..500 {
                let (job, task, token) = (pool.job(1), pass_through(&gauge), tokens.token());
                drop(job.spawn(move || {
                    task();
                    token
                }));
            }
            drop(pool);
            assert_eq!((gauge.started(), tokens.dropped()), (500, 500));
        }
    });
}
